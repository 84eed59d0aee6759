"""Whole trainings of tiny networks on one rank: results, resuming, failing."""

import json
import logging
import math
from pathlib import Path

import fsspec
import pytest
import torch
from PIL import Image
from srgan_samples import tiny_options, write_lpips, write_samples
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from srgan.checkpoint import Checkpoints, decode
from srgan.errors import (
    BadDataError,
    MissingDataError,
    OptionsError,
    TrainingFailedError,
    UnavailableError,
)
from srgan.export import load_generator
from srgan.loop import Progress
from srgan.moving_average import MovingAverage
from srgan.options import TrainOptions
from srgan.training import train

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def data(tmp_path) -> Path:
    return write_samples(tmp_path / "data", 3)


def run(options: TrainOptions, data: Path, run_dir: Path, **arguments) -> tuple[dict, list]:
    """Metrics, and reports of the steps, of a training that is tested on its own images."""
    reports: list[Progress] = []
    metrics = train(
        options, str(data), {"own": str(data)}, str(run_dir), progress=reports.append, **arguments
    )
    evaluations = [report for report in reports if report.scores is not None]
    assert all(report.scores.keys() == {"own"} for report in evaluations)
    return metrics, [report for report in reports if report.scores is None]


def losses(reports: list[Progress]) -> list[tuple]:
    return [(report.phase, report.step, report.losses) for report in reports]


def test_both_phases_leave_everything_behind(data, tmp_path):
    metrics, reports = run(tiny_options(validate_every=2), data, tmp_path / "run")
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


ALL_TERMS = {
    "spectral_norm": True,
    "pixel_weight": 0.01,
    "even_sub_pixels": True,
    "label_smoothing": 0.1,
    "learning_rate_schedule": "cosine",
    "srgan_learning_rate": 5e-4,
}


@pytest.mark.parametrize(
    ("broken_after", "changes"),
    [
        (2, {}),
        (5, {}),
        (5, ALL_TERMS),
        (2, {"model": "span", "bicubic_skip": True}),
        (5, {"model": "edsr", **ALL_TERMS}),
        (5, {"model": "dcgan", "crop_size": 64}),
    ],
)
def test_resumed_run_has_the_losses_of_an_unbroken_one(tmp_path, broken_after, changes):
    data = write_samples(tmp_path / "data", 3, side=changes.get("crop_size", 40))
    options = tiny_options(srresnet_steps=4, srgan_steps=4, **changes)
    whole, reports = run(options, data, tmp_path / "whole")

    calls = iter(range(1, 100))
    broken = tmp_path / "broken"
    first, before = run(options, data, broken, stop=lambda: next(calls) == broken_after)
    assert first["stopped"] and not whole["stopped"]
    second, after = run(options, data, broken)
    assert losses(before) + losses(after) == losses(reports)
    assert second["test_sets"] == whole["test_sets"]
    assert second["steps"] == whole["steps"] == 8


def test_checkpoint_of_an_earlier_version_goes_on(data, tmp_path):
    """Before LPIPS the best PSNR was kept by phase, and there were fewer options."""
    options = tiny_options(srgan_steps=4)
    whole, reports = run(options, data, tmp_path / "whole")
    calls = iter(range(1, 100))
    _, before = run(options, data, tmp_path / "old", stop=lambda: next(calls) == 5)
    folder = str(tmp_path / "old/checkpoints")
    newest = Checkpoints(folder, keep=3).newest()
    assert newest is not None
    state = decode(newest)
    best = state.pop("best")
    state["best_psnr_y"] = {phase: 1.0 for phase in best}
    for name in ("spectral_norm", "pixel_weight", "even_sub_pixels", "label_smoothing"):
        del state["options"][name]
    Checkpoints(folder, keep=1).save(1, state["phase"], state["step"], state)
    again, after = run(options, data, tmp_path / "old")
    assert losses(before) + losses(after) == losses(reports)
    assert again["test_sets"] == whole["test_sets"]
    with pytest.raises(OptionsError, match="spectral_norm False, not True"):
        run(tiny_options(srgan_steps=4, spectral_norm=True), data, tmp_path / "old")


