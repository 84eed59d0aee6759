"""Which files are upscaled, and which places are refused."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from conftest import ROOT

from srgan.errors import BadDataError, MissingDataError, OptionsError
from srgan.upscaling.inputs import find_entries


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


def test_what_exists_by_its_name_is_no_pattern(folder: Path) -> None:
    for name in ("photos[1]/a.png", "photos[1]/b*.png", "photos1/c.png", "photos[1]/x[0-9]/d.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    out = folder / "out"
    assert names(folder / "photos[1]", out) == ["a.png", "b*.png", "x[0-9]/d.png"]
    assert names(folder / "photos[1]/a.png", out) == ["a.png"]
    assert names(f"{folder}/photos[1]/*.png", out) == ["a.png", "b*.png"]
    assert names(f"{folder}/photos[1]/b*.png", out) == ["b*.png"]
    assert names(f"{folder}/photos[1]/**/[a-d].png", out) == ["a.png", "x[0-9]/d.png"]
    assert names(f"{folder}/photos[1]/x[0-9]/*.png", out) == ["d.png"]
    # What is in brackets is still a pattern where nothing has this very name.
    assert names(f"{folder}/photo[rs]1/*.png", out) == ["photos1/c.png"]
    assert names(f"{folder}/*/x[0-9]/*.png", out) == ["photos[1]/x[0-9]/d.png"]
    with pytest.raises(OptionsError, match="inside"):
        names(f"{folder}/photos[1]/**/*.png", folder / "photos[1]/x[0-9]")
    with pytest.raises(MissingDataError, match="no such file or folder"):
        names(f"{folder}/photos[1]/none.png", out)


@pytest.mark.parametrize("name", ["a::b.png", "in::dir/a.png", "zip::a/b::.png", "memory::x.png"])
def test_names_that_fsspec_would_take_for_a_chain_of_urls(name: str, tmp_path: Path) -> None:
    path = tmp_path / "in" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    output = tmp_path / "out::dir"
    (entry,) = find_entries(str(tmp_path / "in"), str(output)).entries
    assert (entry.name, entry.source, entry.target) == (name, str(path), f"{output}/{name}")
    assert names(path, output) == [path.name]
    assert names(f"{path.parent}/*.png", output) == [path.name]


def test_links_to_files(folder: Path) -> None:
    (folder / "elsewhere.png").write_bytes(b"x")
    (folder / "in/linked.png").symlink_to(folder / "elsewhere.png")
    (folder / "in/gone.png").symlink_to(folder / "nowhere.png")
    found = find_entries(str(folder / "in"), str(folder / "out"))
    assert "linked.png" in [entry.name for entry in found.entries]
    (gone,) = found.unusable
    assert (gone.name, gone.reason) == ("gone.png", "is a link that leads nowhere")


def test_linked_folders_are_followed_each_once(folder: Path) -> None:
    for name in ("disk/d.png", "disk/deeper/e.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    (folder / "disk/back").symlink_to(folder / "in")
    (folder / "in/a-disk").symlink_to(folder / "disk")
    (folder / "in/deep-again").symlink_to(folder / "in/deep")
    (folder / "in/loop").symlink_to(folder / "in")
    (folder / "in/up").symlink_to(folder)
    (folder / "in/z-deeper").symlink_to(folder / "disk/deeper")
    found = find_entries(str(folder / "in"), str(folder / "out"))
    assert [entry.name for entry in found.entries] == [
        *("a 'q\"\n日本.JPG", "a-disk/d.png", "a-disk/deeper/e.png", "b.png", "deep/c.mp4"),
    ]
    assert {one.name: one.reason for one in found.left_out} == {
        "a-disk/back": "leads to the folder itself, which is in the list already",
        "deep-again": "leads to deep, which is in the list already",
        "loop": "leads to the folder itself, which is in the list already",
        "up": "leads to a folder around the one that was given",
        "z-deeper": "leads to a-disk/deeper, which is in the list already",
    }
    # Results there would be found by the next run.
    with pytest.raises(OptionsError, match="inside"):
        names(folder / "in", folder / "disk/large")


def test_what_is_no_regular_file_is_named_and_never_opened(folder: Path) -> None:
    os.mkfifo(folder / "in/pipe.png")
    os.mkfifo(folder / "in/control")
    (folder / "in/linked.mp4").symlink_to(folder / "in/pipe.png")
    (folder / "in/null.png").symlink_to("/dev/null")
    found = find_entries(str(folder / "in"), str(folder / "out"))
    assert len(found.entries) == 3
    assert {one.name: one.reason for one in found.unusable} == {
        "linked.mp4": "is a named pipe, no regular file",
        "null.png": "is a device, no regular file",
        "pipe.png": "is a named pipe, no regular file",
    }
    assert sorted(found.others) == ["control", "notes.txt"]
    with pytest.raises(BadDataError, match="pipe.png: is a named pipe, no regular file"):
        names(folder / "in/pipe.png", folder / "out")
    assert names(f"{folder}/in/*.png", folder / "out") == ["b.png"]


WITHOUT_RIGHTS = """
import os, sys
from srgan.upscaling.inputs import find_entries
os.getuid() or os.setuid(65534)
found = find_entries(sys.argv[1], sys.argv[2])
print([one.name for one in found.entries], [(one.name, one.reason) for one in found.unusable])
"""


def test_a_folder_that_may_not_be_read_does_not_stop_the_others() -> None:
    """By a process that has not root's rights, in a folder that it can get to."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        folder.chmod(0o755)
        (folder / "in").mkdir()
        (folder / "in/x.png").write_bytes(b"x")
        (folder / "in/lost+found").mkdir(mode=0)
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_RIGHTS, str(folder / "in"), str(folder / "out")],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    unusable = [("lost+found", "is a folder that may not be read")]
    assert done.stdout.strip() == f"{['x.png']} {unusable}"


def test_a_hidden_file_says_why_it_is_left_out(folder: Path) -> None:
    with pytest.raises(BadDataError, match="begin with a dot"):
        names(folder / "in/.d.png", folder / "out")


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
