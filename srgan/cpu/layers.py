"""Layers that compute what torch's do, from the same parameters, but sooner on a CPU.

A step of SRResNet spent a third of its time in the backward pass of PReLU and in the last
convolution, which torch's CPU kernels are not made for. On other devices, under autocast
and under torch.compile, these are torch's own layers.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

aten = torch.ops.aten


class SharedPReLU(nn.PReLU):
    """PReLU with one slope for all channels."""

    def __init__(self) -> None:
        super().__init__()

    def forward(self, inputs: Tensor) -> Tensor:
        if _is_for_torch(inputs):
            return super().forward(inputs)
        return _SharedPReLU.apply(inputs, self.weight)


class FewOutputsConv2d(nn.Conv2d):
    """A convolution of an odd, square kernel, stride 1 and the same size, to few channels.

    The kernel's rows become channels: one convolution with a kernel of one row and `kernel_size`
    times the channels, whose outputs are then moved by as many rows and added. That is the same
    arithmetic on matrices of a better shape.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2)

    def forward(self, inputs: Tensor) -> Tensor:
        if _is_for_torch(inputs):
            return super().forward(inputs)
        return self.by_rows(inputs)

    def by_rows(self, inputs: Tensor) -> Tensor:
        """Forward with rows as channels, whatever the device."""
        return _FewOutputsConv2d.apply(inputs, self.weight, self.bias)


def _is_for_torch(inputs: Tensor) -> bool:
    # A slope that is read becomes a condition of the compiled code, which is then made anew.
    compiling = torch.compiler.is_compiling()
    return compiling or inputs.device.type != "cpu" or torch.is_autocast_enabled("cpu")


class _SharedPReLU(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, inputs: Tensor, slope: Tensor) -> Tensor:
        context.save_for_backward(inputs, slope)
        return F.leaky_relu(inputs, slope.item())

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        inputs, slope = context.saved_tensors
        inputs_gradient = aten.leaky_relu_backward(gradient, inputs, slope.item(), False)
        slope_gradient = inputs.clamp(max=0).mul_(gradient).sum().reshape(slope.shape)
        return inputs_gradient, slope_gradient


class _FewOutputsConv2d(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        context.save_for_backward(inputs, weight)
        outputs, _, size, _ = weight.shape
        of_rows = F.conv2d(inputs, _rows_as_channels(weight), padding=(0, size // 2))
        height = inputs.shape[2]
        total = bias.view(1, -1, 1, 1).expand(*inputs.shape[:1], outputs, *inputs.shape[2:])
        total = total.contiguous(memory_format=torch.channels_last)
        for row, (target, source) in enumerate(_moves(size, height)):
            channels = slice(row * outputs, (row + 1) * outputs)
            total[:, :, target] += of_rows[:, channels, source]
        return total

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight = context.saved_tensors
        outputs, channels_in, size, _ = weight.shape
        height = inputs.shape[2]
        of_rows = gradient.new_zeros((len(inputs), size * outputs, *inputs.shape[2:]))
        of_rows = of_rows.contiguous(memory_format=torch.channels_last)
        for row, (target, source) in enumerate(_moves(size, height)):
            channels = slice(row * outputs, (row + 1) * outputs)
            of_rows[:, channels, source] = gradient[:, :, target]
        wants_inputs, wants_weight, wants_bias = context.needs_input_grad
        inputs_gradient = weight_gradient = None
        if wants_inputs:
            padding = [size // 2, size // 2]
            inputs_gradient, _, _ = _backward(gradient, inputs, weight, padding, of_inputs=True)
        if wants_weight:
            rows, padding = _rows_as_channels(weight), [0, size // 2]
            _, of_channels, _ = _backward(of_rows, inputs, rows, padding, of_inputs=False)
            weight_gradient = of_channels.view(size, outputs, channels_in, size).permute(1, 2, 0, 3)
        return inputs_gradient, weight_gradient, gradient.sum((0, 2, 3)) if wants_bias else None


def _rows_as_channels(weight: Tensor) -> Tensor:
    """From outputs x inputs x size x size to size * outputs x inputs x 1 x size."""
    outputs, channels_in, size, _ = weight.shape
    return weight.permute(2, 0, 1, 3).reshape(size * outputs, channels_in, 1, size)


def _moves(size: int, height: int) -> list[tuple[slice, slice]]:
    """For each row of a kernel: rows of the output, and those of the input that they read."""
    moves = []
    for row in range(size):
        down = row - size // 2
        first, last = max(0, -down), min(height, height - down)
        moves.append((slice(first, max(first, last)), slice(first + down, max(first, last) + down)))
    return moves


def _backward(
    gradient: Tensor, inputs: Tensor, weight: Tensor, padding: list[int], *, of_inputs: bool
) -> tuple[Tensor, Tensor, Tensor]:
    wanted, ones = [of_inputs, not of_inputs, False], [1, 1]
    return aten.convolution_backward(
        gradient, inputs, weight, None, ones, padding, ones, False, [0, 0], 1, wanted
    )
