"""Pictures that let a person compare: low resolution, bicubic, ours and original side by side."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from srgan import SCALE
from srgan.evaluation import ImageResult, bicubic
from srgan.lpips import Lpips
from srgan.metrics import Scores, score

MARGIN, LABEL_HEIGHT, FONT_SIZE = 12, 26, 15
PAPER, INK = (255, 255, 255), (40, 40, 40)


def comparison(result: ImageResult, method: str, lpips: Lpips | None = None) -> Image.Image:
    """One row: the four versions of a test image, each with its label, PSNR (Y) in dB and LPIPS.

    Args:
        result: the image and its upscale.
        method: what the upscale is called in its label.
        lpips: measures bicubic, as it measured the upscale.
    """
    height, width = result.original.shape[:2]
    nearest = result.low.repeat(SCALE, axis=0).repeat(SCALE, axis=1)
    by_bicubic = bicubic(result.low)
    bicubic_scores = score(by_bicubic, result.original, lpips)
    panels: list[tuple[str, np.ndarray]] = [
        (f"low resolution {width // SCALE}x{height // SCALE}", nearest),
        (f"bicubic {in_words(bicubic_scores)}", by_bicubic),
        (f"{method} {in_words(result.scores)}", result.upscaled),
        (f"original {result.name}", result.original),
    ]
    row = Image.new(
        "RGB", (len(panels) * (width + MARGIN) + MARGIN, height + LABEL_HEIGHT + MARGIN), PAPER
    )
    draw = ImageDraw.Draw(row)
    font = ImageFont.load_default(FONT_SIZE)
    for number, (label, pixels) in enumerate(panels):
        left = MARGIN + number * (width + MARGIN)
        draw.text((left, LABEL_HEIGHT / 2), _fit(label, width, font), INK, font, anchor="lm")
        row.paste(Image.fromarray(pixels), (left, LABEL_HEIGHT))
    return row


def in_words(scores: Scores) -> str:
    """PSNR and, where it was measured, LPIPS, for a label."""
    words = f"{scores.psnr_y:.2f} dB"
    return words if scores.lpips is None else f"{words}, LPIPS {scores.lpips:.3f}"


def _fit(label: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
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
