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

from srgan import SCALE
from srgan.errors import OptionsError, UnavailableError
from srgan.gpu import convolutions
from srgan.upscaling.networks import MARGIN, UpscalingNetwork, has_fast_bfloat16

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

    def scaled(self, factor: int) -> Box:
        """The box as it lies in the upscaled picture."""
        return Box(*(factor * number for number in self))

    def cells(self, side: int) -> Iterator[Box]:
        """Cut into boxes of at most that side, row by row."""
        rows = range(self.top, self.top + self.height, side)
        columns = range(self.left, self.left + self.width, side)
        for top, left in itertools.product(rows, columns):
            width = min(side, self.left + self.width - left)
            height = min(side, self.top + self.height - top)
            yield Box(left, top, width, height)


CPU_MEMORY_MB = 512
GPU_PART = 10
"""The share of a GPU's memory that a task takes, of which several share a GPU: a tenth."""

LEAST_INNER_SIDE = 16
"""Of a tile without its margins, where memory was too small for larger ones."""


@dataclass
class Upscaler:
    """A network, where it computes, and how much it may take at a time."""

    network: nn.Module
    """In evaluation mode, on the device."""
    device: torch.device
    """Where it computes."""
    pixels: int
    """Input pixels, margins included, that go through the network at a time; where the GPU's memory
    was too small for so many, fewer from then on."""
    half: bool = False
    """Whether pictures of 8 bits are computed in bfloat16."""
    scale: int = SCALE
    margin: int = MARGIN
    """Pixels around a tile that the network sees and whose result is thrown away."""

    @classmethod
    def of(
        cls, found: UpscalingNetwork, device: torch.device, memory_mb: int | None = None
    ) -> Upscaler:
        """Prepare a network for upscaling.

        Args:
            found: as networks.decode_network gives it.
            device: where to compute.
            memory_mb: megabytes (10^6 bytes) that the network's layers may take; by itself 512, on
                a GPU a tenth of its memory.

        Raises:
            OptionsError: that is too little for a tile.
        """
        memory_mb = memory_mb or _usual_memory_mb(device)
        pixels = memory_mb * 1_000_000 // found.bytes_per_pixel
        if pixels < (2 * found.margin + 1) ** 2:
            least = math.ceil(
                (2 * found.margin + LEAST_INNER_SIDE) ** 2 * found.bytes_per_pixel / 1e6
            )
            raise OptionsError(f"--memory-mb {memory_mb}: this network needs at least {least}")
        network = found.network.to(device)
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # Without instructions for it bfloat16 is slower.
        half = found.near_in_bfloat16 and has_fast_bfloat16(device)
        return cls(
            network=network,
            device=device,
            pixels=pixels,
            half=half,
            scale=found.scale,
            margin=found.margin,
        )

    def upscale(self, pixels: np.ndarray, inner: Box) -> np.ndarray:
        """Upscale a box of pictures of one size; what lies around the box is looked at, too.

        Args:
            pixels: N x height x width x 3, uint8 or uint16.
            inner: the box to upscale.

        Returns:
            N x scale inner.height x scale inner.width x 3, of the same type.

        Raises:
            UnavailableError: the GPU's memory is too small for the least tile.
        """
        while True:
            try:
                return self._upscale(pixels, inner)
            except torch.OutOfMemoryError:
                if self.pixels // 2 < (2 * self.margin + LEAST_INNER_SIDE) ** 2:
                    raise UnavailableError(
                        f"the memory of {self.device} is too small for a tile of "
                        f"{math.isqrt(self.pixels)} x {math.isqrt(self.pixels)} pixels; end what "
                        "else uses that GPU, or take a profile without GPUs"
                    ) from None
            # Fewer tiles at a time, and when it is one, a smaller one.
            self.pixels //= 2

    @torch.inference_mode()
    def _upscale(self, pixels: np.ndarray, inner: Box) -> np.ndarray:
        count, height, width, _ = pixels.shape
        size = (self.scale * inner.height, self.scale * inner.width)
        result = np.empty((count, *size, 3), dtype=pixels.dtype)
        by_size: dict[tuple[int, int], list[tuple[int, Box, Box]]] = defaultdict(list)
        for cell in inner.cells(self._side()):
            window = cell.grown(self.margin, width, height)
            tiles = [(number, cell, window) for number in range(count)]
            by_size[window.width, window.height] += tiles
        for (tile_width, tile_height), tiles in by_size.items():
            batch_size = max(1, self.pixels // (tile_width * tile_height))
            for first in range(0, len(tiles), batch_size):
                self._upscale_batch(pixels, tiles[first : first + batch_size], inner, result)
        return result

    def _side(self) -> int:
        return min(math.isqrt(self.pixels), LARGEST_SIDE) - 2 * self.margin

    def _upscale_batch(
        self,
        pixels: np.ndarray,
        tiles: Sequence[tuple[int, Box, Box]],
        inner: Box,
        result: np.ndarray,
    ) -> None:
        levels = np.iinfo(pixels.dtype).max
        windows = np.stack([_cut(pixels[number], window) for number, _, window in tiles])
        eight_bits = pixels.dtype == np.uint8
        # Bytes travel to a GPU and back as bytes. torch computes little with uint16.
        given = torch.from_numpy(windows if eight_bits else windows.astype(np.float32))
        low = given.to(self.device).float()
        half = self.half and eight_bits
        # TF32 is no promise of a grey level: no precision but the one that was tried.
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=half)
        with convolutions("float32"), autocast:
            high = self.network(low.permute(0, 3, 1, 2) / levels).float()
        high = high.add_(1).mul_(levels / 2).round_().clamp_(0, levels)
        high = high.permute(0, 2, 3, 1)
        done = (high.to(torch.uint8) if eight_bits else high).cpu().numpy()
        for pixels_of_tile, (number, cell, window) in zip(done, tiles, strict=True):
            cell_in_tile = cell.within(window).scaled(self.scale)
            target = _cut(result[number], cell.within(inner).scaled(self.scale))
            target[:] = _cut(pixels_of_tile, cell_in_tile)


def _usual_memory_mb(device: torch.device) -> int:
    if device.type != "cuda":
        return CPU_MEMORY_MB
    return torch.cuda.get_device_properties(device).total_memory // (GPU_PART * 1_000_000)


def _cut(pixels: np.ndarray, box: Box) -> np.ndarray:
    return pixels[box.top : box.top + box.height, box.left : box.left + box.width]
