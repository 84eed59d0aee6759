"""The contact sheet of upscaled pictures, beside Pillow's reading of the same files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from srgan_samples import sample_pixels
from upscaled_images import upscale_file

from srgan.comparison import LABEL_HEIGHT, LARGEST_PANEL, MARGIN
from srgan.upscaling.contact_sheet import GROUND, draw_sheet
from srgan.upscaling.pieces import Entry

ORIENTATION = 0x112


def panels_of(source: Path, target: Path, *widths: int) -> list[np.ndarray]:
    """The pictures of a sheet of one row, cut out."""
    entry = Entry(source.name, "image", str(source), str(target), (0, 0, 0))
    pixels = np.asarray(draw_sheet([("\u732b 1", entry)]))[2 * LABEL_HEIGHT : -MARGIN]
    lefts = MARGIN + np.cumsum([0, *(width + MARGIN for width in widths)])
    assert lefts[-1] == pixels.shape[1]
    return [pixels[:, left : left + width] for left, width in zip(lefts, widths, strict=False)]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_detail_is_what_the_upright_result_holds(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    pixels = np.full((100, 125, 3), 90, np.uint8)
    pixels[70:90, 90:110] = sample_pixels(20, 20)
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    target, _ = upscale_file(tmp_path / "turned.png")
    upright = ImageOps.exif_transpose(Image.open(target))
    whole = 307 if upright.width < upright.height else LARGEST_PANEL
    _, after, before, detail = panels_of(
        tmp_path / "turned.png", target, whole, whole, LARGEST_PANEL, LARGEST_PANEL
    )
    places = np.lib.stride_tricks.sliding_window_view(np.asarray(upright), detail.shape)
    assert (places == detail).all(axis=(-1, -2, -3)).any()
    # By the model "bicubic" the result is the enlarged source; but for the clipping in between.
    assert np.percentile(np.abs(before.astype(int) - detail), 99) <= 2
    small = upright.resize((whole, 307 + LARGEST_PANEL - whole), Image.Resampling.LANCZOS)
    shown = after[: small.height].astype(int)
    # Apart from the frame around the detail.
    assert np.median(np.abs(shown - np.asarray(small)), axis=(0, 1)).max() <= 2


def test_a_small_picture_is_repeated_and_what_is_transparent_is_grey(tmp_path: Path) -> None:
    pixels = np.zeros((10, 12, 4), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "glass.png")
    target, _ = upscale_file(tmp_path / "glass.png")
    for panel in panels_of(tmp_path / "glass.png", target, 192, 192):
        assert panel.shape == (160, 192, 3)
        assert (panel == GROUND).all()
