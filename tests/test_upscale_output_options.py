"""--scale, --outscale, --suffix, --format and --quality: sizes, pixels, names and notes."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import pyvips
from conftest import spark_submit
from films import write_film
from PIL import Image
from srgan_samples import sample_pixels
from upscaled_images import BICUBIC, upscale_file, upscaled

from srgan.errors import BadDataError, OptionsError
from srgan.upscaling import worker
from srgan.upscaling.inputs import find_entries
from srgan.upscaling.manifest import Manifest
from srgan.upscaling.output_options import DEFAULTS, OutputOptions, parse_size

WIDTH, HEIGHT = 61, 43
LANCZOS = Image.Resampling.LANCZOS


def picture(mode: str = "RGB") -> Image.Image:
    return Image.fromarray(sample_pixels(HEIGHT, WIDTH)).convert(mode)


def cut_out() -> Image.Image:
    """With outlines, shades, and green where nothing can be seen."""
    pixels = np.dstack([sample_pixels(HEIGHT, WIDTH), np.full((HEIGHT, WIDTH), 255, np.uint8)])
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    pixels[..., 3] = (255 * np.clip(18.5 - np.hypot(x - 30, y - 20), 0, 1)).round()
    pixels[pixels[..., 3] == 0, :3] = (0, 255, 0)
    return Image.fromarray(pixels)


def on_ground(image: Image.Image, ground: int) -> np.ndarray:
    pixels = np.asarray(image.convert("RGBA")).astype(float)
    alpha = pixels[..., 3:] / 255
    return pixels[..., :3] * alpha + ground * (1 - alpha)


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA"])
def test_smaller_scales_are_the_large_result_reduced(scale: int, mode: str, tmp_path: Path) -> None:
    source = tmp_path / "a.png"
    (cut_out() if mode in ("RGBA", "LA") else picture()).convert(mode).save(source)
    result = upscaled(source, OutputOptions(scale=scale, suffix="-small"))
    assert (result.size, result.mode) == ((scale * WIDTH, scale * HEIGHT), mode)
    # Pillow multiplies with alpha before it resizes.
    expected = upscaled(source).resize(result.size, LANCZOS)
    for ground in (0, 255):
        off = np.abs(on_ground(result, ground) - on_ground(expected, ground))
        assert off.max() <= 4 and off.mean() < 0.5


def test_sixteen_bits_are_reduced_as_such(tmp_path: Path) -> None:
    source = tmp_path / "a.png"
    deep = np.dstack([sample_pixels(HEIGHT, WIDTH), np.asarray(cut_out())[..., 3]])
    image = pyvips.Image.new_from_array(deep.astype(np.uint16) * 257)
    image.copy(interpretation="rgb16").pngsave(str(source))
    target, _ = upscale_file(source, OutputOptions(scale=2))
    result = pyvips.Image.new_from_file(str(target))
    assert (result.format, result.bands, result.width) == ("ushort", 4, 2 * WIDTH)
    Image.fromarray(deep).save(tmp_path / "b.png")
    plain = np.asarray(upscaled(tmp_path / "b.png", OutputOptions(scale=2)))
    seen = plain[..., 3] == 255
    off = np.abs(result.numpy()[seen] / 257 - plain[seen])
    assert off.max() <= 4 and off.mean() < 0.7


@pytest.mark.parametrize("options", [{"scale": 2}, {"scale": 3}, {"size": (200, 77)}])
@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif"])
def test_blocks_show_no_seam(
    suffix: str, options: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = OutputOptions(**options)  # type: ignore[arg-type]
    (tmp_path / "in").mkdir()
    source = tmp_path / "in" / f"a.{suffix}"
    (picture() if suffix in ("jpg", "bmp") else cut_out()).save(source)
    whole = np.asarray(upscaled(source, written)).astype(int)
    monkeypatch.setattr("srgan.upscaling.pieces.BLOCK_SIDE", 24)
    tools = worker.Tools(BICUBIC.model, 512, 200, 1, written)
    (entry,) = find_entries(str(source), str(tmp_path / "out"), written).entries
    work = worker.cut(entry, str(tmp_path / "out/.upscaling"), tools)
    assert work is not None and len(work.pieces) == 6
    for piece in work.pieces:
        worker.do(piece, tools, "cpu")
    worker.put_together(work, written)
    joined = np.asarray(Image.open(entry.target)).astype(int)
    seen = joined[..., 3] > 0 if joined.shape[2] == 4 else np.ones(joined.shape[:2], bool)
    assert np.abs(joined - whole)[seen].max() <= 1


def test_an_exact_size_is_that_of_the_picture_as_it_is_shown(tmp_path: Path) -> None:
    picture().save(tmp_path / "a.jpg")
    for size in ((100, 40), (1000, 700), (1, 1)):
        assert upscaled(tmp_path / "a.jpg", OutputOptions(size=size)).size == size
    exif = Image.Exif()
    exif[0x0112] = 6
    picture().save(tmp_path / "turned.jpg", exif=exif)
    result = upscaled(tmp_path / "turned.jpg", OutputOptions(size=(100, 40)))
    assert (result.size, result.getexif()[0x0112]) == ((40, 100), 6)


def test_no_size_is_without_bounds(tmp_path: Path) -> None:
    picture().save(tmp_path / "a.png")
    with pytest.raises(BadDataError, match=r"100000x90000 is more than 16 times 200 megapixels"):
        upscale_file(tmp_path / "a.png", OutputOptions(size=(100_000, 90_000)))


def test_names() -> None:
    assert OutputOptions(suffix="_x4").name_of("deep/a.b.PNG", True) == "deep/a.b_x4.PNG"
    webp = OutputOptions(format="webp", suffix="-")
    assert webp.name_of("a.b.png", True) == "a.b-.webp"
    assert webp.name_of("film.mp4", False) == "film-.mp4"
    assert OutputOptions(format="jpeg").name_of("a.JPEG", True) == "a.JPEG"
    assert OutputOptions(format="jpeg").name_of("a.png", True) == "a.jpg"
    assert OutputOptions(format="tiff").name_of("a.tiff", True) == "a.tiff"
    assert DEFAULTS.name_of("a.png", True) == "a.png"


def test_their_text_is_what_is_not_at_its_default() -> None:
    assert DEFAULTS.text() == ""
    assert OutputOptions(scale=2, suffix="_x2").text() == "--scale 2 --suffix _x2"
    every = OutputOptions(size=(19, 10), format="jpeg", quality=95)
    assert every.text() == "--outscale 19x10 --format jpeg --quality 95"


def test_results_of_other_options_are_not_mixed(tmp_path: Path) -> None:
    text = OutputOptions(scale=2).text()
    with closing(Manifest(str(tmp_path), b"model", text)):
        pass
    with pytest.raises(OptionsError, match=r"was --scale 2, is --scale 3"):
        Manifest(str(tmp_path), b"model", OutputOptions(scale=3).text())
    Manifest(str(tmp_path), b"model", text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 5}, "--scale 5"),
        ({"scale": 2, "size": (10, 10)}, "--scale and --outscale"),
        ({"format": "bmp"}, "--format bmp"),
        ({"quality": 0}, "--quality 0"),
        ({"suffix": "../x"}, "--suffix"),
    ],
)
def test_mistakes(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionsError, match=message):
        OutputOptions(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "10", "10x", "0x10", "-1x5", "1.5x2", "99999999x1", "axb"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(OptionsError, match="--outscale"):
        parse_size(text)


def test_sizes() -> None:
    assert parse_size("1920x1080") == (1920, 1080)
    assert parse_size(" 7X9 ") == (7, 9)


def test_names_that_would_collide_are_refused(tmp_path: Path) -> None:
    picture().save(tmp_path / "a.png")
    picture().save(tmp_path / "a.jpg")
    options = OutputOptions(format="webp", suffix="_x4")
    with pytest.raises(OptionsError, match=r"'a.jpg' and 'a.png' would both become 'a_x4.webp'"):
        find_entries(str(tmp_path), "/nowhere/out", options)
    assert len(find_entries(str(tmp_path), "/nowhere/out").entries) == 2


def test_quality_is_the_files(tmp_path: Path) -> None:
    picture().save(tmp_path / "a.png")
    for name, suffix in (("jpeg", "jpg"), ("webp", "webp"), ("avif", "avif"), ("heic", "heic")):
        sizes = []
        for quality in (20, 60, 95):
            options = OutputOptions(format=name, quality=quality)
            sizes.append(upscale_file(tmp_path / "a.png", options)[0].stat().st_size)
        assert sizes == sorted(sizes) and sizes[0] < 0.7 * sizes[2], (suffix, sizes)
    tables = []
    for quality in (None, 95, 30):
        options = OutputOptions(format="jpeg", quality=quality)
        tables.append(Image.open(upscale_file(tmp_path / "a.png", options)[0]).quantization)
    assert tables[0] == tables[1] != tables[2]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("options")
    (folder / "in").mkdir()
    cut_out().save(folder / "in/a.png")
    picture().save(folder / "in/b.jpg")
    write_film(folder / "in/film.mp4", 1, "libx264", "aac")
    return folder


OPTIONS = ("--scale", "2", "--format", "jpeg", "--suffix", "_x2", "--quality", "80")


def test_the_job_writes_so(place: Path) -> None:
    source = ("--model", "bicubic", "--input", place / "in", "--output", place / "out")
    done = spark_submit("upscale", *source, *OPTIONS, run_dir=place / "run")
    assert done.code == 1, done.out + done.err
    metrics = done.result["metrics"]
    assert (metrics["done"], metrics["failed"]) == (2, 1)
    assert metrics["failures"]["film.mp4"].startswith("films are enlarged by 4 alone")
    note = "what is transparent is put on white: JPEG has no transparency"
    assert metrics["notes"] == {"a.png": [note]}
    assert f"a.png: {note}" in (place / "run/log.txt").read_text(encoding="utf-8")
    for name in ("a_x2.jpg", "b_x2.jpg"):
        assert Image.open(place / "out" / name).size == (2 * WIDTH, 2 * HEIGHT)
    manifest = (place / "out/.upscale.json").read_text(encoding="ascii").splitlines()
    expected = "--scale 2 --suffix _x2 --format jpeg --quality 80"
    assert json.loads(manifest[0])["options"] == expected

    other = spark_submit("upscale", *source, "--scale", "3", run_dir=place / "other")
    assert other.code == 2
    assert f"of other options (was {expected}, is --scale 3)" in other.error