def test_every_report_of_the_srgan_phase_shows_who_moves_the_generator(data, tmp_path):
    _, reports = run(tiny_options(**ALL_TERMS), data, tmp_path / "run")
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
        run(options, data, tmp_path / "run")
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


def test_finished_run_is_not_done_again(data, tmp_path):
    whole, _ = run(tiny_options(), data, tmp_path / "run")
    again, reports = run(tiny_options(), data, tmp_path / "run")
    assert reports == [] and again["crops_per_second"] is None
    assert again["test_sets"] == whole["test_sets"]


def test_fresh_starts_over(data, tmp_path):
    _, before = run(tiny_options(), data, tmp_path / "run")
    _, after = run(tiny_options(), data, tmp_path / "run", fresh=True)
    assert losses(after) == losses(before)


def test_damaged_checkpoint_costs_only_the_steps_since_the_one_before(data, tmp_path, caplog):
    options = tiny_options(phase="srresnet", srresnet_steps=4, checkpoint_every=2)
    _, reports = run(options, data, tmp_path / "run")
    damaged = tmp_path / "run/checkpoints/0-srresnet-000000004.pt"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    with caplog.at_level(logging.WARNING):
        _, again = run(options, data, tmp_path / "run")
    assert losses(again) == losses(reports)[2:]
    assert "000000004.pt: damaged, so going on from 0-srresnet-000000002.pt" in caplog.text


def test_srgan_phase_alone_starts_from_a_trained_generator(data, tmp_path):
    _, both = run(tiny_options(), data, tmp_path / "both")
    run(tiny_options(phase="srresnet"), data, tmp_path / "parts")
    model = tmp_path / "parts/srresnet.safetensors"
    _, same_folder = run(tiny_options(phase="srgan"), data, tmp_path / "parts")
    other = tiny_options(phase="srgan", initial_generator=str(model))
    _, other_folder = run(other, data, tmp_path / "other")
    assert losses(same_folder) == losses(other_folder) == losses(both)[3:]


def test_srresnet_phase_may_start_from_a_trained_generator_as_well(data, tmp_path):
    run(tiny_options(phase="srresnet", ema_decay=0), data, tmp_path / "first")
    model = str(tmp_path / "first/srresnet.safetensors")
    options = tiny_options(
        phase="srresnet", initial_generator=model, srresnet_steps=1, learning_rate=1e-9, seed=1
    )
    run(options, data, tmp_path / "second")
    first, second = (
        load_generator(str(tmp_path / name / "srresnet.safetensors"))[0].state_dict()
        for name in ("first", "second")
    )
    weights = [name for name in first if first[name].ndim == 4]
    assert all(torch.allclose(second[name], first[name], atol=1e-6) for name in weights)


def test_srgan_phase_alone_needs_a_generator(data, tmp_path):
    with pytest.raises(MissingDataError, match="--initial-generator"):
        run(tiny_options(phase="srgan"), data, tmp_path / "run")


def test_training_lowers_the_loss(data, tmp_path):
    options = tiny_options(phase="srresnet", srresnet_steps=40, learning_rate=5e-3)
    metrics, _ = run(options, data, tmp_path / "run")
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
    ],
)
def test_other_options_train_as_well(data, tmp_path, changes):
    metrics, reports = run(tiny_options(phase="srresnet", **changes), data, tmp_path / "run")
    # Three images at batch 4 are one step an epoch.
    assert metrics["steps"] == (2 if "srresnet_epochs" in changes else 3)
    loss = changes.get("pixel_loss", "mse")
    assert all(math.isfinite(report.losses[loss]) for report in reports)


