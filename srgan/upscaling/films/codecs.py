"""How a film's result is encoded: which codec can hold it, and with which settings."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple, cast

import av
from av.container import OutputContainer

from srgan.errors import BadDataError
from srgan.upscaling.films.colours import Colours
from srgan.upscaling.films.reading import side_data_of

PRESETS = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
    "placebo",
)
"""Of H.264 and HEVC, from the fastest to the smallest results."""


class Codec(NamedTuple):
    """A codec, as far as a choice depends on it."""

    title: str
    encoder: str
    containers: frozenset[str]
    """Suffixes of the files that may hold it."""
    is_deep: bool
    """Whether it is used for 10 bits."""
    has_alpha: bool
    largest_side: int
    """Of a frame, in pixels."""
    largest_frame: int
    """In pixels, by its highest level or its encoder."""
    crf: int
    """Constant rate factor at which a loss is hardly seen; less is better."""
    largest_crf: int
    preset: str
    presets: Sequence[str]


_MP4 = frozenset({".mp4", ".m4v", ".mkv"})
_MOST, _ALL = _MP4 | {".mov"}, _MP4 | {".webm"}
CODECS: Mapping[str, Codec] = {
    "h264": Codec(
        title="H.264",
        encoder="libx264",
        containers=_MOST,
        is_deep=False,
        has_alpha=False,
        largest_side=16384,
        largest_frame=139_264 * 256,
        crf=17,
        largest_crf=51,
        preset="medium",
        presets=PRESETS,
    ),
    "hevc": Codec(
        title="HEVC",
        encoder="libx265",
        containers=_MOST,
        is_deep=True,
        has_alpha=False,
        largest_side=16384,
        largest_frame=8192 * 4352,
        crf=18,
        largest_crf=51,
        preset="fast",
        presets=PRESETS,
    ),
    "vp9": Codec(
        title="VP9",
        encoder="libvpx-vp9",
        containers=_ALL,
        is_deep=False,
        has_alpha=True,
        largest_side=65535,
        largest_frame=65535 * 65535,
        crf=20,
        largest_crf=63,
        preset="4",
        presets=[str(number) for number in range(9)],
    ),
    "av1": Codec(
        title="AV1",
        encoder="libsvtav1",
        containers=_ALL,
        is_deep=True,
        has_alpha=False,
        largest_side=16384,
        largest_frame=8704 * 16384,
        crf=22,
        largest_crf=63,
        preset="8",
        presets=[str(number) for number in range(14)],
    ),
}
AUTO = "auto"

FASTEST_AV1 = 240
"""Frames a second up to which SVT-AV1 takes a rate; times are kept apart from it."""


@dataclass(frozen=True)
class Encoding:
    """How the frames of a film are encoded; the same for all its segments."""

    codec: str
    """A key of CODECS."""
    options: Mapping[str, str]
    """For the encoder."""
    width: int
    """Of the result's frames, in pixels, as is the height."""
    height: int
    pixel_format: str
    """FFmpeg's name."""
    rate: Fraction
    """Frames per second, on average."""
    colours: Colours
    """Tags of the result."""
    aspect: Fraction | None
    """Of a pixel, width to height; None if unknown."""
    rotation: int
    """Degrees by which players turn the frames."""

    @property
    def has_alpha(self) -> bool:
        """Whether frames have transparent parts."""
        return self.pixel_format.startswith("yuva")

    @property
    def is_deep(self) -> bool:
        """Whether frames have more than 8 bits per channel."""
        return "10" in self.pixel_format

    def open(self, output: OutputContainer) -> av.VideoStream:
        """Add a stream with its encoder to an output of PyAV; times count frames."""
        codec = CODECS[self.codec]
        rate = min(self.rate, Fraction(FASTEST_AV1)) if self.codec == "av1" else self.rate
        added = output.add_stream(codec.encoder, rate=rate, options=dict(self.options))
        stream = cast(av.VideoStream, added)
        stream.width, stream.height, stream.pix_fmt = self.width, self.height, self.pixel_format
        context = stream.codec_context
        context.time_base = 1 / rate
        context.color_primaries = self.colours.primaries
        context.color_trc = self.colours.transfer
        context.colorspace = self.colours.matrix
        context.color_range = self.colours.range
        if self.aspect:
            context.sample_aspect_ratio = self.aspect
        if self.codec == "hevc":
            # By the other name of the same, which FFmpeg prefers, Apple's players refuse it.
            context.codec_tag = "hvc1"
        if self.rotation:
            stream.set_display_rotation(self.rotation)
        return stream


