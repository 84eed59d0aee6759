"""Videos through PyAV (FFmpeg): segments are upscaled and encoded by themselves, then joined.

Frames keep their times, so also their rate; audio is copied as it is. The result has 8 bits a
channel and chroma at half the side, as nearly every player expects.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np

from srgan import SCALE
from srgan.errors import BadDataError
from srgan.upscaling.pieces import Segment
from srgan.upscaling.tiles import Box, Upscaler

SUFFIXES = frozenset({".mkv", ".mp4", ".webm"})
FORMATS = {".mkv": "matroska", ".mp4": "mp4", ".webm": "webm"}
# Without frames that refer to later ones, decoding order is the order of times, and segments
# can be put one behind the other.
# force-cfr: the stream names the average rate, not the unit of its times, as its rate.
H264: Mapping[str, str] = {
    **{"crf": "17", "preset": "medium", "bf": "0"},
    "x264-params": "force-cfr=1",
}
VP9: Mapping[str, str] = {
    **{"crf": "20", "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"},
    **{"lag-in-frames": "0", "auto-alt-ref": "0"},
}
# A container that stores times in the stream's own units.
SEGMENT_FORMAT = "nut"


class VideoShape(NamedTuple):
    """What a video holds."""

    width: int
    """Of a frame, in pixels."""
    height: int
    """Of a frame, in pixels."""
    times: Sequence[int]
    """Presentation times of all frames, ascending, in units of the stream's time base."""
    keys: Sequence[tuple[int, int]]
    """Presentation and decoding times of all key frames, ascending."""


def probe_video(path: str, largest_megapixels: float) -> VideoShape:
    """Size and times of a video's frames; reads the whole file, but decodes nothing.

    Raises:
        BadDataError: no video, without times, or its frames are too large.
    """
    with _open(path) as container:
        stream = _video_of(container)
        width, height = stream.codec_context.width, stream.codec_context.height
        if width * height > largest_megapixels * 1e6 or not width * height:
            raise BadDataError(
                f"frames of {width}x{height} are more than {largest_megapixels:g} megapixels "
                "(--max-megapixels)"
            )
        times, keys = [], []
        try:
            for packet in container.demux(stream):
                if not packet.size:
                    continue
                if packet.pts is None:
                    raise BadDataError("a frame has no time; convert it to MP4 first")
                times.append(packet.pts)
                if packet.is_keyframe:
                    keys.append((packet.pts, packet.pts if packet.dts is None else packet.dts))
        except av.FFmpegError as error:
            raise BadDataError(f"unreadable ({error})") from error
    if not times or not keys:
        raise BadDataError("holds no frames")
    return VideoShape(width, height, sorted(times), sorted(keys))


def upscale_segment(path: str, segment: Segment, upscaler: Upscaler, target: Path) -> int:
    """Upscale the frames of a segment and encode them for `join_segments`.

    Args:
        path: the video.
        segment: which of its frames.
        upscaler: the network.
        target: file for the result.

    Returns:
        The number of frames.

    Raises:
        BadDataError: they cannot be decoded.
    """
    with _open(path) as container, av.open(str(target), "w", format=SEGMENT_FORMAT) as output:
        stream = _video_of(container)
        encoder: Any = None
        count = 0
        frames = _frames(container, stream, segment)
        for first, batch in _batches(frames, upscaler):
            if encoder is None:
                encoder = _encoder(output, stream, first)
            high = upscaler.upscale(batch.pixels, Box(0, 0, *batch.pixels.shape[2:0:-1]))
            for pixels, time in zip(high, batch.times, strict=True):
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame = frame.reformat(format="yuv420p", dst_colorspace=_colours_of(first))
                frame.pts, frame.time_base = time, stream.time_base
                output.mux(encoder.encode(frame))
                count += 1
        if encoder is None:
            raise BadDataError(f"no frame from time {segment.start} on can be decoded")
        output.mux(encoder.encode(None))
    return count


