"""Grids in upscaled pictures: peaks of the spectrum at the periods of a network's strides."""

import numpy as np

from srgan.metrics import luminance

WINDOW = 64
PERIODS = (2, 8 / 3, 4, 8)
"""In pixels: of sub-pixel stages, and of strides of 2, 4 and 8 in what judges the pictures."""
NEIGHBOURS = (2, 3, 4)
"""Distance in frequencies of those that a peak is compared with."""


def grid_peaks(pixels: np.ndarray) -> dict[float, float]:
    """How far the spectrum stands out at each period, as a factor on its power (1: not at all).

    The power spectra of overlapping windows are averaged (Welch), each window weighed by the
    inverse of its own power: a faint grid in a flat area counts as much as one in a texture. The
    peak of a period is the power of its waves (along rows, along columns, along both) over the
    median of that of their neighbours in frequency.

    Args:
        pixels: uint8, height x width x 3, at least 64 x 64.
    """
    plane = luminance(pixels)
    taper = np.outer(np.hanning(WINDOW), np.hanning(WINDOW))
    total = np.zeros((WINDOW, WINDOW))
    for top in range(0, plane.shape[0] - WINDOW + 1, WINDOW // 2):
        for left in range(0, plane.shape[1] - WINDOW + 1, WINDOW // 2):
            window = plane[top : top + WINDOW, left : left + WINDOW]
            power = np.abs(np.fft.fft2((window - window.mean()) * taper)) ** 2
            total += power / (power.sum() + WINDOW**2)
    peaks = {}
    for period in PERIODS:
        wave = round(WINDOW / period)
        peaks[period] = max(
            _stands_out(total[0], wave),
            _stands_out(total[:, 0], wave),
            _stands_out(np.diag(total), wave),
        )
    return peaks


def _stands_out(power: np.ndarray, wave: int) -> float:
    others = [power[(wave + sign * step) % len(power)] for step in NEIGHBOURS for sign in (-1, 1)]
    return float(power[wave] / np.median(others))
