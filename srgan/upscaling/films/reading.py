"""Reading films: what a file lists, and those of its frames that can be decoded, in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, cast

import av
from av.container import InputContainer
from av.stream import Disposition, Stream

from srgan.errors import BadDataError

NO_FILM = Disposition.attached_pic | Disposition.timed_thumbnails
"""Video streams that are pictures: covers, previews."""

ATTEMPTS = 20
"""How often reading goes on behind what cannot be read."""

LEAST_LOSS = Fraction(1, 2)
"""Seconds that must lack at the end of a file before it counts as cut off."""

_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""FFmpeg's own decoders leave their transparency out."""


@dataclass
class Health:
    """What went wrong while reading, and what was noticed."""

    errors: int = 0
    notes: list[str] = field(default_factory=list)

    def note(self, line: str) -> None:
        """Keep a line, once."""
        if line not in self.notes:
            self.notes.append(line)


@dataclass(frozen=True)
class OpenFilm:
    """A film's file, open for reading."""

    container: InputContainer
    """PyAV's object for the file."""
    stream: av.VideoStream
    """The one with the frames."""
    has_alpha: bool
    """Whether frames have transparent parts."""

    @property
    def unit(self) -> Fraction:
        """Seconds of a unit of the stream's times."""
        assert self.stream.time_base is not None
        return self.stream.time_base

    def packets(self, streams: Sequence[Stream], health: Health) -> Iterator[av.Packet]:
        """The packets of some streams as they come; none that is empty."""
        for _ in range(ATTEMPTS):
            try:
                for packet in self.container.demux(*streams):
                    if packet.size:
                        yield packet
                return
            except av.FFmpegError:
                health.errors += 1

    def frames(self, seek: int | None, health: Health) -> Iterator[av.VideoFrame]:
        """Frames in the order of their times; those that cannot be decoded are left out.

        Args:
            seek: decoding time of the key frame to begin at; None for the beginning.
            health: gets the errors.
        """
        if seek is not None:
            self.container.seek(seek, stream=self.stream, backward=True)
        name = self.stream.codec_context.name
        decoder = self.stream.codec_context
        if self.has_alpha and name in _ALPHA_DECODERS:
            created = av.CodecContext.create(_ALPHA_DECODERS[name], "r")
            decoder = cast(av.VideoCodecContext, created)
        for packet in self.packets([self.stream], health):
            try:
                yield from _timed(decoder.decode(packet), health)
            except av.FFmpegError:
                health.errors += 1
        try:
            yield from _timed(decoder.decode(None), health)
        except av.FFmpegError:
            health.errors += 1


def _timed(frames: Sequence[av.VideoFrame], health: Health) -> Iterator[av.VideoFrame]:
    for frame in frames:
        if frame.is_corrupt:
            health.errors += 1
        if frame.pts is not None:
            yield frame


def side_data_of(frame: av.VideoFrame) -> dict[str, bytes]:
    """What a frame carries beside its pixels, by FFmpeg's names."""
    # Its values() fails.
    data: Any = iter(frame.side_data)
    return {one.type.name: bytes(one) for one in data}


@contextmanager
def open_film(path: str) -> Iterator[OpenFilm]:
    """Open a film's file.

    Raises:
        BadDataError: it holds no film.
    """
    try:
        container = av.open(path, metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise BadDataError(f"no film, or damaged ({_reason(error)})") from error
    with container:
        stream = _film_of(container)
        has_alpha = stream.metadata.get("alpha_mode") == "1" or _alpha_format(stream)
        yield OpenFilm(container, stream, has_alpha)


def _alpha_format(stream: av.VideoStream) -> bool:
    pixel_format = stream.codec_context.format
    if pixel_format is None or pixel_format.has_palette:
        return False
    return any(part.is_alpha for part in pixel_format.components)


def _film_of(container: InputContainer) -> av.VideoStream:
    pictures = 0
    for stream in container.streams.video:
        if stream.disposition & NO_FILM:
            pictures += 1
        elif stream.codec_context is None:
            raise BadDataError("its film is of a codec that FFmpeg does not know")
        else:
            return stream
    if pictures and container.streams.audio:
        raise BadDataError("holds sound and a cover, but no film")
    raise BadDataError("holds no film")


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


@dataclass(frozen=True)
class FilmTimes:
    """When a film's frames are shown, in units of its stream's times."""

    shown: Sequence[int]
    """Times of the frames that are shown, ascending."""
    keys: Sequence[tuple[int, int]]
    """Presentation and decoding times of all key frames, ascending."""
    last_duration: int
    """How long the last frame stands; 0 if the file does not say."""
    missing: str | None
    """What the file's header promises and its content lacks, in a line."""


class TimesReader:
    """Collects the times of a film from its packets, in whatever order the streams are read."""

    def __init__(self, film: OpenFilm) -> None:
        """Nothing is seen yet."""
        self._film = film
        self._shown: list[int] = []
        self._keys: list[tuple[int, int]] = []
        self._last = (0, 0)
        self._listed = 0
        self._end = Fraction(0)

    def see(self, packet: av.Packet) -> None:
        """Look at a packet of any stream.

        Raises:
            BadDataError: a frame has no time.
        """
        if packet.pts is not None:
            end = (packet.pts + (packet.duration or 0)) * packet.time_base
            self._end = max(self._end, end)
        if packet.stream is not self._film.stream:
            return
        self._listed += 1
        if packet.pts is None:
            raise BadDataError("a frame has no time; convert it to MP4 first")
        if packet.is_keyframe:
            decoding = packet.pts if packet.dts is None else packet.dts
            self._keys.append((packet.pts, decoding))
        # Hidden by an edit list: needed to decode others, never shown.
        if not packet.is_discard:
            self._shown.append(packet.pts)
            self._last = max(self._last, (packet.pts, packet.duration or 0))

    def times(self) -> FilmTimes:
        """What was seen.

        Raises:
            BadDataError: no frame that is shown, or none to begin with.
        """
        if not self._shown or not self._keys:
            raise BadDataError("holds no frames")
        return FilmTimes(sorted(self._shown), sorted(self._keys), self._last[1], self._missing())

    def _missing(self) -> str | None:
        stream = self._film.stream
        # MP4 alone lists its frames in advance; edit lists have been applied to this list.
        promised = len(stream.index_entries) if stream.frames else 0
        if promised > self._listed:
            return f"{promised - self._listed} of {promised} frames are not in the file"
        whole = Fraction(self._film.container.duration or 0, 1_000_000)
        if whole - self._end > LEAST_LOSS:
            return f"ends at {float(self._end):.2f} of {float(whole):.2f} seconds"
        return None


def read_times(film: OpenFilm, health: Health) -> FilmTimes:
    """Read the whole file, without decoding anything.

    Raises:
        BadDataError: frames have no times, or there are none.
    """
    reader = TimesReader(film)
    for packet in film.packets([], health):
        reader.see(packet)
    return reader.times()
