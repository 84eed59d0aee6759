"""Kinds of image files beyond the plain ones: each is right, or one line says what is missing."""

from __future__ import annotations

import io
import os
import re
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
import pyvips
from PIL import Image, ImageCms
from srgan_samples import sample_pixels
from upscaled_images import BICUBIC, upscale_file, upscaled

from srgan.errors import BadDataError
from srgan.upscaling import images, worker
from srgan.upscaling.inputs import find_entries
from srgan.upscaling.output_options import OutputOptions

WIDTH, HEIGHT = 60, 40
FORMAT_NAMES = {"avif": "AVIF", "heic": "HEIC", "webp": "WebP", "jpeg": "JPEG"}
pillow_heif.register_heif_opener()


def picture(mode: str = "RGB") -> Image.Image:
    return Image.fromarray(sample_pixels(HEIGHT, WIDTH)).convert(mode)


def cut_out() -> Image.Image:
    """Opaque at the left, transparent at the right, with shades between."""
    image = picture("RGBA")
    alpha = np.tile(np.clip(np.linspace(-100, 355, WIDTH), 0, 255), (HEIGHT, 1))[:, ::-1]
    image.putalpha(Image.fromarray(alpha.round().astype(np.uint8)))
    return image


def off(result: Image.Image | np.ndarray, source: Image.Image) -> float:
    """Mean difference, in grey levels, to the source enlarged by Pillow."""
    pixels = result if isinstance(result, np.ndarray) else np.asarray(result.convert(source.mode))
    size = (4 * source.width, 4 * source.height)
    expected = np.asarray(source.resize(size, Image.Resampling.BICUBIC))
    return float(np.abs(pixels.astype(float) - expected).mean())


def refusal(path: Path, options: OutputOptions | None = None) -> str:
    with pytest.raises(BadDataError) as error:
        upscale_file(path, options or OutputOptions())
    return str(error.value)


