"""Upscale pixels of any size tile by tile, so that memory is bounded and no seam is visible."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from srgan import SCALE
from srgan.errors import OptionsError
from srgan.export import ModelDescription

MARGIN = 20
"""Pixels around a tile that the network sees and whose result is thrown away: as far as the models
in the box look (two layers and eight blocks of two make 18, bicubic 2)."""

LARGEST_SIDE = 512
"""Of a tile with its margins; larger ones are no faster."""


class Box(NamedTuple):
    """A rectangle of pixels."""

    left: int
    top: int
    width: int
    height: int

    def grown(self, margin: int, width: int, height: int) -> Box:
        """The box with a margin around it, as far as an image of that size reaches."""
        left, top = max(0, self.left - margin), max(0, self.top - margin)
        right = min(width, self.left + self.width + margin)
        bottom = min(height, self.top + self.height + margin)
        return Box(left, top, right - left, bottom - top)

    def within(self, outer: Box) -> Box:
        """The same box as seen from the corner of another."""
        return Box(self.left - outer.left, self.top - outer.top, self.width, self.height)

    def cells(self, side: int) -> Iterator[Box]:
        """Cut into boxes of at most that side, row by row."""
        rows = range(self.top, self.top + self.height, side)
        columns = range(self.left, self.left + self.width, side)
        for top, left in itertools.product(rows, columns):
            width = min(side, self.left + self.width - left)
            height = min(side, self.top + self.height - top)
            yield Box(left, top, width, height)


@dataclass(frozen=True)
class Upscaler:
    """A network, where it computes, and how much it may take at a time.

    Attributes:
        network: in evaluation mode, on the device.
        device: where it computes.
        pixels: input pixels, margins included, that go through the network at a time.
        half: compute pictures of 8 bits in bfloat16.
    """

    network: nn.Module
    device: torch.device
    pixels: int
    half: bool = False

    @classmethod
    def of(
        cls, network: nn.Module, description: ModelDescription, device: torch.device, memory_mb: int
    ) -> Upscaler:
        """Prepare a network of srgan.export for upscaling.

        Args:
            network: as load_generator gives it.
            description: of the network.
            device: where to compute.
            memory_mb: megabytes (10^6 bytes) that the network's layers may take.

        Raises:
            OptionsError: that is too little for a tile.
        """
        pixels = memory_mb * 1_000_000 // bytes_per_pixel(description)
        if pixels < (2 * MARGIN + 1) ** 2:
            least = math.ceil((2 * MARGIN + 16) ** 2 * bytes_per_pixel(description) / 1e6)
            raise OptionsError(f"--memory-mb {memory_mb}: this network needs at least {least}")
        network = _fused(network.eval()).to(device)
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # Results stay within a grey level, since edsr adds what it computes to bicubic and keeps
        # its sums in float32. Without the processor's instructions for it bfloat16 is slower.
        half = (
            description.model == "edsr"
            and description.bicubic_skip
            and device.type == "cpu"
            and has_fast_bfloat16()
        )
        return cls(network, device, pixels, half)

    @torch.inference_mode()
    def upscale(self, pixels: np.ndarray, inner: Box) -> np.ndarray:
        """Upscale a box of pictures of one size; what lies around the box is looked at, too.

        Args:
            pixels: N x height x width x 3, uint8 or uint16.
            inner: the box to upscale.

        Returns:
            N x 4 inner.height x 4 inner.width x 3, of the same type.
        """
        count, height, width, _ = pixels.shape
        result = np.empty((count, SCALE * inner.height, SCALE * inner.width, 3), dtype=pixels.dtype)
        by_size: dict[tuple[int, int], list[tuple[int, Box, Box]]] = defaultdict(list)
        for cell in inner.cells(self._side()):
            window = cell.grown(MARGIN, width, height)
            tiles = [(number, cell, window) for number in range(count)]
            by_size[window.width, window.height] += tiles
        for (tile_width, tile_height), tiles in by_size.items():
            batch_size = max(1, self.pixels // (tile_width * tile_height))
            for first in range(0, len(tiles), batch_size):
                self._upscale_batch(pixels, tiles[first : first + batch_size], inner, result)
        return result

    def _side(self) -> int:
        return min(math.isqrt(self.pixels), LARGEST_SIDE) - 2 * MARGIN

    def _upscale_batch(
        self,
        pixels: np.ndarray,
        tiles: Sequence[tuple[int, Box, Box]],
        inner: Box,
        result: np.ndarray,
    ) -> None:
        levels = np.iinfo(pixels.dtype).max
        windows = np.stack([_cut(pixels[number], window) for number, _, window in tiles])
        # torch computes little with uint16.
        low = torch.from_numpy(windows.astype(np.float32)).to(self.device)
        half = self.half and pixels.dtype == np.uint8
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            high = self.network(low.permute(0, 3, 1, 2) / levels).float()
        high = high.add_(1).mul_(levels / 2).round_().clamp_(0, levels)
        done = high.permute(0, 2, 3, 1).cpu().numpy()
        for pixels_of_tile, (number, cell, window) in zip(done, tiles, strict=True):
            cell_in_tile = _scaled(cell.within(window))
            target = _cut(result[number], _scaled(cell.within(inner)))
            target[:] = _cut(pixels_of_tile, cell_in_tile)


def has_fast_bfloat16() -> bool:
    """Whether this machine's processor multiplies in bfloat16 (AVX512_BF16, AMX)."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def bytes_per_pixel(description: ModelDescription) -> int:
    """Bytes that a network's layers take at their widest, for an input pixel.

    SRResNet: the second sub-pixel stage has 4 x channels at twice the side, before and after the
    shuffle; DCGAN: 2 x channels at twice the side and channels at four times; SPAN: four kept
    feature maps, their concatenation, and 3 channels at four times the side; EDSR: less; SRCNN: 64
    and 64 feature maps at four times the side.
    """
    if description.model == "srresnet":
        return 3 * 4 * 16 * description.channels
    if description.model == "dcgan":
        return 4 * (8 + 3 * 16) * description.channels
    if description.model in ("span", "edsr"):
        return 4 * (10 * description.channels + 4 * 48)
    return 3 * 4 * 16 * (64 if description.model == "srcnn" else 3)


def _fused(network: nn.Module) -> nn.Module:
    """Batch normalisations become part of the convolutions before them."""
    for module in network.modules():
        if not isinstance(module, nn.Sequential):
            continue
        for number in range(len(module) - 1):
            convolution, norm = module[number], module[number + 1]
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                module[number] = fuse_conv_bn_eval(convolution, norm)
                module[number + 1] = nn.Identity()
    return network


def _cut(pixels: np.ndarray, box: Box) -> np.ndarray:
    return pixels[box.top : box.top + box.height, box.left : box.left + box.width]


def _scaled(box: Box) -> Box:
    return Box(*(SCALE * number for number in box))
