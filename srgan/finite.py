"""Scores as files hold them: JSON knows no infinity."""

from srgan.metrics import Scores

MAX_PSNR = 100.0
"""In dB, what stands for the infinite PSNR of equal images. A bound, unlike a gap, leaves means
comparable: a method that hits an image exactly is still the better one."""


def finite(scores: Scores) -> Scores:
    """The scores with PSNR bounded."""
    return scores._replace(
        psnr_y=min(scores.psnr_y, MAX_PSNR), psnr_rgb=min(scores.psnr_rgb, MAX_PSNR)
    )
