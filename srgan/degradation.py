"""Low-resolution versions of crops as photographs really are: blurred, noisy, compressed by JPEG.

Networks that have seen nothing but clean bicubic shrinking take noise and the blocks of JPEG for
detail and sharpen them. Here each crop is blurred, shrunk, made noisy and compressed with strengths
of its own, and some are left clean (Zhang et al., arXiv 2103.14006; Wang et al., arXiv 2107.10833).
All of it is products of matrices over a whole batch, so it runs where the batch lies.
"""

import functools
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from srgan import SCALE

KERNELS = ("bicubic", "bilinear", "area")
"""Of resampling; the first is the one of plain training."""
BLURRED, NOISY, COMPRESSED = 0.5, 0.5, 0.7
"""Parts of the crops."""
BLUR = (0.3, 2.4)
"""Standard deviation in high-resolution pixels, drawn for each axis."""
NOISE = (0.5, 10.0)
"""Standard deviation in grey levels of low-resolution pixels."""
QUALITY = (30, 95)
"""Of JPEG."""

LUMINANCE_TABLE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
"""Quantisation at quality 50 (ITU-T T.81, table K.1)."""
CHROMINANCE_TABLE = np.full((8, 8), 99)
CHROMINANCE_TABLE[:4, :4] = [
    [17, 18, 24, 47],
    [18, 21, 26, 66],
    [24, 26, 56, 99],
    [47, 66, 99, 99],
]
"""Likewise (table K.2)."""
TO_YCBCR = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32
)
TO_RGB = torch.linalg.inv(torch.from_numpy(TO_YCBCR)).numpy()
MIDDLE = np.array([0, 128, 128], np.float32)[:, None, None]
BLOCK, UNIT = 8, 16
"""Sides in pixels of a block, and of what holds whole blocks of chroma at half the side."""


class Strengths(NamedTuple):
    """How strongly each crop of a batch is degraded; each field has N values."""

    kernel: np.ndarray
    """Number of the kernel in KERNELS."""
    blur: np.ndarray
    """N x 2: of columns and rows, 0 for none."""
    noise: np.ndarray
    """0 for none."""
    grey_noise: np.ndarray
    """Whether the noise is equal in all three colours."""
    noise_first: np.ndarray
    """Whether the noise comes before the compression, as in a camera, or after it."""
    quality: np.ndarray
    """0 for no compression."""
    half_chroma: np.ndarray
    """Whether JPEG keeps colour at half the side, as is usual."""


class PhotoDegradation:
    """Makes low-resolution crops; what it does depends on the generator's state alone."""

    def __init__(self, crop_size: int, device: torch.device) -> None:
        """For crops of that side in pixels, a multiple of 4, on that device."""
        kernels = [downscale_matrix(crop_size, kernel) for kernel in KERNELS]
        self._kernels = torch.stack(kernels).to(device)
        self._device = device
        self._low_size = crop_size // SCALE

    def draw(self, generator: np.random.Generator, count: int) -> Strengths:
        """Strengths of that many crops."""
        blur = generator.uniform(*BLUR, (count, 2))
        return Strengths(
            kernel=generator.integers(len(self._kernels), size=count),
            blur=blur * (generator.random((count, 1)) < BLURRED),
            noise=generator.uniform(*NOISE, count) * (generator.random(count) < NOISY),
            grey_noise=generator.random(count) < 0.5,
            noise_first=generator.random(count) < 0.75,
            quality=generator.integers(QUALITY[0], QUALITY[1] + 1, count)
            * (generator.random(count) < COMPRESSED),
            half_chroma=generator.random(count) < 0.75,
        )

    def draw_noise(self, generator: np.random.Generator, count: int) -> np.ndarray:
        """Noise of deviation 1 for that many crops, count x 3 x size/4 x size/4."""
        shape = (count, 3, self._low_size, self._low_size)
        return generator.standard_normal(shape, dtype=np.float32)

    def apply(self, high: Tensor, strengths: Strengths, noise: np.ndarray) -> Tensor:
        """Low-resolution versions of crops.

        Args:
            high: N x 3 x size x size in [0, 255].
            strengths: of each.
            noise: of each, from draw_noise.

        Returns:
            N x 3 x size/4 x size/4 in [0, 255], whole numbers.
        """
        kernels = self._kernels[self._moved(strengths.kernel)]
        rows, columns = (kernels @ self._blurs(strengths.blur[:, axis]) for axis in (0, 1))
        narrow = to_grey_levels(high @ columns.mT[:, None])
        low = to_grey_levels(rows[:, None] @ narrow)

        grains = self._moved(noise)
        grey = grains[:, :1].expand_as(grains)
        grains = torch.where(self._each(strengths.grey_noise), grey, grains)
        grains = grains * self._each(strengths.noise.astype(np.float32))
        first = self._each(strengths.noise_first)
        low = torch.where(first, to_grey_levels(low + grains), low)
        low = torch.where(
            self._each(strengths.quality > 0),
            jpeg(low, self._moved(strengths.quality), self._moved(strengths.half_chroma)),
            low,
        )
        return torch.where(first, low, to_grey_levels(low + grains))

    def _blurs(self, deviations: np.ndarray) -> Tensor:
        """Matrices that blur columns of high-resolution pixels."""
        place = torch.arange(self._kernels.shape[2], device=self._device, dtype=torch.float32)
        # A deviation that is too small to reach the next pixel leaves the picture as it is.
        width = self._moved(deviations.astype(np.float32)).clamp(min=0.1)[:, None, None]
        weights = torch.exp(-((place[:, None] - place) ** 2) / (2 * width**2))
        return weights / weights.sum(2, keepdim=True)

    def _moved(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self._device, non_blocking=True)

    def _each(self, values: np.ndarray) -> Tensor:
        return self._moved(values)[:, None, None, None]


