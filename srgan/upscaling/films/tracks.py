"""Everything in a film's file but its frames: sound, subtitles, chapters, covers, names, dates.

What the container can hold is copied as it is; the rest is named.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import av
from av.container import OutputContainer
from av.stream import AttachmentStream, Disposition, Stream

from srgan.errors import BadDataError
from srgan.upscaling.films.codecs import Encoding
from srgan.upscaling.films.matroska import ROOM
from srgan.upscaling.films.reading import NO_FILM, OpenFilm

FORMATS = {".mkv": "matroska", ".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".webm": "webm"}
TITLES = {".mkv": "Matroska", ".mp4": "MP4", ".m4v": "MP4", ".mov": "QuickTime", ".webm": "WebM"}
SUFFIXES = frozenset(FORMATS)
MATROSKA = frozenset({".mkv", ".webm"})
OPTIONS = {suffix: {"default_mode": "passthrough"} for suffix in MATROSKA}
"""Without this the first track of a kind is marked as the default one where none is."""

# Of the file that was, not of what it tells.
_TECHNICAL = {
    "major_brand",
    "minor_version",
    "compatible_brands",
    "encoder",
    "vendor_id",
    "rotate",
    "duration",
    "alpha_mode",
    "filename",
    "mimetype",
}
_TECHNICAL_STARTS = ("_statistics", "bps", "number_of_", "duration-", "_statistics_")
# What these muxers write by themselves, or have no other word for.
_IMPLIED = {("handler_name", ""), ("language", "und")}
_HANDLERS = {"videohandler", "soundhandler", "subtitlehandler", "datahandler"}


@dataclass(frozen=True)
class Tracks:
    """The streams of a result."""

    film: av.VideoStream
    """The stream of the frames."""
    copied: Mapping[int, Stream]
    """By the number of the source's stream."""


def check_sound(film: OpenFilm, suffix: str) -> tuple[str, ...]:
    """What of a film's file a result will not keep, or in another form; a line each.

    Raises:
        BadDataError: its container cannot hold the sound, without which nobody wants a film.
    """
    notes = []
    for stream in film.container.streams:
        if stream is film.stream or _is_kept(stream, suffix):
            if stream.type == "video" and stream is not film.stream and not is_picture(stream):
                notes.append(f"{_name(stream)} is kept as it is, not enlarged")
            continue
        if stream.type == "audio":
            raise BadDataError(
                f"{_name(stream)} has no place in {TITLES[suffix]}; rename it to .mkv"
            )
        # A time code is kept as a word of the film's track, chapters as chapters.
        if stream.type == "data" and (stream.metadata.get("timecode") or film.container.chapters()):
            continue
        notes.append(f"{_name(stream)} is not kept: {TITLES[suffix]} has no place for it")
    return tuple(notes)


def add_tracks(film: OpenFilm, output: OutputContainer, suffix: str, encoding: Encoding) -> Tracks:
    """Give a result its streams, in the order of the source's, and all that is said of them."""
    container = film.container
    pictures = _pictures(film) if suffix == ".mkv" else {}
    copied: dict[int, Stream] = {}
    new_film: av.VideoStream | None = None
    for stream in container.streams:
        if stream is film.stream:
            new_film = encoding.open(output)
            new_film.time_base = stream.time_base
            _describe(stream, new_film)
            if encoding.aspect and suffix in MATROSKA:
                new_film.metadata["title"] = new_film.metadata.get("title", "") + ROOM
        elif stream.index in pictures:
            name = stream.metadata.get("filename", f"cover{_picture_suffix(stream)}")
            kind = stream.metadata.get("mimetype", f"image/{_picture_suffix(stream)[1:]}")
            output.add_attachment(name, kind.replace("jpg", "jpeg"), pictures[stream.index])
        elif isinstance(stream, AttachmentStream) and suffix == ".mkv":
            name, kind = stream.name or "attachment", stream.mimetype or "application/octet-stream"
            attachment = output.add_attachment(name, kind, stream.data)
            attachment.metadata.update(_words(stream.metadata))
        elif _is_kept(stream, suffix):
            new = output.add_stream_from_template(stream, opaque=True)
            _describe(stream, new)
            copied[stream.index] = new
    output.metadata.update(_words(container.metadata))
    chapters = container.chapters()
    if chapters:
        output.set_chapters(chapters)
    assert new_film is not None
    return Tracks(new_film, copied)


