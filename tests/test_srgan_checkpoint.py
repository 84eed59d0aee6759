"""Checkpoints and model files: whole or refused, and never executed."""

import logging
from pathlib import Path

import fsspec
import pytest
import torch

from srgan.checkpoint import Checkpoints, decode
from srgan.errors import BadDataError, MissingDataError
from srgan.export import ModelDescription, load_generator, save_generator
from srgan.models import build_model


@pytest.fixture
def three_steps(tmp_path) -> Checkpoints:
    checkpoints = Checkpoints(str(tmp_path), keep=3)
    for step in (8, 9, 10):
        checkpoints.save(0, "srresnet", step, {"step": step, "weights": torch.ones(1000) * step})
    return checkpoints


def newest_step(checkpoints: Checkpoints) -> int | None:
    data = checkpoints.newest()
    return None if data is None else decode(data)["step"]


def test_newest_is_that_of_most_steps(three_steps):
    assert newest_step(three_steps) == 10
    three_steps.save(1, "srgan", 1, {"step": 1})
    assert newest_step(three_steps) == 1


def test_only_the_newest_are_kept(three_steps, tmp_path):
    three_steps.save(1, "srgan", 1, {"step": 1})
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "0-srresnet-000000009.pt",
        "0-srresnet-000000009.pt.sha256",
        "0-srresnet-000000010.pt",
        "0-srresnet-000000010.pt.sha256",
        "1-srgan-000000001.pt",
        "1-srgan-000000001.pt.sha256",
    ]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def lose_the_checksum(path: Path) -> None:
    path.with_name(path.name + ".sha256").unlink()


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, lose_the_checksum])
def test_damaged_checkpoint_is_passed_over_with_a_warning(three_steps, tmp_path, caplog, damage):
    damage(tmp_path / "0-srresnet-000000010.pt")
    with caplog.at_level(logging.WARNING):
        assert newest_step(three_steps) == 9
    assert "0-srresnet-000000010.pt: damaged" in caplog.text
    assert "going on from 0-srresnet-000000009.pt" in caplog.text


def test_without_a_whole_checkpoint_there_is_none(three_steps, tmp_path, caplog):
    for path in tmp_path.glob("*.pt"):
        truncate(path)
    assert newest_step(three_steps) is None
    assert "starting over" in caplog.text


def test_empty_or_missing_folder(tmp_path):
    assert Checkpoints(str(tmp_path), keep=1).newest() is None
    assert Checkpoints(str(tmp_path / "nowhere"), keep=1).newest() is None


def test_cleared_checkpoints_are_gone(three_steps, tmp_path):
    three_steps.clear()
    assert list(tmp_path.iterdir()) == []


def test_remote_checkpoints():
    checkpoints = Checkpoints("memory://run/checkpoints", keep=1)
    for step in (1, 2):
        checkpoints.save(0, "srresnet", step, {"step": step})
    assert newest_step(checkpoints) == 2
    assert len(fsspec.filesystem("memory").ls("/run/checkpoints")) == 2


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_malicious_checkpoint_is_not_executed(tmp_path):
    trace = tmp_path / "executed"
    checkpoints = Checkpoints(str(tmp_path / "checkpoints"), keep=1)
    checkpoints.save(0, "srresnet", 1, {"step": Malicious(trace)})
    data = checkpoints.newest()
    assert data is not None
    with pytest.raises(BadDataError, match="newest checkpoint"):
        decode(data)
    assert not trace.exists()


def describe(model: str) -> ModelDescription:
    return ModelDescription(
        model=model, residual_blocks=2, channels=8, phase="srgan", step=7, psnr_y=28.5
    )


@pytest.mark.parametrize("model", ["srresnet", "srcnn", "bicubic"])
def test_model_file_round_trip(tmp_path, model):
    path = str(tmp_path / "model.safetensors")
    network = build_model(model, 2, 8).to(memory_format=torch.channels_last).eval()
    save_generator(path, network, describe(model))
    loaded, description = load_generator(path)
    low = torch.rand(1, 3, 9, 9)
    torch.testing.assert_close(loaded(low), network(low))
    assert not loaded.training
    assert description == describe(model)


def test_remote_model_file():
    network = build_model("srresnet", 2, 8)
    save_generator("memory://models/a.safetensors", network, describe("srresnet"))
    assert load_generator("memory://models/a.safetensors").description.step == 7


def test_pickle_is_no_model_file(tmp_path):
    trace = tmp_path / "executed"
    file = tmp_path / "model.safetensors"
    torch.save({"weights": Malicious(trace)}, file)
    with pytest.raises(BadDataError, match=r"model\.safetensors"):
        load_generator(str(file))
    assert not trace.exists()


def test_damaged_or_foreign_model_files(tmp_path):
    from safetensors.torch import save_file

    file = tmp_path / "model.safetensors"
    save_file({"weights": torch.zeros(3)}, file)
    with pytest.raises(BadDataError, match=r"model\.safetensors"):
        load_generator(str(file))
    save_file(
        {"weights": torch.zeros(3)}, file, {"description": describe("srcnn").model_dump_json()}
    )
    with pytest.raises(BadDataError, match=r"model\.safetensors"):
        load_generator(str(file))
    save_generator(str(file), build_model("srcnn"), describe("srcnn"))
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(BadDataError, match=r"model\.safetensors"):
        load_generator(str(file))


def test_missing_model_file(tmp_path):
    with pytest.raises(MissingDataError, match="nowhere"):
        load_generator(str(tmp_path / "nowhere.safetensors"))
