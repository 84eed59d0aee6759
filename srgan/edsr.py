"""EDSR in its small form: residual blocks without normalisation, all of them at low resolution.

Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPR workshops 2017
(arXiv 1707.02921). Other than there, one shuffle makes all 16 pixels of a place, every 3x3
convolution has a second branch in training (see two_branch.py), and the picture's bicubic version
may be added at the end. With 8 blocks of 48 channels it costs half as much as SRResNet with 16 of
32, which spends most of its operations above low resolution.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srgan import SCALE
from srgan.sub_pixel import begin_with_zeros, pixel_shuffle, sub_pixel_convolution
from srgan.two_branch import convolution

MEAN = 0.45
"""About the mean of photographs in [0, 1], taken from the input."""


class EdsrBlock(nn.Module):
    """Two 3x3 convolutions with a ReLU between, and a skip connection."""

    def __init__(self, channels: int, for_training: bool) -> None:
        super().__init__()
        self.first = convolution(channels, channels, for_training)
        self.second = convolution(channels, channels, for_training)

    def forward(self, features: Tensor) -> Tensor:
        return features + self.second(F.relu(self.first(features)))


class Edsr(nn.Module):
    """The network; N x 3 x H x W in [0, 1] to N x 3 x 4H x 4W in [-1, 1]."""

    def __init__(
        self,
        residual_blocks: int = 8,
        channels: int = 48,
        skip: nn.Module | None = None,
        even_sub_pixels: bool = False,
        for_training: bool = False,
    ) -> None:
        """With that many blocks and feature maps.

        Args:
            residual_blocks: of two convolutions each.
            channels: feature maps of every layer.
            skip: makes the picture to which the network adds the difference, at first none.
            even_sub_pixels: let the last layer be such that it cannot draw a grid.
            for_training: give each 3x3 convolution its second branch.
        """
        super().__init__()
        self.head = convolution(3, channels, for_training)
        self.body = nn.Sequential(
            *(EdsrBlock(channels, for_training) for _ in range(residual_blocks))
        )
        self.tail = sub_pixel_convolution(channels, 3 * SCALE**2, SCALE, even_sub_pixels)
        self.skip = skip
        if skip is not None:
            begin_with_zeros(self.tail)

    def forward(self, low: Tensor) -> Tensor:
        # What every block adds to stays in float32: in bfloat16 results were off by 3 grey levels,
        # so by 1.
        with torch.autocast(low.device.type, enabled=False):
            features = self.head(low - MEAN)
        high = pixel_shuffle(self.tail(features + self.body(features)), SCALE)
        return high if self.skip is None else high + self.skip(low)
