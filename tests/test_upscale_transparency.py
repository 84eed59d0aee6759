"""Cut-outs: no fringe, whatever colour an editor left where nothing can be seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pyvips
from PIL import Image, ImageDraw, ImageFont
from srgan_samples import sample_pixels

from srgan.export import decode_generator
from srgan.upscaling import images, worker
from srgan.upscaling.model_choice import read_model
from srgan.upscaling.tiles import Box, Upscaler
from srgan.upscaling.transparency import upscale_transparent

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


def upscaler_of(model: str) -> Upscaler:
    return worker.Tools(read_model(model), 512, 200, 1).upscaler("cpu")


def upscaled(source: Path, model: str) -> np.ndarray:
    upscaler = upscaler_of(model)
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
        assert np.array_equal(results[0][seen], other[seen])


def test_of_16_bits_as_well(tmp_path: Path) -> None:
    results = []
    for name, colour in HIDDEN.items():
        source = tmp_path / f"{name}.png"
        deep = disc(colour).astype(np.uint16) * 257
        pyvips.Image.new_from_array(deep).copy(interpretation="rgb16").pngsave(str(source))
        box = Box(0, 0, SIDE, SIDE)
        results.append(images.upscale_block(str(source), box, upscaler_of("default")))
    assert results[0].dtype == np.uint16
    for other in results[1:]:
        assert np.array_equal(results[0], other)


def odd_picture() -> np.ndarray:
    """Details everywhere, alpha in all shades: steps, a slope, single pixels, a large hole."""
    generator = np.random.default_rng(3)
    pixels = np.dstack([sample_pixels(90, 100), np.full((90, 100), 255, np.uint8)])
    pixels[:30, :, 3] = np.linspace(0, 255, 100).round()
    pixels[30:45, :, 3] = generator.integers(0, 4, (15, 100)) * 85
    pixels[50:90, 10:60, 3] = 0
    pixels[60:64, 30:34, 3] = 1
    pixels[50:90, 70:, 3] = generator.integers(0, 256, (40, 30))
    return pixels


def test_every_shade_of_alpha_is_as_pillow_interpolates_it() -> None:
    pixels = odd_picture()
    box = Box(0, 0, 100, 90)
    ours = upscale_transparent(pixels[None], box, upscaler_of("bicubic"))[0].astype(float)
    alpha = pixels[..., 3].astype(np.float32)
    planes = [pixels[..., band] * alpha / 255 for band in range(3)]
    # As floats: RGBA as it is Pillow clips after the columns and again after the rows.
    *colours, alpha = (
        np.asarray(Image.fromarray(plane).resize((400, 360), Image.Resampling.BICUBIC))
        for plane in (*planes, alpha)
    )
    alpha = alpha.clip(0, 255)
    assert np.abs(ours[..., 3] - alpha).max() <= 0.51
    for ground in (0, 255):
        expected = (
            np.dstack(colours).clip(0, alpha[..., None]) + ground * (1 - alpha / 255)[..., None]
        )
        off = np.abs(on_ground(ours, ground) - expected)
        assert off.max() <= 1.5 and off.mean() < 0.4


def test_where_it_is_opaque_it_is_the_networks_result() -> None:
    pixels, box = odd_picture(), Box(0, 0, 100, 90)
    opaque = pixels.copy()
    opaque[..., 3] = 255
    upscaler = upscaler_of("default")
    plain = upscaler.upscale(opaque[None, ..., :3], box)[0]
    assert np.array_equal(upscale_transparent(opaque[None], box, upscaler)[0, ..., :3], plain)
    pixels[..., 3] = 255
    pixels[:, :20, 3] = 0
    result = upscale_transparent(pixels[None], box, upscaler)[0]
    # As far as neither the hole nor what is spread into it is seen by the network: by its first and
    # last layer, and two of each block.
    blocks = decode_generator(read_model("default"), "default").description.residual_blocks
    far = 4 * (20 + 2 + 2 * blocks)
    assert np.array_equal(result[:, far:, :3], plain[:, far:])
    assert (result[:, far:, 3] == 255).all()


def test_details_of_the_network_are_there_up_to_the_edge() -> None:
    """The colours beside an edge are nearer to the network's than to bicubic interpolation."""
    pixels, box = odd_picture(), Box(0, 0, 100, 90)
    pixels[..., 3] = 255
    upscaler = upscaler_of("default")
    network = upscaler.upscale(pixels[None, ..., :3], box)[0].astype(int)
    smooth = upscaler_of("bicubic").upscale(pixels[None, ..., :3], box)[0].astype(int)
    pixels[:, :20, 3] = 0
    result = upscale_transparent(pixels[None], box, upscaler)[0, :, 4 * 22 : 4 * 30, :3]
    beside = np.s_[:, 4 * 22 : 4 * 30]
    assert np.abs(result - network[beside]).mean() < 0.5 * np.abs(result - smooth[beside]).mean()


def test_outlines_are_as_sharp_as_the_picture() -> None:
    """Nearer to the original on black and on white than premultiplied interpolation, by 1.5 dB."""
    outline = Image.new("L", (800, 720))
    drawing = ImageDraw.Draw(outline)
    drawing.ellipse((100, 80, 620, 700), fill=255)
    drawing.text((20, 20), "Cut-out", fill=255, font=ImageFont.load_default(150))
    original = Image.fromarray(sample_pixels(360, 400)).convert("RGBA")
    original.putalpha(outline.resize((400, 360), Image.Resampling.BOX))
    low = original.resize((100, 90), Image.Resampling.BICUBIC)
    smooth = np.asarray(low.resize((400, 360), Image.Resampling.BICUBIC)).astype(float)
    box, upscaler = Box(0, 0, 100, 90), upscaler_of("default")
    ours = upscale_transparent(np.asarray(low)[None], box, upscaler)[0].astype(float)
    for ground in (0, 255):
        expected = on_ground(np.asarray(original).astype(float), ground)
        error, before = (
            ((on_ground(one, ground) - expected) ** 2).mean() for one in (ours, smooth)
        )
        assert 10 * np.log10(before / error) > 1.5
    assert (ours[200, 180:230, 3] == 255).all() and not ours[:20, 380:, 3].any()


def test_of_what_is_wholly_transparent_nothing_is_left() -> None:
    pixels = odd_picture()[None]
    pixels[..., 3] = 0
    result = upscale_transparent(pixels, Box(0, 0, 100, 90), upscaler_of("default"))
    assert result.shape == (1, 360, 400, 4) and not result[..., 3].any()


@pytest.mark.parametrize("model", ["bicubic", "default"])
def test_blocks_show_no_seam(model: str, tmp_path: Path) -> None:
    source = tmp_path / "a.png"
    Image.fromarray(odd_picture()).save(source)
    upscaler = upscaler_of(model)
    whole = images.upscale_block(str(source), Box(0, 0, 100, 90), upscaler).astype(int)
    for box in Box(0, 0, 100, 90).cells(40):
        block = images.upscale_block(str(source), box, upscaler)
        place = box.scaled(4)
        there = whole[place.top :, place.left :][: place.height, : place.width]
        seen = there[..., 3] > 0
        for ground in (0, 255):
            off = on_ground(block.astype(float), ground) - on_ground(there, ground)
            assert np.abs(off).max() <= 1.01
        assert np.abs(block - there)[seen & (there[..., 3] > 128)].max() <= 1
