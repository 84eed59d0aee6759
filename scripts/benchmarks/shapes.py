"""One job on clusters of different shape: submit it on each, and keep what it measured."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.submitted import submit
from jobs.runtime.files import ROOT

logger = logging.getLogger("scaling")


@dataclass(frozen=True, order=True)
class Shape:
    """Executors, and the cores of each."""

    total: int
    executors: int
    cores: int

    @classmethod
    def of(cls, executors: int, cores: int) -> Shape:
        """The shape, ordered by the cores of all executors."""
        return cls(executors * cores, executors, cores)

    def __str__(self) -> str:
        return f"{self.executors}x{self.cores}"


@dataclass(frozen=True)
class Outcome:
    """What a job left behind on one shape."""

    shape: Shape
    code: int
    """Its exit code."""
    result: Mapping[str, Any]
    """Its result.json; empty where it never wrote one."""

    @property
    def metrics(self) -> Mapping[str, Any]:
        """The metrics of a job that ended well."""
        return self.result["metrics"]

    @property
    def error(self) -> str:
        """Why it failed."""
        return str(self.result.get("error") or f"exit code {self.code}")


def run_on(
    shape: Shape,
    job: str,
    options: Sequence[str],
    *,
    master: str,
    profile: str,
    run_dir: Path,
    environment: Mapping[str, str],
) -> Outcome:
    """Submit a job on a shape of the cluster; one that is done already is not done again.

    Args:
        shape: executors and cores.
        job: such as "train_lenet".
        options: of the job.
        master: the cluster's URL.
        profile: of conf/, for memory and GPUs.
        run_dir: the job's run folder.
        environment: further environment variables.
    """
    logger.info("%s on %s: running", job, shape)
    done = submit(
        ROOT / "jobs" / f"{job}.py",
        run_dir,
        options,
        profile=profile,
        master=master,
        conf=("--executor-cores", shape.cores, "--total-executor-cores", shape.total),
        environment=environment,
        shows=True,
    )
    return Outcome(shape, done.code, done.result)
