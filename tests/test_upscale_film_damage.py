"""Films that are cut, hidden in part or damaged: what can be shown is done, the rest is named."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from films import (
    HEIGHT,
    RATE,
    WIDTH,
    frames_of,
    numbered_frame,
    seconds_of,
    upscale_film,
    write_pictures,
)

PICTURES = [numbered_frame(number) for number in range(100)]


@pytest.fixture(autouse=True)
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some thirty frames each."""
    monkeypatch.setattr("srgan.upscaling.pieces.SEGMENT_PIXELS", 30 * WIDTH * HEIGHT)


def hidden_until(source: Path, target: Path, first: int) -> Path:
    """A copy whose first frames an edit list hides, as cutting by copying does."""
    with av.open(str(source)) as container, av.open(str(target), "w") as output:
        stream: Any = output.add_stream_from_template(container.streams.video[0], opaque=True)
        for packet in container.demux(video=0):
            if packet.size:
                packet.stream = stream
                offset = round(Fraction(first, RATE) / packet.time_base)
                packet.pts = (packet.pts or 0) - offset
                packet.dts = (packet.dts or 0) - offset
                output.mux(packet)
    return target


def test_frames_that_an_edit_list_hides(tmp_path: Path) -> None:
    """One group of frames, of which the first sixty are never shown: two segments of nothing."""
    whole = write_pictures(tmp_path / "whole.mp4", PICTURES, g="250", bf="0")
    source = hidden_until(whole, tmp_path / "cut.mp4", 60)
    result = upscale_film(source, tmp_path / "out")
    assert result.segments == 2
    assert frames_of(result.path)[0] == list(range(60, 100))
    times = frames_of(result.path)[1]
    assert (times[0], times[-1]) == (pytest.approx(0, abs=0.01), pytest.approx(39 / RATE, abs=0.01))
    assert seconds_of(result.path) == pytest.approx(40 / RATE, abs=0.01)
    assert (result.notes, result.damage) == ([], None)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_file_that_is_cut_off(suffix: str, tmp_path: Path) -> None:
    source = tmp_path / f"whole{suffix}"
    options = {"movflags": "faststart"} if suffix == ".mp4" else {}
    write_pictures(tmp_path / f"first{suffix}", PICTURES, g="10", bf="0")
    with (
        av.open(str(tmp_path / f"first{suffix}")) as container,
        av.open(str(source), "w", container_options=options) as output,
    ):
        stream = output.add_stream_from_template(container.streams.video[0], opaque=True)
        for packet in container.demux(video=0):
            if packet.size:
                packet.stream = stream
                output.mux(packet)
    content = source.read_bytes()
    source.write_bytes(content[: len(content) * 7 // 10])
    result = upscale_film(source, tmp_path / "out")
    numbers = frames_of(result.path)[0]
    assert numbers == list(range(len(numbers)))
    assert 40 < len(numbers) < 90
    assert result.damage is not None
    if suffix == ".mp4":
        assert " of 100 frames are not in the file" in result.damage
    else:
        assert result.damage.endswith("of 4.00 seconds")


def test_a_hole_in_the_middle(tmp_path: Path) -> None:
    """Half a second of zeros: what stands before and behind is done, with its times."""
    source = write_pictures(tmp_path / "a.mp4", PICTURES, g="10", bf="0", sc_threshold="0")
    with av.open(str(source)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.size]
    content = bytearray(source.read_bytes())
    begin, end = places[45], places[57]
    assert begin and end
    content[begin:end] = bytes(end - begin)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(content)
    result = upscale_film(broken, tmp_path / "out")
    numbers, times, _ = frames_of(result.path)
    assert set(range(40)) <= set(numbers) and set(range(60, 100)) <= set(numbers)
    assert result.damage is not None and "frames" in result.damage
    whole = dict(zip(*frames_of(source)[:2], strict=True))
    for number, time in zip(numbers, times, strict=True):
        if number < 40 or number >= 60:
            assert time == pytest.approx(whole[number], abs=0.002)


def test_a_film_of_which_nothing_can_be_decoded(tmp_path: Path) -> None:
    source = write_pictures(tmp_path / "a.mkv", PICTURES[:20], g="250", bf="0")
    with av.open(str(source)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.size]
    content = bytearray(source.read_bytes())
    assert places[0]
    content[places[0] + 12 : -200] = bytes(len(content) - 200 - places[0] - 12)
    broken = shutil.copy(source, tmp_path / "broken.mkv")
    Path(broken).write_bytes(content)
    with pytest.raises(Exception, match=r"none of its frames can be decoded|holds no frames"):
        upscale_film(tmp_path / "broken.mkv", tmp_path / "out")
