"""JSON as its standard has it, for every file that the jobs and scripts write.

Python writes NaN and Infinity, of which JSON knows nothing: one such number, a loss that diverged,
makes the whole file unreadable to others. Here it becomes null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from jobs.runtime.text import as_text


def to_json(value: Any, indent: int | None = None, ensure_ascii: bool = True) -> str:
    """A value as JSON, with null for what is no finite number.

    Args:
        value: of dictionaries, lists, tuples, text, numbers, bools and None.
        indent: as of json.dumps; None for one line.
        ensure_ascii: likewise.
    """
    return json.dumps(plain(value), indent=indent, ensure_ascii=ensure_ascii, allow_nan=False)


def plain(value: Any) -> Any:
    """A value as it comes back from JSON: numbers that are not finite as None, names as text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return as_text(value)
    if isinstance(value, Mapping):
        return {plain(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return value
