"""torch.compile: what it asks of a machine, and that steps are few graphs, made once, that compute
what eager ones do."""

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from filelock import FileLock
from srgan_ranks import run_ranks

from srgan.batches import CropSampler
from srgan.distributed import Ranks, joined_ranks
from srgan.errors import MissingDataError, UnavailableError
from srgan.losses import MseContent, VggContent
from srgan.measurement import count_flops, waiting_share
from srgan.phases import Phase, SrganPhase, SrresnetPhase
from srgan.recipe import PhaseName, Recipe
from srgan.training import train
from srgan.vgg import VggFeatures

# Phase, content loss, and the graphs of all until then.
CASES: tuple[tuple[PhaseName, str, int], ...] = (
    ("srresnet", "mse", 1),
    ("srgan", "mse", 3),
    ("srgan", "vgg22", 4),
)


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_a_cache_that_a_killed_run_left_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading half a library would end the process by a signal."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    for folder in ("ab", "locks"):
        (tmp_path / folder).mkdir()
    libraries = [tmp_path / "ab" / f"{name}.main.so" for name in ("whole", "half", "empty", "busy")]
    whole, half, empty, busy = libraries
    for path in libraries:
        command = ["g++", "-shared", "-fPIC", "-x", "c++", "-", "-o", str(path)]
        subprocess.run(command, input=b"int one() { return 1; }", check=True)
    size = whole.stat().st_size
    for path, length in (half, size - 1), (empty, 0), (busy, size // 2):
        os.truncate(path, length)
    with (
        # As the process that is writing it has.
        FileLock(tmp_path / "locks" / "busy.lock"),
        pytest.raises(MissingDataError),
    ):
        train(Recipe(compile=True), str(tmp_path / "nothing"), {}, str(tmp_path / "run"))
    assert [path for path in libraries if path.exists()] == [whole, busy]


def test_compiling_without_a_compiler_is_said_before_the_training(tmp_path: Path) -> None:
    import torch._inductor.config

    with (
        torch._inductor.config.patch({"cpp.cxx": (None, str(tmp_path / "nothing"))}),
        pytest.raises(UnavailableError, match="--compile finds no C.. compiler"),
    ):
        train(Recipe(compile=True), str(tmp_path / "nothing"), {}, str(tmp_path / "run"))


class Steps(NamedTuple):
    """What a few steps have found."""

    losses: list[list[float]]
    seconds: list[float]
    graphs: list[int]
    """Compiled in this process until the end of each step."""


def _steps(ranks: Ranks, name: PhaseName, content: str, compiled: bool) -> Steps:
    from torch._dynamo.utils import counters

    options = Recipe(
        residual_blocks=1, channels=4, crop_size=32, batch_size=4, content=content, compile=compiled
    )
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    sampler = CropSampler([image], 32, 4, 0, ranks.device, ranks.rank, ranks.world_size)
    phase: Phase
    if name == "srgan":
        torch.manual_seed(0)
        vgg = VggContent(VggFeatures("vgg22"), 1 / 12.75)
        phase = SrganPhase(options, ranks, None, MseContent() if content == "mse" else vgg)
    else:
        phase = SrresnetPhase(options, ranks, None)
    found = Steps([], [], [])
    for step in range(3):
        batch, begin = sampler.batch(phase.number, step), time.monotonic()
        terms = phase.compute_gradients(batch)
        phase.apply_gradients(step, 1e-4)
        found.losses.append([float(value) for value in terms.values()])
        found.seconds.append(time.monotonic() - begin)
        if step == 1:
            # As a training does after its first steps; neither may lead to new code. Not sooner:
            # code that must be made anew while operators are counted is never compiled again.
            count_flops(phase, batch)
            waiting_share(phase, batch, ranks)
        found.graphs.append(counters["stats"]["unique_graphs"])
    return found


def _train() -> list[tuple[Any, ...]]:
    """All kinds of steps; the first alone with C++, whose compiler takes a minute for others."""
    import torch._dynamo.config
    from torch._dynamo.utils import counters

    found = []
    with joined_ranks() as ranks:
        for phase, content, _ in CASES:
            eager, compiled = (_steps(ranks, phase, content, of) for of in (False, True))
            breaks = sum(counters["graph_break"].values())
            found.append((eager.losses, compiled.losses, compiled.seconds, compiled.graphs, breaks))
            torch._dynamo.config.debug_backend_override = ">=0:aot_eager"
    return found


@pytest.mark.slow
def test_steps_are_few_graphs_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Generator, which both phases share; discriminator with frozen weights and not; VGG."""
    # Another process that was killed may have left half a file in the common one.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    for of_rank in run_ranks(2, tmp_path, _train):
        for (eager, compiled, seconds, graphs, breaks), case in zip(of_rank, CASES, strict=True):
            print(f"first step {seconds[0]:.1f} s, second {seconds[1]:.3f} s")
            assert (graphs, breaks) == ([case[2]] * 3, 0)
            for plain, fast in zip(eager, compiled, strict=True):
                assert fast == pytest.approx(plain, rel=1e-4, abs=1e-6)
