"""Videos: every frame once and in order, with its time, and the sound untouched."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from srgan.errors import BadDataError
from srgan.upscaling import videos, worker
from srgan.upscaling.inputs import find_entries
from srgan.upscaling.model_choice import read_model
from srgan.upscaling.pieces import Segment

WIDTH, HEIGHT, RATE = 64, 48, 25
BITS = 8
SOUND_RATE = 48_000


def numbered_frame(number: int) -> np.ndarray:
    """A frame of eight bright or dark stripes that spell its number."""
    pixels = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    for bit in range(BITS):
        stripe = slice(bit * WIDTH // BITS, (bit + 1) * WIDTH // BITS)
        pixels[:, stripe] = 220 if number >> bit & 1 else 30
    return pixels


def number_of(pixels: np.ndarray) -> int:
    """The number that a frame's stripes spell, whatever its size."""
    height, width, _ = pixels.shape
    centres = [pixels[height // 2, (2 * bit + 1) * width // (2 * BITS)] for bit in range(BITS)]
    return sum(int(colour.mean() > 125) << bit for bit, colour in enumerate(centres))


def write_film(path: Path, seconds: float, codec: str, sound: str, **options: str) -> Path:
    """A film of numbered frames (modulo 256) with a tone."""
    with av.open(str(path), "w") as output:
        video: Any = output.add_stream(codec, rate=RATE, options=options)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio: Any = output.add_stream(sound, rate=SOUND_RATE, layout="mono")
        for number in range(round(seconds * RATE)):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number % 256), format="rgb24")
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
        times = np.arange(round(seconds * SOUND_RATE)) / SOUND_RATE
        tone = (0.3 * np.sin(2 * np.pi * 440 * times)).astype(np.float32)
        kind = audio.codec_context.format.name
        for first in range(0, len(tone), 960):
            chunk = tone[None, first : first + 960]
            if kind == "s16":
                chunk = (chunk * 32767).astype(np.int16)
            samples = av.AudioFrame.from_ndarray(chunk, format=kind, layout="mono")
            samples.rate, samples.pts, samples.time_base = SOUND_RATE, first, Fraction(1, 48000)
            output.mux(audio.encode(samples))
        output.mux(audio.encode(None))
    return path


def frames_of(path: Path) -> tuple[list[int], list[float], Any]:
    """Numbers and times of the frames, and the average rate."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        numbers, times = [], []
        for frame in container.decode(stream):
            numbers.append(number_of(frame.to_ndarray(format="rgb24")))
            times.append(frame.time)
        return numbers, times, stream.average_rate


def sound_of(path: Path) -> list[bytes]:
    """The packets of the first sound track, as they are stored."""
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(container.streams.audio[0]) if packet]


def upscale_film(source: Path, folder: Path) -> tuple[Path, int]:
    """The result, and into how many segments it was cut."""
    tools = worker.Tools(read_model("bicubic"), 512, 200, 1)
    (entry,) = find_entries(str(source), str(folder)).entries
    work = worker.cut(entry, str(folder / ".upscaling"), tools)
    # In any order: the executors take them as they are free.
    for piece in reversed(work.pieces):
        worker.do(piece, tools, "cpu")
    worker.put_together(work)
    return Path(entry.target), len(work.pieces)


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
    target, segments = upscale_film(source, tmp_path / "out")
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


def test_a_video_without_sound(tmp_path: Path) -> None:
    source = tmp_path / "silent.mp4"
    with av.open(str(source), "w") as output:
        video: Any = output.add_stream("libx264", rate=RATE)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(10):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number), format="rgb24")
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    target, segments = upscale_film(source, tmp_path / "out")
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
    target, _ = upscale_film(source, tmp_path / "out")
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
    target, _ = upscale_film(source, tmp_path / "out")
    assert frames_of(target)[0] == list(range(20))
    assert frames_of(target)[1] == pytest.approx(frames_of(source)[1], abs=0.002)


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mp4", 1, "libx264", "aac")
    (tmp_path / "cut.mp4").write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    (tmp_path / "text.mkv").write_text("hello")
    (tmp_path / "empty.webm").write_bytes(b"")
    for name in ("cut.mp4", "text.mkv", "empty.webm"):
        with pytest.raises(BadDataError):
            videos.probe_video(str(tmp_path / name), 200)
    with pytest.raises(BadDataError, match=r"64x48 are more than 0\.001 megapixels"):
        videos.probe_video(str(film), 0.001)


def test_a_damaged_segment_is_an_error(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mkv", 2, "libx264", "libopus")
    tools = worker.Tools(read_model("bicubic"), 512, 200, 1)
    beyond = Segment(start=10**9, end=None, seek=0, frames=5)
    with pytest.raises(BadDataError, match="no frame"):
        videos.upscale_segment(str(film), beyond, tools.upscaler("cpu"), tmp_path / "x.nut")
