"""Batch normalisation over the crops of all ranks.

With statistics of its own slice alone, a rank with 8 of 16 crops would take another step than one
rank with all 16. With common statistics it takes the same, so a result does not depend on how many
machines were at hand, and the running statistics stay equal on all ranks without being sent.
On GPUs torch's own SyncBatchNorm does this; it refuses CPU tensors, hence the class below.
"""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def synchronise_batch_norm(network: nn.Module, device: torch.device) -> nn.Module:
    """Replace each BatchNorm2d by one over all ranks; the state dict stays the same."""
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)
    for name, child in network.named_children():
        if type(child) is nn.BatchNorm2d:
            replacement = SynchronisedBatchNorm(child.num_features)
            replacement.load_state_dict(child.state_dict())
            setattr(network, name, replacement)
        else:
            synchronise_batch_norm(child, device)
    return network


class SynchronisedBatchNorm(nn.BatchNorm2d):
    """BatchNorm2d whose statistics in training are those of all ranks together."""

    process_group: dist.ProcessGroup | None = None
    """The ranks that share statistics; None is all of them."""

    @torch.compiler.disable
    def forward(self, inputs: Tensor) -> Tensor:
        if not self.training or dist.get_world_size(self.process_group) == 1:
            return super().forward(inputs)
        outputs, mean, variance, count = _NormaliseOverRanks.apply(
            inputs, self.weight, self.bias, self.eps, self.process_group
        )
        self._update_running_statistics(mean, variance * count / (count - 1))
        return outputs

    @torch.no_grad()
    def _update_running_statistics(self, mean: Tensor, unbiased_variance: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(unbiased_variance, self.momentum)


class _NormaliseOverRanks(torch.autograd.Function):
    """outputs = (inputs - mean) / sqrt(variance + eps) * weight + bias, statistics of all ranks.

    The backward pass is that of batch normalisation (Ioffe and Szegedy, section 3), its two sums
    taken over all ranks. Only 2 numbers a channel travel, in either direction.
    """

    @staticmethod
    def forward(
        context: Any,
        inputs: Tensor,
        weight: Tensor,
        bias: Tensor,
        eps: float,
        group: dist.ProcessGroup | None,
    ) -> tuple[Tensor, Tensor, Tensor, int]:
        local_variance, local_mean = torch.var_mean(inputs.float(), (0, 2, 3), correction=0)
        # E[x^2] - E[x]^2 cancels in float32; on one number a channel float64 costs nothing.
        local_mean, local_variance = local_mean.double(), local_variance.double()
        moments = torch.stack([local_mean, local_variance + local_mean.square()])
        # The slices of all ranks are equal, so the mean of their means is the mean of all.
        ranks = dist.get_world_size(group)
        dist.all_reduce(moments, group=group)
        mean, mean_square = moments / ranks
        variance = mean_square - mean.square()
        mean, variance = mean.float(), variance.float()
        count = ranks * inputs.numel() // inputs.shape[1]

        context.save_for_backward(inputs, weight, mean, variance)
        context.eps, context.group, context.count = eps, group, count
        context.mark_non_differentiable(mean, variance)
        outputs = F.batch_norm(inputs, mean, variance, weight, bias, training=False, eps=eps)
        return outputs, mean, variance, count

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        inputs, weight, mean, variance = context.saved_tensors
        inverse_deviation = torch.rsqrt(variance + context.eps)
        centred = inputs - _per_channel(mean)
        sums = torch.stack(
            [gradient.float().sum((0, 2, 3)), (gradient * centred).float().sum((0, 2, 3))]
        )
        bias_gradient, weight_gradient = sums[0].clone(), sums[1] * inverse_deviation
        dist.all_reduce(sums, group=context.group)
        mean_gradient, mean_product = sums / context.count

        scale = weight * inverse_deviation
        inputs_gradient = gradient - _per_channel(mean_gradient)
        inputs_gradient -= centred * _per_channel(mean_product * inverse_deviation.square())
        inputs_gradient *= _per_channel(scale)
        return inputs_gradient.to(inputs.dtype), weight_gradient, bias_gradient, None, None


def _per_channel(values: Tensor) -> Tensor:
    return values[:, None, None]
