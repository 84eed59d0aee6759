"""Measure recipes and options side by side on this machine, in one run.

    python scripts/benchmark.py lenet
    python scripts/benchmark.py lenet --profile lab-4pc --master spark://HOST:7077
    python scripts/benchmark.py srgan
    python scripts/benchmark.py upscale --rounds 3
    python scripts/benchmark.py growth --rounds 1
    python scripts/benchmark.py gpu

lenet: the experiment's recipe (conf/lenet-seed.toml, its first iterations, and from those the
time of all 28125), the tuned one (conf/lenet.toml, whole), the same network, batch and optimiser
in PyTorch DDP under Spark on the same cores and in one plain process, and the last
three at batch 2048. 7 minutes a round on two cores.

srgan: the training step of the paper's SRResNet with each option on and off, interleaved, beside
a plain implementation, the full SRGAN step and the rate of a large matrix product; the input
pipeline alone; one process of two threads against two ranks of one.

upscale: jobs/upscale.py with the default model on one and on two executors of one core, beside a
plain loop of torch over whole pictures, one thread; start of Python and all files included.

growth: how the cost grows with batch, number of images, size of an image and executors.

gpu: one GPU in less than ten minutes: losses and checkpoints beside the CPU's, whether the host
waits, steps by precision and batch, upscaling, torch.compile; written after each section.

Writes runs/benchmark/lenet.json, lenet.md and a chart, lenet.png (or srgan.*, upscale.*,
growth.*; gpu.* without a chart). Only ratios from one run mean something.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from benchmarks import bench_gpu, bench_growth, bench_lenet, bench_srgan, bench_upscale
from jobs.runtime.command import command
from jobs.runtime.errors import EXIT_OK
from jobs.runtime.files import ROOT
from jobs.runtime.strict_json import to_json

COMPARISONS = {
    "gpu": bench_gpu,
    "growth": bench_growth,
    "lenet": bench_lenet,
    "srgan": bench_srgan,
    "upscale": bench_upscale,
}


@command("benchmark")
def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison that the command line asks for and return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=sorted(COMPARISONS))
    parser.add_argument("--profile", default="local", help="lenet, growth: conf/PROFILE.conf")
    parser.add_argument("--master", help="lenet, growth: Spark's master URL")
    parser.add_argument("--data", default=str(ROOT / "data" / "mnist"), help="MNIST [data/mnist]")
    parser.add_argument(
        "--seed-iterations",
        type=int,
        default=500,
        help="lenet: of the seed recipe, in each round [500]",
    )
    parser.add_argument("--threads", type=int, default=2, help="lenet: of the plain process [2]")
    parser.add_argument("--batch-size", type=int, default=16, help="srgan: crops per step [16]")
    parser.add_argument(
        "--rounds", type=int, default=5, help="srgan: steps of each variant; else: runs [5]"
    )
    parser.add_argument("--pictures", type=int, default=48, help="upscale: to upscale [48]")
    parser.add_argument(
        "--tiny", action="store_true", help="gpu: small networks, on the CPU if there is no GPU"
    )
    options = parser.parse_args(argv)
    folder = ROOT / "runs" / "benchmark"
    folder.mkdir(parents=True, exist_ok=True)
    comparison = COMPARISONS[options.what]
    report = comparison.compare(options, folder)
    table = comparison.markdown(report)
    (folder / f"{options.what}.json").write_text(to_json(report, indent=2) + "\n")
    (folder / f"{options.what}.md").write_text(table, encoding="utf-8")
    print(table)
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
