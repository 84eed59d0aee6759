"""Pictures that let a person compare: low resolution, bicubic, ours and original side by side."""

import io
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from srgan import SCALE
from srgan.evaluation import ImageResult, bicubic
from srgan.lpips import Lpips
from srgan.metrics import Scores, score

MARGIN, LABEL_HEIGHT, FONT_SIZE = 12, 26, 15
LEAST_WIDTH, LARGEST_PANEL = 160, 384
"""Of a version of an image, in pixels."""
PAPER, INK = (255, 255, 255), (40, 40, 40)
JPEG_QUALITY = 92
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def comparison(results: Mapping[str, ImageResult], lpips: Lpips | None = None) -> Image.Image:
    """One row: the versions of a test image, each with its label, PSNR (Y) in dB and LPIPS.

    Low resolution, bicubic, each method's upscale, original; of a large image they show the square
    with the most detail, and at least LEAST_WIDTH pixels they are wide, by whole repeats of pixels.

    Args:
        results: the same image upscaled by each method, by the name for its label.
        lpips: measures bicubic, as it measured the upscales.
    """
    first = next(iter(results.values()))
    whole_height, whole_width = first.original.shape[:2]
    by_bicubic = bicubic(first.low)
    bicubic_scores = score(by_bicubic, first.original, lpips)
    nearest = first.low.repeat(SCALE, axis=0).repeat(SCALE, axis=1)
    panels: list[tuple[str, np.ndarray]] = [
        (f"low resolution {whole_width // SCALE}x{whole_height // SCALE}", nearest),
        (f"bicubic {in_words(bicubic_scores)}", by_bicubic),
        *((f"{name} {in_words(of.scores)}", of.upscaled) for name, of in results.items()),
        (f"original {first.name}", first.original),
    ]
    shown = most_detailed(first.original, LARGEST_PANEL)
    times = -(-LEAST_WIDTH // first.original[shown].shape[1])
    return labelled_row(
        [
            (label, Image.fromarray(pixels[shown].repeat(times, axis=0).repeat(times, axis=1)))
            for label, pixels in panels
        ]
    )


def labelled_row(panels: Sequence[tuple[str, Image.Image]], heading: str = "") -> Image.Image:
    """Pictures beside each other, each below its label, and a heading above them, if there is one.

    Args:
        panels: label and picture; what of a label is wider than its picture is cut off.
        heading: any text, likewise.
    """
    width = sum(picture.width + MARGIN for _, picture in panels) + MARGIN
    labels_top = LABEL_HEIGHT if heading else 0
    top = labels_top + LABEL_HEIGHT
    height = top + max(picture.height for _, picture in panels) + MARGIN
    row = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(row)
    if heading:
        _write(draw, heading, MARGIN, LABEL_HEIGHT / 2, width=width - 2 * MARGIN)
    left = MARGIN
    for label, picture in panels:
        _write(draw, label, left, labels_top + LABEL_HEIGHT / 2, width=picture.width)
        row.paste(picture, (left, top))
        left += picture.width + MARGIN
    return row


def most_detailed(pixels: np.ndarray, side: int) -> tuple[slice, slice]:
    """Rows and columns of the square of that side in which brightness varies most.

    Along a side that is no longer than that, all of it.
    """
    grey = pixels.mean(2)
    changes = np.zeros(grey.shape)
    changes[:-1] += np.abs(np.diff(grey, axis=0))
    changes[:, :-1] += np.abs(np.diff(grey, axis=1))
    rows, columns = (min(side, length) for length in grey.shape)
    sums = np.pad(changes.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    inside = (
        sums[rows:, columns:] - sums[:-rows, columns:] - sums[rows:, :-columns]
        + sums[:-rows, :-columns]
    )  # fmt: skip
    top, left = (int(place) for place in np.unravel_index(inside.argmax(), inside.shape))
    return slice(top, top + rows), slice(left, left + columns)


def in_words(scores: Scores) -> str:
    """PSNR and, where it was measured, LPIPS, for a label."""
    words = f"{scores.psnr_y:.2f} dB"
    return words if scores.lpips is None else f"{words}, LPIPS {scores.lpips:.3f}"


def _write(draw: ImageDraw.ImageDraw, text: str, left: int, middle: float, width: int) -> None:
    font = _font(text.isascii())
    draw.text((left, middle), _fit(text, width, font), INK, font, anchor="lm")


@lru_cache
def _font(is_ascii: bool) -> Font:
    """Pillow's own font has hardly more than ASCII, matplotlib's has no East Asian characters."""
    if is_ascii:
        return ImageFont.load_default(FONT_SIZE)
    import matplotlib

    try:
        return ImageFont.truetype("NotoSansCJK-Regular.ttc", FONT_SIZE)
    except OSError:
        fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
        return ImageFont.truetype(str(fonts / "DejaVuSans.ttf"), FONT_SIZE)


def _fit(label: str, width: int, font: Font) -> str:
    """The label, cut to a width in pixels."""
    if font.getlength(label) <= width:
        return label
    while label and font.getlength(label + "…") > width:
        label = label[:-1]
    return label + "…"


def contact_sheet(rows: Sequence[Image.Image]) -> Image.Image:
    """All rows below each other."""
    sheet = Image.new(
        "RGB", (max(row.width for row in rows), sum(row.height for row in rows)), PAPER
    )
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return sheet


def png(image: Image.Image) -> bytes:
    """The picture as a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def jpeg(image: Image.Image) -> bytes:
    """The picture as a JPEG file, its colours as sharp as its brightness."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()