def choose_codec(
    wanted: str,
    suffix: str,
    source_codec: str,
    size: tuple[int, int],
    is_deep: bool,
    has_alpha: bool,
) -> str:
    """The key of the codec for a result.

    Args:
        wanted: a key of CODECS, or AUTO.
        suffix: of the result's name, with its dot.
        source_codec: FFmpeg's name of the source's.
        size: width and height of the result in pixels.
        is_deep: whether the source has more than 8 bits per channel.
        has_alpha: whether the result is to have transparent parts.

    Raises:
        BadDataError: none that is wanted can hold it.
    """
    if wanted != AUTO:
        reason = _unfit(wanted, suffix, size, is_deep, has_alpha=has_alpha)
        if reason is not None:
            raise BadDataError(f"{reason}; take another --video-codec")
        return wanted
    is_new = source_codec.startswith(("vp", "libvpx", "av1", "libdav1d"))
    usual, new = ["h264", "hevc"], ["vp9", "av1"]
    order = new + usual if is_new else usual + new
    reasons = [_unfit(name, suffix, size, is_deep, has_alpha=has_alpha) for name in order]
    for name, reason in zip(order, reasons, strict=True):
        if reason is None:
            return name
    raise BadDataError(next(reason for reason in reasons if reason and "too large" in reason))


def _unfit(
    name: str, suffix: str, size: tuple[int, int], is_deep: bool, has_alpha: bool
) -> str | None:
    codec = CODECS[name]
    width, height = size
    if suffix not in codec.containers:
        return f"a {suffix} file holds no {codec.title}"
    if max(size) > codec.largest_side:
        return (
            f"{width}x{height} is too large for {codec.title} (at most {codec.largest_side} a side)"
        )
    if width * height > codec.largest_frame:
        most = codec.largest_frame / 1e6
        return f"{width}x{height} is too large for {codec.title} (at most {most:.0f} megapixels)"
    if is_deep and not codec.is_deep:
        return f"{codec.title} would make 8 bits of the film's 10"
    if has_alpha and not codec.has_alpha:
        return f"{codec.title} has no transparency"
    return None


def encoder_options(
    name: str, crf: float | None, preset: str | None, hdr: Sequence[str] = ()
) -> dict[str, str]:
    """Settings of an encoder.

    Args:
        name: a key of CODECS.
        crf: constant rate factor; None for the codec's own.
        preset: likewise.
        hdr: x265's parameters for HDR.

    Raises:
        BadDataError: crf or preset are not of that codec.
    """
    codec = CODECS[name]
    crf = codec.crf if crf is None else crf
    if crf > codec.largest_crf:
        raise BadDataError(f"--crf {crf:g}: {codec.title} has 0 to {codec.largest_crf}")
    preset = codec.preset if preset is None else preset
    if preset not in codec.presets:
        known = f"{codec.presets[0]} to {codec.presets[-1]}"
        raise BadDataError(f"--preset {preset}: {codec.title} has {known}")
    options = {"crf": f"{crf:g}"}
    # Without frames that refer to later ones, segments can be put one behind the other.
    if name == "h264":
        # The stream names the average rate, not the unit of its times, as its rate.
        return options | {"preset": preset, "bf": "0", "x264-params": "force-cfr=1"}
    if name == "hevc":
        parameters = ["bframes=0", "log-level=error", *hdr]
        return options | {"preset": preset, "x265-params": ":".join(parameters)}
    if name == "av1":
        return options | {"preset": preset, "svtav1-params": "pred-struct=1"}
    options |= {"b": "0", "deadline": "good", "cpu-used": preset, "row-mt": "1"}
    return options | {"lag-in-frames": "0", "auto-alt-ref": "0"}


def hdr_parameters(frame: av.VideoFrame) -> list[str]:
    """x265's parameters for the mastering display and the light levels that a frame names."""
    found = []
    data = side_data_of(frame)
    display, light = data.get("MASTERING_DISPLAY_METADATA"), data.get("CONTENT_LIGHT_LEVEL")
    if display is not None:
        # AVMasteringDisplayMetadata: ten fractions, and whether the first eight and the last two
        # are there.
        *numbers, has_primaries, has_luminance = struct.unpack_from("=22i", display)
        if has_primaries and has_luminance:
            found.append(f"master-display={_master_display(numbers)}")
    if light is not None:
        most, average = struct.unpack_from("=2I", light)
        found.append(f"max-cll={most},{average}")
    return ["hdr10=1", *found] if found else []


def _master_display(numbers: Sequence[int]) -> str:
    """Ten fractions, above and below the line, as x265 wants them: in 1/50000 and 1/10000."""
    values = [
        Fraction(above, below or 1)
        for above, below in zip(numbers[::2], numbers[1::2], strict=True)
    ]
    places = [round(value * 50000) for value in values[:8]]
    red, green, blue, white = (f"({places[i]},{places[i + 1]})" for i in (0, 2, 4, 6))
    least, most = (round(value * 10000) for value in values[8:])
    return f"G{green}B{blue}R{red}WP{white}L({most},{least})"
