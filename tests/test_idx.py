"""The IDX reader takes what is MNIST, and names what is not."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from conftest import write_digits
from hypothesis import given
from hypothesis import strategies as st

from lenet.errors import BadDataError, MissingDataError
from lenet.idx import FILES, Digits, read_digits, read_images, read_labels

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
LABELS = np.array([0, 1, 9, 5, 3], dtype=np.uint8)


def image_file(path: Path, header: tuple[int, ...] = (2051, 5, 28, 28), tail: bytes = b"") -> str:
    path.write_bytes(struct.pack(f">{len(header)}i", *header) + IMAGES.tobytes() + tail)
    return str(path)


def label_file(path: Path, header: tuple[int, ...] = (2049, 5), labels: bytes = b"") -> str:
    path.write_bytes(struct.pack(f">{len(header)}i", *header) + (labels or LABELS.tobytes()))
    return str(path)


@pytest.mark.parametrize("packed", [False, True])
def test_reads_raw_and_gzipped(tmp_path: Path, packed: bool) -> None:
    write_digits(tmp_path, "train", Digits(IMAGES, LABELS))
    if packed:
        for name in FILES["train"]:
            (tmp_path / f"{name}.gz").write_bytes(gzip.compress((tmp_path / name).read_bytes()))
            (tmp_path / name).unlink()
    digits = read_digits(str(tmp_path), "train")
    assert np.array_equal(digits.images, IMAGES)
    assert np.array_equal(digits.labels, LABELS)


def test_reads_the_real_mnist(mnist: str) -> None:
    train, test = read_digits(mnist, "train"), read_digits(mnist, "test")
    assert (len(train), len(test)) == (60000, 10000)
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert train.images.mean() == pytest.approx(33.318, abs=0.001)


@pytest.mark.parametrize(
    ("header", "tail", "message"),
    [
        ((2049, 5, 28, 28), b"", "magic number 2049"),
        ((2051, 6, 28, 28), b"", "too short"),
        ((2051, 5, 28, 28), b"x", "too long"),
        ((2051, 5, 20, 28), b"", "too long"),
        ((2051, 5, 14, 56), b"", "images of 14x56"),
        ((2051, -5, 28, 28), b"", "no MNIST"),
        ((2051, 0, 28, 28), b"", "no MNIST"),
        ((2051, 2**30, 28, 28), b"", "no MNIST"),
    ],
)
def test_wrong_images_are_named(
    tmp_path: Path, header: tuple[int, ...], tail: bytes, message: str
) -> None:
    path = image_file(tmp_path / "images", header, tail)
    with pytest.raises(BadDataError, match=message) as error:
        read_images(path)
    assert path in str(error.value)


@pytest.mark.parametrize(
    ("header", "labels", "message"),
    [
        ((2051, 5), b"", "magic number 2051"),
        ((2049, 5), b"\x00\x01\x02\x0a\x04", "record 3 has label 10"),
        ((2049, 4), b"", "too long"),
        ((2049, 9), b"", "too short"),
        ((2049,), b"\x00", "too short for an IDX header"),
    ],
)
def test_wrong_labels_are_named(
    tmp_path: Path, header: tuple[int, ...], labels: bytes, message: str
) -> None:
    path = label_file(tmp_path / "labels", header, labels)
    with pytest.raises(BadDataError, match=message) as error:
        read_labels(path)
    assert path in str(error.value)


def test_images_and_labels_must_belong_together(tmp_path: Path) -> None:
    write_digits(tmp_path, "train", Digits(IMAGES, LABELS[:4]))
    with pytest.raises(BadDataError, match="5 images, .* 4 labels"):
        read_digits(str(tmp_path), "train")


def test_missing_files_are_named_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="train-images-idx3-ubyte.*fetch_data.py"):
        read_digits(str(tmp_path), "train")
    (tmp_path / "folder").mkdir()
    with pytest.raises(MissingDataError, match="directory"):
        read_images(str(tmp_path / "folder"))


def test_names_that_fsspec_would_take_for_a_chain_of_urls(tmp_path: Path) -> None:
    folder = tmp_path / "mn::ist"
    folder.mkdir()
    write_digits(folder, "test", Digits(IMAGES, LABELS))
    assert len(read_digits(str(folder), "test")) == 5


def test_names_with_a_dot_as_some_archives_have_them(tmp_path: Path) -> None:
    write_digits(tmp_path, "train", Digits(IMAGES, LABELS))
    for name in FILES["train"]:
        (tmp_path / name).rename(tmp_path / name.replace("-idx", ".idx"))
    assert np.array_equal(read_digits(str(tmp_path), "train").images, IMAGES)


def test_which_of_a_raw_and_a_packed_file_is_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_digits(tmp_path, "train", Digits(IMAGES, LABELS))
    name = FILES["train"][1]
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress((tmp_path / name).read_bytes()))
    read_digits(str(tmp_path), "train")
    assert not caplog.records
    for other in (gzip.compress(struct.pack(">2i", 2049, 5) + bytes(5)), b"\x1f\x8b", b""):
        packed.write_bytes(other)
        caplog.clear()
        assert np.array_equal(read_digits(str(tmp_path), "train").labels, LABELS)
        assert f"{name} is read, not ['{name}.gz'], which differ" in caplog.text


@pytest.mark.parametrize("page", [b"<!DOCTYPE html><title>Log in</title>", b"\n<HTML><body>"])
def test_a_web_page_in_a_file_s_place_is_named_as_such(tmp_path: Path, page: bytes) -> None:
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(page)
    with pytest.raises(BadDataError, match="ubyte.gz: is a web page"):
        read_images(str(path))


def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadDataError, match="pipe: is no regular file"):
        read_images(str(tmp_path / "pipe"))


def test_damaged_gzip_is_bad_data(tmp_path: Path) -> None:
    whole = gzip.compress(Path(image_file(tmp_path / "images")).read_bytes())
    for number, content in enumerate((whole[:-100], whole[:60] + b"\xff" * 60 + whole[120:])):
        path = tmp_path / f"{number}.gz"
        path.write_bytes(content)
        with pytest.raises(BadDataError, match=str(path)):
            read_images(str(path))


def test_gzip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    # 2 GB of zeros behind a header that promises 5 images: only what is promised may be read.
    bomb = tmp_path / "bomb.gz"
    with gzip.open(bomb, "wb", compresslevel=1) as file:
        file.write(struct.pack(">4i", 2051, 5, 28, 28))
        block = bytes(1 << 24)
        for _ in range(128):
            file.write(block)
    with pytest.raises(BadDataError, match="too long"):
        read_images(str(bomb))


@given(content=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "file"
    path.write_bytes(content)
    with pytest.raises(BadDataError, match=str(path)):
        read_images(str(path))
    try:
        labels = read_labels(str(path))
    except BadDataError as error:
        assert str(path) in str(error)
    else:
        assert content == struct.pack(">2i", 2049, len(labels)) + labels.tobytes()
        assert labels.max() <= 9
