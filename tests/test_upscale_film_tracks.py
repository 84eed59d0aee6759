"""What a film's file holds beside its frames, and what of it a result keeps or names."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from films import RATE, flat, numbered_frame, upscale_film, write_pictures
from PIL import Image

SOUND_RATE = 48_000
WORDS = {"title": "My film", "artist": "Somebody", "creation_time": "2020-05-06T07:08:09.000000Z"}
CHAPTERS = [("One", 0, 1000), ("Two", 1000, 2000)]
SUBTITLES = [(100, 800, "Hello"), (1100, 800, "World")]
FONT = bytes(range(256)) * 4


def cover() -> bytes:
    """A small JPEG file."""
    file = io.BytesIO()
    Image.new("RGB", (32, 32), (200, 30, 30)).save(file, "JPEG")
    return file.getvalue()


def write_rich_film(path: Path, second_film: bool = False) -> Path:
    """Two sound tracks, subtitles, chapters, words, and a cover or an attachment."""
    is_mp4 = path.suffix == ".mp4"
    with av.open(
        str(path), "w", container_options={} if is_mp4 else {"default_mode": "passthrough"}
    ) as output:
        film: Any = output.add_stream("libx264", rate=RATE, options={"bf": "0"})
        film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
        if is_mp4:
            film.metadata["timecode"] = "01:02:03:04"
        sounds: list[Any] = []
        for language in ("eng", "jpn"):
            sound: Any = output.add_stream("aac", rate=SOUND_RATE, layout="mono")
            sound.metadata["language"] = language
            sounds.append(sound)
        sounds[1].metadata["title"] = "Original"
        sounds[0].disposition, sounds[1].disposition = Disposition(0), Disposition.default
        texts = output.add_mux_stream("mov_text" if is_mp4 else "subrip")
        texts.time_base = Fraction(1, 1000)
        texts.metadata["language"] = "deu"
        texts.disposition = Disposition.forced
        shown: Any = None
        if is_mp4:
            shown = output.add_mux_stream("mjpeg", width=32, height=32)
            shown.disposition = Disposition.attached_pic
        else:
            output.add_attachment("font.ttf", "font/ttf", FONT)
            output.add_attachment("cover.jpg", "image/jpeg", cover())
        other: Any = None
        if second_film:
            other = output.add_stream("libx264", rate=RATE, options={"bf": "0"})
            other.width, other.height, other.pix_fmt = 32, 32, "yuv420p"
        output.metadata.update(WORDS)
        output.set_chapters(
            [
                {
                    **{"id": number, "start": start, "end": end, "time_base": Fraction(1, 1000)},
                    "metadata": {"title": title},
                }
                for number, (title, start, end) in enumerate(CHAPTERS)
            ]
        )
        output.start_encoding()
        if shown is not None:
            packet = av.Packet(cover())
            packet.stream, packet.time_base, packet.pts, packet.dts = (
                shown,
                Fraction(1, 90000),
                0,
                0,
            )
            packet.is_keyframe = True
            output.mux(packet)
        for number in range(2 * RATE):
            for stream, pixels in (
                (film, numbered_frame(number)),
                (other, flat((9, 9, 9), 32, 32)),
            ):
                if stream is not None:
                    output.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        for stream in filter(None, (film, other)):
            output.mux(stream.encode(None))
        for sound in sounds:
            for first in range(0, 2 * SOUND_RATE, 1024):
                samples = np.zeros((1, 1024), np.float32)
                frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
                frame.rate, frame.pts, frame.time_base = SOUND_RATE, first, Fraction(1, SOUND_RATE)
                output.mux(sound.encode(frame))
            output.mux(sound.encode(None))
        for start, duration, text in SUBTITLES:
            data = text.encode()
            packet = av.Packet(len(data).to_bytes(2, "big") + data if is_mp4 else data)
            packet.stream, packet.time_base = texts, Fraction(1, 1000)
            packet.pts = packet.dts = start
            packet.duration, packet.is_keyframe = duration, True
            output.mux(packet)
    return path


def description(path: Path) -> dict[str, Any]:
    """What a file says of itself and of its tracks."""
    with av.open(str(path)) as container:
        return {
            "words": {key: container.metadata.get(key) for key in WORDS}
            | {"artist": container.metadata.get("artist", container.metadata.get("ARTIST"))},
            "chapters": [
                (one["metadata"]["title"], float(one["start"] * one["time_base"]))
                for one in container.chapters()
            ],
            "tracks": [
                (
                    stream.type,
                    stream.metadata.get("language"),
                    stream.metadata.get("title", stream.metadata.get("name")),
                    stream.metadata.get("timecode"),
                    stream.disposition,
                )
                for stream in container.streams
                if stream.type in ("video", "audio", "subtitle")
            ],
            "attachments": [
                (stream.name, stream.mimetype, stream.data)
                for stream in container.streams
                if stream.type == "attachment"
            ],
        }


def packets_of(path: Path, kind: str) -> list[tuple[float, bytes]]:
    """Times and content of the packets of all tracks of a kind."""
    with av.open(str(path)) as container:
        streams = [one for one in container.streams if one.type == kind]
        return [
            (round(float((packet.pts or 0) * packet.time_base), 2), bytes(packet))
            for packet in container.demux(*streams)
            # MP4 fills the time between subtitles with empty ones.
            if packet.size and bytes(packet) != b"\0\0"
        ]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_all_tracks_and_words_are_kept(suffix: str, tmp_path: Path) -> None:
    source = write_rich_film(tmp_path / f"rich{suffix}")
    result = upscale_film(source, tmp_path / "out")
    old, new = description(source), description(result.path)
    assert new == old
    assert (result.notes, result.damage) == ([], None)
    assert old["words"] == WORDS
    assert old["chapters"] == [("One", 0.0), ("Two", 1.0)]
    kinds = [track[0] for track in old["tracks"]]
    assert kinds == ["video", "audio", "audio", "subtitle", "video"]
    assert [track[1:3] for track in old["tracks"][1:4]] == [
        ("eng", None),
        ("jpn", "Original"),
        ("deu", None),
    ]
    assert [bool(track[4] & Disposition.default) for track in old["tracks"][1:3]] == [False, True]
    assert old["tracks"][3][4] & Disposition.forced or suffix == ".mp4"
    assert old["tracks"][4][4] & Disposition.attached_pic
    if suffix == ".mp4":
        assert old["tracks"][0][3] == "01:02:03:04"
    else:
        assert old["attachments"] == [("font.ttf", "font/ttf", FONT)]
    assert packets_of(result.path, "subtitle") == packets_of(source, "subtitle")
    sounds = [sorted(packets_of(one, "audio")) for one in (source, result.path)]
    assert sounds[0] == sounds[1]
    with av.open(str(result.path)) as container:
        picture = container.streams.video[1]
        assert bytes(next(one for one in container.demux(picture) if one.size)) == cover()


def test_a_second_film_track_is_copied_and_named(tmp_path: Path) -> None:
    source = write_rich_film(tmp_path / "two.mkv", second_film=True)
    result = upscale_film(source, tmp_path / "out")
    assert result.notes == ["film track 4 (h264) is kept as it is, not enlarged"]
    with av.open(str(result.path)) as container:
        sizes = [
            (one.codec_context.width, one.codec_context.height)
            for one in container.streams.video
            if not one.disposition & Disposition.attached_pic
        ]
    assert sizes == [(256, 192), (32, 32)]


def test_what_a_container_cannot_hold_is_named(tmp_path: Path) -> None:
    """A Matroska file under the name of an MP4 one."""
    source = write_rich_film(tmp_path / "rich.mkv").rename(tmp_path / "rich.mp4")
    result = upscale_film(source, tmp_path / "out")
    assert len(description(result.path)["chapters"]) == 2
    assert result.notes == [
        "subtitle 3 (srt, deu) is not kept: MP4 has no place for it",
        "attachment 4 (font.ttf) is not kept: MP4 has no place for it",
    ]


def test_texts_that_are_lost_are_named(tmp_path: Path) -> None:
    source = write_pictures(tmp_path / "a.mkv", [flat((1, 2, 3))] * 2)
    copy = tmp_path / "b.mkv"
    with av.open(str(source)) as old, av.open(str(copy), "w") as output:
        stream = output.add_stream_from_template(old.streams.video[0], opaque=True)
        output.metadata.update({"camera": "Box", "title": "A"})
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = stream
                output.mux(packet)
    result = upscale_film(copy.rename(tmp_path / "b.mp4"), tmp_path / "out")
    assert result.notes == ["texts (CAMERA) are not kept: MP4 has no place for them"]
