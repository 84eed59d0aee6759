"""Cut-outs: no fringe, whatever colour an editor left where nothing can be seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srgan.upscaling import images, worker
from srgan.upscaling.model_choice import read_model
from srgan.upscaling.tiles import Box

SIDE = 48
HIDDEN = {"black": (0, 0, 0), "white": (255, 255, 255), "green": (0, 255, 0)}


def disc(hidden: tuple[int, int, int]) -> np.ndarray:
    """A red disc with soft edges, and a colour of its own where it is fully transparent."""
    y, x = np.mgrid[:SIDE, :SIDE]
    alpha = np.clip(16.5 - np.hypot(x - 23.5, y - 23.5), 0, 1)
    pixels = np.empty((SIDE, SIDE, 4), np.uint8)
    pixels[..., :3] = np.where((alpha > 0)[..., None], (255, 40, 40), hidden)
    pixels[..., 3] = (255 * alpha).round()
    return pixels


def upscaled(source: Path, model: str) -> np.ndarray:
    upscaler = worker.Tools(read_model(model), 512, 200, 1).upscaler("cpu")
    size = images.probe_image(str(source), 200)
    pixels = images.upscale_block(str(source), Box(0, 0, size.width, size.height), upscaler)
    target = source.with_name(f"result{source.suffix}")
    images.write_image(target, pixels, str(source))
    with Image.open(target) as result:
        return np.asarray(result.convert("RGBA")).astype(float)


def on_ground(pixels: np.ndarray, ground: int) -> np.ndarray:
    alpha = pixels[..., 3:] / 255
    return pixels[..., :3] * alpha + ground * (1 - alpha)


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
@pytest.mark.parametrize("hidden", HIDDEN)
def test_by_bicubic_it_is_pillows_premultiplied(hidden: str, suffix: str, tmp_path: Path) -> None:
    source = tmp_path / f"a.{suffix}"
    picture = Image.fromarray(disc(HIDDEN[hidden]))
    picture.save(source, **({"lossless": True, "exact": True} if suffix == "webp" else {}))
    # Pillow multiplies with alpha before it resizes, and divides afterwards.
    theirs = picture.resize((4 * SIDE, 4 * SIDE), Image.Resampling.BICUBIC)
    ours = upscaled(source, "bicubic")
    for ground in (0, 255):
        off = np.abs(on_ground(ours, ground) - on_ground(np.asarray(theirs).astype(float), ground))
        assert off.max() <= 16


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_hidden_colours_have_no_part_in_it(mode: str, tmp_path: Path) -> None:
    results = []
    for name, colour in HIDDEN.items():
        source = tmp_path / f"{name}.png"
        picture = Image.fromarray(disc(colour))
        if mode == "P":
            # One colour of the palette is transparent, another one is the disc.
            indices = Image.fromarray((np.asarray(picture)[..., 3] > 127).astype(np.uint8), "P")
            indices.putpalette([*colour, 255, 40, 40])
            indices.save(source, transparency=0)
        else:
            picture.convert(mode).save(source)
        results.append(upscaled(source, "default"))
    for other in results[1:]:
        seen = results[0][..., 3] > 16
        assert np.abs(results[0] - other)[seen].max() <= 2


def test_of_16_bits_as_well(tmp_path: Path) -> None:
    import pyvips

    results = []
    for name, colour in HIDDEN.items():
        source = tmp_path / f"{name}.png"
        deep = disc(colour).astype(np.uint16) * 257
        pyvips.Image.new_from_array(deep).copy(interpretation="rgb16").pngsave(str(source))
        upscaler = worker.Tools(read_model("default"), 512, 200, 1).upscaler("cpu")
        results.append(images.upscale_block(str(source), Box(0, 0, SIDE, SIDE), upscaler))
    assert results[0].dtype == np.uint16
    for other in results[1:]:
        seen = results[0][..., 3] > 16 * 257
        assert np.abs(results[0].astype(int) - other)[seen].max() <= 2 * 257
