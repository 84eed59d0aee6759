"""What the numbers of a film's pixels mean: tags of ITU-T H.273, and pixels from and to RGB.

A film whose file names no matrix is read as players read it, by the size of its frames. The result
has the tags of its source; it is given one that its source lacks only where players would otherwise
take the larger frames for something else.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import av
import numpy as np

from srgan.errors import BadDataError

UNSAID = 2
"""In H.273: not said. The range has 0 for it."""
BT709, BT601 = 1, 6
LIMITED, FULL = 1, 2

# FFmpeg's scaler has one name for both standards of BT.601.
_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}
# FFmpeg's SWS_BICUBIC, SWS_FULL_CHR_H_INT and SWS_ACCURATE_RND; PyAV 17 (Python 3.10) has no names
# for the last two.
_FINE = 0x4 | 0x2000 | 0x40000
_RGB = {
    (False, False): "rgb24",
    (False, True): "rgba",
    (True, False): "rgb48le",
    (True, True): "rgba64le",
}


class Colours(NamedTuple):
    """Tags as in ITU-T H.273, and what is meant where they say nothing."""

    primaries: int
    transfer: int
    matrix: int
    """As tagged; 2 if it is not said."""
    range: int
    """As tagged: 1 for 16 to 235, 2 for 0 to 255, 0 if it is not said."""
    true_matrix: int
    """With which pixels are converted."""
    true_range: int
    """Likewise."""


def colours_of(frame: av.VideoFrame) -> Colours:
    """The colours of a frame.

    Raises:
        BadDataError: they are of a kind that cannot be converted to RGB and back.
    """
    name = frame.format.name
    matrix = int(frame.colorspace)
    if frame.format.is_rgb or matrix in (0, 3):
        matrix = UNSAID
    true_matrix = _guess(frame.width, frame.height) if matrix == UNSAID else matrix
    if true_matrix not in _MATRICES:
        raise BadDataError(
            f"its colours are coded by matrix {matrix} of H.273, which cannot be converted here; "
            "convert it to BT.709 first (ffmpeg -vf colorspace)"
        )
    tagged = int(frame.color_range)
    is_full = tagged == FULL or name.startswith("yuvj")
    true_range = FULL if is_full else LIMITED
    return Colours(
        primaries=int(frame.color_primaries),
        transfer=int(frame.color_trc),
        matrix=matrix,
        range=LIMITED if frame.format.is_rgb else (FULL if is_full else tagged),
        true_matrix=true_matrix,
        true_range=LIMITED if frame.format.is_rgb else true_range,
    )


def colours_of_result(source: Colours, is_rgb: bool, width: int, height: int) -> Colours:
    """The tags of a result.

    Args:
        source: the colours of its source.
        is_rgb: whether the source holds RGB, so that the matrix is chosen here.
        width: of the result, in pixels.
        height: likewise.
    """
    guess = _guess(width, height)
    if is_rgb:
        return source._replace(matrix=guess, true_matrix=guess)
    if source.matrix == UNSAID and guess != source.true_matrix:
        return source._replace(matrix=source.true_matrix)
    return source


def to_rgb(
    frame: av.VideoFrame, colours: Colours, size: tuple[int, int], deep: bool, has_alpha: bool
) -> np.ndarray:
    """The pixels of a frame.

    Args:
        frame: any format that FFmpeg's scaler knows.
        colours: of the film that it is of.
        size: width and height of the result in pixels.
        deep: whether to give 16 bits.
        has_alpha: whether to give alpha.

    Returns:
        height x width x 3 or 4, uint8 or uint16.
    """
    tags: dict[str, Any] = {}
    if not frame.format.is_rgb:
        tags = {
            "src_colorspace": _MATRICES[colours.true_matrix],
            "src_color_range": colours.true_range,
        }
    width, height = size
    wanted = _RGB[deep, has_alpha]
    converted = frame.reformat(width, height, wanted, interpolation=_FINE, **tags)
    return np.ascontiguousarray(converted.to_ndarray())


def from_rgb(pixels: np.ndarray, colours: Colours, pixel_format: str) -> av.VideoFrame:
    """A frame with the pixels' colours.

    Args:
        pixels: height x width x 3 or 4, uint8 or uint16.
        colours: of the result.
        pixel_format: FFmpeg's name of a YUV format.
    """
    kind = _RGB[pixels.dtype == np.uint16, pixels.shape[2] == 4]
    frame = av.VideoFrame.from_ndarray(pixels, format=kind)
    return frame.reformat(
        format=pixel_format,
        interpolation=_FINE,
        dst_colorspace=_MATRICES[colours.true_matrix],
        dst_color_range=colours.true_range,
    )


def _guess(width: int, height: int) -> int:
    """The matrix that players take where a file names none (the rule of mpv)."""
    return BT709 if width >= 1280 or height > 576 else BT601
