"""The frame of every script: what it raises becomes one line on stderr and an exit code."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from jobs.runtime.errors import exit_code_of, one_line
from jobs.runtime.text import as_text

Parameters = ParamSpec("Parameters")


def command(name: str) -> Callable[[Callable[Parameters, int]], Callable[Parameters, int]]:
    """Decorate a script's main function, which returns an exit code.

    An error that names its exit code, or comes from the operating system, is a user's to mend: it
    is said in a line that begins with the script's name. Any other is a fault of this project, and
    stays a traceback.

    Args:
        name: the script's.
    """

    def decorate(main: Callable[Parameters, int]) -> Callable[Parameters, int]:
        @wraps(main)
        def guarded(*arguments: Parameters.args, **options: Parameters.kwargs) -> int:
            if isinstance(sys.stdout, io.TextIOWrapper):
                # Names of files need not be text.
                sys.stdout.reconfigure(errors="backslashreplace")
            try:
                return main(*arguments, **options)
            except Exception as error:
                if not hasattr(error, "exit_code") and not isinstance(error, OSError):
                    raise
                print(as_text(f"{name}: error: {one_line(error)}"), file=sys.stderr)
                return exit_code_of(error)

        return guarded

    return decorate
