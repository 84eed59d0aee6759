"""What result.json, night.json and scaling.json must be like, so that a report can show them.

A file may be of an earlier version, cut off, or written by hand. What is missing there is missing
in the report, too; a file with something of another kind is left out as a whole.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from jobs.runtime.strict_json import plain


class OddFileError(Exception):
    """A file is not what its name promises."""


def _in_a_lifetime(text: str) -> str:
    if not 2000 <= datetime.fromisoformat(text).year < 2200:
        raise ValueError("is no time of a run")
    return text


Number = Annotated[float, Field(ge=-1e12, le=1e12, strict=True)]
Count = Annotated[int, Field(ge=0, le=10**12, strict=True)]
Moment = Annotated[str, AfterValidator(_in_a_lifetime)]
Scores = dict[str, Number | None]


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="allow")


class _Epoch(_Lenient):
    epoch: Number | None = None
    test_accuracy: Number | None = None


def _of_ten_digits(rows: list[list[int]]) -> list[list[int]]:
    if rows and [len(row) for row in rows] != [10] * 10:
        raise ValueError("is no table of ten digits")
    return rows


class _Picture(_Lenient):
    image: str
    method: str
    psnr_y: Number
    bicubic_psnr_y: Number
    lpips: Number | None = None
    bicubic_lpips: Number | None = None
    bicubic: str | None = None
    upscaled: str | None = None
    original: str | None = None


class _Metrics(_Lenient):
    top1_accuracy: Number | None = None
    records_per_second: Number | None = None
    crops_per_second: Number | None = None
    megapixels_per_second: Number | None = None
    history: list[_Epoch] = []
    test_sets: dict[str, Scores | dict[str, Scores]] = {}
    confusion: Annotated[list[list[Count]], AfterValidator(_of_ten_digits)] = []
    pictures: list[_Picture] = []
    done: Count | None = None
    contact_sheet: str | None = None


class _Cluster(_Lenient):
    master: str
    executors: Count
    cores: Count
    memory: str
    gpus: Count = 0


class Result(_Lenient):
    """result.json."""

    job: str
    status: str
    error: str | None = None
    started: Moment
    seconds: Annotated[Number, Field(ge=0)]
    options: dict[str, Any] = {}
    cluster: _Cluster | None = None
    versions: dict[str, str | None] = {}
    metrics: _Metrics = _Metrics()


class _NightsJob(_Lenient):
    name: str
    code: Annotated[int, Field(strict=True)] | None
    error: str | None = None


class Night(_Lenient):
    """night.json."""

    jobs: list[_NightsJob]
    regressions: list[str] = []


class _ScalingRow(_Lenient):
    executors: Count
    cores: Count
    error: str | None = None
    batch_size: Count | None = None
    seconds: Number | None = None
    rate: Number | None = None
    speed_up: Number | None = None
    efficiency: Number | None = None


class Scaling(_Lenient):
    """scaling.json."""

    rows: list[_ScalingRow]


def read_recorded(path: Path, model: type[BaseModel], *, defaults: bool = False) -> dict[str, Any]:
    """The content of a file.

    Args:
        path: the file.
        model: what it must be like.
        defaults: add what is missing and not needed.

    Raises:
        OddFileError: it cannot be read, or is no such file; the message says why in a line.
    """
    try:
        # Earlier versions wrote NaN and Infinity, which no median is to be spoilt by.
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda _: None)
        return model.model_validate(plain(content)).model_dump(exclude_unset=not defaults)
    except ValidationError as error:
        detail = error.errors()[0]
        key = ".".join(str(part) for part in detail["loc"]) or "the whole"
        raise OddFileError(f"{path.name}: {key}: {detail['msg']}") from error
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise OddFileError(f"{path.name}: {reason}") from error


def moment(text: str) -> datetime:
    """A time as it is recorded; one without a zone is taken for UTC."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)
