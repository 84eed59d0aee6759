"""A segment of a film: decoded, upscaled and encoded by itself."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from srgan.upscaling.films.colours import UNSAID, colours_of, from_rgb, to_rgb
from srgan.upscaling.films.frames import segment_frames
from srgan.upscaling.films.reading import Health, OpenFilm, open_film
from srgan.upscaling.films.segments import SegmentTable, SegmentWriter
from srgan.upscaling.pieces import Segment
from srgan.upscaling.tiles import Box, Upscaler
from srgan.upscaling.transparency import upscale_transparent


def upscale_segment(path: str, segment: Segment, upscaler: Upscaler, target: Path) -> SegmentTable:
    """Upscale the frames of a segment and encode them for `joining.join_segments`.

    Frames that cannot be decoded are left out; there may be none that can.

    Args:
        path: the film.
        segment: which of its frames.
        upscaler: the network.
        target: file for the result.

    Returns:
        What was written.

    Raises:
        BadDataError: it is no film any more.
    """
    health = Health()
    times: list[int] = []
    # The encoder wants a container around it; its packets are kept apart from that.
    with open_film(path) as film, SegmentWriter(target) as writer, _nowhere() as nowhere:
        encoding = segment.encoding
        encoder = encoding.open(nowhere)
        written = 0
        for time, pixels in _pixels(film, segment, upscaler, health):
            frame = from_rgb(pixels, encoding.colours, encoding.pixel_format)
            frame.pts, frame.time_base = len(times), encoder.codec_context.time_base
            times.append(time)
            for packet in encoder.encode(frame):
                writer.add(times[written], packet)
                written += 1
        if times:
            for packet in encoder.encode(None):
                writer.add(times[written], packet)
                written += 1
        return writer.finish(health.errors, health.notes)


def _nowhere() -> av.container.OutputContainer:
    return av.open("/dev/null", "w", format="nut")


def _pixels(
    film: OpenFilm, segment: Segment, upscaler: Upscaler, health: Health
) -> Iterator[tuple[int, np.ndarray]]:
    """Times and upscaled pixels of frames, as many at a time as the network may take."""
    encoding = segment.encoding
    size = (encoding.width // upscaler.scale, encoding.height // upscaler.scale)
    at_a_time = max(1, upscaler.pixels // (size[0] * size[1]))
    frames = segment_frames(film, segment, health)
    while batch := list(itertools.islice(frames, at_a_time)):
        low = []
        for _, frame in batch:
            if (frame.width, frame.height) != size:
                health.note(
                    f"frames of {frame.width}x{frame.height} are brought to the size of the first "
                    f"one, {size[0]}x{size[1]}"
                )
            colours = colours_of(frame)
            if colours.matrix == UNSAID:
                colours = colours._replace(true_matrix=encoding.colours.true_matrix)
            low.append(
                to_rgb(frame, colours, size, deep=encoding.is_deep, has_alpha=encoding.has_alpha)
            )
        pixels = np.stack(low)
        inner = Box(0, 0, *size)
        if encoding.has_alpha:
            high = upscale_transparent(pixels, inner, upscaler)
        else:
            high = upscaler.upscale(pixels, inner)
        yield from zip((time for time, _ in batch), high, strict=True)
