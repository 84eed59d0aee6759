"""A folder that one run alone may write into."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable

from jobs.runtime import remote
from jobs.runtime.errors import BusyError, JobError


class FolderLock:
    """Held from here until `close`, or until this process dies.

    A local folder is locked by flock. On HDFS the lock is a file that stays open for writing,
    which HDFS grants to one process at a time; it takes it back a minute after that was killed
    (the soft limit of its lease). Other file systems know no lock.
    """

    def __init__(self, folder: str, name: str, option: str) -> None:
        """Lock a folder, which is made if need be, by the file of that name in it.

        Args:
            folder: local or remote.
            name: of the lock file.
            option: the command line option by which the folder was chosen.

        Raises:
            BusyError: another run holds it.
            JobError: it cannot be made or written.
        """
        lock = _lock_remotely if remote.is_remote(folder) else _lock_locally
        try:
            self._release = lock(folder, name)
        except (BlockingIOError, FileExistsError) as error:
            raise BusyError(
                f"another run holds {folder}; wait for it, or choose another {option}"
            ) from error
        except OSError as error:
            raise JobError(
                f"cannot write {folder}: {error.strerror or error}; choose another {option}"
            ) from error

    def close(self) -> None:
        """Let others have it."""
        self._release()


def _lock_locally(folder: str, name: str) -> Callable[[], None]:
    os.makedirs(folder, exist_ok=True)
    file = open(os.path.join(folder, name), "a+", encoding="utf-8")  # noqa: SIM115
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise
    return file.close


def _lock_remotely(folder: str, name: str) -> Callable[[], None]:
    system, root = remote.file_system(folder)
    system.makedirs(root, exist_ok=True)
    if system.protocol != "hdfs":
        return lambda: None
    path = f"{root.rstrip('/')}/{name}"
    if not system.exists(path):
        return system.open(path, "wb", overwrite=False).close
    return system.open(path, "ab").close
