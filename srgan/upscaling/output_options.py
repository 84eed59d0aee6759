"""How results are written: size, name and format; they are part of what makes each result."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

from srgan import SCALE
from srgan.errors import OptionsError
from srgan.upscaling.image_files import formats
from srgan.upscaling.image_files.formats import Format, suffix_of

CHOICES = {
    "png": formats.PNG,
    "jpeg": formats.JPEG,
    "webp": formats.WEBP,
    "tiff": formats.TIFF,
    "avif": formats.AVIF,
    "heic": formats.HEIC,
    "jxl": formats.JXL,
}
SAME = "same"
QUALITY = 95
SAME_CODEC = "auto"
LARGEST_SIDE = 1_000_000
LARGEST_CRF = 63


@dataclass(frozen=True)
class OutputOptions:
    """How results are written."""

    network_scale: int = SCALE
    """By which the network enlarges."""
    scale: int | None = None
    """Of results to their sources, at most the network's; None for that."""
    size: tuple[int, int] | None = None
    """Width and height of each picture in pixels, as it is shown, instead of a scale."""
    suffix: str = ""
    """Put behind each name, before the dot."""
    format: str = SAME
    """Of pictures: "same" or one of CHOICES."""
    quality: int | None = None
    """1 to 100, of pictures that are stored with loss; without it those that came without loss are
    stored so where their format can."""
    video_codec: str = SAME_CODEC
    """Of films: "auto" or one of films.codecs.CODECS."""
    crf: float | None = None
    """Constant rate factor of films, from 0 (the best) on; None for the codec's own."""
    preset: str | None = None
    """Of films, from fast to small; None for the codec's own."""

    def __post_init__(self) -> None:
        if self.scale is not None and not 1 <= self.scale <= self.network_scale:
            raise OptionsError(
                f"--scale {self.scale}: the model enlarges by {self.network_scale}; take at most "
                "that, or --outscale"
            )
        if self.size is not None and self.scale is not None:
            raise OptionsError("--scale and --outscale: one of them says how large results are")
        if self.format != SAME and self.format not in CHOICES:
            known = ", ".join([SAME, *CHOICES])
            raise OptionsError(f"--format {self.format}: no such format (known: {known})")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise OptionsError(f"--quality {self.quality}: 1 to 100 can be had")
        if self.crf is not None and not 0 <= self.crf <= LARGEST_CRF:
            raise OptionsError(f"--crf {self.crf:g}: 0 to {LARGEST_CRF} can be had")
        if "/" in self.suffix or "\0" in self.suffix:
            raise OptionsError(f"--suffix {self.suffix!r}: becomes part of a name, without /")

    def text(self) -> str:
        """All that is not at its default, as on a command line; empty if nothing is."""
        parts = [f"--scale {self.scale}"] if self.resizes and self.size is None else []
        if self.size is not None:
            parts.append(f"--outscale {self.size[0]}x{self.size[1]}")
        # The model says by itself by what it enlarges.
        for field in fields(self)[3:]:
            value = getattr(self, field.name)
            if value != field.default:
                parts.append(f"--{field.name.replace('_', '-')} {value}")
        return " ".join(parts)

    @property
    def resizes(self) -> bool:
        """Whether results are of another size than the network gives."""
        return self.size is not None or self.scale not in (None, self.network_scale)

    def name_of(self, name: str, is_image: bool) -> str:
        """The name of a result.

        Args:
            name: of its source, with folders.
            is_image: whether it is a picture, whose format may change.
        """
        suffix = name[len(name) - len(suffix_of(name)) :]
        new = suffix
        if is_image and self.format != SAME:
            wanted = CHOICES[self.format].suffixes
            new = suffix if suffix.lower() in wanted else wanted[0]
        return f"{name[: len(name) - len(suffix)]}{self.suffix}{new}"

    def size_of(self, width: int, height: int, is_turned: bool = False) -> tuple[int, int]:
        """Width and height of a result's pixels.

        Args:
            width: of its source, in pixels.
            height: likewise.
            is_turned: whether it is shown with its sides exchanged.
        """
        if self.size is not None:
            across, down = self.size
            return (down, across) if is_turned else (across, down)
        scale = self.network_scale if self.scale is None else self.scale
        return scale * width, scale * height

    def quality_in(self, target: Format, source_is_lossless: bool) -> int | None:
        """The quality with which a result is stored; None for no loss."""
        if target.loss == "never":
            return None
        if target.loss == "chosen" and source_is_lossless and self.quality is None:
            return None
        return QUALITY if self.quality is None else self.quality


DEFAULTS = OutputOptions()


def parse_size(text: str) -> tuple[int, int]:
    """Width and height of "1920x1080".

    Raises:
        OptionsError: it is of another form, or not positive.
    """
    found = re.fullmatch(r"(\d{1,7})[xX×](\d{1,7})", text.strip())
    sides = (int(found[1]), int(found[2])) if found else (0, 0)
    if not all(1 <= side <= LARGEST_SIDE for side in sides):
        raise OptionsError(f"--outscale {text}: width and height, such as 1920x1080")
    return sides
