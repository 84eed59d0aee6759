"""The frames of a film as they are upscaled: of one size, progressive, between two times."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import av
from av.filter import Graph

from srgan.upscaling.films.reading import Health, OpenFilm, side_data_of
from srgan.upscaling.pieces import Segment

DEINTERLACED = "interlaced frames are made progressive (bwdif)"


def segment_frames(
    film: OpenFilm, segment: Segment, health: Health
) -> Iterator[tuple[int, av.VideoFrame]]:
    """The frames of a segment.

    Args:
        film: the film.
        segment: which of its frames.
        health: gets errors and notes.

    Yields:
        The time at which a frame is shown, in units of the stream's times, and the frame.
    """
    for frame in _progressive(film.frames(segment.seek, health), film, health):
        assert frame.pts is not None
        time = frame.pts
        # A filter counts in units of its own.
        if frame.time_base is not None and frame.time_base != film.unit:
            time = round(time * Fraction(frame.time_base) / film.unit)
        if time < segment.start:
            continue
        if segment.end is not None and time >= segment.end:
            return
        _note_side_data(frame, health)
        yield time, frame


def _progressive(
    frames: Iterator[av.VideoFrame], film: OpenFilm, health: Health
) -> Iterator[av.VideoFrame]:
    """Frames through a deinterlacer from the first interlaced one on; as many as there were."""
    graph: Graph | None = None
    kind: tuple[object, ...] = ()
    for frame in frames:
        new_kind = (frame.width, frame.height, frame.format.name)
        if graph is not None and new_kind != kind:
            graph.vpush(None)
            yield from _pulled(graph)
            graph = None
        if graph is None and not frame.interlaced_frame:
            yield frame
            continue
        if graph is None:
            health.note(DEINTERLACED)
            graph, kind = _deinterlacer(frame, film), new_kind
        frame.time_base = film.unit
        graph.vpush(frame)
        yield from _pulled(graph)
    if graph is not None:
        graph.vpush(None)
        yield from _pulled(graph)


def _deinterlacer(frame: av.VideoFrame, film: OpenFilm) -> Graph:
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=film.unit
    )
    # A frame for a frame; those not marked as interlaced pass as they are.
    filtered = graph.add("bwdif", "mode=send_frame:deint=interlaced")
    graph.link_nodes(source, filtered, graph.add("buffersink")).configure()
    return graph


def _pulled(graph: Graph) -> Iterator[av.VideoFrame]:
    while True:
        try:
            yield graph.vpull()
        except (av.BlockingIOError, av.EOFError):
            return


def _note_side_data(frame: av.VideoFrame, health: Health) -> None:
    for name in side_data_of(frame):
        if name == "A53_CC":
            health.note("closed captions inside the frames are not kept")
        elif name in ("DYNAMIC_HDR_PLUS", "DOVI_METADATA", "DOVI_RPU_BUFFER"):
            health.note("HDR data for each frame (HDR10+, Dolby Vision) are not kept")
