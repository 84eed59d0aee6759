"""Pictures of digits: whatever file, ground, size and place, the same digit as MNIST has it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lenet.digit_pictures import like_mnist, read_digit_pictures
from lenet.errors import BadDataError

Drawing = NDArray[np.uint8]
SIDE = 224
Y, X = np.mgrid[:SIDE, :SIDE]


def drawings() -> list[Drawing]:
    """A ring, a bar and a hook, light on dark, 224 x 224."""
    distance = np.hypot(X - 110, (Y - 120) / 1.4)
    ring = np.clip(100 * (9 - np.abs(distance - 50)), 0, 255)
    bar = np.where((abs(X - 112) < 10) & (abs(Y - 112) < 80), 255, 0)
    hook = np.where((abs(X - 140) < 9) & (abs(Y - 112) < 80), 255, 0)
    hook = np.maximum(hook, np.where((abs(Y - 40) < 9) & (X > 70) & (X < 149), 255, 0))
    return [np.asarray(one, dtype=np.uint8) for one in (ring, bar, hook)]


def rgba(ink: tuple[int, int, int]) -> Callable[[Drawing], Image.Image]:
    """Ink on nothing at all."""

    def draw(drawing: Drawing) -> Image.Image:
        colour = np.broadcast_to(np.array(ink, np.uint8), (*drawing.shape, 3))
        return Image.fromarray(np.dstack([colour, drawing]))

    return draw


def palette(drawing: Drawing) -> Image.Image:
    """Black ink, its ground a transparent colour of the palette."""
    picture = Image.fromarray(np.where(drawing > 127, 1, 0).astype(np.uint8), "P")
    picture.putpalette([0, 0, 0, 0, 0, 0])
    picture.info["transparency"] = 0
    return picture


def uneven_paper(drawing: Drawing) -> Image.Image:
    paper = 120 + 100 * X / SIDE + 20 * Y / SIDE
    grain = np.random.default_rng(0).normal(0, 3, drawing.shape)
    return Image.fromarray((paper * (1 - 0.7 * drawing / 255) + grain).astype(np.uint8))


SPELLINGS: dict[str, Callable[[Drawing], Image.Image]] = {
    "dark on light": lambda drawing: Image.fromarray(255 - drawing),
    "colour": lambda drawing: Image.fromarray(255 - drawing).convert("RGB"),
    "black on nothing": rgba((0, 0, 0)),
    "white on nothing": rgba((255, 255, 255)),
    "blue on nothing": rgba((20, 30, 160)),
    "grey and alpha": lambda drawing: rgba((0, 0, 0))(drawing).convert("LA"),
    "palette": palette,
    "palette and alpha": lambda drawing: rgba((0, 0, 0))(drawing).quantize(8),
    "opaque with alpha": lambda drawing: Image.fromarray(255 - drawing).convert("RGBA"),
    "one bit": lambda drawing: Image.fromarray(drawing < 128),
    "16 bits": lambda drawing: Image.fromarray((255 - drawing).astype(np.uint16) * 257),
    "12 of 16 bits": lambda drawing: Image.fromarray(drawing.astype(np.uint16) * 16),
    "wide": lambda drawing: Image.fromarray(np.pad(255 - drawing, ((0, 0), (300, 80)), "edge")),
    "high": lambda drawing: Image.fromarray(np.pad(255 - drawing, ((90, 500), (0, 0)), "edge")),
    "large": lambda drawing: Image.fromarray(255 - drawing).resize((1500, 1500)),
    "faint on grey": lambda drawing: Image.fromarray((150 - drawing // 5).astype(np.uint8)),
    "uneven paper": uneven_paper,
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_same_drawing_is_the_same_digit(spelling: str, tmp_path: Path) -> None:
    for number, drawing in enumerate(drawings()):
        SPELLINGS[spelling](drawing).save(tmp_path / f"{number}.png")
    found = read_digit_pictures(str(tmp_path))
    assert found.readable.all()
    for drawing, image in zip(drawings(), found.images, strict=True):
        expected = like_mnist(drawing.astype(float))
        assert expected is not None
        # Its middle may fall on either side of a pixel's edge.
        shifts = [np.roll(image, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1)]
        off = min(np.abs(shifted.astype(float) - expected).mean() for shifted in shifts)
        assert off < 0.4 * expected.mean()


def test_digits_lie_as_mnists_do() -> None:
    for drawing in drawings():
        image = like_mnist(drawing.astype(float))
        assert image is not None
        rows, columns = np.nonzero(image > 100)
        sides = (np.ptp(rows) + 1, np.ptp(columns) + 1)
        assert 18 <= max(sides) <= 20
        # Proportions are kept: the bar is eight times as high as wide.
        weights = image / image.sum()
        assert abs((weights.sum(1) * np.arange(28)).sum() - 14) <= 0.6
        assert abs((weights.sum(0) * np.arange(28)).sum() - 14) <= 0.6
    bar = like_mnist(drawings()[1].astype(float))
    assert bar is not None
    rows, columns = np.nonzero(bar > 100)
    assert 6 < (np.ptp(rows) + 1) / (np.ptp(columns) + 1) < 11


NOISE = np.random.default_rng(0)


@pytest.mark.parametrize(
    "grey",
    [
        np.full((100, 100), 200.0),
        np.zeros((28, 28)),
        100 + X / 4.0,
        NOISE.normal(128, 5, (100, 100)),
        NOISE.normal(128, 40, (SIDE, SIDE)).clip(0, 255),
    ],
    ids=["paper", "black", "shade", "grain", "noise"],
)
def test_what_has_no_digit_is_unreadable(grey: NDArray[np.float64]) -> None:
    assert like_mnist(grey) is None


def test_hidden_files_are_left_out_and_all_that_are_no_pictures_are_named(tmp_path: Path) -> None:
    Image.new("L", (28, 28)).save(tmp_path / "x.png")
    (tmp_path / "._x.png").write_bytes(b"\x00\x05\x16\x07")
    assert read_digit_pictures(str(tmp_path)).names == ["x.png"]
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(BadDataError, match=r"pipe.png: is no regular file; .*text.png: not a pic"):
        read_digit_pictures(str(tmp_path))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP"])
def test_any_bytes_are_read_or_refused(
    format: str, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    Image.fromarray(drawings()[0]).save(tmp_path / "whole", format)
    whole = (tmp_path / "whole").read_bytes()
    random = np.random.default_rng(0)
    for _ in range(150):
        odd = bytearray(whole)
        # Most of the structure lies in front.
        for place in random.integers(0, random.choice([40, 200, len(whole)]), 4):
            odd[min(place, len(whole) - 1)] = random.integers(256)
        (tmp_path / "odd.png").write_bytes(odd[: random.integers(1, 2 * len(whole))])
        try:
            (image,) = read_digit_pictures(str(tmp_path)).images
        except BadDataError as error:
            assert str(error).startswith(f"{tmp_path}/odd.png: ")
        else:
            assert image.shape == (28, 28)
    assert not recwarn.list


def test_a_speck_of_dirt_does_not_move_the_digit() -> None:
    bar = drawings()[1].astype(float)
    dirty = bar.copy()
    dirty[10:16, 10:16] = 255
    clean, found = like_mnist(bar), like_mnist(dirty)
    assert clean is not None and found is not None
    assert np.abs(clean.astype(float) - found).max() <= 1
