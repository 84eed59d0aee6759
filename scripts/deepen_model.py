"""Make a model deeper, to train on from where it stands instead of from nothing.

    python scripts/deepen_model.py srgan/weights/fast.safetensors --residual-blocks 16 \\
        --to deeper.safetensors
    spark-submit --properties-file conf/local.conf jobs/train_srgan.py \\
        --config conf/srgan-box.toml --residual-blocks 16 \\
        --initial-generator deeper.safetensors --phase srresnet --data data/box

The result enlarges pictures as the first did: its new blocks add nothing before they are trained
(Net2Net, Chen et al. 2016). Models of the architecture edsr alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from jobs.runtime.command import command
from jobs.runtime.errors import EXIT_OK
from srgan.export import deepen, load_generator, save_generator


@command("deepen_model")
def main(argv: Sequence[str] | None = None) -> int:
    """Write the deeper model and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="model file, such as a run's srresnet-best.safetensors")
    parser.add_argument(
        "--residual-blocks", type=int, required=True, help="of the result; more than it has"
    )
    parser.add_argument("--to", required=True, help="model file to write")
    options = parser.parse_args(argv)
    deeper = deepen(load_generator(options.model), options.residual_blocks)
    save_generator(options.to, deeper.network, deeper.description)
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
