"""Two real gloo ranks take the steps of one rank with twice the slice."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from srgan_ranks import run_ranks
from srgan_samples import sample_pixels, tiny_options, write_samples

from srgan.batch_norm import synchronise_batch_norm
from srgan.batches import CropSampler
from srgan.distributed import joined_ranks
from srgan.errors import MissingDataError, OptionsError
from srgan.loop import Progress
from srgan.losses import MseContent
from srgan.phases import SrganPhase
from srgan.recipe import Recipe
from srgan.training import train

ROOT = Path(__file__).resolve().parents[1]
SIXTEEN = {"batch_size": 16, "residual_blocks": 2, "crop_size": 48}
# Adam divides by the size of the gradient, so it amplifies rounding where that is near zero.
SLOW = {"learning_rate": 1e-4}


pytestmark = pytest.mark.usefixtures("one_thread")


def gradients_of_a_batch() -> dict[str, torch.Tensor]:
    """Gradients, loss terms and running statistics of both networks for one batch of 16 crops."""
    options = tiny_options(**SIXTEEN)
    with joined_ranks() as ranks:
        images = [sample_pixels(60, 70), sample_pixels(50, 80, seed=1)]
        sampler = CropSampler(images, 48, 16, 0, ranks.device, ranks.rank, ranks.world_size)
        phase = SrganPhase(options, ranks, None, MseContent())
        terms = phase.compute_gradients(sampler.batch(0, 0))
        found = {f"loss {name}": ranks.mean(term) for name, term in terms.items()}
        for kind, network in phase.networks.items():
            for name, parameter in network.named_parameters():
                assert parameter.grad is not None
                found[f"gradient {kind} {name}"] = parameter.grad.clone()
            found.update({f"{kind} {name}": buffer for name, buffer in network.named_buffers()})
        return found


def train_with_losses(options: Recipe, data: str, run_dir: str) -> dict:
    """Metrics of a training, with the loss terms of each step on the first rank."""
    history: list[dict[str, float]] = []

    def record(progress: Progress) -> None:
        if progress.scores is None:
            history.append(progress.losses)

    metrics = train(
        options,
        data,
        {"own": data},
        run_dir,
        progress=record,
    )
    return {**metrics, "history": history}


def test_gradients_of_two_ranks_are_those_of_one(tmp_path):
    alone = gradients_of_a_batch()
    for rank in run_ranks(2, tmp_path, gradients_of_a_batch):
        assert rank.keys() == alone.keys()
        for name, expected in alone.items():
            scale = float(expected.abs().max()) or 1.0
            torch.testing.assert_close(
                rank[name], expected, rtol=1e-4, atol=1e-4 * scale, msg=f"{name} differs"
            )


def train_broken_and_whole(data: str, folder: str) -> dict[str, dict]:
    """A training in one go, and the same in two."""
    options = tiny_options(**SIXTEEN, **SLOW)
    half = tiny_options(phase="srresnet", **SIXTEEN, **{**SLOW, "srresnet_steps": 2})
    with joined_ranks():
        return {
            "whole": train_with_losses(options, data, f"{folder}/whole"),
            "first half": train_with_losses(half, data, f"{folder}/broken"),
            "second half": train_with_losses(options, data, f"{folder}/broken"),
        }


def test_training_on_two_ranks_is_that_on_one(tmp_path):
    data = str(write_samples(tmp_path / "data", 3, side=48))
    alone = train_with_losses(tiny_options(**SIXTEEN, **SLOW), data, str(tmp_path / "alone"))
    ranks = run_ranks(2, tmp_path, train_broken_and_whole, data, str(tmp_path))
    first, second = (rank["whole"] for rank in ranks)
    assert len(first["history"]) == 6 and second["history"] == []
    for ours, theirs in zip(first["history"], alone["history"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3)
    assert first["test_sets"]["own"] == pytest.approx(alone["test_sets"]["own"], abs=0.01)
    assert second["test_sets"] == first["test_sets"]
    assert first["world_size"] == 2 and first["backend"] == "gloo"
    assert 0 <= first["allreduce_share"] < 1
    assert first["tflops"] > 0

    halves = ranks[0]["first half"]["history"] + ranks[0]["second half"]["history"]
    assert halves == first["history"]


def errors_of_trainings(data: str, run_dir: str) -> list[str]:
    """What this rank is told when the second rank lacks the data, and of a batch of 3."""
    own_data = data if os.environ["RANK"] == "0" else data + "-missing"
    errors: list[str] = []
    with joined_ranks():
        for options, folder in ((tiny_options(), own_data), (tiny_options(batch_size=3), data)):
            try:
                train(options, folder, {}, run_dir)
            except (MissingDataError, OptionsError) as error:
                errors.append(str(error))
    return errors


def test_what_fails_on_one_rank_fails_on_all(tmp_path):
    data = str(write_samples(tmp_path / "data", 1))
    for missing, unequal in run_ranks(2, tmp_path, errors_of_trainings, data, str(tmp_path)):
        assert missing == f"{data}-missing: no such folder"
        assert unequal.startswith("batch_size 3 cannot be shared equally by 2 ranks")


def test_under_torchrun(tmp_path):
    """The same function in a script of three lines, started by torchrun."""
    data = write_samples(tmp_path / "data", 2)
    script = tmp_path / "run.py"
    script.write_text(
        "from srgan.recipe import Recipe\n"
        "from srgan.training import train\n"
        f"options = Recipe(**{tiny_options(phase='srresnet').model_dump()!r})\n"
        f"metrics = train(options, {str(data)!r}, {{}}, {str(tmp_path / 'run')!r})\n"
        # One string: of several, each is a write of its own, and two ranks write.
        "print(f\"ranks {metrics['world_size']} steps {metrics['steps']}\\n\", end='')\n"
    )
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    done = subprocess.run(
        [sys.executable, *command],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("ranks 2 steps 3") == 2
    assert (tmp_path / "run/srresnet.safetensors").exists()


def test_synchronised_network_has_the_same_state_dict():
    plain = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    before = {name: value.clone() for name, value in plain.state_dict().items()}
    after = synchronise_batch_norm(plain).state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
