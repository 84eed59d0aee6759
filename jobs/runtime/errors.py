"""Exit codes of a job, and the errors that carry them.

Any exception with an integer attribute `exit_code` ends a job with that code and its message as
the one line on stderr. The packages `lenet` and `srgan` define their own, so they need not import
this one.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_BAD_DATA = 65
EXIT_MISSING_DATA = 66
EXIT_UNAVAILABLE = 69
EXIT_BUSY = 75

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class JobError(Exception):
    """The work failed; base of the errors below."""

    exit_code = EXIT_FAILED


class UsageError(JobError):
    """An option, a config file or a profile is wrong."""

    exit_code = EXIT_USAGE


class MissingDataError(JobError):
    """A file or folder is not there."""

    exit_code = EXIT_MISSING_DATA


class UnavailableError(JobError):
    """A cluster, a GPU or a download is not there."""

    exit_code = EXIT_UNAVAILABLE


class BusyError(JobError):
    """Another run holds this run folder."""

    exit_code = EXIT_BUSY


class PartlyFailedError(JobError):
    """Some of the work failed, the rest is done."""

    def __init__(self, message: str, metrics: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.metrics = metrics
        """For result.json."""


def exit_code_of(error: BaseException) -> int:
    """The exit code an exception stands for (1 if it names none)."""
    code = getattr(error, "exit_code", EXIT_FAILED)
    return code if isinstance(code, int) else EXIT_FAILED


def one_line(error: BaseException) -> str:
    """The message of an exception as one line, its type in front where that is all there is."""
    java_error = getattr(error, "java_exception", None)
    if java_error is not None:
        root = java_error
        while root.getCause() is not None:
            root = root.getCause()
        text = str(root.toString())
        if "failed to map segment" in text:
            text += "; is it mounted noexec? Start the Workers with TMPDIR naming another folder"
    elif isinstance(error, OSError) and error.errno in DISK_FULL:
        place = error.filename or "the run folder, or the folder for temporary files"
        text = f"{place}: {error.strerror}; make room, then run the same command again to continue"
    elif isinstance(error, OSError) and error.filename and not hasattr(error, "exit_code"):
        text = f"{error.filename}: {error.strerror}"
    else:
        text = str(error) or type(error).__name__
        if not hasattr(error, "exit_code"):
            text = f"{type(error).__name__}: {text}"
    return " ".join(text.split())
