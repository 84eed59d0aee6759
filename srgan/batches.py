"""Batches of training crops, cut from images that lie in memory, on the GPU where there is one."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from srgan.degradation import PhotoDegradation, Strengths, downscale_matrix, to_grey_levels

Degradation = Literal["bicubic", "photo"]


class Batch(NamedTuple):
    """Crops and their low-resolution versions."""

    low: Tensor
    """N x 3 x crop/4 x crop/4 in [0, 1]."""
    high: Tensor
    """N x 3 x crop x crop in [-1, 1]."""


class CropSampler:
    """Draws random crops, each in one of the eight flips and turns.

    The batch of a step depends on the seed, the phase and the step only: each rank draws the whole
    batch and keeps its slice. So N ranks see what one rank with an N times larger slice would see,
    and a resumed training sees what an unbroken one would.
    """

    def __init__(
        self,
        images: Sequence[np.ndarray],
        crop_size: int,
        batch_size: int,
        seed: int,
        device: torch.device,
        rank: int = 0,
        world_size: int = 1,
        channels_last: bool = True,
        degradation: Degradation = "bicubic",
    ) -> None:
        """Copy the images to the device.

        Args:
            images: uint8, height x width x 3, no side shorter than crop_size.
            crop_size: side of a crop in pixels, a multiple of 4.
            batch_size: crops in a step over all ranks, a multiple of world_size.
            seed: seed of all crops.
            device: where the images lie and the batches are made.
            rank: which slice of the batch to return.
            world_size: number of slices.
            channels_last: memory order of the batches, which networks keep for what they compute.
            degradation: how the low-resolution versions are made; photo: see degradation.py.
        """
        self._heights = np.array([image.shape[0] for image in images])
        self._widths = np.array([image.shape[1] for image in images])
        self._starts = np.cumsum(self._heights * self._widths) - self._heights * self._widths
        pixels = np.concatenate([image.reshape(-1, 3) for image in images])
        self._pixels = torch.from_numpy(pixels).to(device)
        self._crop_size = crop_size
        self._batch_size = batch_size
        self._seed = seed
        share = batch_size // world_size
        self._slice = slice(rank * share, (rank + 1) * share)
        self._order = torch.channels_last if channels_last else torch.contiguous_format
        self._range = torch.arange(crop_size, device=device)
        self._downscale = downscale_matrix(crop_size).to(device)
        self._photo = PhotoDegradation(crop_size, device) if degradation == "photo" else None

    def batch(self, phase_number: int, step: int) -> Batch:
        """This rank's slice of the batch of a step."""
        places = torch.from_numpy(self._draw_places(phase_number, step))
        places = places.to(self._pixels.device, non_blocking=True)
        first, row_stride, column_stride = places[:, :, None, None]
        index = first + self._range[None, :, None] * row_stride + self._range * column_stride
        high = self._pixels[index].permute(0, 3, 1, 2).float()
        if self._photo is None:
            low = downscale(high, self._downscale)
        else:
            # Numbers of their own: the crops are the same whatever is done to them.
            generator = np.random.default_rng((self._seed, phase_number, step, 1))
            strengths = self._photo.draw(generator, self._batch_size)
            noise = self._photo.draw_noise(generator, self._batch_size)
            ours = Strengths(*(values[self._slice] for values in strengths))
            low = self._photo.apply(high, ours, noise[self._slice])
        return Batch(
            low=low.contiguous(memory_format=self._order) / 255,
            high=high.contiguous(memory_format=self._order) / 127.5 - 1,
        )

    def _draw_places(self, phase_number: int, step: int) -> np.ndarray:
        """For each crop of the slice: its first pixel, and the way to the next row and column.

        Flips and turns cost nothing: they only change the order in which pixels are gathered.
        """
        generator = np.random.default_rng((self._seed, phase_number, step))
        count, last = self._batch_size, self._crop_size - 1
        image = generator.integers(len(self._starts), size=count)
        width = self._widths[image]
        top = generator.integers(self._heights[image] - last)
        left = generator.integers(width - last)
        turned, flipped, mirrored = generator.integers(2, size=(3, count)).astype(bool)

        first = self._starts[image] + top * width + left
        first += np.where(flipped, last * width, 0) + np.where(mirrored, last, 0)
        down = np.where(flipped, -width, width)
        right = np.where(mirrored, -1, 1)
        row_stride, column_stride = np.where(turned, right, down), np.where(turned, down, right)
        return np.stack([first, row_stride, column_stride])[:, self._slice]


def downscale(high: Tensor, matrix: Tensor) -> Tensor:
    """Bicubic downscale by 4 as Pillow does it, to whole grey levels.

    Two matrix products: of the ways that run on every device the fastest. Like Pillow, it goes to
    whole grey levels between the two, so the networks train on what image files will hold.

    Args:
        high: N x 3 x size x size in [0, 255].
        matrix: downscale_matrix(size).

    Returns:
        N x 3 x size/4 x size/4 in [0, 255], whole numbers.
    """
    return to_grey_levels(matrix @ to_grey_levels(high @ matrix.T))
