"""Films: every frame once and in order, with its time, and the sound untouched."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from films import HEIGHT, RATE, WIDTH, frames_of, numbered_frame, sound_of, upscale_film, write_film

from srgan.errors import BadDataError
from srgan.upscaling.films.planning import plan_film
from srgan.upscaling.output_options import DEFAULTS


@pytest.mark.parametrize(
    ("name", "codec", "sound", "options"),
    [
        ("long-groups.mp4", "libx264", "aac", {}),
        ("short-groups.mp4", "libx264", "aac", {"g": "10", "bf": "3", "x264-params": "open-gop=1"}),
        ("a.mkv", "libx264", "libopus", {"g": "30"}),
        ("a.webm", "libvpx-vp9", "libopus", {"deadline": "realtime", "cpu-used": "8"}),
        ("old.webm", "libvpx", "libopus", {"deadline": "realtime", "auto-alt-ref": "1"}),
    ],
)
def test_frames_keep_their_order_and_times_and_the_sound_its_bytes(
    name: str,
    codec: str,
    sound: str,
    options: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("srgan.upscaling.pieces.SEGMENT_PIXELS", 16 * WIDTH * HEIGHT)
    source = write_film(tmp_path / name, 3, codec, sound, **options)
    target, segments, *_ = upscale_film(source, tmp_path / "out")
    assert segments == 5
    numbers, times, rate = frames_of(source)
    assert numbers == list(range(75))
    new_numbers, new_times, new_rate = frames_of(target)
    assert new_numbers == numbers
    assert new_times == pytest.approx(times, abs=0.002)
    assert float(new_rate) == pytest.approx(float(rate), rel=0.01)
    assert sound_of(target) == sound_of(source)
    with av.open(str(target)) as container:
        context = container.streams.video[0].codec_context
        assert (context.width, context.height) == (4 * WIDTH, 4 * HEIGHT)
        assert container.format.name == av.open(str(source)).format.name


def test_a_film_without_sound(tmp_path: Path) -> None:
    source = tmp_path / "silent.mp4"
    with av.open(str(source), "w") as output:
        video: Any = output.add_stream("libx264", rate=RATE)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(10):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number), format="rgb24")
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    target, segments, *_ = upscale_film(source, tmp_path / "out")
    assert (frames_of(target)[0], segments) == (list(range(10)), 1)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_player_turns_the_result_as_it_turns_the_source(name: str, tmp_path: Path) -> None:
    source = tmp_path / name
    with av.open(str(source), "w") as output:
        video: Any = output.add_stream("libx264", rate=RATE)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.set_display_rotation(90)
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number), format="rgb24")
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    target, *_ = upscale_film(source, tmp_path / "out")
    rotations = []
    for path in (source, target):
        with av.open(str(path)) as container:
            rotations.append(next(container.decode(video=0)).rotation)
    assert rotations[0] == rotations[1] != 0


def test_uneven_times_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srgan.upscaling.pieces.SEGMENT_PIXELS", 8 * WIDTH * HEIGHT)
    source = tmp_path / "uneven.mkv"
    with av.open(str(source), "w") as output:
        video: Any = output.add_stream("libx264", rate=RATE)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.codec_context.time_base = Fraction(1, 1000)
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number), format="rgb24")
            frame.pts, frame.time_base = 40 * number + 7 * (number % 3), Fraction(1, 1000)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    target, *_ = upscale_film(source, tmp_path / "out")
    assert frames_of(target)[0] == list(range(20))
    assert frames_of(target)[1] == pytest.approx(frames_of(source)[1], abs=0.002)


def test_what_is_no_film_is_refused(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mp4", 1, "libx264", "aac")
    (tmp_path / "cut.mp4").write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    (tmp_path / "text.mkv").write_text("hello")
    (tmp_path / "empty.webm").write_bytes(b"")
    for name in ("cut.mp4", "text.mkv", "empty.webm"):
        with pytest.raises(BadDataError):
            plan_film(str(tmp_path / name), name[-4:], 4, 200, DEFAULTS)
    with pytest.raises(BadDataError, match=r"64x48 are more than 0\.001 megapixels"):
        plan_film(str(film), ".mp4", 4, 0.001, DEFAULTS)