def test_bf16_srgan_trains(data, tmp_path):
    _, reports = run(tiny_options(precision="bf16"), data, tmp_path / "run")
    assert all(math.isfinite(loss) for report in reports for loss in report.losses.values())


def test_loss_that_is_not_finite_names_the_step_and_is_never_kept(data, tmp_path):
    options = tiny_options(
        phase="srresnet", srresnet_steps=20, learning_rate=1e30, log_every=10, checkpoint_every=1
    )
    with pytest.raises(TrainingFailedError, match=r"srresnet: .* at step \d+ "):
        run(options, data, tmp_path / "run")
    for path in (tmp_path / "run/checkpoints").glob("*.pt"):
        state = torch.load(path, weights_only=True)
        assert state["step"] == 1


def test_loss_beyond_any_picture_is_met_as_one_that_is_not_finite(data, tmp_path):
    options = tiny_options(phase="srresnet", srresnet_steps=20, learning_rate=100.0)
    with pytest.raises(TrainingFailedError, match="more than any picture can be off at step"):
        run(options, data, tmp_path / "run")


def test_other_architecture_than_the_run_folders(data, tmp_path):
    run(tiny_options(phase="srresnet"), data, tmp_path / "run")
    with pytest.raises(OptionsError, match=r"channels 8, not 16.*--fresh"):
        run(tiny_options(phase="srresnet", channels=16), data, tmp_path / "run")


def test_more_steps_go_on_as_one_training_of_so_many(data, tmp_path):
    long = tiny_options(phase="srresnet", srresnet_steps=6)
    _, expected = run(long, data, tmp_path / "long")
    _, first = run(tiny_options(phase="srresnet"), data, tmp_path / "run")
    _, second = run(long, data, tmp_path / "run")
    assert losses(first) + losses(second) == losses(expected)


def test_srresnet_phase_cannot_grow_once_it_is_over(data, tmp_path):
    run(tiny_options(), data, tmp_path / "run")
    with pytest.raises(OptionsError, match=r"began after srresnet_steps 3.*--fresh"):
        run(tiny_options(srresnet_steps=6), data, tmp_path / "run")


def test_run_folder_past_the_phase(data, tmp_path):
    run(tiny_options(), data, tmp_path / "run")
    with pytest.raises(OptionsError, match="already in phase srgan"):
        run(tiny_options(phase="srresnet"), data, tmp_path / "run")


def test_what_is_missing_is_said_before_training(data, tmp_path):
    with pytest.raises(UnavailableError, match="--vgg-weights"):
        run(tiny_options(content="vgg22", vgg_weights="nowhere.pth"), data, tmp_path / "run")
    with pytest.raises(MissingDataError, match="nowhere"):
        run(tiny_options(), tmp_path / "nowhere", tmp_path / "run")
    with pytest.raises(BadDataError, match="smaller than 64"):
        run(tiny_options(crop_size=64), data, tmp_path / "run")
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


def test_moving_average_follows_the_network_and_its_buffers():
    network = torch.nn.BatchNorm2d(1)
    average = MovingAverage(network, decay=0.9)
    with torch.no_grad():
        network.weight.fill_(2.0)
        network.running_var.fill_(11.0)
        network.num_batches_tracked.fill_(5)
    average.update(network, step=1_000_000)
    followed = average.network
    assert followed.weight.item() == pytest.approx(0.9 * 1 + 0.1 * 2)
    assert followed.running_var.item() == pytest.approx(0.9 * 1 + 0.1 * 11)
    assert followed.num_batches_tracked.item() == 5
    assert not followed.training
    assert network.weight.item() == 2.0


def test_moving_average_of_no_decay_is_the_network():
    network = torch.nn.Linear(2, 2)
    average = MovingAverage(network, decay=0)
    torch.nn.init.constant_(network.weight, 3.0)
    average.update(network, step=0)
    assert torch.equal(average.network.weight, network.weight)