def write_ycbcr(path: Path, side: int, deflated: bool, more: dict[int, Any] | None = None) -> None:
    """A TIFF of YCbCr without JPEG, its chroma at full size or at half the side."""
    ycbcr = np.asarray(picture("YCbCr"))
    data = ycbcr.tobytes()
    if side == 2:
        luma = ycbcr[:, :, 0].reshape(HEIGHT // 2, 2, WIDTH // 2, 2).transpose(0, 2, 1, 3)
        chroma = ycbcr[:, :, 1:].reshape(HEIGHT // 2, 2, WIDTH // 2, 2, 2).mean((1, 3))
        units = [luma.reshape(HEIGHT // 2, WIDTH // 2, 4), chroma.round().astype(np.uint8)]
        data = np.concatenate(units, axis=2).tobytes()
    if deflated:
        data = zlib.compress(data)
    tags = {256: WIDTH, 257: HEIGHT, 258: (8, 8, 8), 259: 8 if deflated else 1, 262: 6, 277: 3}
    tags |= {278: HEIGHT, 279: len(data), 284: 1, 530: (side, side), **(more or {})}
    count = len(tags) + 1
    place = 8 + 2 + 12 * count + 4
    values, entries = b"", []
    for tag in sorted([*tags, 273]):
        value = tags.get(tag, 0)
        many = value if isinstance(value, tuple) else (value,)
        raw = struct.pack(f"<{len(many)}H" if tag not in (273, 279) else "<I", *many)
        if tag == 273:
            entries.append(struct.pack("<HHI", tag, 4, 1) + b"DATA")
            continue
        kind = 4 if tag == 279 else 3
        if len(raw) > 4:
            values, raw = values + raw, struct.pack("<I", place + len(values))
        entries.append(struct.pack("<HHI", tag, kind, len(many)) + raw.ljust(4, b"\0"))
    start = struct.pack("<I", place + len(values))
    head = b"II*\0" + struct.pack("<IH", 8, count) + b"".join(entries) + bytes(4)
    path.write_bytes(head.replace(b"DATA", start) + values + data)


@pytest.mark.parametrize("side", [1, 2])
@pytest.mark.parametrize("deflated", [False, True])
def test_ycbcr_without_jpeg_is_right(side: int, deflated: bool, tmp_path: Path) -> None:
    write_ycbcr(tmp_path / "a.tif", side, deflated)
    result = upscaled(tmp_path / "a.tif")
    assert result.mode == "RGB"
    ycbcr = np.array(picture("YCbCr"))
    if side == 2:
        chroma = ycbcr[:, :, 1:].reshape(HEIGHT // 2, 2, WIDTH // 2, 2, 2).mean((1, 3))
        ycbcr[:, :, 1:] = chroma.round().repeat(2, axis=0).repeat(2, axis=1)
    assert off(result, Image.fromarray(ycbcr, "YCbCr").convert("RGB")) < 1.5


def test_lab_becomes_srgb(tmp_path: Path) -> None:
    picture("LAB").save(tmp_path / "8.tif")
    high = pyvips.Image.new_from_array(sample_pixels(HEIGHT, WIDTH))
    high.colourspace("labs").tiffsave(str(tmp_path / "16.tif"))
    for name in ("8.tif", "16.tif"):
        target, notes = upscale_file(tmp_path / name)
        assert notes == ("LAB colours become sRGB",)
        stored = pyvips.Image.new_from_file(str(target))
        assert stored.format == ("uchar" if name == "8.tif" else "ushort")
        assert off(stored.numpy() // (1 if name == "8.tif" else 257), picture()) < 2


def test_cmyk_is_said(tmp_path: Path) -> None:
    picture("CMYK").save(tmp_path / "a.tif")
    target, notes = upscale_file(tmp_path / "a.tif")
    assert notes == ("CMYK colours become sRGB",)
    assert Image.open(target).mode == "RGB"


def test_what_is_not_supported_is_one_line(tmp_path: Path) -> None:
    plain = pyvips.Image.new_from_array(sample_pixels(HEIGHT, WIDTH))
    plain.cast("float").tiffsave(str(tmp_path / "float.tif"))
    plain.cast("uint").tiffsave(str(tmp_path / "uint.tif"))
    plain.bandjoin([255, 255]).tiffsave(str(tmp_path / "five.tif"))
    write_ycbcr(tmp_path / "log.tif", 1, False, {262: 32845})
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "green", "blue")]
    for name in ("a.gif", "a.png", "a.webp", "pages.tif", "a.avif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    assert refusal(tmp_path / "float.tif").startswith("float pixels are not supported")
    assert refusal(tmp_path / "uint.tif").startswith("uint pixels are not supported")
    assert refusal(tmp_path / "five.tif") == "has 5 channels, more than colours and transparency"
    assert "PhotometricInterpretation 32845" in refusal(tmp_path / "log.tif")
    assert refusal(tmp_path / "pages.tif").startswith("holds 3 pages; save each")
    for name in ("a.gif", "a.png", "a.webp", "a.avif"):
        assert "animated" in refusal(tmp_path / name) and "film" in refusal(tmp_path / name)


def test_one_frame_is_a_picture(tmp_path: Path) -> None:
    picture().save(tmp_path / "a.gif")
    target, notes = upscale_file(tmp_path / "a.gif")
    assert off(Image.open(target), Image.open(tmp_path / "a.gif").convert("RGB")) < 5
    assert notes == ("256 colours at most, as GIF has no more",)
    # As APNG, with a count of one.
    picture().save(tmp_path / "b.png", save_all=True, append_images=[])
    assert off(upscaled(tmp_path / "b.png"), picture()) < 1


def test_further_pictures_in_a_jpeg_are_noted(tmp_path: Path) -> None:
    frames = [picture(), Image.new("RGB", (20, 20))]
    frames[0].save(tmp_path / "a.mpo", save_all=True, append_images=frames[1:], quality=95)
    (tmp_path / "a.mpo").rename(tmp_path / "a.jpg")
    _, notes = upscale_file(tmp_path / "a.jpg")
    assert notes == ("further pictures in the file (such as an HDR gain map) are not kept",)


def test_bmp_keeps_its_alpha(tmp_path: Path) -> None:
    """As Windows writes it since version 4, with a mask for alpha."""
    rgba = np.asarray(cut_out())
    bgra = np.ascontiguousarray(rgba[::-1, :, [2, 1, 0, 3]])
    head = struct.pack("<IiiHHIIiiII", 108, WIDTH, HEIGHT, 1, 32, 3, bgra.nbytes, 0, 0, 0, 0)
    head += struct.pack("<5I48x", 0xFF0000, 0xFF00, 0xFF, 0xFF000000, 0x73524742)
    start = struct.pack("<2sIHHI", b"BM", 122 + bgra.nbytes, 0, 0, 122)
    (tmp_path / "a.bmp").write_bytes(start + head + bgra.tobytes())
    target, notes = upscale_file(tmp_path / "a.bmp")
    result = Image.open(target)
    assert result.mode == "RGBA" and notes == ()
    alpha = np.asarray(result)[:, :, 3]
    assert (alpha[:, :40] == 255).all() and (alpha[:, -40:] == 0).all()
    assert len(np.unique(alpha)) > 100
    # An odd width, whose rows have to be filled up.
    for mode in ("RGB", "L"):
        picture(mode).crop((0, 0, 33, 21)).save(tmp_path / "odd.bmp")
        result = upscaled(tmp_path / "odd.bmp", OutputOptions(scale=3))
        assert (result.size, result.mode) == ((99, 63), mode)
        upscaled_to = picture(mode).crop((0, 0, 33, 21)).resize((99, 63))
        assert np.abs(np.asarray(result).astype(int) - np.asarray(upscaled_to)).mean() < 4


@pytest.mark.parametrize("name", ["a.jpg", "deep.jpg", "grey.jpg"])
def test_transparency_named_jpg_is_put_on_white(name: str, tmp_path: Path) -> None:
    source = tmp_path / name
    pixels = np.asarray(cut_out().convert("LA" if name == "grey.jpg" else "RGBA"))
    if name == "deep.jpg":
        deep = pixels.astype(np.uint16) * 257
        pyvips.Image.new_from_array(deep).copy(interpretation="rgb16").pngsave(
            str(source.with_suffix(".png"))
        )
    else:
        Image.fromarray(pixels).save(source.with_suffix(".png"))
    source.with_suffix(".png").rename(source)
    target, notes = upscale_file(source)
    result = np.asarray(Image.open(target)).astype(int)
    assert "what is transparent is put on white: JPEG has no transparency" in notes
    assert ("16 bits per channel become 8, as JPEG has no more" in notes) == (name == "deep.jpg")
    assert (result[:, -40:] >= 250).all()
    expected = np.asarray(picture("L" if name == "grey.jpg" else "RGB").resize((240, 160), 3))
    assert np.abs(result[:, :40] - expected[:, :40]).mean() < 3


@pytest.mark.parametrize(("name", "what"), [("deep", "16 bits"), ("grey", "grey with transp")])
def test_what_bmp_cannot_hold_is_refused_at_once(name: str, what: str, tmp_path: Path) -> None:
    source = tmp_path / "a.png"
    if name == "deep":
        deep = sample_pixels(HEIGHT, WIDTH).astype(np.uint16) * 257
        pyvips.Image.new_from_array(deep).copy(interpretation="rgb16").pngsave(str(source))
    else:
        cut_out().convert("LA").save(source)
    source = source.rename(tmp_path / "a.bmp")
    with pytest.raises(BadDataError, match=rf"{what}.*which BMP cannot hold; take --format png"):
        images.probe_image(str(source), 200)


@pytest.mark.parametrize("suffix", ["webp", "avif", "heic"])
def test_what_came_without_loss_stays_so(suffix: str, tmp_path: Path) -> None:
    source = tmp_path / f"a.{suffix}"
    if suffix == "webp":
        cut_out().save(source, lossless=True)
    elif suffix == "heic":
        picture().save(source, quality=-1, chroma=444, matrix_coefficients=0)
    else:
        pyvips.Image.new_from_array(sample_pixels(HEIGHT, WIDTH)).heifsave(
            str(source), compression="av1", lossless=True
        )
    box = images.Box(0, 0, WIDTH, HEIGHT)
    pixels = images.upscale_block(str(source), box, BICUBIC.upscaler("cpu"))
    result = np.asarray(upscaled(source))
    seen = pixels[..., -1:] > 0 if suffix == "webp" else np.ones_like(pixels[..., :1], bool)
    assert np.array_equal(np.where(seen, result, 0), np.where(seen, pixels, 0))
    # What came with loss, or is to have one, is smaller.
    small, _ = upscale_file(source, OutputOptions(quality=80, suffix="-small"))
    assert small.stat().st_size < 0.7 * (tmp_path / "results" / source.name).stat().st_size


def test_lossy_webp_stays_lossy(tmp_path: Path) -> None:
    picture().save(tmp_path / "a.webp", quality=80)
    assert b"VP8 " in upscale_file(tmp_path / "a.webp")[0].read_bytes()[:40]


@pytest.mark.parametrize("suffix", ["avif", "heic"])
def test_ten_bits_stay_ten_bits(suffix: str, tmp_path: Path) -> None:
    source = tmp_path / f"a.{suffix}"
    deep = np.repeat(np.linspace(20_000, 40_000, WIDTH)[None], HEIGHT, 0).astype(np.uint16)
    deep = np.repeat(deep[:, :, None], 3, axis=2)
    if suffix == "heic":
        image = pillow_heif.from_bytes("RGB;16", (WIDTH, HEIGHT), deep.tobytes())
        image.save(source, quality=100, chroma=444)
    else:
        pyvips.Image.new_from_array(deep, interpretation="rgb16").heifsave(
            str(source), compression="av1", bitdepth=10, Q=100
        )
    target, notes = upscale_file(source)
    assert notes == ()
    if suffix == "heic":
        result = pillow_heif.open_heif(target, convert_hdr_to_8bit=False)
        assert result.info["bit_depth"] == 10
        pixels = np.asarray(result)
    else:
        stored = pyvips.Image.new_from_file(str(target))
        assert stored.get("bits-per-sample") == 10
        pixels = stored.numpy()
    assert len(np.unique(pixels[80, :, 1] >> 6)) > 120
    expected = np.asarray(Image.fromarray(deep[:, :, 1].astype(np.float32)).resize((240, 160), 3))
    assert np.abs(pixels[:, :, 1] - expected).mean() < 400


@pytest.mark.parametrize(("name", "bits"), [("avif", 12), ("heic", 10), ("webp", 8), ("jpeg", 8)])
def test_fewer_bits_are_said(name: str, bits: int, tmp_path: Path) -> None:
    deep = sample_pixels(HEIGHT, WIDTH).astype(np.uint16) * 257
    image = pyvips.Image.new_from_array(deep, interpretation="rgb16")
    image.pngsave(str(tmp_path / "a.png"))
    target, notes = upscale_file(tmp_path / "a.png", OutputOptions(format=name))
    assert [line for line in notes if "bits" in line] == [
        f"16 bits per channel become {bits}, as {FORMAT_NAMES[name]} has no more"
    ]
    if name == "heic":
        found = pillow_heif.open_heif(target, convert_hdr_to_8bit=False)
        assert found.info["bit_depth"] == 10
        pixels = np.asarray(found) >> 8
    else:
        stored = pyvips.Image.new_from_file(str(target))
        assert name != "avif" or stored.get("bits-per-sample") == 12
        pixels = stored.numpy() >> (8 if name == "avif" else 0)
    assert off(pixels, picture()) < 3


@pytest.mark.parametrize("suffix", ["avif", "heic", "webp"])
def test_alpha_of_other_formats_is_kept(suffix: str, tmp_path: Path) -> None:
    cut_out().save(tmp_path / f"a.{suffix}", quality=95)
    result = np.asarray(upscaled(tmp_path / f"a.{suffix}"))
    assert result.shape == (160, 240, 4)
    assert (result[:, :36, 3] > 250).all() and (result[:, -36:, 3] < 5).all()


def test_jpeg_xl(tmp_path: Path) -> None:
    pytest.importorskip("pillow_jxl")
    cut_out().save(tmp_path / "a.jxl", lossless=True)
    target, notes = upscale_file(tmp_path / "a.jxl")
    result = np.asarray(Image.open(target))
    box = images.Box(0, 0, WIDTH, HEIGHT)
    pixels = images.upscale_block(str(tmp_path / "a.jxl"), box, BICUBIC.upscaler("cpu"))
    assert np.array_equal(result[..., 3], pixels[..., 3]) and notes == ()
    seen = pixels[..., 3] > 0
    assert np.array_equal(result[seen], pixels[seen])
    data = (tmp_path / "a.jxl").read_bytes()
    (tmp_path / "cut.jxl").write_bytes(data[: len(data) // 2])
    assert refusal(tmp_path / "cut.jxl").startswith("unreadable")
    with pytest.raises(BadDataError, match="60x40 is more than 0.001 megapixels"):
        images.probe_image(str(tmp_path / "a.jxl"), 0.001)
    # A wide profile has no place there: the colours become sRGB.
    profile = pyvips.Operation.call("profile_load", "p3")
    picture().save(tmp_path / "p3.png", icc_profile=bytes(profile))
    target, notes = upscale_file(tmp_path / "p3.png", OutputOptions(format="jxl"))
    assert "the ICC profile is used up: colours become sRGB" in notes[0]
    in_srgb = ImageCms.profileToProfile(
        picture(),
        ImageCms.ImageCmsProfile(io.BytesIO(bytes(profile))),
        ImageCms.createProfile("sRGB"),
    )
    assert off(Image.open(target), in_srgb) < 2


@pytest.mark.parametrize(("module", "suffix"), [("pillow_heif", "heic"), ("pillow_jxl", "jxl")])
def test_a_missing_package_is_named(
    module: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(module)
    picture().save(tmp_path / f"a.{suffix}")
    monkeypatch.setitem(sys.modules, module, None)
    assert re.search(r"not installed; pip install pillow-\S+==", refusal(tmp_path / f"a.{suffix}"))


def test_a_fourth_channel_that_is_no_alpha_hides_nothing(tmp_path: Path) -> None:
    """A TIFF with a selection beside its colours (ExtraSamples 0)."""
    pixels = np.dstack([sample_pixels(HEIGHT, WIDTH), np.zeros((HEIGHT, WIDTH), np.uint8)])
    pixels[:20, :, 3] = 200
    Image.fromarray(pixels[..., :3]).convert("RGBX").save(tmp_path / "x.tif")
    assert Image.open(tmp_path / "x.tif").tag_v2[338] == (0,)
    pyvips.Image.new_from_array(pixels, interpretation="srgb").tiffsave(str(tmp_path / "a.tif"))
    data = bytearray((tmp_path / "a.tif").read_bytes())
    (first,) = struct.unpack_from("<I", data, 4)
    for index in range(struct.unpack_from("<H", data, first)[0]):
        if struct.unpack_from("<H", data, first + 2 + 12 * index)[0] == 338:
            struct.pack_into("<H", data, first + 2 + 12 * index + 8, 0)
    (tmp_path / "a.tif").write_bytes(data)
    target, _ = upscale_file(tmp_path / "a.tif")
    result = pyvips.Image.new_from_file(str(target)).numpy()
    assert off(result[..., :3], picture()) < 1
    assert (result[:70, :, 3] == 200).all() and (result[90:, :, 3] == 0).all()
    assert Image.open(target).tag_v2[338] == (0,)


@pytest.mark.parametrize("side", [1024, 20], ids=["whole", "blocks"])
def test_names_need_not_be_text(side: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srgan.upscaling.pieces.BLOCK_SIDE", side)
    folder = tmp_path / os.fsdecode(b"latin1-\xe9")
    folder.mkdir()
    suffixes = ("png", "jpg", "tif", "webp", "bmp", "gif", "avif", "heic")
    for suffix in suffixes:
        picture().save(tmp_path / f"plain.{suffix}")
        name = os.fsdecode(b"name-\xff\xfe." + suffix.encode())
        (tmp_path / f"plain.{suffix}").rename(folder / name)
    out = tmp_path / os.fsdecode(b"out-\xe9")
    for entry in find_entries(str(folder), str(out)).entries:
        work = worker.cut(entry, f"{out}/.upscaling", BICUBIC)
        assert work is not None
        for piece in work.pieces:
            worker.do(piece, BICUBIC, "cpu")
        if work.parts:
            assert len(work.pieces) == 6
            worker.put_together(work)
        with open(entry.target, "rb") as file, Image.open(file) as result:
            assert off(result.convert("RGB"), picture()) < 10
    assert len(list(out.glob("name-*"))) == len(suffixes)


def test_results_that_would_be_held_are_limited(tmp_path: Path) -> None:
    Image.new("RGB", (1900, 1700)).save(tmp_path / "a.avif")
    expected = r"7600x6800 is too large for AVIF files here \(at most 50 megapixels"
    with pytest.raises(BadDataError, match=expected):
        images.probe_image(str(tmp_path / "a.avif"), 200)
    for suffix, lossless in (("webp", True), ("webp", False)):
        Image.new("RGB", (1900, 1700)).save(tmp_path / f"a.{suffix}", lossless=lossless)
        if lossless:
            with pytest.raises(BadDataError, match="WebP files here"):
                images.probe_image(str(tmp_path / f"a.{suffix}"), 200)
            more = OutputOptions(quality=95)
            images.probe_image(str(tmp_path / f"a.{suffix}"), 200, options=more)
        else:
            images.probe_image(str(tmp_path / f"a.{suffix}"), 200)


def test_a_full_disk_is_said_in_a_line(tmp_path: Path) -> None:
    picture().resize((400, 400)).save(tmp_path / "a.png")
    (tmp_path / "results").mkdir()
    for suffix in ("png", "jpg", "webp"):
        (tmp_path / f"results/a.{suffix}").symlink_to("/dev/full")
        name = {"jpg": "jpeg"}.get(suffix, suffix)
        done = worker.attempt("a", upscale_file, tmp_path / "a.png", OutputOptions(format=name))
        assert done.error is not None and done.error.startswith("No space left on device")


def test_no_reason_is_a_raw_error(tmp_path: Path) -> None:
    """Cut-off, flipped and empty files of every format."""
    generator = np.random.default_rng(0)
    for suffix in ("png", "jpg", "tif", "webp", "bmp", "gif", "avif", "heic"):
        picture().save(tmp_path / f"a.{suffix}")
        data = (tmp_path / f"a.{suffix}").read_bytes()
        for number in range(12):
            bad = bytearray(data)
            if number < 4:
                bad = bad[: len(bad) * number // 4]
            else:
                for place in generator.integers(0, min(len(bad), 300), 3 * number):
                    bad[place] ^= int(generator.integers(1, 256))
            path = tmp_path / f"bad.{suffix}"
            path.write_bytes(bad)
            done = worker.attempt("bad", upscale_file, path)
            if done.error is not None:
                assert not re.match(r"\w+Error:", done.error)
                assert "\n" not in done.error and len(done.error) < 500
                assert done.exit_code == 65, done.error
