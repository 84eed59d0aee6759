"""torch.compile on two ranks: few graphs, made once, that compute what eager steps do."""

import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from srgan_ranks import run_ranks

from srgan.batches import CropSampler
from srgan.distributed import Ranks, joined_ranks
from srgan.losses import MseContent, VggContent
from srgan.measurement import count_flops, waiting_share
from srgan.phases import Phase, SrganPhase, SrresnetPhase
from srgan.recipe import PhaseName, Recipe
from srgan.vgg import VggFeatures

# Phase, content loss, and the graphs of all until then.
CASES: tuple[tuple[PhaseName, str, int], ...] = (
    ("srresnet", "mse", 1),
    ("srgan", "mse", 3),
    ("srgan", "vgg22", 4),
)


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
    for step in range(2):
        batch, begin = sampler.batch(phase.number, step), time.monotonic()
        terms = phase.compute_gradients(batch)
        phase.apply_gradients(step, 1e-4)
        found.losses.append([float(value) for value in terms.values()])
        found.seconds.append(time.monotonic() - begin)
        # As a training does after its first steps; neither may lead to new code.
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
            assert (graphs, breaks) == ([case[2]] * 2, 0)
            for plain, fast in zip(eager, compiled, strict=True):
                assert fast == pytest.approx(plain, rel=1e-4, abs=1e-6)
