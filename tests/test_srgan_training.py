"""Whole trainings of tiny networks on one rank: what they leave behind, and what stops them."""

import json
import logging
import math
from pathlib import Path

import fsspec
import pytest
import torch
from PIL import Image
from srgan_samples import ALL_TERMS, run_tiny, tiny_options, write_lpips, write_samples
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from srgan.errors import (
    BadDataError,
    MissingDataError,
    TrainingFailedError,
    UnavailableError,
)
from srgan.export import load_generator
from srgan.loop import Progress
from srgan.training import train

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def data(tmp_path) -> Path:
    return write_samples(tmp_path / "data", 3)


def test_both_phases_leave_everything_behind(data, tmp_path):
    metrics, reports = run_tiny(tiny_options(validate_every=2), data, tmp_path / "run")
    assert [(report.phase, report.step) for report in reports] == [
        (phase, step) for phase in ("srresnet", "srgan") for step in (1, 2, 3)
    ]
    assert json.loads(json.dumps(metrics)) == metrics
    assert metrics["steps"] == 6 and metrics["crops"] == 24
    assert metrics["world_size"] == 1 and metrics["allreduce_share"] == 0
    assert metrics["crops_per_second"] > 0 and metrics["tflops"] > 0
    own = metrics["test_sets"]["own"]
    assert math.isfinite(own["psnr_y"]) and own["bicubic_psnr_y"] > own["psnr_y"]
    files = {str(path.relative_to(tmp_path / "run")) for path in (tmp_path / "run").rglob("*.*")}
    assert files >= {
        "srresnet.safetensors",
        "srresnet-best.safetensors",
        "srgan.safetensors",
        "srgan-best.safetensors",
        "checkpoints/0-srresnet-000000003.pt",
        "checkpoints/1-srgan-000000003.pt",
        "pictures/srresnet-000000002.png",
        "pictures/srgan-000000003.png",
    }
    assert load_generator(str(tmp_path / "run/srgan.safetensors")).description.step == 3
    curves = EventAccumulator(str(tmp_path / "run/tensorboard")).Reload()
    # The first three are LeNet's, as BigDL names them.
    tags = {"Loss", "Throughput", "LearningRate", "Loss/srgan adversarial", "own/psnr_y"}
    assert tags <= set(curves.Tags()["scalars"])
    assert [event.step for event in curves.Scalars("Loss")] == [1, 2, 3, 4, 5, 6]


def test_every_report_of_the_srgan_phase_shows_who_moves_the_generator(data, tmp_path):
    _, reports = run_tiny(tiny_options(**ALL_TERMS), data, tmp_path / "run")
    shares = [
        {name: value for name, value in report.losses.items() if name.endswith("_share")}
        for report in reports
        if report.phase == "srgan"
    ]
    names = {f"{term}_share" for term in ("content", "adversarial", "pixel")}
    assert len(shares) == 3
    for share in shares:
        assert share.keys() == names and sum(share.values()) == pytest.approx(1)
        assert all(value > 0 for value in share.values())
    curves = EventAccumulator(str(tmp_path / "run/tensorboard")).Reload()
    assert {f"Share/srgan {name}" for name in names} <= set(curves.Tags()["scalars"])


def test_an_adversarial_term_that_does_nothing_is_warned_of(data, tmp_path, caplog):
    options = tiny_options(srresnet_steps=1, srgan_steps=120, adversarial_weight=1e-9, log_every=30)
    with caplog.at_level(logging.WARNING):
        run_tiny(options, data, tmp_path / "run")
    (warning,) = [record for record in caplog.records if "adversarial" in record.getMessage()]
    assert "raise --adversarial-weight" in warning.getMessage()


def test_the_best_of_the_srgan_phase_is_chosen_by_lpips(data, tmp_path):
    weights = write_lpips(tmp_path / "lpips.safetensors")
    options = tiny_options(validate_every=1, lpips_weights=str(weights))
    scores: dict[str, list] = {"srresnet": [], "srgan": []}

    def note(report: Progress) -> None:
        if report.scores is not None:
            scores[report.phase].append((report.scores["own"], report.step))

    train(options, str(data), {"own": str(data)}, str(tmp_path / "run"), progress=note)
    best = load_generator(str(tmp_path / "run/srgan-best.safetensors")).description
    expected, step = min(scores["srgan"], key=lambda found: found[0]["lpips"])
    assert best.lpips == expected["lpips"] and best.step == step
    best = load_generator(str(tmp_path / "run/srresnet-best.safetensors")).description
    expected, step = max(scores["srresnet"], key=lambda found: found[0]["psnr_y"])
    assert best.psnr_y == expected["psnr_y"] and best.step == step


