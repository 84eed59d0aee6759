"""hdfs:// that does not answer: said within seconds, and never in the way of a signal.

hdfs-native tries for minutes to reach a NameNode, which is right while a job runs: the NameNode
may be started again. Before anything was ever heard of it, its address is likely to be wrong.
Meanwhile Python's signal handlers would have to wait, so each call is made on a thread of its own.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from jobs.runtime.errors import UnavailableError
from jobs.runtime.hdfs import Hdfs

ANSWER_SECONDS = 10.0
"""For the first answer, and for each once the job was asked to end."""
CONNECT_SECONDS = 5.0
LOOK_SECONDS = 0.2

AT_HAND = frozenset({"tell", "seek", "file_length"})
"""What needs no answer."""
OPENING = frozenset({"read", "create", "append"})

_hurry_since: float | None = None


def hurry() -> None:
    """From here on no answer is waited for longer than `ANSWER_SECONDS`: the job is to end."""
    global _hurry_since
    if _hurry_since is None:
        _hurry_since = time.monotonic()


class AnsweringHdfs(Hdfs):
    """hdfs:// with bounded waiting; its calls raise UnavailableError."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Connect to nothing yet."""
        super().__init__(*arguments, **options)
        self.client.inner = _Client(self.client.inner, _NameNode(self.host, self.port))


class _NameNode:
    """How long to wait for a NameNode."""

    def __init__(self, host: str | None, port: int | None) -> None:
        self._host, self._port = host, port
        self._is_known = False

    def ask(self, call: Callable[[], Any]) -> Any:
        """What a call returns or raises.

        Raises:
            UnavailableError: there is no answer.
        """
        if sys.is_finalizing():
            # No thread starts any more; a file that was left open is closed so late.
            return call()
        if not self._is_known:
            self._knock()
        answers: list[Any] = []
        errors: list[BaseException] = []
        came = threading.Event()

        def wait() -> None:
            try:
                answers.append(call())
            except BaseException as error:
                errors.append(error)
            finally:
                came.set()

        begin = time.monotonic()
        threading.Thread(target=wait, daemon=True).start()
        while not came.wait(LOOK_SECONDS):
            since = max(begin, _hurry_since or 0.0)
            is_bounded = not self._is_known or _hurry_since is not None
            if is_bounded and time.monotonic() - since > ANSWER_SECONDS:
                raise self._unavailable(f"nothing within {ANSWER_SECONDS:.0f} s")
        if errors:
            raise self._translated(errors[0])
        self._is_known = True
        return answers[0]

    def _knock(self) -> None:
        if self._host is None or self._port is None:
            # A name of core-site.xml, or the default there.
            return
        try:
            socket.create_connection((self._host, self._port), CONNECT_SECONDS).close()
        except OSError as error:
            raise self._unavailable(error.strerror or str(error)) from error

    def _translated(self, error: BaseException) -> BaseException:
        text = str(error)
        if isinstance(error, RuntimeError) and text.startswith("DataTransferError"):
            # What follows is all that is known of each.
            reason = text.partition('"')[2].partition(":")[0].rstrip('")')
            return UnavailableError(
                f"{self._place} has no DataNode that answers ({reason}); start its DataNodes"
            )
        # Those of the system have numbers.
        is_lost = type(error) is OSError and error.errno is None
        if is_lost or (isinstance(error, RuntimeError) and text.startswith("IOError")):
            return self._unavailable(text)
        return error

    @property
    def _place(self) -> str:
        return f"hdfs://{self._host or ''}" + (f":{self._port}" if self._port else "")

    def _unavailable(self, reason: str) -> UnavailableError:
        return UnavailableError(
            f"{self._place} does not answer ({reason}); start its NameNode, or correct the address"
        )


class _Inner:
    """What hdfs-native's classes of Python are made around: a client, or an open file."""

    def __init__(self, inner: Any, name_node: _NameNode) -> None:
        self._inner = inner
        self._name_node = name_node

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if name in AT_HAND:
            return method
        return lambda *arguments, **options: self._name_node.ask(
            lambda: method(*arguments, **options)
        )


class _Client(_Inner):
    def list_status(self, *arguments: Any) -> Any:
        # The answer would be asked for while it is gone through.
        return iter(self._name_node.ask(lambda: list(self._inner.list_status(*arguments))))

    def __getattr__(self, name: str) -> Any:
        method = super().__getattr__(name)
        if name not in OPENING:
            return method
        return lambda *arguments, **options: _Inner(method(*arguments, **options), self._name_node)
