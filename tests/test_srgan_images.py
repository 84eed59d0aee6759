"""Reading folders of images: common formats, and files that cannot be trusted."""

import os
import socket
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import fsspec
import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from srgan_samples import sample_pixels, write_samples

from srgan.errors import BadDataError, MissingDataError, OptionsError
from srgan.image_folder import SKIP_BAD, decode_image, read_images
from srgan.storage import read_bytes


def test_names_are_in_natural_order(tmp_path):
    folder = write_samples(tmp_path / "images", 11)
    names = [image.name for image in read_images(str(folder)).usable]
    assert names == [f"im_{number}.png" for number in range(1, 12)]


@pytest.mark.parametrize("suffix", ["bmp", "png", "tif", "ppm", "webp"])
def test_lossless_formats_keep_every_pixel(tmp_path, suffix):
    pixels = sample_pixels(24, 30)
    Image.fromarray(pixels).save(tmp_path / f"a.{suffix}", lossless=True)
    np.testing.assert_array_equal(read_images(str(tmp_path)).usable[0].pixels, pixels)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_all_modes_become_rgb(tmp_path, mode):
    image = Image.fromarray(sample_pixels(24, 30))
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) << 8)
    else:
        image = image.convert("RGBA").convert(mode) if mode == "LA" else image.convert(mode)
    image.save(tmp_path / "a.tif")
    pixels = read_images(str(tmp_path)).usable[0].pixels
    assert pixels.dtype == np.uint8 and pixels.shape == (24, 30, 3)
    assert pixels.max() > pixels.min()


def test_16_bit_grey_is_scaled_not_clipped(tmp_path):
    grey = np.arange(32 * 32, dtype=np.uint16).reshape(32, 32) * 64
    Image.fromarray(grey).save(tmp_path / "a.png")
    pixels = read_images(str(tmp_path)).usable[0].pixels
    np.testing.assert_array_equal(pixels[..., 0], grey >> 8)


def test_transparent_palette_becomes_rgb(tmp_path):
    image = Image.fromarray(sample_pixels(24, 24)).convert("P")
    image.save(tmp_path / "a.png", transparency=b"\x00\x80")
    assert read_images(str(tmp_path)).usable[0].pixels.shape == (24, 24, 3)


def test_exif_turn_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(sample_pixels(24, 40)).save(tmp_path / "a.jpg", exif=exif)
    assert read_images(str(tmp_path)).usable[0].pixels.shape == (40, 24, 3)


def test_all_unusable_images_are_named(tmp_path):
    folder = write_samples(tmp_path / "images", 2)
    (folder / "torn.png").write_bytes((folder / "im_1.png").read_bytes()[:200])
    (folder / "text.jpg").write_text("not an image")
    Image.fromarray(sample_pixels(20, 100)).save(folder / "flat.bmp")
    names = r"flat\.bmp: 100x20.*text\.jpg.*torn\.png"
    with pytest.raises(BadDataError, match=f"{names}.*remove them$"):
        read_images(str(folder), smallest_side=32)
    with pytest.raises(BadDataError, match="--skip-bad$"):
        read_images(str(folder), smallest_side=32, advice=SKIP_BAD)


def test_unusable_images_can_be_skipped(tmp_path):
    folder = write_samples(tmp_path / "images", 2)
    (folder / "text.jpg").write_text("not an image")
    images = read_images(str(folder), skip_bad=True)
    assert [image.name for image in images.usable] == ["im_1.png", "im_2.png"]
    assert len(images.skipped) == 1 and images.skipped[0].startswith("text.jpg: ")


def test_hidden_files_are_no_images(tmp_path):
    """macOS lays ._x.png, which is no image, beside x.png on disks that are not its own."""
    folder = write_samples(tmp_path / "images", 2)
    for name in ("._im_1.png", ".hidden.png", ".DS_Store"):
        (folder / name).write_bytes(b"\x00\x05\x16\x07")
    images = read_images(str(folder))
    assert [image.name for image in images.usable] == ["im_1.png", "im_2.png"]
    assert not images.skipped


