"""Profiles (conf/*.conf), read as Spark reads them: Java's properties, in UTF-8.

    python jobs/runtime/properties.py conf/lab-4pc.conf      # prints the master

Spark passes over what it does not know, and without a master takes this machine alone. Here both
are mistakes, found by scripts/submit.sh and by every job in the same way.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

from jobs.runtime.errors import EXIT_OK, UsageError

MASTER = "spark.master"
BLANK = " \t\f"
BOM = "\ufeff"
ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
TRIMMED = "".join(chr(code) for code in range(33) if chr(code) not in "\r\n")
"""What java.lang.String.trim takes away, but for line ends."""


def read_profile(path: str, *, has_master: bool = False) -> dict[str, str]:
    """The Spark properties in a profile.

    Args:
        path: the file.
        has_master: the command line names a master, so that the profile need not.

    Raises:
        UsageError: it cannot be read, holds what Spark would pass over, or names no master.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            properties = parse_properties(file.read())
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"profile {path}: cannot be read ({reason})") from error
    for key, value in properties.items():
        # In front of a comment, or of an empty line, it hides nothing.
        if key.startswith(BOM) and (value if key == BOM else key[1] not in "#!"):
            raise UsageError(
                f"profile {path}: begins with a byte order mark, which hides its first line from "
                "Spark; save it without one"
            )
        if not key.startswith(("spark.", BOM)):
            raise UsageError(
                f"profile {path}: {key!r} is no property of Spark, whose names begin with spark."
            )
    if not (has_master or properties.get(MASTER)):
        raise UsageError(f"profile {path}: names no master; add a line such as: {MASTER} local[*]")
    return properties


def parse_properties(text: str) -> dict[str, str]:
    """Keys and values of the format of java.util.Properties.

    Raises:
        UsageError: a \\u without its four digits.
    """
    found = {}
    for line in _logical_lines(text):
        match = re.match(r"(?:\\.|[^\\=: \t\f])*", line, re.DOTALL)
        assert match is not None
        rest = line[match.end() :].lstrip(BLANK)
        if rest[:1] in ("=", ":"):
            rest = rest[1:].lstrip(BLANK)
        found[_unescape(match[0])] = _unescape(rest).strip(TRIMMED)
    return found


def _logical_lines(text: str) -> Iterator[str]:
    """Lines that are no comments, each joined with those that a backslash at its end continues."""
    begun = ""
    for natural in re.split("\r\n|\r|\n", text):
        line = natural.lstrip(BLANK)
        if not begun and (not line or line[0] in "#!"):
            continue
        backslashes = len(line) - len(line.rstrip("\\"))
        if backslashes % 2:
            begun += line[:-1]
        elif begun or line:
            yield begun + line
            begun = ""
    if begun:
        yield begun


def _unescape(text: str) -> str:
    def plain(match: re.Match[str]) -> str:
        if match[1] == "u":
            raise UsageError("profile: \\u is not followed by four hexadecimal digits")
        return chr(int(match[1][1:], 16)) if len(match[1]) > 1 else ESCAPES.get(match[1], match[1])

    return re.sub(r"\\(u[0-9a-fA-F]{4}|.|$)", plain, text, flags=re.DOTALL)


def main(path: str) -> int:
    """Print the master that a profile names, and return the exit code."""
    try:
        print(read_profile(path)[MASTER])
    except UsageError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
