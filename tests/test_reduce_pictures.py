"""scripts/reduce_pictures.py: what a training gets instead of large photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from srgan_samples import sample_pixels

import reduce_pictures


def test_large_pictures_become_smaller_and_small_ones_stay(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    Image.fromarray(sample_pixels(80, 200)).save(source / "wide.jpg", quality=95)
    Image.fromarray(sample_pixels(40, 30)).save(source / "small.png")
    arguments = [str(source), "--to", str(tmp_path / "out"), "--longest", "100"]
    assert reduce_pictures.main(arguments) == 0
    assert Image.open(tmp_path / "out/wide.png").size == (100, 40)
    small = np.asarray(Image.open(tmp_path / "out/small.png"))
    assert np.array_equal(small, sample_pixels(40, 30))


def test_every_picture_becomes_smaller_by_the_factor(tmp_path: Path) -> None:
    Image.fromarray(sample_pixels(90, 60)).save(tmp_path / "middle.png")
    Image.fromarray(sample_pixels(80, 600)).save(tmp_path / "wide.png")
    arguments = [str(tmp_path), "--to", str(tmp_path / "out"), "--longest", "100"]
    assert reduce_pictures.main([*arguments, "--shrink", "2"]) == 0
    assert Image.open(tmp_path / "out/middle.png").size == (30, 45)
    assert Image.open(tmp_path / "out/wide.png").size == (100, 13)


def test_a_folder_without_pictures_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reduce_pictures.main([str(tmp_path), "--to", str(tmp_path / "out")]) == 66
    assert str(tmp_path) in capsys.readouterr().err


def test_two_pictures_of_a_name_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, name in (("a", "dog.png"), ("b", "dog.jpg")):
        (tmp_path / folder).mkdir()
        Image.fromarray(sample_pixels(40, 30)).save(tmp_path / folder / name)
    folders = [str(tmp_path / "a"), str(tmp_path / "b")]
    for _ in range(2):
        assert reduce_pictures.main([folders[0], "--to", str(tmp_path / "out")]) == 0
    assert reduce_pictures.main([*folders, "--to", str(tmp_path / "out")]) == 65
    error = capsys.readouterr().err
    assert f"{folders[1]}/dog.jpg" in error and f"{folders[0]}/dog.png" in error
