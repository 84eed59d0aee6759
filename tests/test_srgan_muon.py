"""Muon on convolutions: how far a step goes, which kernels it takes, and on which ranks."""

import pytest
import torch
from srgan_ranks import run_ranks
from torch import nn

from srgan.distributed import Ranks, joined_ranks
from srgan.models import build_model
from srgan.muon import ALIGNED_EVERY, ConvolutionMuon, inner_kernels

pytestmark = pytest.mark.usefixtures("one_thread")

ALONE = Ranks(0, 1, torch.device("cpu"), "none")
RATE = 0.01


def kernel_and_gradient(memory_format: torch.memory_format) -> nn.Parameter:
    torch.manual_seed(4)
    layer = nn.Conv2d(6, 8, 3).to(memory_format=memory_format)  # type: ignore[call-overload]
    layer.weight.grad = torch.randn(8, 6, 3, 3).to(memory_format=memory_format)
    return layer.weight


def test_a_step_goes_equally_far_in_all_directions() -> None:
    kernel = kernel_and_gradient(torch.contiguous_format)
    before, gradient = kernel.detach().clone(), kernel.grad
    assert gradient is not None
    ConvolutionMuon([kernel], RATE, ALONE).step()
    moved = (before - kernel.detach()).flatten(1)
    # 0.2 * sqrt(54), the longer side, for each direction; the root mean square is 0.2 then.
    found = torch.linalg.svdvals(moved / (RATE * 0.2 * 54**0.5))
    assert len(found) == 8 and found.min() > 0.6 and found.max() < 1.3
    assert moved.square().mean().sqrt() == pytest.approx(0.2 * RATE, rel=0.25)
    left, _, right = torch.linalg.svd(gradient.flatten(1), full_matrices=False)
    cosine = torch.cosine_similarity(moved.flatten(), (left @ right).flatten(), dim=0)
    assert cosine > 0.97


def test_the_memory_order_makes_no_difference() -> None:
    of_cpu, of_gpu = map(kernel_and_gradient, (torch.contiguous_format, torch.channels_last))
    for kernel in (of_cpu, of_gpu):
        optimiser = ConvolutionMuon([kernel], RATE, ALONE)
        for _ in range(3):
            optimiser.step()
    assert of_gpu.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(of_gpu, of_cpu, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("model", "count"), [("edsr", 2 * 2), ("srresnet", 2 * 2 + 1 + 2), ("srcnn", 1)]
)
def test_it_takes_all_convolutions_but_the_first_and_the_last(model: str, count: int) -> None:
    network = build_model(model, 2, 8)
    assert len(inner_kernels(network)) == count
    assert all(kernel.shape[1] > 3 and kernel.shape[0] > 3 for kernel in inner_kernels(network))


def _drift() -> dict[str, torch.Tensor]:
    """A kernel that differs between ranks, before and after the step that aligns them."""
    with joined_ranks() as ranks:
        kernel = kernel_and_gradient(torch.contiguous_format)
        with torch.no_grad():
            kernel += ranks.rank
        optimiser = ConvolutionMuon([kernel], 1e-9, ranks)
        found = {}
        for step in range(ALIGNED_EVERY):
            if step == ALIGNED_EVERY - 1:
                found["before"] = kernel.detach().clone()
            optimiser.step()
        return {**found, "after": kernel.detach()}


def test_ranks_that_round_differently_are_brought_together(tmp_path) -> None:
    first, second = run_ranks(2, tmp_path, _drift)
    torch.testing.assert_close(second["before"], first["before"] + 1)
    torch.testing.assert_close(second["after"], first["after"], rtol=0, atol=0)
    torch.testing.assert_close(first["after"], first["before"] + 0.5)
