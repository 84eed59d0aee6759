"""What GPUs ask of networks, checkpoints and upscaling, on machines without any."""

import copy
import os
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch
from torch import nn

from srgan import errors
from srgan.batches import CropSampler
from srgan.distributed import Ranks, joined_ranks
from srgan.evaluation import upscale_with
from srgan.gpu import check_gpu, describe_gpu, explaining_memory
from srgan.losses import MseContent
from srgan.phases import Phase, SrganPhase, SrresnetPhase
from srgan.recipe import Recipe
from srgan.sub_pixel import pixel_shuffle, shuffle_nhwc
from srgan.training import train
from srgan.upscaling.networks import UpscalingNetwork
from srgan.upscaling.tiles import Box, Upscaler
from srgan.upscaling.worker import Tools

CPU = torch.device("cpu")
GPU = torch.device("cuda", 0)
SMALL = Recipe(residual_blocks=1, channels=8, crop_size=32, batch_size=4, fused_adam=True)
ALONE = Ranks(0, 1, CPU, "none")


def _nhwc(_: Phase, network: nn.Module) -> nn.Module:
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _nchw(_: Phase, network: nn.Module) -> nn.Module:
    return network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload, no-any-return]


def test_a_checkpoint_goes_on_in_another_memory_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """B1: that of a GPU lies in NHWC, that of a CPU in NCHW."""
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    sampler = CropSampler([image], 32, 4, 0, CPU)

    def step(phase: Phase, number: int) -> None:
        phase.compute_gradients(sampler.batch(0, number))
        phase.apply_gradients(number, 1e-3)

    monkeypatch.setattr(Phase, "_place", _nhwc)
    of_gpu = SrresnetPhase(SMALL, ALONE, None)
    for number in range(3):
        step(of_gpu, number)
    saved = copy.deepcopy(of_gpu.state_dict())
    monkeypatch.setattr(Phase, "_place", _nchw)
    of_cpu = SrresnetPhase(SMALL, ALONE, None)
    of_cpu.load_state_dict(saved)
    for weight, values in of_cpu._optimisers["generator"].state.items():
        assert values["exp_avg"].stride() == values["exp_avg_sq"].stride() == weight.stride()
    before = [one.detach().clone() for one in of_cpu.networks["generator"].parameters()]
    step(of_gpu, 3)
    step(of_cpu, 3)
    for old, expected, found in zip(
        before,
        of_gpu.networks["generator"].parameters(),
        of_cpu.networks["generator"].parameters(),
        strict=True,
    ):
        torch.testing.assert_close(found - old, expected - old, rtol=1e-2, atol=1e-5)


def test_memory_that_is_too_small_is_said_with_ways_out() -> None:
    with (
        pytest.raises(errors.UnavailableError, match="rank 0.*4 crops.*--batch-size") as caught,
        explaining_memory(ALONE, SMALL),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory")
    # An error with an exit code is no lost rank: nothing is launched again.
    assert caught.value.exit_code == 69


def test_a_training_judges_its_card_and_explains_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first thing that happens on a GPU is the judgement, which here finds no memory left."""
    monkeypatch.setattr("srgan.training.check_gpu", mock.Mock(side_effect=torch.OutOfMemoryError))
    with pytest.raises(errors.UnavailableError, match="give a smaller --batch-size"):
        train(SMALL, str(tmp_path / "nothing"), {}, str(tmp_path / "run"))


def test_ranks_on_gpus_meet_on_the_network_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """nccl is told its GPU, so it connects at once, and the whole name of an interface."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.set_device", lambda _: None)
    meeting = mock.Mock(side_effect=ConnectionError)
    monkeypatch.setattr("torch.distributed.init_process_group", meeting)
    launched = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "9"}
    with mock.patch.dict(os.environ, launched):
        for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            os.environ.pop(name, None)
        with pytest.raises(ConnectionError), joined_ranks():
            pass
        assert os.environ["NCCL_SOCKET_IFNAME"] == f"={os.environ['GLOO_SOCKET_IFNAME']}" != "="
    assert meeting.call_args.args == ("nccl",)
    assert meeting.call_args.kwargs["device_id"] == GPU


def test_building_networks_touches_no_gpu() -> None:
    """B9."""
    touched: list[object] = []
    with ExitStack() as stack:
        stack.enter_context(mock.patch("torch.cuda.device_count", lambda: 4))
        stack.enter_context(mock.patch("torch.cuda.get_rng_state", touched.append))
        SrganPhase(SMALL, ALONE, None, MseContent())
    assert touched == []


