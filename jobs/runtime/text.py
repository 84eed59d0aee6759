"""What is not always text, as text: file names, and numbers that are none."""

from __future__ import annotations


def as_text(name: str) -> str:
    """A file name, whose bytes need not be text, as text: other bytes as \\x and two digits."""
    try:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        # No file name, but half of a character that was written in two halves.
        return name.encode("utf-8", "backslashreplace").decode("utf-8")


def in_one_line(name: str) -> str:
    """A file name as text in one line, whatever it holds."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in as_text(name))


def number(value: float | None, form: str) -> str:
    """A number in a format such as ".4f"; None, which JSON has for what is not finite, in words."""
    return "no number" if value is None else format(value, form)


def four_digits(value: float) -> str:
    """A number to its fourth digit, never as a power of ten: 23.62, 15034."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def counted(count: int, noun: str) -> str:
    """A count with its noun, which takes an s unless it is one: 1 file, 0 files."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def option_word(text: str) -> str:
    """A word of a string of Java options, which Spark splits as a shell would."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
