"""Which files are upscaled, and which places are refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from srgan.errors import BadDataError, MissingDataError, OptionsError
from srgan.upscaling.inputs import find_entries, finished


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("in/b.png", "in/a 'q\"\n日本.JPG", "in/deep/c.mp4", "in/notes.txt", "in/.d.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def names(source: Path | str, output: Path) -> list[str]:
    return [entry.name for entry in find_entries(str(source), str(output)).entries]


def test_a_folder_is_searched_to_its_depth(folder: Path) -> None:
    found = find_entries(str(folder / "in"), str(folder / "out"))
    assert [entry.name for entry in found.entries] == ["a 'q\"\n日本.JPG", "b.png", "deep/c.mp4"]
    assert [entry.kind for entry in found.entries] == ["image", "image", "video"]
    assert found.entries[2].target == f"{folder}/out/deep/c.mp4"
    assert found.others == ["notes.txt"]


def test_a_file_and_a_pattern(folder: Path) -> None:
    assert names(folder / "in/b.png", folder / "out") == ["b.png"]
    assert names(f"{folder}/in/*.png", folder / "out") == ["b.png"]
    assert names(f"{folder}/*/deep/*", folder / "out") == ["in/deep/c.mp4"]
    assert names(f"{folder}/in/**/*.mp4", folder / "out") == ["deep/c.mp4"]


def test_links(folder: Path) -> None:
    (folder / "in/loop").symlink_to(folder / "in")
    (folder / "in/gone.png").symlink_to(folder / "nowhere.png")
    assert names(folder / "in", folder / "out")[-1] == "gone.png"


@pytest.mark.parametrize("output", ["in", "in/out", "in/deep/../out", "link/out"])
def test_an_output_inside_the_input_is_refused(folder: Path, output: str) -> None:
    (folder / "link").symlink_to(folder / "in")
    with pytest.raises(OptionsError, match="inside"):
        names(folder / "in", folder / output)


def test_an_output_that_is_a_file_or_leads_elsewhere_is_refused(folder: Path) -> None:
    with pytest.raises(OptionsError, match="is a file"):
        names(folder / "in", folder / "in/b.png")
    (folder / "out").mkdir()
    (folder / "elsewhere").mkdir()
    (folder / "out/deep").symlink_to(folder / "elsewhere")
    with pytest.raises(OptionsError, match="leads out of the folder"):
        names(folder / "in", folder / "out")


def test_an_input_is_never_overwritten(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "in/b.png").unlink()
    (folder / "out/b.png").write_bytes(b"original")
    (folder / "in/b.png").symlink_to(folder / "out/b.png")
    with pytest.raises(OptionsError, match="one of the inputs"):
        names(folder / "in", folder / "out")


def test_names_that_collide_are_refused(folder: Path) -> None:
    (folder / "in/B.png").write_bytes(b"x")
    with pytest.raises(OptionsError, match="'B.png' and 'b.png'|'b.png' and 'B.png'"):
        names(folder / "in", folder / "out")


def test_nothing_to_do_is_an_error(folder: Path) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(MissingDataError, match="no image or video"):
        names(folder / "empty", folder / "out")
    with pytest.raises(MissingDataError, match="no such file or folder"):
        names(folder / "absent", folder / "out")
    with pytest.raises(BadDataError, match="neither image nor video"):
        names(folder / "in/notes.txt", folder / "out")


def test_a_result_counts_while_its_source_is_not_newer(folder: Path) -> None:
    (entry,) = find_entries(str(folder / "in/b.png"), str(folder / "out")).entries
    assert not finished(entry)
    target = Path(entry.target)
    target.parent.mkdir()
    target.write_bytes(b"")
    assert not finished(entry), "an empty file is no result"
    target.write_bytes(b"result")
    assert finished(entry)
    os.utime(entry.source, (target.stat().st_mtime + 10,) * 2)
    (entry,) = find_entries(str(folder / "in/b.png"), str(folder / "out")).entries
    assert not finished(entry)