def test_the_shuffle_in_nhwc_is_the_same() -> None:
    """B10; its memory order is seen by test_fake_cuda.py."""
    inputs = torch.randn(2, 16, 5, 7).contiguous(memory_format=torch.channels_last)
    shuffled = [
        (outputs, *torch.autograd.grad(outputs, leaf, torch.cos(outputs.detach())))
        for way in (shuffle_nhwc, pixel_shuffle)
        for leaf in [inputs.clone().requires_grad_()]
        for outputs in [way(leaf, 2)]
    ]
    for ours, torchs in zip(*shuffled, strict=True):
        assert torch.equal(ours, torchs)


def _card(stack: ExitStack, capability: tuple[int, int], *, kernel: bool = True) -> None:
    stack.enter_context(mock.patch("torch.cuda.get_device_name", lambda _: "Card"))
    stack.enter_context(mock.patch("torch.cuda.get_device_capability", lambda _: capability))
    stack.enter_context(mock.patch("torch.cuda.get_arch_list", lambda: ["sm_75"]))
    error = None if kernel else RuntimeError("CUDA error: no kernel image is available\nmore")
    stack.enter_context(mock.patch("torch.zeros", mock.MagicMock(side_effect=error)))


def test_a_card_is_judged_before_the_training() -> None:
    bf16 = SMALL.model_copy(update={"precision": "bf16"})
    with ExitStack() as stack:
        _card(stack, (7, 5))
        check_gpu(GPU, SMALL)
        for short in (bf16, SMALL.model_copy(update={"precision": "tf32"})):
            with pytest.raises(errors.OptionsError, match="Card.*7.5.*--precision float32"):
                check_gpu(GPU, short)
    with ExitStack() as stack:
        _card(stack, (9, 0))
        check_gpu(GPU, bf16)
    with ExitStack() as stack:
        _card(stack, (6, 1), kernel=False)
        with pytest.raises(errors.UnavailableError, match="Card.*6.1.*no kernel image"):
            check_gpu(GPU, SMALL)


def test_a_result_names_its_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = SimpleNamespace(name="Card", total_memory=80 << 30, major=9, minor=0)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda _: card)
    monkeypatch.setenv("PATH", str(tmp_path))
    known = {"name": "Card", "memory_gib": 80.0, "capability": "9.0"}
    assert describe_gpu(GPU) == {**known, "driver": "unknown"}
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 580.65.06\necho 580.65.06\n")
    program.chmod(0o755)
    assert describe_gpu(GPU) == {**known, "driver": "580.65.06"}
    assert describe_gpu(CPU) is None


def test_upscaling_by_what_the_card_has(monkeypatch: pytest.MonkeyPatch) -> None:
    size = SimpleNamespace(total_memory=80_000_000_000)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda _: size)
    monkeypatch.setattr("torch.nn.Module.to", lambda module, *_, **__: module)
    network = UpscalingNetwork(nn.Identity(), "x", 4, 20, 10_000, near_in_bfloat16=True)
    for capability, half in ((7, 5), False), ((8, 0), True):
        monkeypatch.setattr("torch.cuda.get_device_capability", lambda _, of=capability: of)
        upscaler = Upscaler.of(network, GPU)
        assert (upscaler.pixels, upscaler.half) == (800_000, half)
    assert Upscaler.of(network, CPU).pixels == 51_200


def test_upscaling_takes_smaller_tiles_where_memory_is_too_small() -> None:
    sizes: list[int] = []

    class Network(nn.Module):
        limit = 60 * 60

        def forward(self, low: torch.Tensor) -> torch.Tensor:
            sizes.append(low.shape[0] * low.shape[2] * low.shape[3])
            if sizes[-1] > self.limit:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return nn.functional.interpolate(low, scale_factor=4) * 2 - 1

    pixels = np.random.default_rng(0).integers(0, 256, (2, 90, 80, 3), dtype=np.uint8)
    upscaler = Upscaler(Network(), CPU, 2 * 90 * 80)
    found = upscaler.upscale(pixels, Box(0, 0, 80, 90))
    assert np.array_equal(found, pixels.repeat(4, 1).repeat(4, 2))
    assert sizes[-1] <= upscaler.pixels == 60 * 60
    # Evaluation would take it as a whole.
    Network.limit = 64 * 64
    assert np.array_equal(upscale_with(Network())(pixels[0]), found[0])
    Network.limit = 0
    with pytest.raises(errors.UnavailableError, match="too small for a tile of"):
        upscaler.upscale(pixels, Box(0, 0, 80, 90))


def test_a_gpu_that_is_not_there_is_not_the_fault_of_a_file() -> None:
    with (
        mock.patch("torch.cuda.is_available", lambda: True),
        mock.patch("torch.cuda.device_count", lambda: 2),
        pytest.raises(errors.UnavailableError, match="cuda:2, but torch sees 2 GPUs"),
    ):
        Tools(b"", 512, 1.0, 1).upscaler("cuda:2")
