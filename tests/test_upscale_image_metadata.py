"""What files say of their pictures, beside the pixels: kept, said to be lost, never invented.

Judged by Pillow, pillow-heif and the bytes of the files themselves.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
import pyvips
from PIL import Image, ImageCms, PngImagePlugin
from srgan_samples import sample_pixels
from upscaled_images import upscale_file, upscaled

from srgan.errors import BadDataError
from srgan.upscaling.output_options import OutputOptions

WIDTH, HEIGHT = 60, 40
MAKE, ORIENTATION, ARTIST, EXIF, GPS = 0x010F, 0x0112, 0x013B, 0x8769, 0x8825
MAKER_NOTE, EXIF_WIDTH, EXIF_HEIGHT, LATITUDE = 0x927C, 0xA002, 0xA003, 1
NOTE = b"maker's\0own\xff"
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
    b'syntax-ns#"><rdf:Description rdf:about=""/></rdf:RDF></x:xmpmeta>'
)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
CHROMATICITIES = struct.pack(">8I", 31270, 32900, 70800, 29200, 17000, 79700, 13100, 4600)

pillow_heif.register_heif_opener()


def picture() -> Image.Image:
    return Image.fromarray(sample_pixels(HEIGHT, WIDTH))


def exif_of_a_camera() -> Image.Exif:
    exif = Image.Exif()
    exif[MAKE], exif[ARTIST] = "a camera", "me"
    exif.get_ifd(EXIF).update({MAKER_NOTE: NOTE, EXIF_WIDTH: WIDTH, EXIF_HEIGHT: HEIGHT})
    exif.get_ifd(GPS)[LATITUDE] = "N"
    return exif


def write_all(folder: Path, suffix: str, orientation: int = 1) -> Path:
    """A file with all that its format can say of a picture."""
    source = folder / f"a.{suffix}"
    exif = exif_of_a_camera()
    if orientation != 1:
        exif[ORIENTATION] = orientation
    more: dict[str, Any] = {"icc_profile": PROFILE, "exif": exif, "xmp": XMP}
    if suffix == "png":
        info = PngImagePlugin.PngInfo()
        info.add(b"gAMA", (100_000).to_bytes(4, "big"))
        info.add(b"cHRM", CHROMATICITIES)
        info.add_text("Author", "me")
        info.add_text("Comment", "long " * 1000, zip=True)
        info.add_itxt("Title", "日本", lang="ja", zip=True)
        info.add_itxt("XML:com.adobe.xmp", XMP.decode())
        more |= {"pnginfo": info, "dpi": (300, 150)}
        del more["xmp"]
    elif suffix in ("jpg", "tif"):
        more |= {"dpi": (300, 150)}
    if suffix == "jpg":
        more |= {"comment": "a comment", "quality": 95}
    if suffix == "tif":
        exif[700] = XMP
        # Only directories that it has read does Pillow write into a TIFF file.
        more["exif"] = Image.Exif()
        more["exif"].load(exif.tobytes())
    picture().save(source, **more)
    return source


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp", "avif", "heic"])
def test_exif_profile_and_xmp_are_kept(suffix: str, tmp_path: Path) -> None:
    result = upscaled(write_all(tmp_path, suffix))
    exif = result.getexif()
    assert (exif[MAKE], exif[ARTIST]) == ("a camera", "me")
    assert exif.get_ifd(EXIF)[MAKER_NOTE] == NOTE
    assert exif.get_ifd(GPS)[LATITUDE] == "N"
    sizes = exif.get_ifd(EXIF)[EXIF_WIDTH], exif.get_ifd(EXIF)[EXIF_HEIGHT]
    assert suffix == "tif" or sizes == (4 * WIDTH, 4 * HEIGHT)
    assert result.info["icc_profile"] == PROFILE
    assert XMP in result.info["xmp"] if suffix != "png" else XMP.decode() in str(result.info)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_the_resolution_is_kept(suffix: str, tmp_path: Path) -> None:
    result = upscaled(write_all(tmp_path, suffix))
    assert tuple(map(float, result.info["dpi"])) == pytest.approx((300, 150), abs=0.02)


def test_the_resolution_of_a_bmp_is_kept(tmp_path: Path) -> None:
    picture().save(tmp_path / "a.bmp", dpi=(300, 150))
    dpi = upscaled(tmp_path / "a.bmp").info["dpi"]
    assert dpi == pytest.approx((300, 150), abs=0.02)


def chunks_of(path: Path) -> list[tuple[bytes, bytes]]:
    data, place, found = path.read_bytes(), 8, []
    while place < len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        found.append((kind, data[place + 8 : place + 8 + length]))
        place += 12 + length
    return found


def test_texts_gamma_and_primaries_of_png_are_kept(tmp_path: Path) -> None:
    source = write_all(tmp_path, "png")
    target, notes = upscale_file(source)
    before, after = chunks_of(source), chunks_of(target)
    for kind in (b"gAMA", b"cHRM", b"tEXt", b"zTXt", b"iTXt", b"pHYs"):
        wanted = [data for found, data in before if found == kind]
        assert sorted(data for found, data in after if found == kind) == sorted(wanted)
    kinds = [kind for kind, _ in after]
    assert kinds[0] == b"IHDR" and kinds[-1] == b"IEND"
    assert kinds.index(b"gAMA") < kinds.index(b"IDAT") > kinds.index(b"iCCP")
    assert notes == ()
    result = Image.open(target)
    result.load()
    assert (result.text["Title"], result.info["gamma"]) == ("日本", 1.0)


def test_texts_behind_the_pixels_are_kept(tmp_path: Path) -> None:
    source = tmp_path / "a.png"
    picture().save(source)
    data = source.read_bytes()
    text = PngImagePlugin.PngInfo()
    text.add_text("Late", "text")
    picture().save(tmp_path / "with.png", pnginfo=text)
    (chunk,) = (data for kind, data in chunks_of(tmp_path / "with.png") if kind == b"tEXt")
    encoded = struct.pack(">I", len(chunk)) + b"tEXt" + chunk
    encoded += struct.pack(">I", zlib.crc32(b"tEXt" + chunk))
    source.write_bytes(data[:-12] + encoded + data[-12:])
    assert upscaled(source).text == {"Late": "text"}


def test_comments_and_iptc_of_jpeg_are_kept(tmp_path: Path) -> None:
    source = write_all(tmp_path, "jpg")
    data = source.read_bytes()
    record = b"\x1c\x02\x78" + struct.pack(">H", 7) + b"caption"
    block = b"Photoshop 3.0\x008BIM\x04\x04\0\0" + struct.pack(">I", len(record)) + record
    segment = b"\xff\xed" + struct.pack(">H", len(block) + 2) + block
    source.write_bytes(data[:2] + segment + data[2:])
    target, notes = upscale_file(source)
    result = Image.open(target)
    assert result.info["comment"] == b"a comment"
    assert record in target.read_bytes() and notes == ()
    assert target.read_bytes().count(b"JFIF\0") == 1


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp", "avif", "heic", "bmp", "gif"])
def test_nothing_is_invented(suffix: str, tmp_path: Path) -> None:
    source = tmp_path / f"a.{suffix}"
    picture().save(source)
    if suffix == "bmp":
        # Pillow itself invents one.
        data = source.read_bytes()
        source.write_bytes(data[:38] + bytes(8) + data[46:])
    target, _ = upscale_file(source)
    result = Image.open(target)
    before = Image.open(source)
    assert result.info.get("dpi") == before.info.get("dpi")
    assert not result.info.get("exif")
    assert b"Exif" not in target.read_bytes()[:4096]
    if suffix == "png":
        assert {kind for kind, _ in chunks_of(target)} == {b"IHDR", b"IDAT", b"IEND"}
    if suffix == "jpg":
        assert result.info["jfif_unit"] == 0
    if suffix == "tif":
        assert not {282, 283, 296} & set(result.tag_v2)
    if suffix == "bmp":
        assert struct.unpack_from("<ii", target.read_bytes(), 38) == (0, 0)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_pixels_stay_as_they_are_stored(suffix: str, orientation: int, tmp_path: Path) -> None:
    source = write_all(tmp_path, suffix, orientation)
    target, _ = upscale_file(source)
    stored = pyvips.Image.new_from_file(str(target))
    assert (stored.width, stored.height) == (4 * WIDTH, 4 * HEIGHT)
    assert stored.get("orientation") == orientation


@pytest.mark.parametrize("name", ["avif", "heic", "jxl"])
def test_formats_without_a_turn_are_upright(name: str, tmp_path: Path) -> None:
    if name == "jxl":
        pytest.importorskip("pillow_jxl")
    source = write_all(tmp_path, "jpg", 6)
    result = upscaled(source, OutputOptions(format=name))
    assert result.size == (4 * HEIGHT, 4 * WIDTH)
    assert result.getexif().get(ORIENTATION, 1) == 1
    upright = Image.open(source).transpose(Image.Transpose.ROTATE_270)
    expected = upright.resize(result.size, Image.Resampling.BICUBIC)
    off = np.abs(np.asarray(result.convert("RGB")).astype(int) - np.asarray(expected))
    assert off.mean() < 3
    # From there it stays so.
    again = tmp_path / f"b.{name}"
    os.rename(tmp_path / "results" / f"a.{name}", again)
    assert upscaled(again).size == (16 * HEIGHT, 16 * WIDTH)


@pytest.mark.parametrize("name", ["png", "jpeg", "tiff", "webp", "avif", "heic"])
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp", "avif", "heic"])
def test_another_format_keeps_what_it_can(suffix: str, name: str, tmp_path: Path) -> None:
    source = write_all(tmp_path, suffix)
    target, notes = upscale_file(source, OutputOptions(format=name))
    result = Image.open(target)
    result.load()
    exif = result.getexif()
    assert exif[MAKE] == "a camera"
    assert exif.get_ifd(EXIF)[MAKER_NOTE] == NOTE
    assert result.info["icc_profile"] == PROFILE
    assert XMP in target.read_bytes()
    if suffix in ("png", "jpg", "tif") and name in ("png", "jpeg", "tiff"):
        dpi = tuple(map(float, result.info["dpi"]))
        assert dpi == pytest.approx((300, 150), abs=0.02)
    lost = " ".join(notes)
    assert ("texts (Author, Comment, Title)" in lost) == (suffix == "png" != name)
    assert ("gamma and primaries" in lost) == (suffix == "png" != name)
    assert ("comments" in lost) == (suffix == "jpg" and name != "jpeg")


def test_what_bmp_and_gif_lose_is_said(tmp_path: Path) -> None:
    for suffix in ("bmp", "gif"):
        source = tmp_path / f"a.{suffix}"
        write_all(tmp_path, "jpg", 6).rename(source)
        target, notes = upscale_file(source)
        lost = " ".join(notes)
        assert "EXIF data: " in lost and "XMP data: " in lost and "ICC profile is used up" in lost
        assert ("256 colours" in lost) == (suffix == "gif")
        # They have no place for the orientation.
        assert Image.open(target).size == (4 * HEIGHT, 4 * WIDTH)


def test_damaged_exif_spoils_no_picture(tmp_path: Path) -> None:
    exif = exif_of_a_camera().tobytes()
    for cut in (8, 12, 20, 40, len(exif) - 5):
        picture().save(tmp_path / "a.jpg", exif=exif[:cut])
        assert upscaled(tmp_path / "a.jpg").size == (4 * WIDTH, 4 * HEIGHT)
        picture().save(tmp_path / "a.webp", exif=exif[:cut])
        for name in ("avif", "tiff", "png"):
            result = upscaled(tmp_path / "a.webp", OutputOptions(format=name))
            assert result.size == (4 * WIDTH, 4 * HEIGHT)
    picture().save(tmp_path / "a.jpg", exif=exif[:20])
    assert upscale_file(tmp_path / "a.jpg")[1] == ("EXIF data are damaged, and not kept",)


def test_hdr_colours_are_kept_or_refused(tmp_path: Path) -> None:
    source = tmp_path / "a.png"
    info = PngImagePlugin.PngInfo()
    info.add(b"cICP", bytes((9, 16, 0, 1)))
    picture().save(source, pnginfo=info)
    target, _ = upscale_file(source)
    assert (b"cICP", bytes((9, 16, 0, 1))) in chunks_of(target)
    for name in ("avif", "heic"):
        target, notes = upscale_file(source, OutputOptions(format=name))
        profile = pillow_heif.open_heif(target).info.get("nclx_profile") if name == "heic" else None
        if profile is not None:
            assert (profile["color_primaries"], profile["transfer_characteristics"]) == (9, 16)
        assert b"colrnclx\0\x09\0\x10" in target.read_bytes()
        again = tmp_path / f"b.{name}"
        target.rename(again)
        back, _ = upscale_file(again, OutputOptions(format="png"))
        assert (b"cICP", bytes((9, 16, 0, 1))) in chunks_of(back)
    with pytest.raises(BadDataError, match=r"HDR or wide, CICP 9/16.*--format avif or png"):
        upscale_file(source, OutputOptions(format="jpeg"))
    info = PngImagePlugin.PngInfo()
    info.add(b"cICP", bytes((12, 13, 0, 1)))
    picture().save(source, pnginfo=info)
    target, notes = upscale_file(source, OutputOptions(format="jpeg"))
    profile = ImageCms.ImageCmsProfile(io.BytesIO(Image.open(target).info["icc_profile"]))
    assert "P3" in ImageCms.getProfileDescription(profile)
    assert notes == ("its colours (CICP) are said by an ICC profile, Display P3",)
