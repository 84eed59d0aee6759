"""Options: defaults, then a file, then the command line; mistakes are named in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.evaluate_lenet import Options as EvaluateOptions
from jobs.runtime.errors import UsageError
from jobs.runtime.options import parse_options
from jobs.train_lenet import Options


def parse(*argv: str) -> Options:
    return parse_options(Options, argv, job="train_lenet", description="")


def test_command_line_beats_file_beats_default(tmp_path: Path) -> None:
    config = tmp_path / "recipe.toml"
    config.write_text("batch_size = 64\nepochs = 3\n")
    options = parse("--config", str(config), "--epochs", "5", "--fresh")
    assert (options.batch_size, options.epochs, options.momentum) == (64, 5, 0.9)
    assert options.fresh is True
    assert parse().fresh is False


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--batch-sise", "64"], ["--batch-sise"]),
        (["--batch-size", "many"], ["--batch-size", "'many'"]),
        (["--batch-size", "0"], ["--batch-size", "greater than or equal to 1"]),
        (["--batch-size", "-8"], ["--batch-size"]),
        (["--learning-rate", "nan"], ["--learning-rate", "finite"]),
        (["--network", "alexnet"], ["--network", "lenet5"]),
        (["--data", "/srv/f\N{REPLACEMENT CHARACTER}"], ["--data", "hands over no name", "ln -s"]),
        (["--config", "/nowhere.toml"], ["/nowhere.toml", "No such file"]),
        (["--learning-rate-decay", "0.1"], ["--learning-rate-schedule inverse"]),
    ],
)
def test_mistakes_on_the_command_line(argv: list[str], words: list[str]) -> None:
    with pytest.raises(UsageError) as error:
        parse(*argv)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("batch_sise = 64", ["'batch_sise'", "no such option"]),
        ('batch_size = "64"', ["'batch_size'", "integer"]),
        ("epochs = -1", ["'epochs'"]),
        ("learning_rate = nan", ["'learning_rate'"]),
        ("epochs = ", ["is not TOML"]),
        ("[lenet]\nepochs = 1", ["'lenet'", "no such option"]),
    ],
)
def test_mistakes_in_a_file_name_it(tmp_path: Path, text: str, words: list[str]) -> None:
    config = tmp_path / "recipe.toml"
    config.write_text(text)
    with pytest.raises(UsageError) as error:
        parse("--config", str(config))
    for word in [str(config), *words]:
        assert word in str(error.value)


def test_a_required_option_is_asked_for() -> None:
    with pytest.raises(UsageError, match="model"):
        parse_options(EvaluateOptions, [], job="evaluate_lenet", description="")


def test_what_is_required_may_stand_in_the_file_or_on_the_command_line(tmp_path: Path) -> None:
    config = tmp_path / "recipe.toml"
    config.write_text('data = "elsewhere"\n')

    def parse_required(*argv: str) -> EvaluateOptions:
        words = ["--config", str(config), *argv]
        return parse_options(EvaluateOptions, words, job="evaluate_lenet", description="")

    assert parse_required("--model", "m").data == "elsewhere"
    with pytest.raises(UsageError, match="model"):
        parse_required()


def test_help_explains_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse("--help")
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for name, field in Options.model_fields.items():
        assert f"--{name.replace('_', '-')}" in text
        assert field.description
