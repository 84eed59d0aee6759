"""Small films for tests, and what is in the results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np

from srgan.upscaling import worker
from srgan.upscaling.films.codecs import Encoding
from srgan.upscaling.inputs import find_entries
from srgan.upscaling.model_choice import read_model
from srgan.upscaling.output_options import DEFAULTS, OutputOptions

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


class Upscaled(NamedTuple):
    """What came of a film."""

    path: Path
    segments: int
    notes: Sequence[str]
    damage: str | None
    encoding: Encoding


def upscale_film(source: Path, folder: Path, options: OutputOptions = DEFAULTS) -> Upscaled:
    """Upscale a film by bicubic interpolation, as the executors do."""
    tools = worker.Tools(read_model("bicubic"), 512, 200, 1, options)
    (entry,) = find_entries(str(source), str(folder), options).entries
    work = worker.cut(entry, str(folder / ".upscaling"), tools)
    assert work is not None and work.encoding is not None
    # In any order: the executors take them as they are free.
    for piece in reversed(work.pieces):
        worker.do(piece, tools, "cpu")
    done = worker.put_together(work, options)
    assert done.size == Path(entry.target).stat().st_size
    notes = [*work.notes, *done.notes]
    return Upscaled(Path(entry.target), len(work.pieces), notes, done.damage, work.encoding)


def write_pictures(
    path: Path,
    pictures: Sequence[np.ndarray],
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    kind: str = "rgb24",
    format: str | None = None,
    set_up: Callable[[Any], None] = lambda stream: None,
    **options: str,
) -> Path:
    """A film of these pictures, 25 a second; `set_up` is called with its stream."""
    with av.open(str(path), "w", format=format) as output:
        video: Any = output.add_stream(codec, rate=RATE, options=options)
        video.height, video.width = pictures[0].shape[:2]
        video.pix_fmt = pixel_format
        set_up(video)
        matrix = int(video.codec_context.colorspace)
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(picture, format=kind)
            frame = frame.reformat(
                format=pixel_format,
                dst_colorspace=matrix if matrix in (1, 5, 9) else 5,
                dst_color_range=int(video.codec_context.color_range) or 1,
            )
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    return path


def flat(colour: Sequence[int], width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A picture of one colour."""
    return np.full((height, width, len(colour)), colour, np.uint8)


def first_frame(path: Path, decoder: str | None = None) -> av.VideoFrame:
    """By FFmpeg's own decoder or a named one."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if decoder is None:
            return next(container.decode(stream))
        context: Any = av.CodecContext.create(decoder, "r")
        for packet in container.demux(stream):
            for frame in context.decode(packet if packet.size else None):
                return frame
    raise AssertionError("no frame")


def tags_of(path: Path) -> tuple[int, int, int, int]:
    """Primaries, transfer, matrix and range that a file names."""
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        return (
            int(context.color_primaries),
            int(context.color_trc),
            int(context.colorspace),
            int(context.color_range),
        )


def seconds_of(path: Path) -> float:
    """How long a file says that it lasts."""
    with av.open(str(path)) as container:
        return (container.duration or 0) / 1e6
