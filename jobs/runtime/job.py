"""The frame around every job: options -> run folder -> work -> result.json -> exit code."""

from __future__ import annotations

import io
import logging
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Generic, TextIO

from pyspark import SparkContext

from jobs.runtime import spark
from jobs.runtime.errors import (
    EXIT_OK,
    BusyError,
    JobError,
    UnavailableError,
    UsageError,
    exit_code_of,
    one_line,
)
from jobs.runtime.executors import Executors
from jobs.runtime.jvm_watch import JvmWatch
from jobs.runtime.options import JobOptions, OptionsType, parse_options
from jobs.runtime.profile import read_cluster
from jobs.runtime.run_folder import LOG_FILE, RunFolder
from jobs.runtime.stop import StopSignal
from jobs.runtime.strict_json import plain
from jobs.runtime.temporary import prepare_temporary_folder
from jobs.runtime.terminal import print_error, prints_to_terminal

logger = logging.getLogger(__name__)
TRACEBACKS = logging.getLogger("traceback")
"""For log.txt alone: the terminal gets a shorter line."""
OPTIONS = logging.getLogger("options")
OWN_PACKAGES = ("jobs", "lenet", "srgan")
"""Whose records are for the terminal, too."""

PACKAGES = ("pyspark", "bigdl-dllib-spark3", "numpy", "pillow", "torch", "torchvision")
CONTROL_OPTIONS = frozenset(JobOptions.model_fields)
"""How a run is carried out, not what it computes: these may differ when it is continued."""


class Run(Generic[OptionsType]):
    """One execution of a job, handed to its work function."""

    def __init__(self, name: str, options: OptionsType, folder: RunFolder) -> None:
        self.name = name
        """The job's name, such as "train_lenet"."""
        self.stop = StopSignal()
        """Whether it has been asked to end."""
        self.options = options
        self.folder = folder
        self.cluster = read_cluster()
        """What the profile promises."""
        self.submitted_at = spark.submission_time()
        """When spark-submit started, in seconds since 1970."""
        self._class_path: Sequence[str] = ()
        self._context: SparkContext | None = None

    def add_jars(self, class_path: Sequence[str]) -> None:
        """Add jars to driver and executors, at the same path on every node; before the start."""
        spark.add_jars(class_path)
        self._class_path = class_path

    def start_spark(
        self,
        properties: Mapping[str, str],
        context_class: type[SparkContext] = SparkContext,
    ) -> SparkContext:
        """Start the session (once) and wait for the promised executors."""
        if self._context is None:
            prepare_temporary_folder(for_bigdl=bool(self._class_path))
            self._context = spark.start_spark(
                self.cluster,
                self.name,
                log_file=self.folder.path / LOG_FILE,
                class_path=self._class_path,
                properties=properties,
                executor_wait=self.options.executor_wait,
                context_class=context_class,
            )
        return self._context

    def executors(self) -> Executors:
        """The executors of the started session, to be watched while they work."""
        assert self._context is not None
        return Executors(self._context, self.cluster, self.options.executor_wait)

    def close(self) -> None:
        """Stop the session and release the run folder."""
        if self._context is not None:
            spark.stop_spark(self._context)
        self.folder.close()


