"""PSNR and SSIM, on luminance (Y) as the paper reports them and on RGB; LPIPS beside them.

SSIM is Wang's (2004: 11x11 Gaussian window of deviation 1.5), not the variant of the paper's tool,
which scores up to 0.01 higher. PSNR on RGB is 1.5 to 2 dB lower than on Y: never compare the two.
All images are uint8, height x width x 3, RGB.
"""

from typing import NamedTuple

import numpy as np

from srgan.lpips import Lpips

MAX_PSNR = 100.0
"""In dB, what stands for the infinite PSNR of equal images: JSON knows no infinity. A bound, unlike
a gap, leaves means comparable: a method that hits an image exactly is still the better one."""

BORDER = 4
"""Pixels left out at each border, as in the paper (section 3.1): as many as the scale."""
WINDOW_RADIUS, WINDOW_DEVIATION = 5, 1.5
STRIP_ROWS = 32


class Scores(NamedTuple):
    """How near an image is to its original: PSNR in dB, SSIM up to 1, LPIPS down to 0."""

    psnr_y: float
    ssim_y: float
    psnr_rgb: float
    ssim_rgb: float
    lpips: float | None = None
    """None where it was not measured: without weights, or of too small an image."""


def score(image: np.ndarray, original: np.ndarray, lpips: Lpips | None = None) -> Scores:
    """All metrics of an image of at least 19 pixels a side.

    PSNR and SSIM leave the border out; LPIPS, where it is given, is of the whole image, as is
    usual.

    Raises:
        ValueError: the shapes differ, or too few pixels remain for the window of SSIM.
    """
    if image.shape != original.shape:
        raise ValueError(f"cannot compare {image.shape} with {original.shape}")
    if min(original.shape[:2]) < 2 * (BORDER + WINDOW_RADIUS) + 1:
        raise ValueError(f"{original.shape[1]}x{original.shape[0]} is too small for SSIM")
    distance = None if lpips is None else lpips.distance(image, original)
    inner = slice(BORDER, -BORDER)
    image, original = image[inner, inner], original[inner, inner]
    image_y, original_y = luminance(image), luminance(original)
    return Scores(
        psnr_y=psnr(image_y, original_y),
        ssim_y=ssim(image_y, original_y),
        psnr_rgb=psnr(image, original),
        ssim_rgb=ssim(image, original),
        lpips=distance,
    )


def luminance(pixels: np.ndarray) -> np.ndarray:
    """Y of ITU-R BT.601 with studio swing, 16 to 235, like MATLAB's rgb2ycbcr but not rounded."""
    return 16 + pixels @ np.array([65.481, 128.553, 24.966]) / 255


def psnr(image: np.ndarray, original: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, of values in 0 to 255; at most MAX_PSNR."""
    error = np.mean(np.square(image.astype(np.float64) - original))
    return MAX_PSNR if error == 0 else min(MAX_PSNR, float(10 * np.log10(255**2 / error)))


def ssim(image: np.ndarray, original: np.ndarray) -> float:
    """Structural similarity of values in 0 to 255; the mean over channels where there are any."""
    # Strips stay in the processor's cache, which large images do not.
    starts = range(0, len(image) - 2 * WINDOW_RADIUS, STRIP_ROWS)
    rows = (slice(start, start + STRIP_ROWS + 2 * WINDOW_RADIUS) for start in starts)
    maps = [_similarity(image[strip], original[strip]) for strip in rows]
    return float(sum(part.sum() for part in maps) / sum(part.size for part in maps))


def _similarity(image: np.ndarray, original: np.ndarray) -> np.ndarray:
    """Similarity wherever the window fits."""
    x, y = image.astype(np.float64), original.astype(np.float64)
    mean_x, mean_y = _blur(x), _blur(y)
    variances = _blur(x * x) - mean_x**2 + _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    stabiliser_mean, stabiliser_variance = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similarity = (2 * mean_x * mean_y + stabiliser_mean) / (mean_x**2 + mean_y**2 + stabiliser_mean)
    similarity *= (2 * covariance + stabiliser_variance) / (variances + stabiliser_variance)
    return similarity


def _blur(plane: np.ndarray) -> np.ndarray:
    """Gaussian window over the first two axes, only where it fits."""
    offsets = np.arange(-WINDOW_RADIUS, WINDOW_RADIUS + 1)
    window = np.exp(-(offsets**2) / (2 * WINDOW_DEVIATION**2))
    window /= window.sum()
    rows, columns = (side - 2 * WINDOW_RADIUS for side in plane.shape[:2])
    plane = sum(weight * plane[start : start + rows] for start, weight in enumerate(window))
    return sum(weight * plane[:, start : start + columns] for start, weight in enumerate(window))