def join_segments(target: Path, segments: Sequence[Path], source: str) -> None:
    """Put encoded segments together with the audio of the video that they come from.

    Args:
        target: the file; its suffix says which container.
        segments: files of `upscale_segment`, in order.
        source: the video.
    """
    with (
        _open(source) as original,
        _open(str(segments[0])) as first,
        av.open(str(target), "w", format=FORMATS[target.suffix.lower()]) as output,
    ):
        video_in = _video_of(original)
        video = output.add_stream_from_template(_video_of(first))
        video.time_base = video_in.time_base
        rotation = _rotation_of(source)
        if rotation:
            video.set_display_rotation(rotation)
        audio = {
            stream.index: output.add_stream_from_template(stream)
            for stream in original.streams.audio
        }
        packets = heapq.merge(
            _video_packets(segments, video),
            _audio_packets(original, audio),
            key=lambda packet: Fraction(packet.dts) * packet.time_base,
        )
        for packet in packets:
            output.mux(packet)


class _Batch(NamedTuple):
    pixels: np.ndarray
    times: Sequence[int]


def _batches(
    frames: Iterator[av.VideoFrame], upscaler: Upscaler
) -> Iterator[tuple[av.VideoFrame, _Batch]]:
    """As many frames at a time as the network may take, and the first of each batch."""
    for first in frames:
        at_a_time = max(1, upscaler.pixels // (first.width * first.height))
        batch = [first, *itertools.islice(frames, at_a_time - 1)]
        pixels = np.stack([frame.to_ndarray(format="rgb24") for frame in batch])
        yield first, _Batch(pixels, [frame.pts for frame in batch if frame.pts is not None])


def _frames(container: Any, stream: Any, segment: Segment) -> Iterator[av.VideoFrame]:
    container.seek(segment.seek, stream=stream, backward=True)
    try:
        for frame in container.decode(stream):
            if frame.pts is None or frame.pts < segment.start:
                continue
            if segment.end is not None and frame.pts >= segment.end:
                return
            yield frame
    except av.FFmpegError as error:
        raise BadDataError(f"unreadable after time {segment.start} ({error})") from error


def _encoder(output: Any, stream: Any, first: av.VideoFrame) -> Any:
    name, options = ("libvpx-vp9", VP9) if _is_webm(stream) else ("libx264", H264)
    encoder = output.add_stream(name, rate=stream.average_rate, options=dict(options))
    encoder.width, encoder.height = SCALE * first.width, SCALE * first.height
    encoder.pix_fmt = "yuv420p"
    context = encoder.codec_context
    context.time_base = stream.time_base
    context.colorspace, context.color_range = _colours_of(first), 1
    if stream.sample_aspect_ratio:
        context.sample_aspect_ratio = stream.sample_aspect_ratio
    return encoder


def _is_webm(stream: Any) -> bool:
    return stream.codec_context.name.startswith(("vp", "libvpx", "av1", "libdav1d"))


def _colours_of(frame: av.VideoFrame) -> int:
    """The matrix between RGB and YUV; a file that names none means BT.601."""
    return int(frame.colorspace) if int(frame.colorspace) in (1, 5, 6, 7) else 5


def _video_packets(segments: Sequence[Path], video: Any) -> Iterator[Any]:
    for segment in segments:
        with _open(str(segment)) as container:
            for packet in container.demux(_video_of(container)):
                if packet.pts is not None:
                    packet.stream, packet.dts = video, packet.pts
                    yield packet


def _audio_packets(original: Any, audio: Mapping[int, Any]) -> Iterator[Any]:
    if not audio:
        return
    for packet in original.demux(*original.streams.audio):
        if packet.dts is not None:
            packet.stream = audio[packet.stream.index]
            yield packet


def _rotation_of(path: str) -> int:
    """Degrees by which a player turns the frames, as the videos of many phones ask for."""
    with _open(path) as container:
        return int(next(container.decode(_video_of(container))).rotation)


def _open(path: str) -> Any:
    try:
        return av.open(path)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise BadDataError(f"no video, or damaged ({error})") from error


def _video_of(container: Any) -> Any:
    if not container.streams.video:
        raise BadDataError("holds no video stream")
    return container.streams.video[0]
