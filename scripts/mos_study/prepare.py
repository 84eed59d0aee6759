"""Render every method on every image, once."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from jobs.runtime import remote
from jobs.runtime.errors import UsageError
from jobs.runtime.names import short_names
from jobs.runtime.text import as_text
from mos_study.measure import lacks_measures, measure
from mos_study.study import (
    NEAREST,
    ORIGINAL,
    PICTURES,
    REFERENCES,
    STUDY_FILE,
    Study,
    StudyImage,
    read_study,
    write_study,
)
from srgan import SCALE
from srgan.evaluation import SMALLEST_SIDE, Upscale, bicubic, resize, upscale_with
from srgan.image_folder import read_images
from srgan.lpips import find_lpips
from srgan.upscaling.model_choice import read_model
from srgan.upscaling.networks import decode_network

logger = logging.getLogger(__name__)

FEWEST_IMAGES = 3
FEWEST_METHODS = 2
LARGEST_PIXELS = 4_000_000
"""A picture must go over the network and, mostly, onto the screen."""


def prepare(
    folder: Path,
    sources: Sequence[str],
    image_folders: Sequence[str],
    lpips_weights: str | None = None,
) -> Study:
    """Make the study's folder, or find that it is there already and measure what was not yet.

    Args:
        folder: of the study.
        sources: run folders or model files, models that come along such as "default", "bicubic",
            "nearest" or "original".
        image_folders: of original images; each is an image set.
        lpips_weights: a file; None: what fetch_data.py lpips fetched, if it is there.

    Raises:
        UsageError: the study holds something else, or what was given makes no study.
        MissingDataError, BadDataError: a model or an image cannot be used.
    """
    folders = [remote.absolute(path) for path in image_folders]
    lpips = find_lpips(lpips_weights)
    if (folder / STUDY_FILE).exists():
        study = _same_study(folder, sources, folders)
        if lacks_measures(study, lpips):
            study = measure(folder, study, lpips)
            write_study(folder, study)
        return study
    # Names of files need not be text; those in a study are.
    methods = [as_text(name) for name in short_names(sources, "--runs")]
    for method, source in zip(methods, sources, strict=True):
        if method in REFERENCES and source != method:
            raise UsageError(f"--runs {source}: give it another name, {method} has a meaning here")
    if len(methods) < FEWEST_METHODS:
        raise UsageError(f"--runs {','.join(sources)}: a comparison needs two methods or more")
    upscales = {
        method: _upscale(source)
        for method, source in zip(methods, sources, strict=True)
        if method != ORIGINAL
    }
    upscales[NEAREST] = _nearest
    if torch.cuda.is_available():
        logger.info("rendering on %s", torch.cuda.get_device_name())
    images = [
        (StudyImage(set=as_text(set_name), name=as_text(image.name)), image.pixels)
        for set_name, path in zip(short_names(folders, "--images"), folders, strict=True)
        for image in read_images(path, SMALLEST_SIDE, LARGEST_PIXELS).usable
    ]
    if len(images) < FEWEST_IMAGES:
        raise UsageError(
            f"--images {','.join(image_folders)}: {len(images)} images; a study needs "
            f"{FEWEST_IMAGES}, or the same one would come twice in a row"
        )
    study = Study(
        token=secrets.token_urlsafe(16),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        methods=methods,
        sources=[as_text(source) for source in sources],
        folders=[as_text(path) for path in folders],
        images=[image for image, _ in images],
        calibration=[0, len(images) // 2],
    )
    (folder / PICTURES).mkdir(parents=True, exist_ok=True)
    for number, (_, pixels) in enumerate(tqdm(images, unit="image", disable=None)):
        _render(folder, study, number, pixels, upscales=upscales)
    study = measure(folder, study, lpips)
    write_study(folder, study)
    return study


def _same_study(folder: Path, sources: Sequence[str], folders: Sequence[str]) -> Study:
    study = read_study(folder)
    wanted = [as_text(source) for source in sources], [as_text(path) for path in folders]
    if (study.sources, study.folders) != wanted:
        raise UsageError(
            f"--study {folder} holds a study of {','.join(study.sources)} on "
            f"{','.join(study.folders)}; choose another folder"
        )
    return study


def _upscale(source: str) -> Upscale:
    """How a method makes its version from the low resolution."""
    if source == NEAREST:
        return _nearest
    if source == "bicubic":
        return bicubic
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = decode_network(read_model(source, SCALE), source).network.to(device)
    return upscale_with(network, device)


def _render(
    folder: Path, study: Study, number: int, pixels: np.ndarray, upscales: Mapping[str, Upscale]
) -> None:
    """Write all versions of an image, cropped to what the scale divides (as in tests of PSNR)."""
    height, width = (side - side % SCALE for side in pixels.shape[:2])
    original = pixels[:height, :width]
    low = resize(original, width // SCALE, height // SCALE)
    for version in study.versions:
        shown = original if version == ORIGINAL else upscales[version](low)
        Image.fromarray(shown).save(study.picture(folder, number, version))


def _nearest(low: np.ndarray) -> np.ndarray:
    return low.repeat(SCALE, axis=0).repeat(SCALE, axis=1)
