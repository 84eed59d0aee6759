"""Films of other kinds: colours, depth, alpha, shape of pixels, lengths, interlacing, sizes."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from films import (
    HEIGHT,
    RATE,
    WIDTH,
    first_frame,
    flat,
    frames_of,
    numbered_frame,
    seconds_of,
    tags_of,
    upscale_film,
    write_film,
    write_pictures,
)

from srgan.errors import BadDataError, OptionsError
from srgan.upscaling.films.codecs import AUTO, choose_codec, encoder_options
from srgan.upscaling.films.colours import BT601
from srgan.upscaling.output_options import OutputOptions

GREEN = (0, 187, 0)
PICTURES = [numbered_frame(number) for number in range(8)]


def tagged(primaries: int, transfer: int, matrix: int, range: int) -> Any:
    """Sets the tags of a stream."""

    def set_up(stream: Any) -> None:
        context = stream.codec_context
        context.color_primaries, context.color_trc = primaries, transfer
        context.colorspace, context.color_range = matrix, range

    return set_up


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("tags", [(1, 1, 1, 1), (9, 14, 9, 1), (5, 6, 5, 2), (2, 2, 2, 1)])
def test_colours_and_their_tags_are_those_of_the_source(
    suffix: str, tags: tuple[int, int, int, int], tmp_path: Path
) -> None:
    pictures = [flat(GREEN)] * 3
    source = write_pictures(tmp_path / f"a{suffix}", pictures, set_up=tagged(*tags))
    result = upscale_film(source, tmp_path / "out")
    assert tags_of(result.path) == tags_of(source)
    assert tags_of(source)[:3] == tags[:3]
    assert result.encoding.codec == "h264"
    for name in ("y", "u", "v"):
        plane = "yuv".index(name)
        old, new = (np.asarray(first_frame(one).planes[plane]) for one in (source, result.path))
        assert abs(int(old[0]) - int(new[0])) <= 1, name


def test_a_larger_result_is_not_taken_for_hd(tmp_path: Path) -> None:
    """Players read frames without tags by their size; the matrix must stay what it was."""
    small = write_pictures(tmp_path / "small.mkv", [flat(GREEN, 160, 150)])
    assert tags_of(upscale_film(small, tmp_path / "out").path)[2] == BT601
    large = write_pictures(tmp_path / "large.mkv", [flat(GREEN, 64, 600)])
    assert tags_of(upscale_film(large, tmp_path / "out").path)[2] == 2


def test_a_matrix_that_cannot_be_converted_is_named(tmp_path: Path) -> None:
    source = write_pictures(tmp_path / "a.mkv", [flat(GREEN)], set_up=tagged(9, 16, 10, 1))
    with pytest.raises(BadDataError, match=r"matrix 10 of H\.273.*BT\.709 first"):
        upscale_film(source, tmp_path / "out")


def test_rgb_becomes_yuv_with_the_matrix_said(tmp_path: Path) -> None:
    source = write_pictures(tmp_path / "a.mkv", [flat((255, 0, 0))] * 2, "ffv1", "bgr0")
    result = upscale_film(source, tmp_path / "out")
    assert tags_of(result.path)[2:] == (BT601, 1)
    pixel = first_frame(result.path).to_ndarray(format="rgb24")[20, 20]
    assert np.abs(pixel.astype(int) - (255, 0, 0)).max() <= 3


@pytest.mark.parametrize(
    ("suffix", "transfer", "codec"),
    [(".mp4", 16, "hevc"), (".mkv", 18, "hevc"), (".webm", 18, "av1")],
)
def test_hdr_keeps_ten_bits(suffix: str, transfer: int, codec: str, tmp_path: Path) -> None:
    """A slope of 10 bits has more steps than 8 bits have; PQ and HLG stay what they are."""
    slope = np.linspace(20_000, 24_000, 96).astype(np.uint16)
    picture = np.repeat(np.repeat(slope[None, :, None], 64, axis=0), 3, axis=2)
    light = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    options = {"x265-params": f"log-level=none:hdr10=1:max-cll=1000,400:{light}"}
    if suffix == ".webm":
        options = {"preset": "10", "svtav1-params": "pred-struct=1"}
    encoder = "libsvtav1" if suffix == ".webm" else "libx265"
    source = write_pictures(
        *(tmp_path / f"a{suffix}", [picture] * 3, encoder, "yuv420p10le", "rgb48le"),
        set_up=tagged(9, transfer, 9, 1),
        **options,
    )
    result = upscale_film(source, tmp_path / "out", OutputOptions(crf=4))
    assert tags_of(result.path) == (9, transfer, 9, 1)
    assert result.encoding.codec == codec
    frame = first_frame(result.path)
    assert frame.format.name == "yuv420p10le"
    luma = frame.reformat(format="gray16le").to_ndarray()[100, 20:-20]
    assert len(np.unique(luma)) > 40
    if codec == "hevc":
        names = {data.type.name for data in iter(frame.side_data)}  # type: ignore[attr-defined]
        assert {"MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"} <= names
        assert light in result.encoding.options["x265-params"]


@pytest.mark.parametrize(
    ("suffix", "codec", "pixel_format"),
    [(".webm", "libvpx-vp9", "yuva420p"), (".mkv", "ffv1", "bgra")],
)
def test_transparency_is_kept(suffix: str, codec: str, pixel_format: str, tmp_path: Path) -> None:
    """And the colours under it do not show: green hides where nothing is to be seen."""
    picture = flat((255, 0, 0, 255))
    picture[:, : WIDTH // 2] = (0, 255, 0, 0)
    options = {"auto-alt-ref": "0", "crf": "4", "b": "0"} if suffix == ".webm" else {}
    source = write_pictures(
        tmp_path / f"a{suffix}", [picture] * 3, codec, pixel_format, "rgba", **options
    )
    result = upscale_film(source, tmp_path / "out")
    frame = first_frame(result.path, "libvpx-vp9")
    pixels = frame.to_ndarray(format="rgba")
    assert pixels.shape == (4 * HEIGHT, 4 * WIDTH, 4)
    assert pixels[:, : 2 * WIDTH - 16, 3].max() <= 2
    assert pixels[:, 2 * WIDTH + 16 :, 3].min() >= 253
    edge = pixels[HEIGHT * 2, 2 * WIDTH + 4]
    assert edge[1] < 60 < edge[0], "the hidden green shows at the edge"
    with av.open(str(result.path)) as container:
        assert container.streams.video[0].metadata["alpha_mode"] == "1"


def test_transparency_that_a_container_cannot_hold_is_named(tmp_path: Path) -> None:
    source = write_pictures(tmp_path / "a.mov", [flat((9, 9, 9, 99))] * 2, "png", "rgba", "rgba")
    result = upscale_film(source, tmp_path / "out")
    assert result.notes == ["transparency is not kept: no place in QuickTime; rename it to .mkv"]


@pytest.mark.parametrize(
    ("codec", "suffix"),
    [("libx264", ".mkv"), ("libvpx-vp9", ".mp4"), ("libvpx-vp9", ".mkv"), ("libvpx-vp9", ".webm")],
)
def test_pixels_that_are_not_square(codec: str, suffix: str, tmp_path: Path) -> None:
    """VP9 says nothing of it in its stream; the container has to."""

    def set_up(stream: Any) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(32, 27)

    # PyAV writes it into no other container; files are known by their content when read.
    mp4 = write_pictures(tmp_path / "a.mp4", PICTURES, codec, set_up=set_up)
    source = mp4.rename(tmp_path / f"a{suffix}")
    result = upscale_film(source, tmp_path / "out")
    again = upscale_film(result.path, tmp_path / "again")
    for path in (result.path, again.path):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert float(stream.sample_aspect_ratio or 0) == pytest.approx(32 / 27, abs=0.004)
            assert "title" not in stream.metadata
        assert frames_of(path)[0] == list(range(8))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_the_last_picture_stands_as_long_as_before(suffix: str, tmp_path: Path) -> None:
    source = tmp_path / f"held{suffix}"
    with av.open(str(source), "w") as output:
        video: Any = output.add_stream("libx264", rate=RATE, options={"bf": "0"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        packets = []
        for picture in PICTURES:
            packets += video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24"))
        packets += video.encode(None)
        for number, packet in enumerate(packets):
            packet.time_base, packet.pts, packet.dts = Fraction(1, RATE), number, number
            packet.duration = 5 * RATE if number == 7 else 1
            output.mux(packet)
    result = upscale_film(source, tmp_path / "out")
    assert seconds_of(source) == pytest.approx(7 / RATE + 5, abs=0.01)
    assert seconds_of(result.path) == pytest.approx(seconds_of(source), abs=0.01)


def test_interlaced_frames_become_progressive(tmp_path: Path, monkeypatch: Any) -> None:
    """A bar that moves between the fields is no comb afterwards; frames keep number and times."""
    monkeypatch.setattr("srgan.upscaling.pieces.SEGMENT_PIXELS", 4 * WIDTH * HEIGHT)
    pictures = []
    for number in range(8):
        fields = [flat((30, 30, 30)) for _ in range(2)]
        for field, picture in enumerate(fields):
            left = 4 * number + 2 * field
            picture[:, left : left + 12] = 220
        woven = fields[0]
        woven[1::2] = fields[1][1::2]
        pictures.append(woven)
    source = write_pictures(
        tmp_path / "a.mkv", pictures, crf="8", **{"x264-params": "tff=1:bframes=0"}
    )
    result = upscale_film(source, tmp_path / "out")
    assert result.notes == ["interlaced frames are made progressive (bwdif)"]
    assert result.segments == 2
    numbers, times, _ = frames_of(result.path)
    assert (len(numbers), times) == (8, pytest.approx(frames_of(source)[1], abs=0.002))
    with av.open(str(result.path)) as container:
        frames = list(container.decode(video=0))
    assert not any(frame.interlaced_frame for frame in frames)
    luma = frames[4].to_ndarray(format="gray").astype(int)
    between_lines = np.abs(np.diff(luma[::4], axis=0)).max(axis=1)
    assert np.median(between_lines) < 40, "a comb is left"


def test_frames_of_another_size_are_brought_to_that_of_the_first(tmp_path: Path) -> None:
    parts = [
        write_pictures(
            tmp_path / f"{width}.mkv",
            [flat((200, 40, 40), width, 48)] * 5,
            "libvpx",
            crf="4",
            b="1M",
        )
        for width in (64, 96)
    ]
    source = tmp_path / "a.mkv"
    with av.open(str(source), "w") as output:
        stream: Any = None
        number = 0
        for part in parts:
            with av.open(str(part)) as container:
                if stream is None:
                    template = container.streams.video[0]
                    stream = output.add_stream_from_template(template, opaque=True)
                for packet in container.demux(video=0):
                    if packet.size:
                        packet.stream, packet.time_base = stream, Fraction(1, RATE)
                        packet.pts = packet.dts = number
                        packet.duration = 1
                        number += 1
                        output.mux(packet)
    result = upscale_film(source, tmp_path / "out")
    assert result.notes == ["frames of 96x48 are brought to the size of the first one, 64x48"]
    assert (len(frames_of(result.path)[0]), result.damage) == (10, None)
    frames = list(av.open(str(result.path)).decode(video=0))
    assert {(frame.width, frame.height) for frame in frames} == {(256, 192)}


@pytest.mark.parametrize(
    ("wanted", "suffix", "source", "size", "deep", "alpha", "expected"),
    [
        (AUTO, ".mp4", "h264", (1920, 1080), False, False, "h264"),
        (AUTO, ".mp4", "hevc", (1920, 1080), True, False, "hevc"),
        (AUTO, ".mp4", "h264", (16_800, 64), False, False, "vp9"),
        (AUTO, ".mp4", "h264", (8000, 6000), False, False, "vp9"),
        (AUTO, ".mkv", "vp9", (640, 480), False, False, "vp9"),
        (AUTO, ".mkv", "png", (640, 480), False, True, "vp9"),
        (AUTO, ".mov", "prores", (640, 480), True, False, "hevc"),
        (AUTO, ".webm", "h264", (640, 480), True, False, "av1"),
        ("av1", ".mp4", "h264", (640, 480), False, False, "av1"),
        ("h264", ".mp4", "h264", (16_800, 64), False, False, "too large for H.264"),
        ("h264", ".webm", "vp9", (64, 64), False, False, "a .webm file holds no H.264"),
        ("h264", ".mp4", "hevc", (64, 64), True, False, "H.264 would make 8 bits"),
        (AUTO, ".mov", "h264", (16_800, 64), False, False, "16800x64 is too large for H.264"),
    ],
)
def test_the_codec_fits_what_it_must_hold(
    wanted: str,
    suffix: str,
    source: str,
    size: tuple[int, int],
    deep: bool,
    alpha: bool,
    expected: str,
) -> None:
    if " " not in expected:
        assert choose_codec(wanted, suffix, source, size, deep, alpha) == expected
        return
    with pytest.raises(BadDataError, match=expected):
        choose_codec(wanted, suffix, source, size, deep, alpha)


def test_a_wide_film_is_no_surprise_in_the_middle(tmp_path: Path) -> None:
    source = write_pictures(tmp_path / "wide.mp4", [flat((9, 99, 9), 4200, 16)] * 2)
    result = upscale_film(source, tmp_path / "out")
    assert (result.encoding.codec, result.encoding.width) == ("vp9", 16_800)
    assert len(frames_of(result.path)[0]) == 2


def test_codec_factor_and_preset_as_told(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (8, HEIGHT, WIDTH, 3), np.uint8)
    source = write_pictures(tmp_path / "a.mp4", list(noise))
    sizes = []
    for crf in (10.0, 45.0):
        options = OutputOptions(video_codec="hevc", crf=crf, preset="ultrafast")
        result = upscale_film(source, tmp_path / f"out{crf}", options)
        with av.open(str(result.path)) as container:
            assert container.streams.video[0].codec_context.name == "hevc"
            # As Apple's players want it.
            assert container.streams.video[0].codec_tag == "hvc1"
        sizes.append(result.path.stat().st_size)
    assert sizes[0] > 3 * sizes[1]
    with pytest.raises(BadDataError, match="--preset slow: VP9 has 0 to 8"):
        encoder_options("vp9", None, "slow")
    with pytest.raises(BadDataError, match="--crf 55: H.264 has 0 to 51"):
        encoder_options("h264", 55, None)
    with pytest.raises(OptionsError, match="--crf 64"):
        OutputOptions(crf=64)
    assert OutputOptions(video_codec="av1", crf=30).text() == "--video-codec av1 --crf 30"


def test_sound_with_a_cover_is_no_film(tmp_path: Path) -> None:
    source = tmp_path / "music.mp4"
    film = write_film(tmp_path / "film.mkv", 1, "libx264", "aac")
    cover = write_pictures(tmp_path / "cover.mkv", [flat((1, 2, 3))], "mjpeg", "yuvj420p")
    with (
        av.open(str(source), "w") as output,
        av.open(str(film)) as sound,
        av.open(str(cover)) as picture,
    ):
        copied = output.add_stream_from_template(sound.streams.audio[0])
        shown = output.add_stream_from_template(picture.streams.video[0], opaque=True)
        shown.disposition = av.stream.Disposition.attached_pic
        for container, stream in ((picture, shown), (sound, copied)):
            for packet in container.demux(container.streams.get(**{stream.type: 0})):
                if packet.size:
                    packet.stream = stream
                    output.mux(packet)
    with pytest.raises(BadDataError, match="holds sound and a cover, but no film"):
        upscale_film(source, tmp_path / "out")


def test_sound_that_a_container_cannot_hold(tmp_path: Path) -> None:
    write_film(tmp_path / "film.mkv", 1, "libx264", "aac").rename(tmp_path / "film.webm")
    with pytest.raises(BadDataError, match=r"\(aac\) has no place in WebM; rename it to .mkv"):
        upscale_film(tmp_path / "film.webm", tmp_path / "out")
    write_film(tmp_path / "good.mkv", 1, "libx264", "libopus").rename(tmp_path / "good.webm")
    result = upscale_film(tmp_path / "good.webm", tmp_path / "out")
    assert (result.encoding.codec, frames_of(result.path)[0]) == ("vp9", list(range(25)))
