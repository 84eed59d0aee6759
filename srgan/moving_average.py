"""Exponential moving average of a network's weights over the steps."""

import copy

import torch
from torch import Tensor, nn


class MovingAverage:
    """A copy of a network that follows it slowly: average = d * average + (1 - d) * network.

    Buffers follow as well, or the averaged weights would meet the batch statistics of others.
    (torch.optim.swa_utils.AveragedModel does the same, but waits for the GPU at each update.)
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Copy the network; decay is in [0, 1), and 0 makes the average the network itself."""
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._decay = decay
        self._averaged, self._counters = _split(self.network)

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after a step (the first is 0).

        In early steps less is kept, so that the untrained weights are soon forgotten.
        """
        decay = min(self._decay, (1 + step) / (10 + step))
        followed, counters = _split(network)
        torch._foreach_lerp_(self._averaged, followed, 1 - decay)
        for counter, value in zip(self._counters, counters, strict=True):
            counter.copy_(value)


def _split(network: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """The floating-point tensors of a network, and the counters of its batch normalisations."""
    tensors = list(network.state_dict().values())
    return (
        [tensor for tensor in tensors if tensor.is_floating_point()],
        [tensor for tensor in tensors if not tensor.is_floating_point()],
    )
