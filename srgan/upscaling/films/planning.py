"""What is known of a film before anything is computed: its frames, and how they are encoded."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import av

from srgan.errors import BadDataError
from srgan.upscaling.films.codecs import (
    Encoding,
    choose_codec,
    encoder_options,
    hdr_parameters,
)
from srgan.upscaling.films.colours import colours_of, colours_of_result
from srgan.upscaling.films.reading import FilmTimes, Health, OpenFilm, open_film, read_times
from srgan.upscaling.films.tracks import MATROSKA, TITLES, check_sound
from srgan.upscaling.output_options import OutputOptions

USUAL_RATE = Fraction(25)


@dataclass(frozen=True)
class FilmPlan:
    """A film and how its result is encoded."""

    width: int
    """Of a frame, in pixels, as is the height."""
    height: int
    times: FilmTimes
    encoding: Encoding
    notes: tuple[str, ...]
    """What the result will not keep, a line each."""


def plan_film(
    path: str, suffix: str, scale: int, largest_megapixels: float, options: OutputOptions
) -> FilmPlan:
    """Look into a film; reads all of it and decodes its first frame.

    Args:
        path: the film.
        suffix: of the result's name, with its dot, in lower case.
        scale: by which it is enlarged.
        largest_megapixels: of a frame of the source.
        options: how it is to be encoded.

    Raises:
        BadDataError: no film, without times, too large, or its result cannot be written.
    """
    with open_film(path) as film:
        context = film.stream.codec_context
        _check_size(context.width, context.height, largest_megapixels)
        times = read_times(film, Health())
        notes = check_sound(film, suffix)
    with open_film(path) as film:
        first = _first_frame(film)
        _check_size(first.width, first.height, largest_megapixels)
        size = (scale * first.width, scale * first.height)
        if size[0] % 2 or size[1] % 2:
            raise BadDataError(
                f"{size[0]}x{size[1]}: films have even sides here; take a model that enlarges by 4"
            )
        is_deep = max(part.bits for part in first.format.components) > 8
        has_alpha = film.has_alpha
        if has_alpha and suffix not in MATROSKA:
            notes += (f"transparency is not kept: no place in {TITLES[suffix]}; rename it to .mkv",)
            has_alpha = False
        if has_alpha and is_deep:
            notes += ("it keeps 8 of its bits: with transparency VP9 has no more",)
        codec = choose_codec(
            options.video_codec,
            suffix=suffix,
            source_codec=film.stream.codec_context.name,
            size=size,
            is_deep=is_deep,
            has_alpha=has_alpha,
        )
        colours = colours_of_result(colours_of(first), first.format.is_rgb, *size)
        encoding = Encoding(
            codec=codec,
            options=encoder_options(codec, options.crf, options.preset, hdr_parameters(first)),
            width=size[0],
            height=size[1],
            pixel_format="yuva420p" if has_alpha else "yuv420p10le" if is_deep else "yuv420p",
            rate=Fraction(film.stream.average_rate or USUAL_RATE),
            colours=colours,
            aspect=_aspect_of(film),
            rotation=int(first.rotation),
        )
    return FilmPlan(
        width=first.width, height=first.height, times=times, encoding=encoding, notes=notes
    )


def _check_size(width: int, height: int, largest_megapixels: float) -> None:
    if width * height > largest_megapixels * 1e6:
        raise BadDataError(
            f"frames of {width}x{height} are more than {largest_megapixels:g} megapixels "
            "(--max-megapixels)"
        )


def _first_frame(film: OpenFilm) -> av.VideoFrame:
    for frame in film.frames(None, Health()):
        return frame
    raise BadDataError("none of its frames can be decoded")


def _aspect_of(film: OpenFilm) -> Fraction | None:
    aspect = film.stream.sample_aspect_ratio or film.stream.codec_context.sample_aspect_ratio
    return Fraction(aspect) if aspect and aspect != 1 else None
