"""The folder for temporary files of this process and its JVM: with room, and fit for code."""

from __future__ import annotations

import mmap
import shutil
import tempfile

from jobs.runtime.errors import UnavailableError
from jobs.runtime.jvm import driver_jvm

BIGDL_BYTES = 80 << 20
"""LeNet on MNIST was seen to take 56 MB, half of it libraries that BigDL unpacks."""
SPARK_BYTES = 8 << 20
WAY_OUT = "name another folder with the variable TMPDIR, then activate the environment again"


def prepare_temporary_folder(*, for_bigdl: bool) -> None:
    """See that the folder for temporary files will do; Spark uses that of this process.

    A JVM whose temporary folder fills up may crash, and says nothing of use then.

    Args:
        for_bigdl: BigDL's native libraries must run from there.

    Raises:
        UnavailableError: there is too little room, or nothing there may be run.
    """
    jvm = driver_jvm()
    # Java's own library still uses what was known when the environment was activated.
    folders = dict.fromkeys((jvm.System.getProperty("java.io.tmpdir"), tempfile.gettempdir()))
    for folder in folders:
        _check(folder, for_bigdl=for_bigdl)
    jvm.System.setProperty("java.io.tmpdir", tempfile.gettempdir())


def _check(folder: str, *, for_bigdl: bool) -> None:
    what = f"{folder}, the folder for temporary files,"
    needed = BIGDL_BYTES if for_bigdl else SPARK_BYTES
    try:
        free = shutil.disk_usage(folder).free
        may_run_code = _may_run_code(folder)
    except OSError as error:
        raise UnavailableError(f"{what} is of no use ({error.strerror}); {WAY_OUT}") from error
    if free < needed:
        raise UnavailableError(
            f"{what} has room for {free >> 20} MB, and {needed >> 20} MB are needed; make room, "
            f"or {WAY_OUT}"
        )
    if for_bigdl and not may_run_code:
        raise UnavailableError(
            f"{what} is mounted noexec, and BigDL's native libraries must run from there; {WAY_OUT}"
        )


def _may_run_code(folder: str) -> bool:
    with tempfile.TemporaryFile(dir=folder) as file:
        file.truncate(mmap.PAGESIZE)
        try:
            mmap.mmap(
                file.fileno(), mmap.PAGESIZE, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC
            ).close()
        except PermissionError:
            return False
    return True
