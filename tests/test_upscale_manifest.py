"""What is done again and what is not: the manifest of an output folder."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from PIL import Image
from srgan_samples import sample_pixels

from srgan.errors import BadDataError, OptionsError
from srgan.upscaling import worker
from srgan.upscaling.inputs import find_entries
from srgan.upscaling.manifest import MANIFEST, Manifest
from srgan.upscaling.model_choice import read_model

TOOLS = worker.Tools(read_model("bicubic"), 512, 200, 1)
Folders = tuple[Path, Path]


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """An input folder with three pictures, and the output folder."""
    source = tmp_path / "in"
    (source / "deep").mkdir(parents=True)
    for number, name in enumerate(("a.png", "b.png", "deep/c.png")):
        draw(source / name, number)
    return source, tmp_path / "out"


def draw(path: Path, seed: int) -> None:
    Image.fromarray(sample_pixels(24, 30, seed)).save(path)


def upscale(
    source: Path | str,
    output: Path | str,
    model: bytes = TOOLS.model,
    options: str = "",
    fresh: bool = False,
    killed_after: int | None = None,
) -> list[str]:
    """What the job does, without Spark; the names of what was upscaled.

    Args:
        killed_after: so many results; nothing is written any more then.
    """
    manifest = Manifest(str(output), model, options, fresh)
    works = []
    status = manifest.status(find_entries(str(source), str(output)).entries)
    for entry in status.waiting:
        work = worker.cut(entry, f"{output}/.upscaling", TOOLS)
        if work is None:
            manifest.unchanged(entry)
        else:
            works.append(work)
    manifest.begin([work.entry for work in works])
    done: list[str] = []
    for work in works:
        (piece,) = work.pieces
        size = worker.do(piece, TOOLS, "cpu").size
        done.append(work.entry.name)
        if len(done) == killed_after:
            return done
        assert size is not None
        manifest.finished(work.entry, size)
    manifest.close()
    return done


def is_result_of(target: Path, source: Path) -> bool:
    """Whether it is four times the source, as Pillow reads both."""
    with Image.open(source) as small, Image.open(target) as large:
        reduced = large.resize(small.size, Image.Resampling.BOX)
        difference = np.abs(np.asarray(reduced).astype(int) - np.asarray(small))
        return large.size == (4 * small.width, 4 * small.height) and difference.mean() < 4


def with_time_of(path: Path, change: Callable[[], object]) -> None:
    """Change a file and give it the time that it had."""
    found = path.stat()
    change()
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def test_nothing_is_done_twice(folders: Folders) -> None:
    source, output = folders
    assert upscale(source, output) == ["a.png", "b.png", "deep/c.png"]
    written = (output / MANIFEST).stat().st_mtime_ns
    assert upscale(source, output) == []
    assert (output / MANIFEST).stat().st_mtime_ns == written
    draw(source / "d.png", 4)
    assert upscale(source, output) == ["d.png"]
    (output / "b.png").unlink()
    assert upscale(source, output) == ["b.png"]
    assert upscale(source, output) == []


def test_a_picture_replaced_by_an_older_one_is_done_again(folders: Folders) -> None:
    source, output = folders
    upscale(source, output)
    draw(source / "a.png", 7)
    os.utime(source / "a.png", (1e9, 1e9))
    assert upscale(source, output) == ["a.png"]
    assert is_result_of(output / "a.png", source / "a.png")
    assert upscale(source, output) == []


def test_an_edit_that_keeps_size_and_time_is_done_again(folders: Folders) -> None:
    source, output = folders
    path = source / "a.bmp"
    draw(path, 1)
    upscale(source, output)
    size = path.stat().st_size
    with_time_of(path, lambda: draw(path, 7))
    assert path.stat().st_size == size
    assert upscale(source, output) == ["a.bmp"]
    assert is_result_of(output / "a.bmp", path)


def test_other_times_without_another_content_are_not(folders: Folders, tmp_path: Path) -> None:
    source, output = folders
    upscale(source, output)
    os.utime(source / "a.png")
    (source / "b.png").chmod(0o600)
    os.link(source / "deep/c.png", tmp_path / "backup.png")
    assert upscale(source, output) == []
    # Noted down, so that they are not read again every night.
    status = Manifest(str(output), TOOLS.model).status(
        find_entries(str(source), str(output)).entries
    )
    assert (status.done, status.waiting) == (3, [])
    # Moved to another disk, results as well.
    shutil.copytree(source, tmp_path / "other")
    shutil.copytree(output, tmp_path / "results")
    assert upscale(tmp_path / "other", tmp_path / "results") == []


def test_a_file_of_the_future_is_done_once(folders: Folders) -> None:
    source, output = folders
    os.utime(source / "a.png", (time.time() + 1e8,) * 2)
    assert upscale(source, output) == ["a.png", "b.png", "deep/c.png"]
    assert upscale(source, output) == []


@pytest.mark.parametrize("bytes_left", [0, 100])
def test_a_result_that_was_cut_off_is_made_again(folders: Folders, bytes_left: int) -> None:
    source, output = folders
    upscale(source, output)
    os.truncate(output / "b.png", bytes_left)
    assert upscale(source, output) == ["b.png"]
    assert is_result_of(output / "b.png", source / "b.png")


def test_what_is_in_the_way_is_named_and_the_rest_done(folders: Folders) -> None:
    source, output = folders
    (output / "a.png").mkdir(parents=True)
    (output / "deep").write_text("a file")
    status = Manifest(str(output), TOOLS.model).status(
        find_entries(str(source), str(output)).entries
    )
    assert [entry.name for entry in status.waiting] == ["b.png"]
    assert {entry.name: reason for entry, reason in status.blocked} == {
        "a.png": "a folder of that name is in the way in the output folder",
        "deep/c.png": "deep is in the way in the output folder: a file, not a folder",
    }
    assert upscale(source, output) == ["b.png"]
    (output / "a.png").rmdir()
    (output / "deep").unlink()
    assert upscale(source, output) == ["a.png", "deep/c.png"]


def test_a_killed_run_loses_nothing(folders: Folders) -> None:
    source, output = folders
    assert upscale(source, output, killed_after=2) == ["a.png", "b.png"]
    # The second is not in the manifest, but nothing was there before.
    assert upscale(source, output) == ["deep/c.png"]
    for number, name in enumerate(("a.png", "b.png", "deep/c.png")):
        draw(source / name, 10 + number)
        os.utime(source / name, (1e9, 1e9))
    assert upscale(source, output, killed_after=1) == ["a.png"]
    assert upscale(source, output) == ["b.png", "deep/c.png"]
    assert upscale(source, output) == []
    assert is_result_of(output / "deep/c.png", source / "deep/c.png")


def test_what_a_killed_run_recorded_is_known_to_be_cut_off(folders: Folders) -> None:
    source, output = folders
    upscale(source, output, killed_after=2)
    # The last line may have been cut off, too, where the machine lost its power.
    with open(output / MANIFEST, "ab") as file:
        file.write(b'{"name":"b.png","sou')
    os.truncate(output / "a.png", 100)
    assert upscale(source, output) == ["a.png", "deep/c.png"]


def test_fresh_does_all_again_even_in_two_runs(folders: Folders) -> None:
    source, output = folders
    upscale(source, output)
    other = read_model("default")
    with pytest.raises(OptionsError, match="results of another model.*--fresh"):
        upscale(source, output, other)
    assert upscale(source, output, other, fresh=True, killed_after=1) == ["a.png"]
    assert upscale(source, output, other) == ["b.png", "deep/c.png"]
    with pytest.raises(OptionsError, match="results of another model"):
        upscale(source, output)


def test_results_of_other_options_are_refused(folders: Folders) -> None:
    source, output = folders
    upscale(source, output, options="scale 2")
    with pytest.raises(OptionsError, match=r"other options \(was scale 2, is defaults\).*--fresh"):
        upscale(source, output)
    assert upscale(source, output, options="scale 2") == []


def test_results_of_earlier_versions_are_taken_over(folders: Folders) -> None:
    source, output = folders
    upscale(source, output)
    header = json.loads((output / MANIFEST).read_text().splitlines()[0])
    # So all of the manifest looked.
    (output / MANIFEST).write_text(json.dumps({"model": header["model"]}) + "\n")
    assert upscale(source, output) == []
    assert len((output / MANIFEST).read_text().splitlines()) == 4
    # Other rights are no other content; another time may be one.
    (source / "a.png").chmod(0o600)
    assert upscale(source, output) == []
    os.utime(source / "b.png", (1e9, 1e9))
    assert upscale(source, output) == ["b.png"]
    with pytest.raises(OptionsError, match="results of another model"):
        upscale(source, output, read_model("default"))


def test_a_damaged_manifest_is_named(folders: Folders) -> None:
    source, output = folders
    upscale(source, output)
    (output / MANIFEST).write_bytes(b"\0" * 300)
    with pytest.raises(BadDataError, match=r"\.upscale\.json: damaged.*--fresh"):
        upscale(source, output)


def test_two_inputs_may_share_an_output(folders: Folders, tmp_path: Path) -> None:
    source, output = folders
    upscale(source, output)
    (tmp_path / "second").mkdir()
    draw(tmp_path / "second/z.png", 5)
    assert upscale(tmp_path / "second", output) == ["z.png"]
    assert upscale(source, output) == []


def test_names_that_are_no_text(folders: Folders) -> None:
    source, output = folders
    name = os.fsdecode(b"latin1-\xe9\xff.bmp")
    draw(source / "x.bmp", 3)
    (source / "x.bmp").rename(source / name)
    assert name in upscale(source, output)
    assert upscale(source, output) == []


def test_a_file_system_that_cannot_append(tmp_path: Path) -> None:
    """Where a job is killed, what lies there tells."""
    files = fsspec.filesystem("memory")
    for number in range(3):
        draw(tmp_path / "x.png", number)
        files.pipe_file(f"/photos 2/{number}::.png", (tmp_path / "x.png").read_bytes())
    places = ("memory:///photos 2", "memory:///large 2")
    assert upscale(*places, killed_after=2) == ["0::.png", "1::.png"]
    assert upscale(*places) == ["2::.png"]
    assert upscale(*places) == []
    files.pipe_file("/large 2/1::.png", files.cat_file("/large 2/1::.png")[:50])
    assert upscale(*places) == ["1::.png"]
    files.pipe_file("/photos 2/2::.png", files.cat_file("/photos 2/0::.png"))
    assert upscale(*places) == ["2::.png"]
    files.get_file("/large 2/2::.png", str(tmp_path / "large.png"))
    draw(tmp_path / "x.png", 0)
    assert is_result_of(tmp_path / "large.png", tmp_path / "x.png")


def test_each_of_many_files_is_asked_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking at a hundred thousand files on a network disk should not take the night."""
    source, output, count = tmp_path / "in", tmp_path / "out", 2000
    for folder in (source, output):
        folder.mkdir()
        for number in range(count):
            (folder / f"{number}.png").write_bytes(b"x")
    with closing(Manifest(str(output), TOOLS.model)) as manifest:
        assert manifest.status(find_entries(str(source), str(output)).entries).taken_over == count
    assert (output / MANIFEST).stat().st_size < 200 * count

    calls = dict.fromkeys(("stat", "lstat", "readlink"), 0)
    for name in calls:
        real = getattr(os, name)

        def count_and_call(*arguments: Any, name: str = name, real: Any = real, **more: Any) -> Any:
            calls[name] += 1
            return real(*arguments, **more)

        monkeypatch.setattr(os, name, count_and_call)
    manifest = Manifest(str(output), TOOLS.model)
    status = manifest.status(find_entries(str(source), str(output)).entries)
    assert (status.done, status.waiting) == (count, [])
    assert 2 * count <= sum(calls.values()) < 2 * count + 200
