"""Reduce photographs, so that a crop of a training holds detail and no traces of JPEG.

    python scripts/reduce_pictures.py data/budgie --to data/budgie-1280 --longest 1280
    python scripts/reduce_pictures.py data/photos/* --to data/photos-1280 --shrink 2

Every picture of the folders comes out as a PNG whose longer side has at most that many pixels;
smaller ones stay as they are, or become smaller by --shrink. Two pictures of the same name are
refused: one would take the other's place.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from jobs.runtime.command import command
from jobs.runtime.errors import EXIT_OK
from srgan.errors import BadDataError
from srgan.image_folder import read_images


@command("reduce_pictures")
def main(argv: Sequence[str] | None = None) -> int:
    """Reduce all pictures and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", help="with pictures")
    parser.add_argument("--to", type=Path, required=True, help="folder to fill")
    parser.add_argument("--longest", type=int, default=1280, help="longer side, pixels [1280]")
    parser.add_argument(
        "--shrink",
        type=float,
        default=1.0,
        metavar="TIMES",
        help="how much smaller each has to become at least; 2 rids of JPEG's blocks [1]",
    )
    options = parser.parse_args(argv)
    if not 1 <= options.shrink < float("inf"):
        parser.error("argument --shrink: 1 or more")
    if options.longest < 1:
        parser.error("argument --longest: 1 or more")
    options.to.mkdir(parents=True, exist_ok=True)
    origins: dict[str, str] = {}
    for folder in options.folders:
        for name, pixels in read_images(folder).usable:
            first = origins.setdefault(Path(name).stem, f"{folder}/{name}")
            if first != f"{folder}/{name}":
                raise BadDataError(f"{folder}/{name} and {first} would have the same name")
            image = Image.fromarray(pixels)
            most = min(options.longest, max(1, int(max(image.size) / options.shrink)))
            image.thumbnail((most, most), Image.Resampling.LANCZOS)
            image.save(options.to / f"{Path(name).stem}.png")
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
