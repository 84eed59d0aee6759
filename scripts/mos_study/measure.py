"""How near the pictures of a study are to their originals, beside what people will say of them."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from mos_study.study import ORIGINAL, Measured, Study
from srgan.lpips import Lpips
from srgan.metrics import BORDER, luminance, psnr

logger = logging.getLogger(__name__)


def lacks_measures(study: Study, lpips: Lpips | None) -> bool:
    """Whether it was made before pictures were measured, or without LPIPS which is there now."""
    if not study.measured:
        return True
    known = (one.lpips for by_method in study.measured for one in by_method.values())
    return lpips is not None and all(distance is None for distance in known)


def measure(folder: Path, study: Study, lpips: Lpips | None) -> Study:
    """The study with the measures of its pictures, as they are on the disk."""
    if lpips is None:
        logger.warning("LPIPS not measured: python scripts/fetch_data.py lpips, then prepare again")
    measured = []
    for number in tqdm(range(len(study.images)), desc="measured", unit="image", disable=None):
        original = _read(study.picture(folder, number, ORIGINAL))
        measured.append(
            {
                method: _measure(_read(study.picture(folder, number, method)), original, lpips)
                for method in study.methods
            }
        )
    return study.model_copy(update={"measured": measured})


def _measure(shown: np.ndarray, original: np.ndarray, lpips: Lpips | None) -> Measured:
    # Not metrics.score: SSIM, which nobody asked for here, takes seconds on large pictures.
    inner = slice(BORDER, -BORDER)
    planes = [luminance(pixels[inner, inner]) for pixels in (shown, original)]
    distance = None if lpips is None else lpips.distance(shown, original)
    return Measured(psnr_y=psnr(*planes), lpips=distance)


def _read(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)
