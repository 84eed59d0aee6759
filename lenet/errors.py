"""What can be wrong with the data and the models this package is given.

`exit_code` is what a job that meets the error ends with (see sysexits.h).
"""

from __future__ import annotations


class BadDataError(ValueError):
    """A file is there, but it is not what it should be."""

    exit_code = 65


class MissingDataError(OSError):
    """A file is not there, or may not be read."""

    exit_code = 66


class TrainingFailedError(RuntimeError):
    """Training cannot go on."""

    exit_code = 1


class ExecutorLostError(TrainingFailedError):
    """An executor went away, and with it a part of the weights of this epoch."""


class DivergedError(TrainingFailedError):
    """The loss is no finite number any more."""


class BatchSizeError(ValueError):
    """The batch does not divide among the executors and their cores."""

    exit_code = 2
