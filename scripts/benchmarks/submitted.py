"""One job by spark-submit, and what it left behind."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.measured import run_measured
from jobs.runtime.errors import EXIT_FAILED, EXIT_OK
from jobs.runtime.files import ROOT
from jobs.runtime.run_folder import RESULT_FILE


class Submitted(NamedTuple):
    """What came of a job."""

    code: int
    """Its exit code; not 0 without a result that says ok."""
    result: Mapping[str, Any]
    """Its result.json; empty where it never came to one."""
    peak_bytes: int = 0
    """See `benchmarks.measured`; 0 where that was not asked for."""


def spark_submit(profile: str, master: str | None = None) -> list[str]:
    """The first words of a command line: a profile of conf/, and a master instead of its own."""
    conf = ROOT / "conf" / f"{profile}.conf"
    return [
        "spark-submit",
        "--properties-file",
        str(conf),
        *(("--master", master) if master else ()),
    ]


def submit(
    job: Path,
    run_dir: Path,
    options: Iterable[object],
    *,
    profile: str,
    master: str | None = None,
    conf: Iterable[object] = (),
    environment: Mapping[str, str] | None = None,
    memory_of: str | None = None,
    shows: bool = False,
) -> Submitted:
    """Run a job to its end.

    Args:
        job: its entry script.
        run_dir: its run folder.
        options: further ones, of the job.
        profile: see `spark_submit`; likewise `master`.
        conf: further options of spark-submit.
        environment: variables beside this process's own.
        memory_of: measure memory, too; whose, see `run_measured`.
        shows: let what the job prints be seen.
    """
    script = (*conf, job, *options, "--run-dir", run_dir)
    command = [*spark_submit(profile, master), *map(str, script)]
    variables = {**os.environ, **(environment or {})}
    code, peak_bytes = EXIT_OK, 0
    if memory_of is None:
        output = None if shows else subprocess.DEVNULL
        code = subprocess.run(command, env=variables, stdout=output, check=False).returncode
    else:
        peak_bytes = run_measured(command, variables, of=memory_of).peak_bytes
    try:
        result = json.loads((run_dir / RESULT_FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        result = {}
    if code == EXIT_OK and result.get("status") != "ok":
        code = EXIT_FAILED
    return Submitted(code, result, peak_bytes)
