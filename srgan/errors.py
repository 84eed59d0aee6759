"""What can go wrong for reasons outside the code, with the exit code a job ends with."""


class OptionsError(ValueError):
    """Options that do not fit each other, the number of ranks, or the run folder."""

    exit_code = 2


class BadDataError(ValueError):
    """A file is there but its content cannot be used."""

    exit_code = 65


class MissingDataError(OSError):
    """A file or folder is not there or may not be read."""

    exit_code = 66


class UnavailableError(RuntimeError):
    """Something the chosen options need, such as VGG weights, is not there."""

    exit_code = 69


class WriteError(OSError):
    """A file cannot be written, for example on a full disk."""

    exit_code = 1


class TrainingFailedError(RuntimeError):
    """The training itself went wrong, for example by a loss that is not a number."""

    exit_code = 1


class DivergedError(TrainingFailedError):
    """The loss is no finite number any more."""