def test_training_lowers_the_loss(data, tmp_path):
    options = tiny_options(phase="srresnet", srresnet_steps=40, learning_rate=5e-3)
    metrics, _ = run_tiny(options, data, tmp_path / "run")
    ends = metrics["losses"]["srresnet"]
    assert ends["last"]["mse"] < 0.75 * ends["first"]["mse"]


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "srcnn"},
        {"channels_last": False, "fused_adam": False},
        {"precision": "bf16"},
        {"srresnet_epochs": 2},
        {"pixel_loss": "l1", "degradation": "photo"},
        {"pixel_loss": "l1", "frequency_weight": 0.05, "optimizer": "muon"},
        {"model": "dcgan", "optimizer": "muon"},
    ],
)
def test_other_options_train_as_well(data, tmp_path, changes):
    metrics, reports = run_tiny(tiny_options(phase="srresnet", **changes), data, tmp_path / "run")
    # Three images at batch 4 are one step an epoch.
    assert metrics["steps"] == (2 if "srresnet_epochs" in changes else 3)
    loss = changes.get("pixel_loss", "mse")
    assert all(math.isfinite(report.losses[loss]) for report in reports)


def test_bf16_srgan_trains(data, tmp_path):
    _, reports = run_tiny(tiny_options(precision="bf16"), data, tmp_path / "run")
    assert all(math.isfinite(loss) for report in reports for loss in report.losses.values())


def test_loss_that_is_not_finite_names_the_step_and_is_never_kept(data, tmp_path):
    options = tiny_options(
        phase="srresnet", srresnet_steps=20, learning_rate=1e30, log_every=10, checkpoint_every=1
    )
    with pytest.raises(TrainingFailedError, match=r"srresnet: .* at step \d+ "):
        run_tiny(options, data, tmp_path / "run")
    for path in (tmp_path / "run/checkpoints").glob("*.pt"):
        state = torch.load(path, weights_only=True)
        assert state["step"] == 1


def test_loss_beyond_any_picture_is_met_as_one_that_is_not_finite(data, tmp_path):
    options = tiny_options(phase="srresnet", srresnet_steps=20, learning_rate=100.0)
    with pytest.raises(TrainingFailedError, match="more than any picture can be off at step"):
        run_tiny(options, data, tmp_path / "run")


def test_what_is_missing_is_said_before_training(data, tmp_path):
    with pytest.raises(UnavailableError, match="--vgg-weights"):
        run_tiny(tiny_options(content="vgg22", vgg_weights="nowhere.pth"), data, tmp_path / "run")
    with pytest.raises(MissingDataError, match="nowhere"):
        run_tiny(tiny_options(), tmp_path / "nowhere", tmp_path / "run")
    with pytest.raises(BadDataError, match="smaller than 64"):
        run_tiny(tiny_options(crop_size=64), data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_bad_images_can_be_skipped_and_are_listed(data, tmp_path):
    test_images = write_samples(tmp_path / "tests", 1)
    (data / "torn.png").write_bytes(b"\x89PNG")
    metrics = train(
        tiny_options(phase="srresnet", skip_bad=True),
        str(data),
        {"test": str(test_images)},
        str(tmp_path / "run"),
    )
    assert metrics["images"] == 3
    assert [line.split(":")[0] for line in metrics["skipped_images"]] == ["torn.png"]


def test_everything_remote(data):
    remote = fsspec.filesystem("memory")
    remote.put(str(data), "/training/data", recursive=True)
    folder = "memory://training/data"
    train(tiny_options(phase="srresnet"), folder, {"own": folder}, "memory://training/run")
    files = remote.find("/training/run")
    assert "/training/run/srresnet.safetensors" in files
    assert any(file.startswith("/training/run/tensorboard/events") for file in files)
    assert not any(file.endswith(".tmp") for file in files)
    with remote.open("/training/run/pictures/srresnet-000000003.png") as file:
        assert Image.open(file).width > 160
    again = train(tiny_options(phase="srresnet"), folder, {}, "memory://training/run")
    assert again["crops_per_second"] is None