def test_what_is_no_regular_file_is_named_and_never_opened(tmp_path):
    folder = write_samples(tmp_path / "images", 1)
    os.mkfifo(folder / "pipe.png")
    (folder / "linked.png").symlink_to(folder / "pipe.png")
    (folder / "null.png").symlink_to("/dev/null")
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    (folder / "round.png").symlink_to(folder / "round.png")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket.png"))
        images = read_images(str(folder), skip_bad=True)
    assert [image.name for image in images.usable] == ["im_1.png"]
    assert sorted(images.skipped) == [
        "gone.png: is a link that leads nowhere",
        "linked.png: is a named pipe, no regular file",
        "null.png: is a device, no regular file",
        "pipe.png: is a named pipe, no regular file",
        "round.png: cannot be read (Too many levels of symbolic links)",
        "socket.png: is a socket, no regular file",
    ]
    with pytest.raises(BadDataError, match="6 unusable of 7 images"):
        read_images(str(folder))
    with pytest.raises(BadDataError, match="a named pipe"):
        read_bytes(str(folder / "pipe.png"))


def test_a_link_to_an_image_is_one(tmp_path):
    folder = write_samples(tmp_path / "elsewhere", 1)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").symlink_to(folder / "im_1.png")
    assert len(read_images(str(tmp_path / "images")).usable) == 1


def test_names_that_fsspec_would_take_for_a_chain_of_urls(tmp_path):
    folder = write_samples(tmp_path / "in::dir", 1)
    (folder / "im_1.png").rename(folder / "a::zip::b.png")
    assert [image.name for image in read_images(str(folder)).usable] == ["a::zip::b.png"]
    content = (folder / "a::zip::b.png").read_bytes()
    fsspec.filesystem("memory").pipe_file("/odd folder/a::zip::b.png", content)
    (image,) = read_images("memory://odd folder").usable
    assert image.name == "a::zip::b.png"


def test_a_name_that_is_no_text_is_shown_as_text(tmp_path):
    folder = write_samples(tmp_path / "images", 1)
    (folder / "im_1.png").rename(os.fsdecode(os.fsencode(folder) + b"/latin1-\xe9\xff.png"))
    (image,) = read_images(str(folder)).usable
    assert image.name == "latin1-\\xe9\\xff.png"
    image.name.encode()


def test_a_scheme_that_nobody_knows(tmp_path):
    with pytest.raises(OptionsError, match="no file system hfds:// is known"):
        read_images("hfds://pc1/images")


def test_decompression_bomb_is_refused_before_it_is_decoded():
    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0))
    # There are no pixels at all: only the header can have been looked at.
    with pytest.raises(BadDataError, match="100000"):
        decode_image(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b""))


def test_limit_on_pixels(tmp_path):
    Image.fromarray(sample_pixels(30, 40)).save(tmp_path / "a.png")
    with pytest.raises(BadDataError, match="40x30 is more than 1000 pixels"):
        read_images(str(tmp_path), largest_pixels=1000)


def test_other_files_and_folders_are_left_alone(tmp_path):
    folder = write_samples(tmp_path / "images", 1)
    (folder / "README.txt").write_text("about these images")
    (folder / "deeper.png").mkdir()
    assert len(read_images(str(folder)).usable) == 1


def test_missing_and_empty_folders(tmp_path):
    with pytest.raises(MissingDataError, match="nowhere"):
        read_images(str(tmp_path / "nowhere"))
    with pytest.raises(MissingDataError, match="no usable image"):
        read_images(str(tmp_path))


WITHOUT_RIGHTS = """
import os, sys
from srgan.errors import MissingDataError
from srgan.image_folder import read_images
os.getuid() or os.setuid(65534)
try:
    read_images(sys.argv[1])
except MissingDataError as error:
    print(error)
"""


def test_folder_without_rights():
    """For a process that has not root's."""
    with tempfile.TemporaryDirectory() as place:
        folder = write_samples(Path(place) / "images", 1)
        Path(place).chmod(0o755)
        folder.chmod(0)
        command = [sys.executable, "-c", WITHOUT_RIGHTS, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
        folder.chmod(0o700)
    assert done.stdout.strip() == f"{folder}: no right to read this folder", done.stderr


def test_remote_folder(tmp_path):
    folder = write_samples(tmp_path / "images", 2)
    remote = fsspec.filesystem("memory")
    remote.put(str(folder), "/pictures", recursive=True)
    local = read_images(str(folder)).usable
    for ours, theirs in zip(read_images("memory://pictures").usable, local, strict=True):
        assert ours.name == theirs.name
        np.testing.assert_array_equal(ours.pixels, theirs.pixels)