def downscale_matrix(size: int, kernel: str = "bicubic") -> Tensor:
    """The downscale by 4 of a column of pixels, with antialiasing, size/4 x size.

    Args:
        size: of the column, a multiple of 4.
        kernel: one of KERNELS.
    """
    column = torch.eye(size)[None, None]
    # An area, the mean of four pixels, needs no further antialiasing.
    antialias = kernel != "area"
    return F.interpolate(column, (size // SCALE, size), mode=kernel, antialias=antialias)[0, 0]


def jpeg(images: Tensor, quality: Tensor, half_chroma: Tensor) -> Tensor:
    """What is left of images that were saved as JPEG (ITU-T T.81, as libjpeg computes it).

    Args:
        images: N x 3 x H x W in [0, 255].
        quality: N, from 1 to 100; where it is 0 the result means nothing.
        half_chroma: N, whether colour is kept at half the side.

    Returns:
        N x 3 x H x W in [0, 255], whole numbers.
    """
    height, width = images.shape[2:]
    padding = (0, -width % UNIT, 0, -height % UNIT)
    middle, to_ycbcr, to_rgb = _colours(images.device)
    padded = F.pad(images, padding, mode="replicate")
    ycbcr = to_grey_levels(torch.einsum("ij,njhw->nihw", to_ycbcr, padded) + middle)
    luminance, chrominance = _tables(quality)
    luma = _quantised(ycbcr[:, :1], luminance)
    full = _quantised(ycbcr[:, 1:], chrominance)
    half = _quantised(to_grey_levels(F.avg_pool2d(ycbcr[:, 1:], 2)), chrominance)
    half = F.interpolate(half, scale_factor=2, mode="bilinear")
    chroma = torch.where(half_chroma[:, None, None, None], half, full)
    decoded = torch.cat([luma, chroma], 1) - middle
    rgb = torch.einsum("ij,njhw->nihw", to_rgb, decoded)
    return to_grey_levels(rgb[:, :, :height, :width])


def to_grey_levels(values: Tensor) -> Tensor:
    """To whole numbers in [0, 255]."""
    return values.round().clamp_(0, 255)


def _tables(quality: Tensor) -> tuple[Tensor, Tensor]:
    """Quantisation tables by quality, each N x 1 x 8 x 8, as libjpeg scales them."""
    quality = quality.clamp(1, 100).float()
    percent = torch.where(quality < 50, torch.floor(5000 / quality), 200 - 2 * quality)
    scaled = (table * percent[:, None, None, None] for table in _tables_at_50(quality.device))
    luminance, chrominance = (torch.floor((s + 50) / 100).clamp(1, 255) for s in scaled)
    return luminance, chrominance


def _quantised(planes: Tensor, table: Tensor) -> Tensor:
    """Planes of whole blocks after their cosine transform was quantised."""
    height, width = planes.shape[2:]
    down = _cosines(height, planes.device)
    across = _cosines(width, planes.device)
    steps = table.repeat(1, 1, height // BLOCK, width // BLOCK)
    coefficients = down @ (planes - 128) @ across.T / steps
    # White, 127 above the middle, lies on a half at quality 50; libjpeg rounds that outwards.
    coefficients = torch.trunc(coefficients + 0.5001 * coefficients.sign()) * steps
    return to_grey_levels(down.T @ coefficients @ across + 128)


# What follows is kept: to move it to a GPU in each step would make the host wait there.


@functools.lru_cache
def _colours(device: torch.device) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(one).to(device) for one in (MIDDLE, TO_YCBCR, TO_RGB))


@functools.lru_cache
def _tables_at_50(device: torch.device) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(one).to(device) for one in (LUMINANCE_TABLE, CHROMINANCE_TABLE))


@functools.lru_cache
def _cosines(size: int, device: torch.device) -> Tensor:
    """The cosine transform of each block of a column, size x size."""
    order, place = np.mgrid[:BLOCK, :BLOCK]
    transform = np.cos((2 * place + 1) * order * np.pi / (2 * BLOCK)) * np.sqrt(2 / BLOCK)
    transform[0] /= np.sqrt(2)
    whole = np.kron(np.eye(size // BLOCK), transform)
    return torch.from_numpy(whole.astype(np.float32)).to(device)
