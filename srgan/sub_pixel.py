"""Pixel shuffles, and convolutions before them that cannot draw a grid.

A shuffle makes the pixels of one place of the channels of a convolution, each of which has weights
of its own. Where the picture is flat they should be equal; nothing but the loss says so, and losses
of features, which ask for contrast, make the pixels differ: a pattern of the shuffle's period over
everything. Equal initial weights (Aitken et al., arXiv 1707.02937) only postpone that. Here the
weights of one place have the same sum over the kernel and the same bias, at every step: so inputs
that do not vary give outputs that do not (Sugawara, Shiota and Kiya, arXiv 1806.02658, reach this
by a filter behind the shuffle, which blurs as well).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class EvenSubPixelConv2d(nn.Conv2d):
    """A 3x3 convolution for training, in place of a plain one with the same parameters."""

    def __init__(self, in_channels: int, out_channels: int, factor: int) -> None:
        """Before a shuffle by that factor; out_channels is a multiple of its square."""
        super().__init__(in_channels, out_channels, 3, padding=1)
        self.factor = factor

    def forward(self, inputs: Tensor) -> Tensor:
        return F.conv2d(inputs, self.merged_weight(), self.merged_bias(), padding=1)

    def merged_weight(self) -> Tensor:
        """The weight of the plain convolution that does the same."""
        by_pixel = self.weight.unflatten(0, (-1, self.factor**2))
        sums = by_pixel.mean((-2, -1), keepdim=True)
        return (by_pixel - sums + sums.mean(1, keepdim=True)).flatten(0, 1)

    def merged_bias(self) -> Tensor:
        """The bias of the plain convolution that does the same."""
        assert self.bias is not None
        by_pixel = self.bias.unflatten(0, (-1, self.factor**2))
        return by_pixel.mean(1, keepdim=True).expand_as(by_pixel).flatten()


class PixelShuffle(nn.PixelShuffle):
    """torch's, but NHWC stays NHWC on GPUs as well."""

    def forward(self, inputs: Tensor) -> Tensor:
        return pixel_shuffle(inputs, self.upscale_factor)


def pixel_shuffle(inputs: Tensor, factor: int) -> Tensor:
    """F.pixel_shuffle of N x C x H x W; NHWC stays NHWC.

    On GPUs torch's gives NCHW whatever comes in, and each convolution after it would reorder what
    it reads: an eighth of all the memory that a step moves.
    """
    is_nhwc = inputs.is_contiguous(memory_format=torch.channels_last)
    if inputs.device.type == "cpu" or not is_nhwc:
        return F.pixel_shuffle(inputs, factor)
    return shuffle_nhwc(inputs, factor)


def shuffle_nhwc(inputs: Tensor, factor: int) -> Tensor:
    """F.pixel_shuffle of a tensor in NHWC order, into the same order."""
    count, channels, height, width = inputs.shape
    outputs = channels // factor**2
    pixels = inputs.permute(0, 2, 3, 1).reshape(count, height, width, outputs, factor, factor)
    rows = pixels.permute(0, 1, 4, 2, 5, 3)
    return rows.reshape(count, factor * height, factor * width, outputs).permute(0, 3, 1, 2)


def sub_pixel_convolution(
    in_channels: int, out_channels: int, factor: int, even: bool
) -> nn.Conv2d:
    """The 3x3 convolution before a shuffle by that factor, if need be of the even kind."""
    if even:
        return EvenSubPixelConv2d(in_channels, out_channels, factor)
    return nn.Conv2d(in_channels, out_channels, 3, padding=1)


def begin_with_zeros(convolution: nn.Conv2d) -> None:
    """Let a network's last layer give nothing at first, where its output is added to a picture."""
    assert convolution.bias is not None
    nn.init.zeros_(convolution.weight)
    nn.init.zeros_(convolution.bias)
