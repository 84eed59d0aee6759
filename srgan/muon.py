"""Muon for convolutions: all directions of a kernel move by the same amount at each step.

Adam moves each weight by itself, so the few directions in which gradients are large have nearly all
of the step. Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) takes the kernel
as a matrix and its gradient's singular values as equal. With the factor of Liu et al. (arXiv
2502.16982) a step is as long as one of Adam, so that learning rates mean the same.
"""

from typing import Any

import torch
from torch import nn

from srgan.distributed import Ranks

ALIGNED_EVERY = 100
"""Steps after which all ranks take the mean of their kernels: torch's Muon multiplies in bfloat16,
and processors of different kinds round that differently."""


class ConvolutionMuon(torch.optim.Muon):
    """torch's Muon, on kernels in place of matrices: outputs x (inputs * height * width)."""

    def __init__(self, kernels: list[nn.Parameter], learning_rate: float, ranks: Ranks) -> None:
        # Copies, since a kernel in NHWC order has no such matrix as a view.
        self._pairs = [(kernel, kernel.detach().flatten(1).clone()) for kernel in kernels]
        self._ranks = ranks
        self._steps = 0
        super().__init__(
            [matrix for _, matrix in self._pairs],
            lr=learning_rate,
            weight_decay=0,
            adjust_lr_fn="match_rms_adamw",
        )

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Move the kernels by their gradients."""
        for kernel, matrix in self._pairs:
            assert kernel.grad is not None
            matrix.copy_(kernel.flatten(1))
            matrix.grad = kernel.grad.flatten(1)
        loss = super().step(closure)
        self._steps += 1
        for kernel, matrix in self._pairs:
            if self._steps % ALIGNED_EVERY == 0:
                self._ranks.mean(matrix)
            kernel.copy_(matrix.view_as(kernel))
        return loss


def inner_kernels(network: nn.Module) -> list[nn.Parameter]:
    """The kernels of a network's convolutions but the first and the last, which are for Adam.

    What Muon takes as equal are directions of features, and these two have colours on one side.
    """
    kernels = [parameter for parameter in network.parameters() if parameter.ndim == 4]
    return kernels[1:-1]
