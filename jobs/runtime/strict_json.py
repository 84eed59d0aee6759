"""JSON as its standard has it, for every file that the jobs and scripts write.

Python writes NaN and Infinity, of which JSON knows nothing: one such number, a loss that diverged,
makes the whole file unreadable to others. Here it becomes null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from jobs.runtime.names import as_text


def to_json(value: Any, indent: int | None = None, ensure_ascii: bool = True) -> str:
    """A value as JSON, with null for what is no finite number.

    Args:
        value: of dictionaries, lists, tuples, text, numbers, bools and None.
        indent: as of json.dumps; None for one line.
        ensure_ascii: likewise.
    """
    return json.dumps(_plain(value), indent=indent, ensure_ascii=ensure_ascii, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return as_text(value)
    if isinstance(value, Mapping):
        return {_plain(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value