def run_job(
    name: str,
    options_type: type[OptionsType],
    work: Callable[[Run[OptionsType]], dict[str, Any]],
    summary: Callable[[Mapping[str, Any]], Sequence[tuple[str, str]]],
    *,
    workers_write: bool = False,
    looks_again: bool = False,
) -> int:
    """Run a job from its command line and return its exit code.

    Args:
        name: the job's name; its run folders lie under runs/NAME.
        options_type: the job's options.
        work: does the work and returns the metrics for result.json; the docstring of its module
            is the text of --help.
        summary: the lines (label, value) to print when it is done.
        workers_write: see `RunFolder.open`.
        looks_again: carry out a finished run again, since the work itself finds what is done and
            what has come since.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    words = sys.argv[1:]
    debug = "--debug" in words
    try:
        watch = JvmWatch(name)
        description = sys.modules[work.__module__].__doc__ or ""
        options = parse_options(options_type, words, job=name, description=description)
        folder = RunFolder.open(name, options.run_dir, workers_write=workers_write)
    except Exception as error:
        return _fail(name, error, debug)
    try:
        return _run(
            name,
            options=options,
            folder=folder,
            work=work,
            summary=summary,
            looks_again=looks_again,
            watch=watch,
        )
    except BaseException as error:
        return _fail(name, error, debug)
    finally:
        folder.close()


def _run(
    name: str,
    options: OptionsType,
    folder: RunFolder,
    work: Callable[[Run[OptionsType]], dict[str, Any]],
    summary: Callable[[Mapping[str, Any]], Sequence[tuple[str, str]]],
    looks_again: bool,
    watch: JvmWatch,
) -> int:
    stored = options.model_dump(mode="json", exclude=set(CONTROL_OPTIONS))
    if options.fresh:
        folder.clear()
    defaults = {name: field.default for name, field in type(options).model_fields.items()}
    finished = folder.finished_result(stored, options.may_grow, defaults)
    if finished is not None and not looks_again:
        print(f"{name}: already done (--fresh does it again)")
        _print_table([*summary(finished["metrics"]), ("results", folder.url)])
        return EXIT_OK

    _log_to(folder.path / LOG_FILE)
    folder.write_options(stored)
    _say_options(name, stored, defaults)
    begin = datetime.now(timezone.utc)
    run = Run(name, options, folder)
    run.stop.listen()
    outcome: dict[str, Any] = {"status": "failed", "error": None, "metrics": {}}
    try:
        # What libraries print is for the log; what this job says goes through logging.
        with _opened(folder.path / LOG_FILE) as log, redirect_stdout(log):
            outcome["metrics"] = plain(work(run))
        outcome["status"] = "ok"
    except BaseException as error:
        cause = run.stop.cause_of(watch.cause_of(error))
        outcome["error"] = one_line(cause)
        outcome["metrics"] = getattr(error, "metrics", {})
        TRACEBACKS.error("%s failed", name, exc_info=True)
        if cause is error:
            raise
        raise cause from error
    finally:
        end = datetime.now(timezone.utc)
        result = {
            "job": name,
            "status": outcome["status"],
            "error": outcome["error"],
            "started": begin.isoformat(timespec="seconds"),
            "finished": end.isoformat(timespec="seconds"),
            "seconds": round((end - begin).total_seconds(), 2),
            "options": stored,
            "cluster": run.cluster.as_dict(),
            "versions": _versions(),
            "metrics": outcome["metrics"],
        }
        try:
            folder.write_result(result)
        except (OSError, UnavailableError):
            # What went wrong first is the reason, such as a full disk.
            if outcome["status"] == "ok":
                raise
        finally:
            run.close()
    _print_table([*summary(outcome["metrics"]), ("results", folder.url)])
    return EXIT_OK


def _fail(name: str, error: BaseException, debug: bool) -> int:
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else EXIT_OK
    if isinstance(error, KeyboardInterrupt):
        error = JobError("interrupted; run the same command again to continue")
    if debug and not isinstance(error, (UsageError, BusyError)):
        traceback.print_exception(error)
    print_error(f"{name}: error: {one_line(error)}")
    return exit_code_of(error)


def _opened(log: Path) -> TextIO:
    return open(log, "a", encoding="utf-8", errors="backslashreplace")


def _log_to(path: Path) -> None:
    # Names of files need not be text.
    file = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    screen = logging.StreamHandler(sys.stdout)
    screen.setFormatter(logging.Formatter("%(message)s"))
    screen.addFilter(lambda record: record.name.partition(".")[0] in OWN_PACKAGES)
    # A full disk is said once, by the work itself.
    logging.raiseExceptions = False
    logging.basicConfig(level=logging.WARNING, handlers=[file, screen], force=True)
    for package in (*OWN_PACKAGES, OPTIONS.name):
        logging.getLogger(package).setLevel(logging.INFO)
    logging.getLogger("py4j").setLevel(logging.CRITICAL)


def _say_options(name: str, options: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Log all options; whoever is at a terminal sees those that are not at their default."""
    words = {key: f"{key}={value}" for key, value in options.items()}
    if not prints_to_terminal():
        logger.info("%s: %s", name, " ".join(words.values()))
        return
    changed = [word for key, word in words.items() if options[key] != plain(defaults.get(key))]
    print(f"{name}: {' '.join(changed) or 'all options at their defaults'}", flush=True)
    OPTIONS.info("%s: %s", name, " ".join(words.values()))


def _print_table(rows: Sequence[tuple[str, str]]) -> None:
    width = max(len(label) for label, _ in rows)
    print(os.linesep.join(f"  {label:<{width}}  {value}" for label, value in rows), flush=True)


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found
