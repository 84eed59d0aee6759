"""Measure recipes and options side by side on this machine, in one run.

    python scripts/benchmark.py lenet
    python scripts/benchmark.py lenet --profile lab-4pc --master spark://HOST:7077
    python scripts/benchmark.py srgan

lenet: the experiment's recipe (conf/lenet-seed.toml, its first iterations, and from those the
time of all 28125) against the tuned one (conf/lenet.toml, whole). The seed recipe is measured
before and after, so that a machine that slows down in between does not decide.

srgan: the training step of the paper's SRResNet with each option on and off, interleaved, beside
a plain implementation and the rate of a large matrix product.

Writes runs/benchmark/lenet.json and lenet.md (or srgan.*). Only ratios from one run mean
something.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import lenet, srgan

from jobs.runtime.errors import EXIT_OK

ROOT = Path(__file__).resolve().parents[1]
COMPARISONS = {"lenet": lenet, "srgan": srgan}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison that the command line asks for and return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=sorted(COMPARISONS))
    parser.add_argument("--profile", default="local", help="lenet: conf/PROFILE.conf [local]")
    parser.add_argument("--master", help="lenet: Spark's master URL, instead of the profile's")
    parser.add_argument("--data", default=str(ROOT / "data" / "mnist"), help="lenet: [data/mnist]")
    parser.add_argument(
        "--seed-iterations",
        type=int,
        default=500,
        help="lenet: seed recipe, each time [500]",
    )
    parser.add_argument("--batch-size", type=int, default=16, help="srgan: crops a step [16]")
    parser.add_argument("--rounds", type=int, default=5, help="srgan: steps of each variant [5]")
    options = parser.parse_args(argv)
    folder = ROOT / "runs" / "benchmark"
    folder.mkdir(parents=True, exist_ok=True)
    comparison = COMPARISONS[options.what]
    report = comparison.compare(options, folder)
    table = comparison.markdown(report)
    (folder / f"{options.what}.json").write_text(json.dumps(report, indent=2) + "\n")
    (folder / f"{options.what}.md").write_text(table, encoding="utf-8")
    print(table)
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
