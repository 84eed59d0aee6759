"""file://, ~ and mistyped URLs: the same place as the plain path, or refused; never a new folder
of that name."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest
from conftest import ROOT, spark_submit

from jobs.evaluate_lenet import Options as EvaluateLenet
from jobs.evaluate_srgan import Options as EvaluateSrgan
from jobs.runtime.errors import UsageError
from jobs.runtime.options import JobOptions, parse_options
from jobs.runtime.places import is_remote, local_path, plain_path
from jobs.runtime.run_folder import RunFolder
from jobs.train_lenet import Options as TrainLenet
from jobs.train_srgan import Options as TrainSrgan
from jobs.upscale import Options as Upscale
from nights.config import Nightly, NightlyJob

JOBS = (TrainLenet, EvaluateLenet, TrainSrgan, EvaluateSrgan, Upscale)
REQUIRED = {"model": "m", "test_sets": "t", "input": "i", "output": "o"}
SPELLINGS = ("~/x/y", "file:///home/ann/x/y", "file:/home/ann/x/y", "FILE://localhost/home/ann/x/y")
PLAIN = "/home/ann/x/y"


def parse(of: type[JobOptions], **values: str) -> JobOptions:
    given = {name: REQUIRED[name] for name, field in of.model_fields.items() if field.is_required()}
    words = [f"--{name.replace('_', '-')}={value}" for name, value in {**given, **values}.items()]
    return parse_options(of, words, job="job", description="")


def path_options(model: type[JobOptions]) -> list[str]:
    texts = [name for name, field in model.model_fields.items() if "str" in str(field.annotation)]
    texts = [name for name in texts if "Literal" not in str(model.model_fields[name].annotation)]
    return [name for name in texts if name not in ("suffix", "outscale")]


@pytest.mark.parametrize("model", JOBS, ids=lambda model: model.__module__)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_path_option_of_every_job(
    model: type[JobOptions], spelling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    names = path_options(model)
    assert "run_dir" in names
    for name in names:
        assert getattr(parse(model, **{name: spelling}), name) == PLAIN
        if name == "run_dir":
            continue
        several = getattr(parse(model, **{name: f"{spelling},default, {spelling}"}), name)
        assert several == f"{PLAIN},default, {PLAIN}"


@pytest.mark.parametrize("model", JOBS, ids=lambda model: model.__module__)
@pytest.mark.parametrize("url", ["hfds://pc1:9000/x", "hdfs:/x", "~nobody-here/x"])
def test_what_stands_for_no_place_is_refused(
    model: type[JobOptions], url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in path_options(model):
        with pytest.raises(UsageError) as error:
            parse(model, **{name: url})
        assert str(error.value).startswith(f"--{name.replace('_', '-')} {url}: ")
        assert error.value.exit_code == 2
    assert not list(tmp_path.iterdir())


def test_a_file_of_options_means_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "recipe.toml").write_text('data = "~/digits"\nepochs = 2\n')
    for place in ("~/recipe.toml", f"file://{tmp_path}/recipe.toml"):
        options = parse_options(TrainLenet, ["--config", place], job="job", description="")
        assert (options.data, options.epochs) == (str(tmp_path / "digits"), 2)


def test_names_that_only_look_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a:/b", "~old/x"):
        os.mkdir(name.partition("/")[0])
        assert plain_path(name) == name
    assert plain_path("hdfs://pc1:9000/~/x") == "hdfs://pc1:9000/~/x"
    assert is_remote("hdfs://pc1/x") and not is_remote("FILE:///x") and not is_remote("a:b")
    with pytest.raises(argparse.ArgumentTypeError, match="must be on this machine"):
        local_path("hdfs://pc1:9000/x")


def test_one_run_folder_and_one_data_set_by_all_names(small_mnist: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    environment = {"HOME": str(tmp_path)}
    (tmp_path / "digits").symlink_to(small_mnist)
    recipe = ("--epochs", 1, "--batch-size", 64, "--max-iterations", 1)
    codes = []
    for data, where in (("~/digits", "~/run"), (f"file://{tmp_path}/digits", f"file://{run_dir}")):
        done = spark_submit(
            "train_lenet",
            *("--data", data, *recipe),
            run_dir=run_dir,
            run_url=where,
            environment=environment,
        )
        codes.append(done.code)
        assert done.code == 0, done.out + done.err
    assert "already done" in done.out
    left = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")}
    assert left == {"digits", "run"}


def test_places_of_a_night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    job = NightlyJob(name="n", job="train_lenet", time_limit_minutes=1)
    assert Nightly(jobs=[job], runs="~/nights").folder == tmp_path / "nights"
    assert Nightly(jobs=[job], runs=f"file://{tmp_path}").folder == tmp_path
    assert Nightly(jobs=[job], runs="nights").folder == ROOT / "nights"
    with pytest.raises(ValueError, match="must be on this machine"):
        Nightly(jobs=[job], runs="hdfs://pc1:9000/nights")


def test_a_run_folder_that_no_option_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    folder = RunFolder.open("job", "~/run")
    folder.close()
    assert folder.path == tmp_path / "run"
    assert {path.name for path in tmp_path.iterdir()} == {"run"}
