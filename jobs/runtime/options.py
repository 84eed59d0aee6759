"""Typed options: defaults in a pydantic model, then a TOML file, then the command line.

Every field of the model becomes an option (`batch_size` is `--batch-size`) whose help is the
field's description. An unknown key, a wrong type or a value out of range is a UsageError in one
line that names the file or the option.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, ClassVar, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jobs.runtime.errors import UsageError
from jobs.runtime.places import plain_path, plain_paths
from jobs.runtime.remote import check_url

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LOST = "\N{REPLACEMENT CHARACTER}"
"""What Java, through which spark-submit hands words over, makes of bytes that are no UTF-8."""


class JobOptions(BaseModel):
    """What every job understands; the options of a job derive from this."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    may_grow: ClassVar[frozenset[str]] = frozenset()
    """Options of which a run folder may be given more than before, to go on with it."""

    run_dir: str | None = Field(
        None, description="folder that receives everything, local or hdfs:// (runs/JOB/TIMESTAMP)"
    )
    fresh: bool = Field(False, description="start over: delete what an earlier run left there")
    executor_wait: float = Field(
        60.0, gt=0, allow_inf_nan=False, description="seconds to wait for the promised executors"
    )
    debug: bool = Field(False, description="show tracebacks")


OptionsType = TypeVar("OptionsType", bound=JobOptions)


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see --help)")


def parse_options(
    model: type[OptionsType], argv: Sequence[str], *, job: str, description: str
) -> OptionsType:
    """The options that `argv` and the file it names after --config stand for.

    Raises:
        UsageError: an unknown, ill-typed or out-of-range option, an unreadable file, or a name of
            which spark-submit has lost letters.
        SystemExit: after --help, with code 0.
    """
    parser = _parser(model, job, description)
    given = vars(parser.parse_args(list(argv)))
    for name, value in given.items():
        if isinstance(value, str) and LOST in value:
            raise UsageError(
                f"--{name.replace('_', '-')} {value}: spark-submit hands over no name that is not "
                "UTF-8; rename it, or make a link to it: ln -s"
            )
    config = given.pop("config")
    from_file = _read_config(model, config) if config else {}
    try:
        return model.model_validate(_with_plain_paths({**from_file, **given}, given, config))
    except ValidationError as error:
        raise UsageError(_describe(error.errors(), given, config)) from error


def _parser(model: type[BaseModel], job: str, description: str) -> argparse.ArgumentParser:
    parser = _OneLineParser(
        prog=f"spark-submit jobs/{job}.py",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument(
        "--config", default=None, metavar="FILE.toml", help="options from a file, below these"
    )
    for name, field in model.model_fields.items():
        default = field.get_default()
        text = field.description or ""
        if not field.is_required() and default is not None:
            text += f" [{str(default).lower() if isinstance(default, bool) else default}]"
        text = text.replace("%", "%%")
        flag = f"--{name.replace('_', '-')}"
        if field.annotation is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, help=text)
        else:
            parser.add_argument(flag, help=text, metavar=_metavar(field.annotation))
    return parser


def _metavar(annotation: Any) -> str:
    choices = getattr(annotation, "__args__", ())
    if choices and all(isinstance(choice, str) for choice in choices):
        return "{" + ",".join(choices) + "}"
    types = [part for part in (choices or (annotation,)) if part is not type(None)]
    return {int: "N", float: "X"}.get(types[0], "TEXT")


def read_toml(path: str) -> dict[str, Any]:
    """The values in the file that was given with --config.

    Raises:
        UsageError: it cannot be read, or is not TOML.
    """
    path = plain_path(path)
    try:
        # Some editors put a byte order mark in front.
        with open(path, encoding="utf-8-sig", newline="") as file:
            return tomllib.loads(file.read())
    except OSError as error:
        raise UsageError(f"--config {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {path} is not TOML: {error}") from error


def _read_config(model: type[BaseModel], path: str) -> dict[str, Any]:
    values = read_toml(path)
    try:
        # Strict: a number in quotes is a mistake in a file, but all there is on a command line.
        model.model_validate(values, strict=True)
    except ValidationError as error:
        # What the file leaves out may come from the command line.
        wrong = [detail for detail in error.errors() if detail["type"] != "missing"]
        if wrong:
            raise UsageError(_describe(wrong, {}, path)) from error
    return values


def _with_plain_paths(
    values: dict[str, Any], given: dict[str, Any], config: str | None
) -> dict[str, Any]:
    """The values with paths as the jobs know them, whichever options are paths."""
    plain = dict(values)
    for name, value in values.items():
        if isinstance(value, str):
            try:
                plain[name] = plain_path(value) if name == "run_dir" else plain_paths(value)
                for path in plain[name].split(","):
                    check_url(path.strip())
            except UsageError as error:
                raise UsageError(f"{_place(name, given, config)} {error}") from error
    return plain


def _place(name: str, given: dict[str, Any], config: str | None) -> str:
    return f"--{name.replace('_', '-')}" if name in given else f"key '{name}' in {config}"


def _describe(details: Sequence[Any], given: dict[str, Any], config: str | None) -> str:
    lines = []
    for detail in details:
        name = str(detail["loc"][0]) if detail["loc"] else ""
        if not name:
            lines.append(detail["msg"].removeprefix("Value error, "))
            continue
        where = _place(name, given, config)
        if detail["type"] == "extra_forbidden":
            lines.append(f"{where}: there is no such option")
        else:
            lines.append(f"{where} = {detail['input']!r}: {detail['msg']}")
    return "; ".join(dict.fromkeys(lines)) + " (see --help)"
