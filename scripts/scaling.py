"""How much do more executors, or more cores, gain? The experiment's comparison as a command.

    python scripts/scaling.py lenet --executors 1,2,4 --cores 1,2 --recipe conf/lenet.toml
    python scripts/scaling.py lenet --executors 1,2 --cores 1 --batch-per-core 8192 --repeat 3
    python scripts/scaling.py srgan --ranks 1,2 --recipe conf/srgan-tiny.toml \\
        --data data/sample/train --test-sets data/sample/test
    python scripts/scaling.py lenet --executors 2,4 --cores 2 --master spark://HOST:7077

Without --master the executors share this machine: Workers on loopback, started for the purpose.
Each shape of cluster is one run of the job by spark-submit. A shape that fails is reported and
the others go on; called again, what is done is not done again. Options behind -- go to the job.

Writes table.md, scaling.json and scaling.png into runs/scaling/lenet (or srgan). Exit codes:
0 done; 1 a shape failed; 2 usage; 69 no cluster.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.scaling_report import draw_chart, markdown, summarise
from benchmarks.shapes import Shape, run_on
from jobs.runtime.cluster.loopback import loopback_cluster
from jobs.runtime.command import command
from jobs.runtime.errors import EXIT_FAILED, EXIT_OK
from jobs.runtime.files import ROOT
from jobs.runtime.strict_json import to_json

logger = logging.getLogger("scaling")
WORKER_MEMORY = "2g"
"""A Worker offers somewhat more than the executor asks for."""
DATA = {"lenet": "data/mnist", "srgan": "data/General-100"}
RECIPES = {"lenet": "conf/lenet.toml", "srgan": "conf/srgan-tiny.toml"}


@command("scaling")
def main(argv: Sequence[str] | None = None) -> int:
    """Run every shape, write the table and return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    words = list(sys.argv[1:] if argv is None else argv)
    end = words.index("--") if "--" in words else len(words)
    options = _parser().parse_args(words[:end])
    options.job_options = words[end + 1 :]
    executors = options.ranks if options.what == "srgan" else options.executors
    shapes = sorted(Shape.of(*pair) for pair in set(itertools.product(executors, options.cores)))
    folder = (options.out or ROOT / "runs" / "scaling" / options.what).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with _cluster(options, folder / "cluster", shapes) as master:
        # Shapes take turns: a machine that slows down meanwhile does not decide.
        outcomes = [
            run_on(
                shape,
                f"train_{options.what}",
                _job_options(options, shape),
                master=master,
                profile=options.profile,
                run_dir=folder / (f"{shape}-{number}" if number else str(shape)),
                environment={} if options.master else _environment(folder / "cluster"),
            )
            for number, shape in itertools.product(range(options.repeat), shapes)
        ]
    report = summarise(options.what, outcomes, shares_this_machine=options.master is None)
    table = markdown(report)
    (folder / "scaling.json").write_text(to_json(report, indent=2) + "\n", encoding="utf-8")
    (folder / "table.md").write_text(table, encoding="utf-8")
    draw_chart(folder / "scaling.png", report)
    print(f"{table}\n  results  {folder}")
    return EXIT_FAILED if any(outcome.code for outcome in outcomes) else EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("what", choices=sorted(DATA))
    parser.add_argument("--executors", type=_counts, default=[1, 2], help="lenet: [1,2]")
    parser.add_argument("--ranks", type=_counts, default=[1, 2], help="srgan: an executor each")
    parser.add_argument("--cores", type=_counts, default=[1], help="of each executor [1]")
    parser.add_argument("--recipe", type=Path, help="of the job [the tuned one]")
    parser.add_argument("--data", help="[data/mnist, data/General-100]")
    parser.add_argument("--test-sets", help="srgan: folders, separated by commas")
    parser.add_argument(
        "--batch-per-core",
        type=int,
        help="let the batch grow with the cores (weak scaling) [the recipe's batch for all]",
    )
    parser.add_argument(
        "--repeat", type=int, default=1, help="runs of each shape, of which the median counts [1]"
    )
    parser.add_argument("--master", help="a running cluster's URL [one on loopback]")
    parser.add_argument("--profile", default="lab-2pc", help="memory and GPUs [lab-2pc]")
    parser.add_argument("--out", type=Path, help="folder for everything [runs/scaling/WHAT]")
    return parser


def _counts(text: str) -> list[int]:
    words = text.split(",")
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise argparse.ArgumentTypeError(f"{text!r}: expected whole numbers such as 1,2,4")
    return [int(word) for word in words]


@contextlib.contextmanager
def _cluster(options: argparse.Namespace, folder: Path, shapes: Sequence[Shape]) -> Iterator[str]:
    if options.master:
        yield options.master
        return
    workers = max(shape.executors for shape in shapes)
    cores = max(shape.cores for shape in shapes)
    with loopback_cluster(folder, workers, cores, WORKER_MEMORY) as master:
        yield master


def _environment(cluster: Path) -> dict[str, str]:
    return {"SPARK_CLUSTER_FOLDER": str(cluster)}


def _job_options(options: argparse.Namespace, shape: Shape) -> list[str]:
    recipe = options.recipe or ROOT / RECIPES[options.what]
    data = options.data or str(ROOT / DATA[options.what])
    words = ["--config", str(recipe), "--data", data]
    if options.what == "srgan":
        words += ["--ranks", str(shape.executors)]
        words += ["--test-sets", options.test_sets] if options.test_sets else []
    if options.batch_per_core:
        words += ["--batch-size", str(options.batch_per_core * shape.total)]
    return [*words, *options.job_options]


if __name__ == "__main__":
    sys.exit(main())
