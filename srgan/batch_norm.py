"""Batch normalisation over the crops of all ranks.

With statistics of its own slice alone, a rank with 8 of 16 crops would take another step than one
rank with all 16. With common statistics it takes the same, so a result does not depend on how many
machines were at hand, and the running statistics stay equal on all ranks without being sent.
torch's own SyncBatchNorm refuses CPU tensors, and on GPUs lets the host wait three times a layer.
"""

import itertools
import weakref
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, library, nn
from torch.autograd.function import once_differentiable

from srgan.cpu.shared_memory import SharedSums

aten = torch.ops.aten


def synchronise_batch_norm(network: nn.Module, shared: SharedSums | None = None) -> nn.Module:
    """Replace each BatchNorm2d by one over all ranks; the state dict stays the same.

    Args:
        network: changed in place.
        shared: the memory that all ranks share, if they do; for CPUs.
    """
    for name, child in network.named_children():
        if type(child) is nn.BatchNorm2d:
            replacement = SynchronisedBatchNorm(child.num_features, shared)
            replacement.load_state_dict(child.state_dict())
            setattr(network, name, replacement.to(child.weight.device))
        else:
            synchronise_batch_norm(child, shared)
    return network


class SynchronisedBatchNorm(nn.BatchNorm2d):
    """BatchNorm2d whose statistics in training are those of all ranks together."""

    process_group: dist.ProcessGroup | None = None
    """The ranks that share statistics; None is all of them."""

    def __init__(self, num_features: int, shared: SharedSums | None = None) -> None:
        """Of that many channels; with the memory that all ranks share, if they do."""
        super().__init__(num_features)
        self._shared = shared
        self._number = next(NUMBERS)
        LAYERS[self._number] = self

    def forward(self, inputs: Tensor) -> Tensor:
        # Compiled code holds for any group: it must not ask for it, or it would be made anew.
        alone = not torch.compiler.is_compiling() and self._ranks() == 1
        if not self.training or alone:
            return super().forward(inputs)
        outputs, mean, variance = _NormaliseOverRanks.apply(
            inputs, self.weight, self.bias, self.eps, self._mean
        )
        count = dist.get_world_size() * inputs.numel() // inputs.shape[1]
        self._update_running_statistics(mean, variance * count / (count - 1))
        return outputs

    def mean_over_ranks(self, values: Tensor) -> Tensor:
        """The mean over the ranks that share statistics, the same on each."""
        shared = self._shared
        if shared is not None and self.process_group is None and shared.fits(values):
            return shared.sum(values) / self._ranks()
        # For so little, gloo's all_reduce takes two trips around the ranks where this takes one.
        of_ranks = values.new_empty((self._ranks() * len(values), *values.shape[1:]))
        dist.all_gather_single(of_ranks, values, group=self.process_group)
        return of_ranks.view(-1, *values.shape).mean(0)

    def _mean(self, values: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            return _mean_compiled(values, self._number)
        return self.mean_over_ranks(values)

    def _ranks(self) -> int:
        return dist.get_world_size(self.process_group)

    @torch.no_grad()
    def _update_running_statistics(self, mean: Tensor, unbiased_variance: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(unbiased_variance, self.momentum)


NUMBERS = itertools.count()
LAYERS: weakref.WeakValueDictionary[int, SynchronisedBatchNorm] = weakref.WeakValueDictionary()
"""The layers of this process by number, for compiled code, which has no other way to them."""


@library.custom_op("srgan::mean_over_ranks", mutates_args=())
def _mean_compiled(values: Tensor, layer: int) -> Tensor:
    """What ranks exchange, as an operator into which torch.compile does not look."""
    return LAYERS[layer].mean_over_ranks(values)


@_mean_compiled.register_fake
def _(values: Tensor, _layer: int) -> Tensor:
    return torch.empty_like(values)


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
        mean_over_ranks: Callable[[Tensor], Tensor],
    ) -> tuple[Tensor, Tensor, Tensor]:
        local_mean, local_variance = _statistics(inputs)
        # E[x^2] - E[x]^2 cancels in float32; on one number a channel float64 costs nothing.
        local_mean, local_variance = local_mean.double(), local_variance.double()
        moments = torch.stack([local_mean, local_variance + local_mean.square()])
        # The slices of all ranks are equal, so the mean of their means is the mean of all.
        mean, mean_square = mean_over_ranks(moments)
        variance = mean_square - mean.square()
        mean, variance = mean.float(), variance.float()

        context.save_for_backward(inputs, weight, mean, variance)
        context.eps, context.mean_over_ranks = eps, mean_over_ranks
        context.mark_non_differentiable(mean, variance)
        outputs = F.batch_norm(inputs, mean, variance, weight, bias, training=False, eps=eps)
        return outputs, mean, variance

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        inputs, weight, mean, variance = context.saved_tensors
        # As if the statistics were constants: scaled gradient, and both sums of this rank.
        inputs_gradient, weight_gradient, bias_gradient = aten.native_batch_norm_backward(
            gradient, inputs, weight, mean, variance, None, None, False, context.eps, [True] * 3
        )
        sums = context.mean_over_ranks(torch.stack([bias_gradient, weight_gradient]))
        mean_gradient, mean_product = sums / (inputs.numel() // inputs.shape[1])
        # And what the statistics contribute, which is linear in the inputs.
        inverse_deviation = torch.rsqrt(variance + context.eps)
        slope = -weight * inverse_deviation.square() * mean_product
        offset = -weight * inverse_deviation * mean_gradient - slope * mean
        inputs_gradient.addcmul_(inputs, _per_channel(slope)).add_(_per_channel(offset))
        return inputs_gradient, weight_gradient, bias_gradient, None, None


def _statistics(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel, in float32."""
    if torch.compiler.is_compiling():
        variance, mean = torch.var_mean(inputs.float(), (0, 2, 3), correction=0)
        return mean, variance
    # The faster way, of which torch.compile knows nothing.
    return torch.batch_norm_update_stats(inputs, None, None, 0.0)


def _per_channel(values: Tensor) -> Tensor:
    return values[:, None, None]
