"""Real ranks of one machine add numbers through memory that they share."""

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from faults import wait_until
from srgan_ranks import run_ranks

from srgan.batch_norm import SynchronisedBatchNorm
from srgan.cpu import shared_memory
from srgan.cpu.shared_memory import open_shared_sums
from srgan.distributed import joined_ranks

NUMBERS = [(torch.float64, (2, 64)), (torch.float32, (2, 3)), (torch.float32, (2, 512))]


def sums_of_many() -> torch.Tensor:
    """Every rank's sums of a thousand tensors of three kinds, beside those that gloo makes."""
    with joined_ranks() as ranks:
        assert ranks.shared is not None
        generator = torch.Generator().manual_seed(ranks.rank)
        differences = []
        for number in range(1000):
            dtype, shape = NUMBERS[number % len(NUMBERS)]
            values = torch.randn(shape, dtype=dtype, generator=generator)
            # Whoever is early must wait, and must not disturb who is late.
            if number % 100 == ranks.rank:
                time.sleep(0.02)
            sums = ranks.shared.sum(values)
            assert sums.dtype == dtype and sums.shape == shape
            dist.all_reduce(values)
            differences.append((sums - values).abs().max().double())
        return torch.stack(differences)


@pytest.mark.parametrize("world_size", [2, 3])
def test_sums_are_those_of_gloo(world_size: int, tmp_path: Path) -> None:
    before = set(os.listdir(shared_memory.FOLDER))
    for differences in run_ranks(world_size, tmp_path, sums_of_many):
        assert differences.max() < 1e-6
    left = set(os.listdir(shared_memory.FOLDER)) - before
    # Trainings of other tests may be opening theirs.
    wait_until(lambda: left.isdisjoint(os.listdir(shared_memory.FOLDER)), 20, f"left: {left}")


def outputs_of_many_channels(channels: int) -> torch.Tensor:
    with joined_ranks() as ranks:
        norm = SynchronisedBatchNorm(channels, ranks.shared)
        assert ranks.shared is not None
        fits = ranks.shared.fits(torch.empty(2, channels, dtype=torch.float64))
        assert fits == (channels <= 4096)
        whole = torch.randn(4, channels, 2, 2, generator=torch.Generator().manual_seed(0))
        ours = norm(whole[2 * ranks.rank : 2 * ranks.rank + 2])
        expected = torch.nn.BatchNorm2d(channels)(whole)
        return (ours - expected[2 * ranks.rank : 2 * ranks.rank + 2]).abs().max()


@pytest.mark.parametrize("channels", [3, 4096, 5000])
def test_more_channels_than_there_is_room_for(channels: int, tmp_path: Path) -> None:
    for difference in run_ranks(2, tmp_path, outputs_of_many_channels, channels):
        assert difference < 1e-5


def error_of_the_survivor() -> str:
    """What rank 0 is told when rank 1 ends without a word, and how soon."""
    with joined_ranks() as ranks:
        shared = ranks.shared
        assert shared is not None
        shared.sum(torch.ones(2))
        if ranks.rank == 1:
            # As kill -9 does, but with a code that the launcher of this test forgives.
            torch.save("", f"{os.environ['FOLDER']}/rank-1.pt")
            os._exit(0)
        started = time.monotonic()
        with pytest.raises(RuntimeError) as error:
            shared.sum(torch.ones(2))
        assert time.monotonic() - started < 10
        torch.save(str(error.value), f"{os.environ['FOLDER']}/rank-0.pt")
        # The group has lost a member and cannot be left in order.
        os._exit(0)


def test_a_rank_that_ended_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOLDER", str(tmp_path))
    assert run_ranks(2, tmp_path, error_of_the_survivor)[0] == "rank 1 has ended"


def error_of_the_punctual() -> str:
    with joined_ranks() as ranks:
        shared = open_shared_sums(ranks.rank, ranks.world_size, timedelta(seconds=1))
        assert shared is not None
        error = ""
        if ranks.rank == 0:
            with pytest.raises(RuntimeError) as raised:
                shared.sum(torch.ones(2))
            error = str(raised.value)
        dist.barrier()
        return error


def test_a_rank_that_does_not_come_is_noticed(tmp_path: Path) -> None:
    error = run_ranks(2, tmp_path, error_of_the_punctual)[0]
    assert error == "rank 1 did not come within 0:00:01"


def shares_memory(folder: str) -> bool:
    """Whether this rank shares memory where the first rank has that folder for it."""
    shared_memory.FOLDER = folder
    with joined_ranks() as ranks:
        norm = SynchronisedBatchNorm(3, ranks.shared)
        assert torch.isfinite(norm(torch.randn(2, 3, 4, 4))).all()
        return ranks.shared is not None


def test_without_a_place_for_it_gloo_does_it(tmp_path: Path) -> None:
    assert run_ranks(2, tmp_path, shares_memory, str(tmp_path)) == [True, True]
    missing = str(tmp_path / "missing")
    assert run_ranks(2, tmp_path, shares_memory, missing) == [False, False]
