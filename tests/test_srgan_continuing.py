"""Trainings that go on: after a break, from a model, for more steps, or not at all."""

import logging
from pathlib import Path

import pytest
import torch
from srgan_samples import ALL_TERMS, losses_of, run_tiny, tiny_options, write_samples

from srgan.checkpoint import Checkpoints, decode
from srgan.errors import (
    MissingDataError,
    OptionsError,
)
from srgan.export import load_generator

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def data(tmp_path) -> Path:
    return write_samples(tmp_path / "data", 3)


@pytest.mark.parametrize(
    ("broken_after", "changes"),
    [
        (2, {}),
        (5, {}),
        (5, ALL_TERMS),
        (2, {"model": "span", "bicubic_skip": True}),
        (5, {"model": "edsr", **ALL_TERMS}),
        (2, {"model": "edsr", "optimizer": "muon", "frequency_weight": 0.05}),
        (5, {"optimizer": "muon"}),
        (5, {"model": "dcgan", "crop_size": 64}),
    ],
)
def test_resumed_run_has_the_losses_of_an_unbroken_one(tmp_path, broken_after, changes):
    data = write_samples(tmp_path / "data", 3, side=changes.get("crop_size", 40))
    options = tiny_options(srresnet_steps=4, srgan_steps=4, **changes)
    whole, reports = run_tiny(options, data, tmp_path / "whole")

    calls = iter(range(1, 100))
    broken = tmp_path / "broken"
    first, before = run_tiny(options, data, broken, stop=lambda: next(calls) == broken_after)
    assert first["stopped"] and not whole["stopped"]
    second, after = run_tiny(options, data, broken)
    assert losses_of(before) + losses_of(after) == losses_of(reports)
    assert second["test_sets"] == whole["test_sets"]
    assert second["steps"] == whole["steps"] == 8


def test_checkpoint_of_an_earlier_version_goes_on(data, tmp_path):
    """Before LPIPS the best PSNR was kept by phase, and there were fewer options."""
    options = tiny_options(srgan_steps=4)
    whole, reports = run_tiny(options, data, tmp_path / "whole")
    calls = iter(range(1, 100))
    _, before = run_tiny(options, data, tmp_path / "old", stop=lambda: next(calls) == 5)
    folder = str(tmp_path / "old/checkpoints")
    newest = Checkpoints(folder, keep=3).newest()
    assert newest is not None
    state = decode(newest)
    best = state.pop("best")
    state["best_psnr_y"] = {phase: 1.0 for phase in best}
    for name in ("spectral_norm", "pixel_weight", "even_sub_pixels", "label_smoothing"):
        del state["options"][name]
    Checkpoints(folder, keep=1).save(1, state["phase"], state["step"], state)
    again, after = run_tiny(options, data, tmp_path / "old")
    assert losses_of(before) + losses_of(after) == losses_of(reports)
    assert again["test_sets"] == whole["test_sets"]
    with pytest.raises(OptionsError, match="spectral_norm False, not True"):
        run_tiny(tiny_options(srgan_steps=4, spectral_norm=True), data, tmp_path / "old")


def test_a_change_of_the_optimizer_is_refused(data, tmp_path):
    run_tiny(tiny_options(), data, tmp_path / "run")
    with pytest.raises(OptionsError, match="optimizer adam, not muon"):
        run_tiny(tiny_options(optimizer="muon", srgan_steps=4), data, tmp_path / "run")


def test_finished_run_is_not_done_again(data, tmp_path):
    whole, _ = run_tiny(tiny_options(), data, tmp_path / "run")
    again, reports = run_tiny(tiny_options(), data, tmp_path / "run")
    assert reports == [] and again["crops_per_second"] is None
    assert again["test_sets"] == whole["test_sets"]


def test_fresh_starts_over(data, tmp_path):
    _, before = run_tiny(tiny_options(), data, tmp_path / "run")
    _, after = run_tiny(tiny_options(), data, tmp_path / "run", fresh=True)
    assert losses_of(after) == losses_of(before)


def test_damaged_checkpoint_costs_only_the_steps_since_the_one_before(data, tmp_path, caplog):
    options = tiny_options(phase="srresnet", srresnet_steps=4, checkpoint_every=2)
    _, reports = run_tiny(options, data, tmp_path / "run")
    damaged = tmp_path / "run/checkpoints/0-srresnet-000000004.pt"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    with caplog.at_level(logging.WARNING):
        _, again = run_tiny(options, data, tmp_path / "run")
    assert losses_of(again) == losses_of(reports)[2:]
    assert "000000004.pt: damaged, so going on from 0-srresnet-000000002.pt" in caplog.text


def test_srgan_phase_alone_starts_from_a_trained_generator(data, tmp_path):
    _, both = run_tiny(tiny_options(), data, tmp_path / "both")
    run_tiny(tiny_options(phase="srresnet"), data, tmp_path / "parts")
    model = tmp_path / "parts/srresnet.safetensors"
    _, same_folder = run_tiny(tiny_options(phase="srgan"), data, tmp_path / "parts")
    other = tiny_options(phase="srgan", initial_generator=str(model))
    _, other_folder = run_tiny(other, data, tmp_path / "other")
    assert losses_of(same_folder) == losses_of(other_folder) == losses_of(both)[3:]


def test_srresnet_phase_may_start_from_a_trained_generator_as_well(data, tmp_path):
    run_tiny(tiny_options(phase="srresnet", ema_decay=0), data, tmp_path / "first")
    model = str(tmp_path / "first/srresnet.safetensors")
    options = tiny_options(
        phase="srresnet", initial_generator=model, srresnet_steps=1, learning_rate=1e-9, seed=1
    )
    run_tiny(options, data, tmp_path / "second")
    first, second = (
        load_generator(str(tmp_path / name / "srresnet.safetensors"))[0].state_dict()
        for name in ("first", "second")
    )
    weights = [name for name in first if first[name].ndim == 4]
    assert all(torch.allclose(second[name], first[name], atol=1e-6) for name in weights)


def test_srgan_phase_alone_needs_a_generator(data, tmp_path):
    with pytest.raises(MissingDataError, match="--initial-generator"):
        run_tiny(tiny_options(phase="srgan"), data, tmp_path / "run")


def test_other_architecture_than_the_run_folders(data, tmp_path):
    run_tiny(tiny_options(phase="srresnet"), data, tmp_path / "run")
    with pytest.raises(OptionsError, match=r"channels 8, not 16.*--fresh"):
        run_tiny(tiny_options(phase="srresnet", channels=16), data, tmp_path / "run")


def test_more_steps_go_on_as_one_training_of_so_many(data, tmp_path):
    long = tiny_options(phase="srresnet", srresnet_steps=6)
    _, expected = run_tiny(long, data, tmp_path / "long")
    _, first = run_tiny(tiny_options(phase="srresnet"), data, tmp_path / "run")
    _, second = run_tiny(long, data, tmp_path / "run")
    assert losses_of(first) + losses_of(second) == losses_of(expected)


def test_srresnet_phase_cannot_grow_once_it_is_over(data, tmp_path):
    run_tiny(tiny_options(), data, tmp_path / "run")
    with pytest.raises(OptionsError, match=r"began after srresnet_steps 3.*--fresh"):
        run_tiny(tiny_options(srresnet_steps=6), data, tmp_path / "run")


def test_run_folder_past_the_phase(data, tmp_path):
    run_tiny(tiny_options(), data, tmp_path / "run")
    with pytest.raises(OptionsError, match="already in phase srgan"):
        run_tiny(tiny_options(phase="srresnet"), data, tmp_path / "run")
