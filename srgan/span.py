"""SPAN, an efficient network: all layers at low resolution, no normalisation, no attention weights.

Wan et al., "Swift Parameter-free Attention Network for Efficient Super-Resolution", CVPR workshops
2024 (arXiv 2311.12770). Six blocks of three 3x3 convolutions; a block's last output, passed through
a sigmoid, is its own attention map. Here the picture's bicubic version may be added at the end.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srgan import SCALE
from srgan.sub_pixel import begin_with_zeros, pixel_shuffle, sub_pixel_convolution
from srgan.two_branch import convolution

BLOCKS = 6
MEAN_RGB = (0.4488, 0.4371, 0.4040)
"""Of DIV2K, in [0, 1]; what SPAN takes from its input."""


class SpanBlock(nn.Module):
    """Three convolutions; what the last one says, as a symmetric sigmoid, weighs the sum."""

    def __init__(self, channels: int, for_training: bool) -> None:
        super().__init__()
        self.first = convolution(channels, channels, for_training)
        self.second = convolution(channels, channels, for_training)
        self.third = convolution(channels, channels, for_training)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """The block's output, and that of its first convolution."""
        first = self.first(inputs)
        third = self.third(F.silu(self.second(F.silu(first))))
        return (third + inputs) * (torch.sigmoid(third) - 0.5), first


class Span(nn.Module):
    """The network; N x 3 x H x W in [0, 1] to N x 3 x 4H x 4W in [-1, 1]."""

    mean: Tensor

    def __init__(
        self,
        channels: int = 48,
        skip: nn.Module | None = None,
        even_sub_pixels: bool = False,
        for_training: bool = False,
    ) -> None:
        """With that many feature maps, the paper's 48.

        Args:
            channels: feature maps of every layer.
            skip: makes the picture to which the network adds the difference, at first none.
            even_sub_pixels: let the last layer be such that it cannot draw a grid.
            for_training: give each 3x3 convolution its second branch.
        """
        super().__init__()
        self.head = convolution(3, channels, for_training)
        self.blocks = nn.ModuleList(SpanBlock(channels, for_training) for _ in range(BLOCKS))
        self.body_end = convolution(channels, channels, for_training)
        self.fuse = nn.Conv2d(4 * channels, channels, 1)
        self.tail = sub_pixel_convolution(channels, 3 * SCALE**2, SCALE, even_sub_pixels)
        self.skip = skip
        self.register_buffer("mean", torch.tensor(MEAN_RGB)[:, None, None], persistent=False)
        if skip is not None:
            begin_with_zeros(self.tail)

    def forward(self, low: Tensor) -> Tensor:
        features = self.head(low - self.mean)
        outputs, firsts = [features], []
        for block in self.blocks:
            output, first = block(outputs[-1])
            outputs.append(output)
            firsts.append(first)
        # As in the paper's figure 2: head, last block, first block, first layer of the last block.
        kept = [features, self.body_end(outputs[-1]), outputs[1], firsts[-1]]
        high = pixel_shuffle(self.tail(self.fuse(torch.cat(kept, dim=1))), SCALE)
        return high if self.skip is None else high + self.skip(low)