def lost(source: OpenFilm, result: OpenFilm, suffix: str) -> list[str]:
    """What the words in a result lack of its source's, after both were read; a line each."""
    lines = []
    missing = _missing_words(source.container.metadata, result.container.metadata)
    if missing:
        lines.append(f"texts ({', '.join(missing)}) are not kept: {_no_place(suffix)}")
    count, new_count = (len(one.container.chapters()) for one in (source, result))
    if new_count < count:
        lines.append(f"{count - new_count} of {count} chapters are not kept: {_no_place(suffix)}")
    for kind, streams, new_streams in _by_kind(source, result):
        expected = [one for one in streams if _is_kept(one, suffix) or one is source.stream]
        if len(new_streams) < len(expected):
            lacking = len(expected) - len(new_streams)
            some = f"{lacking} of {len(expected)} {kind}s"
            lines.append(f"{some} are not kept: {_no_place(suffix)}")
            continue
        for stream, new in zip(expected, new_streams, strict=False):
            missing = _missing_words(stream.metadata, new.metadata)
            gone = stream.disposition & ~new.disposition
            flags = [flag.name or "" for flag in Disposition if flag & gone]
            for what, names in (("texts", missing), ("flags", flags)):
                if names:
                    of_which = f"{what} ({', '.join(names)}) of {_name(stream)}"
                    lines.append(f"{of_which} are not kept: {_no_place(suffix)}")
    return lines


def _by_kind(
    source: OpenFilm, result: OpenFilm
) -> Iterator[tuple[str, list[Stream], list[Stream]]]:
    for kind in ("film track", "cover", "sound track", "subtitle", "attachment"):
        both = [
            [stream for stream in one.container.streams if _kind(stream) == kind]
            for one in (source, result)
        ]
        yield kind, both[0], both[1]


def _no_place(suffix: str) -> str:
    return f"{TITLES[suffix]} has no place for them"


def is_picture(stream: Stream) -> bool:
    """Whether a video stream is a cover or the like."""
    return bool(stream.disposition & NO_FILM)


def _is_kept(stream: Stream, suffix: str) -> bool:
    """Whether a container can hold a stream, tried with nothing else in it."""
    if suffix == ".mkv" and (stream.type == "attachment" or is_picture(stream)):
        return True
    if stream.type in ("attachment", "data", "unknown"):
        return False
    try:
        with av.open(io.BytesIO(), "w", format=FORMATS[suffix]) as output:
            output.add_stream_from_template(stream, opaque=True)
            output.start_encoding()
    except (ValueError, av.FFmpegError):
        return False
    return True


def _pictures(film: OpenFilm) -> dict[int, bytes]:
    """The content of the covers, by the numbers of their streams."""
    wanted = [one for one in film.container.streams.video if is_picture(one)]
    if not wanted:
        return {}
    found: dict[int, bytes] = {}
    # Opened once more, so that the film's packets are still to come.
    with av.open(film.container.name) as container:
        streams = [container.streams[one.index] for one in wanted]
        for packet in container.demux(*streams):
            if packet.size:
                found.setdefault(packet.stream.index, bytes(packet))
            if len(found) == len(wanted):
                break
    return found


def _picture_suffix(stream: Stream) -> str:
    return {"mjpeg": ".jpg"}.get(stream.codec_context.name, f".{stream.codec_context.name}")


def _describe(stream: Stream, new: Stream) -> None:
    words = _words(stream.metadata)
    if "name" in words:
        # As _missing_words says, and when it writes it takes the other.
        words.setdefault("title", words["name"])
    new.metadata.update(words)
    new.disposition = stream.disposition


def _words(metadata: Mapping[str, str]) -> dict[str, str]:
    """What a file says that is not of its own making."""
    return {
        name: value
        for name, value in metadata.items()
        if name.lower() not in _TECHNICAL
        and not name.lower().startswith(_TECHNICAL_STARTS)
        and (name.lower(), value.lower()) not in _IMPLIED
        and not (name.lower() == "handler_name" and value.lower() in _HANDLERS)
    }


def _missing_words(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    kept = {name.lower() for name in new}
    if "name" in kept:
        # FFmpeg's word for a track's title in MP4, when it reads.
        kept.add("title")
    return sorted(name for name in _words(old) if name.lower() not in kept)


def _kind(stream: Stream) -> str:
    kinds = {"video": "film track", "audio": "sound track"}
    return "cover" if is_picture(stream) else kinds.get(stream.type, stream.type)


def _name(stream: Stream) -> str:
    """What a message calls a stream."""
    kind = _kind(stream)
    context = stream.codec_context
    words = [context.name if context is not None else str(getattr(stream, "name", None) or "")]
    language = stream.metadata.get("language", "und")
    if language != "und":
        words.append(language)
    if stream.type == "attachment":
        words = [stream.name or "without a name"]
    shown = ", ".join(word for word in words if word)
    return f"{kind} {stream.index}" + (f" ({shown})" if shown else "")
