"""conf/nightly.toml: what a night consists of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from jobs.runtime.errors import UsageError
from jobs.runtime.files import ROOT
from jobs.runtime.options import read_toml
from jobs.runtime.places import is_remote, plain_path

Value = str | int | float | bool


class NightlyJob(BaseModel):
    """One job of the night."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][\w.-]*$", description="of its run folder")
    job: str = Field(pattern=r"^[a-z_]+$", description="a file of jobs/, without .py")
    profile: str = Field("local", description="a file of conf/, without .conf")
    time_limit_minutes: float = Field(gt=0, allow_inf_nan=False)
    options: dict[str, Value] = Field(default_factory=dict)

    def command_line(self, night: Path) -> list[str]:
        """The options as words; {night} in them stands for the folder of tonight's runs."""
        words = []
        for key, value in self.options.items():
            flag = key.replace("_", "-")
            if isinstance(value, bool):
                words.append(f"--{flag}" if value else f"--no-{flag}")
            else:
                words += [f"--{flag}", str(value).replace("{night}", str(night))]
        return words


class Nightly(BaseModel):
    """A night's jobs, and what counts as a failure."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    runs: str = Field("runs/nightly", description="folder of the nights, from the checkout")
    keep: int = Field(14, ge=1, description="nights; the best run of each job is never deleted")
    fetch: list[str] = Field(default_factory=list, description="data sets of data/catalog.toml")
    max_accuracy_drop: float = Field(0.003, ge=0, le=1)
    max_psnr_drop: float = Field(0.2, ge=0, description="dB")
    max_lpips_rise: float = Field(0.02, ge=0, description="LPIPS, of which less is better")
    max_slowdown: float = Field(0.3, ge=0, le=1, description="share of the usual speed")
    compare_with: int = Field(7, ge=1, description="nights whose median is the usual")
    jobs: list[NightlyJob] = Field(min_length=1)

    @field_validator("runs")
    @classmethod
    def _runs_are_here(cls, runs: str) -> str:
        if is_remote(runs):
            raise ValueError("must be on this machine")
        return plain_path(runs)

    @property
    def folder(self) -> Path:
        """Of the nights."""
        return ROOT / self.runs

    @field_validator("jobs")
    @classmethod
    def _names_differ(cls, jobs: list[NightlyJob]) -> list[NightlyJob]:
        names = [job.name for job in jobs]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two jobs are called {name!r}")
        return jobs


def read_config(path: Path, overrides: dict[str, Any]) -> Nightly:
    """The file, with some of its values replaced.

    Raises:
        UsageError: it cannot be read, or a value in it is wrong; the message names the key.
    """
    values = read_toml(str(path))
    try:
        return Nightly.model_validate({**values, **overrides})
    except ValidationError as error:
        lines = [
            f"{'.'.join(str(part) for part in detail['loc'])} = {detail['input']!r}: "
            f"{detail['msg']}"
            for detail in error.errors()
        ]
        raise UsageError(f"{path}: {'; '.join(lines)}") from error
