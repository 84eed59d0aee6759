"""Image formats in and out: pixels against Pillow's, what is kept, and what is refused."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import pyvips
from PIL import Image
from srgan_samples import sample_pixels
from upscaled_images import BICUBIC, upscaled

from srgan.errors import BadDataError
from srgan.upscaling import images, worker
from srgan.upscaling.inputs import find_entries

WIDTH, HEIGHT = 70, 50


def bicubic(image: Image.Image) -> np.ndarray:
    resized = image.resize((4 * image.width, 4 * image.height), Image.Resampling.BICUBIC)
    return np.asarray(resized).astype(int)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "jpg", "jpeg", "webp", "TIFF"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_formats(suffix: str, mode: str, tmp_path: Path) -> None:
    if (suffix, mode) == ("webp", "L"):
        pytest.skip("WebP knows no grey")
    source = tmp_path / f"a.{suffix}"
    Image.fromarray(sample_pixels(HEIGHT, WIDTH)).convert(mode).save(source)
    original, result = Image.open(source), upscaled(source)
    assert (result.mode, result.size) == (mode, (4 * WIDTH, 4 * HEIGHT))
    difference = np.abs(bicubic(original) - np.asarray(result))
    if suffix in ("jpg", "jpeg", "webp"):
        assert difference.mean() < 2
    else:
        # Pillow rounds twice, after the rows and after the columns.
        assert difference.max() <= 2
        assert difference.mean() < 0.3


def test_palette_and_one_bit(tmp_path: Path) -> None:
    pixels = Image.fromarray(sample_pixels(HEIGHT, WIDTH))
    pixels.convert("P").save(tmp_path / "palette.png")
    pixels.convert("1").save(tmp_path / "bits.png")
    result = upscaled(tmp_path / "palette.png")
    expected = bicubic(Image.open(tmp_path / "palette.png").convert("RGB"))
    assert np.abs(expected - np.asarray(result)).mean() < 0.5
    assert upscaled(tmp_path / "bits.png").size == (4 * WIDTH, 4 * HEIGHT)


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_alpha_is_kept(suffix: str, tmp_path: Path) -> None:
    source = tmp_path / f"a.{suffix}"
    alpha = sample_pixels(HEIGHT, WIDTH, seed=5)[:, :, :1]
    rgba = np.concatenate([sample_pixels(HEIGHT, WIDTH), alpha], axis=2)
    Image.fromarray(rgba).save(source, **({"lossless": True} if suffix == "webp" else {}))
    result = upscaled(source)
    assert result.mode == "RGBA"
    expected = bicubic(Image.fromarray(alpha[:, :, 0]))
    assert np.abs(expected - np.asarray(result)[:, :, 3]).max() <= 2


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("bands", [1, 3, 4])
def test_sixteen_bits_are_kept(suffix: str, bands: int, tmp_path: Path) -> None:
    source = tmp_path / f"a.{suffix}"
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 65536, (HEIGHT, WIDTH, bands), dtype=np.uint16)
    space = "grey16" if bands == 1 else "rgb16"
    pyvips.Image.new_from_array(pixels, interpretation=space).write_to_file(str(source))
    upscaled(source)
    result = pyvips.Image.new_from_file(str(tmp_path / "results" / source.name))
    assert (result.format, result.bands, result.width) == ("ushort", bands, 4 * WIDTH)
    assert len(np.unique(result.numpy())) > 10_000


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    source = tmp_path / "a.jpg"
    Image.new("CMYK", (WIDTH, HEIGHT), (0, 255, 255, 0)).save(source)
    result = upscaled(source)
    red, green, blue = np.asarray(result)[100, 100]
    assert result.mode == "RGB"
    assert red > 180 and green < 90 and blue < 90


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
def test_blocks_are_joined_without_a_seam(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("srgan.upscaling.pieces.BLOCK_SIDE", 32)
    (tmp_path / "in").mkdir()
    source = tmp_path / "in" / f"a.{suffix}"
    Image.fromarray(sample_pixels(HEIGHT, WIDTH)).save(source)
    (entry,) = find_entries(str(source), str(tmp_path / "out")).entries
    work = worker.cut(entry, str(tmp_path / "out/.upscaling"), BICUBIC)
    assert [piece.pixels for piece in work.pieces] == [1024, 1024, 192, 576, 576, 108]
    for piece in work.pieces:
        worker.do(piece, BICUBIC, "cpu")
    worker.put_together(work)
    joined = np.asarray(Image.open(entry.target))
    whole = np.asarray(upscaled(source))
    assert np.array_equal(joined, whole)
    assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == [
        ".upscaling",
        f"a.{suffix}",
    ]


def png_of(width: int, height: int) -> bytes:
    """A whole PNG of a few kilobytes that claims to be that large."""
    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1_000_000))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    good = tmp_path / "good.png"
    Image.fromarray(sample_pixels(HEIGHT, WIDTH)).save(good)
    whole = good.read_bytes()
    Image.fromarray(sample_pixels(HEIGHT, WIDTH)).save(tmp_path / "good.jpg")
    jpeg = (tmp_path / "good.jpg").read_bytes()
    pages = [Image.new("RGB", (20, 20)) for _ in range(3)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    Image.new("F", (20, 20)).save(tmp_path / "float.tif")
    bad = {
        "text.png": b"hello",
        "zero.jpg": b"",
        "cut.png": whole[: len(whole) // 2],
        "cut.jpg": jpeg[: len(jpeg) // 2],
        "svg.png": b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        "bomb.png": png_of(50_000, 50_000),
        "wide.webp": b"RIFF" + bytes(40),
        "cut.bmp": b"BM" + bytes(20),
        "pages.tif": (tmp_path / "pages.tif").read_bytes(),
        "float.tif": (tmp_path / "float.tif").read_bytes(),
    }
    for name, content in bad.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(BadDataError):
            upscaled(path)
    with pytest.raises(BadDataError, match="50000x50000 is more than 200 megapixels"):
        images.probe_image(str(tmp_path / "bomb.png"), 200)


def test_a_result_too_large_for_its_format_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "wide.webp"
    Image.new("RGB", (5000, 4)).save(path)
    with pytest.raises(BadDataError, match="20000x16 is too large for WebP files"):
        images.probe_image(str(path), 200)
