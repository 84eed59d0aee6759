"""Blend a model that invents detail with the one that its training began from.

    python scripts/blend_models.py runs/photo/srgan-best.safetensors \\
        srgan/weights/fast.safetensors --share 0.8 --to photo.safetensors

The weights of the result are --share of the first model's and the rest of the second's (network
interpolation: ESRGAN, Wang et al. 2018, section 3.4). Between the two lies a picture with most of
the texture and little of what is wrong with it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from jobs.runtime.command import command
from jobs.runtime.errors import EXIT_OK
from srgan.export import blend, load_generator, save_generator


@command("blend_models")
def main(argv: Sequence[str] | None = None) -> int:
    """Write the blend and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="model file, such as a run's srgan-best.safetensors")
    parser.add_argument("origin", help="model file of the same shape that its training began from")
    parser.add_argument("--share", type=float, default=0.8, help="of the first model, 0 to 1 [0.8]")
    parser.add_argument("--to", required=True, help="model file to write")
    options = parser.parse_args(argv)
    if not 0 <= options.share <= 1:
        parser.error("argument --share: 0 to 1")
    first, second = load_generator(options.model), load_generator(options.origin)
    blended = blend(first, second, options.share)
    save_generator(options.to, blended.network, blended.description)
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
