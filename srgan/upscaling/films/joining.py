"""A film's result from its segments, with all else that its file held."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av

from srgan.errors import BadDataError
from srgan.upscaling.films.codecs import Encoding
from srgan.upscaling.films.matroska import set_display_size
from srgan.upscaling.films.reading import FilmTimes, Health, OpenFilm, TimesReader, open_film
from srgan.upscaling.films.segments import SegmentTable, read_packets, read_table
from srgan.upscaling.films.tracks import (
    FORMATS,
    MATROSKA,
    OPTIONS,
    Tracks,
    add_tracks,
    is_picture,
    lost,
)
from srgan.upscaling.pieces import Segment

EARLY = Fraction(1, 10)
"""Seconds before the beginning from which on hidden sound is kept: decoders start with it."""


class Joined(NamedTuple):
    """What became of a film."""

    notes: Sequence[str] = ()
    """What the result does not keep, or how it was changed; a line each."""
    damage: str | None = None
    """What is missing because the source is damaged, in a line."""


def join_segments(
    target: Path,
    files: Sequence[Path],
    segments: Sequence[Segment],
    source: str,
    encoding: Encoding,
) -> Joined:
    """Put encoded segments together with all else that the film's file holds.

    Args:
        target: the file; its suffix says which container.
        files: those of `upscaling.upscale_segment`, in order.
        segments: what they are of.
        source: the film.
        encoding: of the result.

    Raises:
        BadDataError: there is no frame in any segment.
    """
    suffix = target.suffix.lower()
    tables = [read_table(file) for file in files]
    if not any(table.packets for table in tables):
        raise BadDataError("none of its frames can be decoded")
    with open_film(source) as film:
        # What stands at the end of the file must be known before the last frame is written.
        reader = TimesReader(film)
        for packet in film.packets([], Health()):
            reader.see(packet)
        times = reader.times()
    with (
        open_film(source) as film,
        av.open(
            str(target),
            "w",
            format=FORMATS[suffix],
            container_options=dict(OPTIONS.get(suffix, {})),
        ) as output,
    ):
        tracks = add_tracks(film, output, suffix, encoding)
        packets = heapq.merge(
            _film_packets(files, tables, times, tracks, film=film),
            _other_packets(film, tracks),
            key=_when,
        )
        for packet in packets:
            output.mux(packet)
    if encoding.aspect and suffix in MATROSKA:
        set_display_size(target, encoding.width, encoding.height, encoding.aspect)
    notes = [note for table in tables for note in table.notes]
    with open_film(source) as film, open_film(str(target)) as result:
        notes += lost(film, result, suffix)
        damage = _damage(segments, tables, times, film.unit)
    return Joined(list(dict.fromkeys(notes)), damage)


def _film_packets(
    files: Sequence[Path],
    tables: Sequence[SegmentTable],
    times: FilmTimes,
    tracks: Tracks,
    film: OpenFilm,
) -> Iterator[av.Packet]:
    starts = [record.time for table in tables for record in table.packets]
    # How long each stands: until the next, and the last as long as in the source.
    ends = iter([*starts[1:], starts[-1] + times.last_duration])
    before: int | None = None
    for file, table in zip(files, tables, strict=True):
        for record, packet in zip(table.packets, read_packets(file, table), strict=True):
            end = next(ends)
            if before is not None and record.time <= before:
                continue
            before = record.time
            packet.duration = max(0, end - record.time)
            packet.stream, packet.time_base = tracks.film, film.unit
            yield packet


def _other_packets(film: OpenFilm, tracks: Tracks) -> Iterator[av.Packet]:
    streams = [film.container.streams[index] for index in tracks.copied]
    if not streams:
        return
    for packet in film.packets(streams, Health()):
        if packet.pts is None and packet.dts is None:
            if not is_picture(packet.stream):
                continue
            packet.pts = packet.dts = 0
        end = _when(packet) + (packet.duration or 0) * packet.time_base
        if packet.is_discard and end < -EARLY:
            continue
        packet.stream = tracks.copied[packet.stream.index]
        yield packet


def _when(packet: av.Packet) -> Fraction:
    """Seconds at which a packet is to be in the file."""
    time = packet.pts if packet.dts is None else packet.dts
    assert time is not None
    return time * packet.time_base


def _damage(
    segments: Sequence[Segment],
    tables: Sequence[SegmentTable],
    times: FilmTimes,
    unit: Fraction,
) -> str | None:
    parts = [] if times.missing is None else [times.missing]
    lacking: list[int] = []
    damaged = False
    for segment, table in zip(segments, tables, strict=True):
        if not table.errors:
            # Some codecs list frames that are never shown.
            continue
        damaged = True
        there = {record.time for record in table.packets}
        lacking += [
            time
            for time in times.shown
            if time >= segment.start
            and (segment.end is None or time < segment.end)
            and time not in there
        ]
    if lacking:
        at = float(min(lacking) * unit)
        parts.append(
            f"{len(lacking)} of {len(times.shown)} frames cannot be decoded, "
            f"the first at {at:.2f} s"
        )
    elif damaged:
        parts.append("some frames are damaged and shown as far as they could be decoded")
    return "; ".join(parts) or None
