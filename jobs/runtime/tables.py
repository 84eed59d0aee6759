"""Markdown tables, for terminals and chats."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table whose columns are as wide as their widest cell."""
    lines = [[cell.replace("|", "\\|") for cell in row] for row in (header, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    lines.insert(1, ["-" * width for width in widths])
    template = "| " + " | ".join(f"{{:{width}}}" for width in widths) + " |"
    return "\n".join(template.format(*line) for line in lines)


def median_and_spread(values: Sequence[float], form: str = ".2f") -> str:
    """Such as "4.00 (3.00 to 5.00)"."""
    median = statistics.median(values)
    return f"{median:{form}} ({min(values):{form}} to {max(values):{form}})"
