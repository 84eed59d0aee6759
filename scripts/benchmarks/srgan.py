"""The training step of the paper's SRResNet, option by option, on one process."""

from __future__ import annotations

import argparse
import functools
import logging
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from srgan.batches import CropSampler
from srgan.distributed import Ranks, joined_ranks
from srgan.measurement import count_flops
from srgan.models import Generator
from srgan.options import TrainOptions
from srgan.phases import SrresnetPhase

LOG = logging.getLogger("benchmark")

# The first is what ships; each of the others changes one thing.
VARIANTS: dict[str, dict[str, Any]] = {
    "as shipped": {},
    "contiguous tensors": {"channels_last": False},
    "unfused Adam": {"fused_adam": False},
    "bf16 autocast": {"precision": "bf16"},
}
PLAIN = "plain implementation"
MATRIX_SIDE = 2048


def compare(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Time one step of each variant in turn, `options.rounds` times, after a warm-up round."""
    batch_size = options.batch_size
    with joined_ranks() as ranks:
        samplers = {order: _sampler(batch_size, ranks, order) for order in (True, False)}
        steps: dict[str, Callable[[int], None]] = {}
        flops = 0
        for name, changes in VARIANTS.items():
            if changes.get("precision") == "bf16" and ranks.device.type == "cpu":
                # Without the instructions for it, one step takes minutes.
                continue
            train_options = TrainOptions(batch_size=batch_size, **changes)
            phase = SrresnetPhase(train_options, ranks, None)
            sampler = samplers[train_options.channels_last]
            flops = flops or count_flops(phase, sampler.batch(0, 0))
            steps[name] = _step_of(phase, sampler)
        steps[PLAIN] = _plain_step(samplers[False], ranks.device)
        seconds: dict[str, list[float]] = {name: [] for name in steps}
        sgemm: list[float] = []
        for number in range(options.rounds + 1):
            # Each takes its turn at every place: what ran before leaves caches and clocks behind.
            first = number % len(steps)
            for name, step in [*steps.items()][first:] + [*steps.items()][:first]:
                seconds[name].append(_timed(functools.partial(step, number), ranks.device))
            sgemm.append(_sgemm_flops_per_second(ranks.device))
            LOG.info("round %d of %d", number, options.rounds)
        device = str(ranks.device)
    medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    return {
        "machine": platform.platform(),
        "torch": torch.__version__,
        "device": device,
        "threads": torch.get_num_threads(),
        "batch_size": batch_size,
        "flops_per_step": flops,
        "sgemm_flops_per_second": statistics.median(sgemm[1:]),
        "seconds_per_step": {name: times[1:] for name, times in seconds.items()},
        "crops_per_second": {name: batch_size / median for name, median in medians.items()},
    }


def markdown(report: dict[str, Any]) -> str:
    """The comparison as a table."""
    crops = report["crops_per_second"]
    flops_per_crop = report["flops_per_step"] / report["batch_size"]
    lines = [
        f"| SRResNet step, batch {report['batch_size']}, {report['device']}, "
        f"{report['threads']} threads | crops/s | to plain | of sgemm |",
        "|---|---|---|---|",
    ]
    for name, rate in crops.items():
        share = rate * flops_per_crop / report["sgemm_flops_per_second"]
        lines.append(f"| {name} | {rate:.2f} | {rate / crops[PLAIN]:.2f} | {100 * share:.0f} % |")
    rate = report["sgemm_flops_per_second"] / 1e9
    return "\n".join(lines) + f"\n\nsgemm of {MATRIX_SIDE} by {MATRIX_SIDE}: {rate:.0f} GFLOP/s.\n"


def _sampler(batch_size: int, ranks: Ranks, channels_last: bool) -> CropSampler:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 256, 256, 3), dtype=np.uint8)
    crop_size = TrainOptions().crop_size
    return CropSampler(
        list(pixels), crop_size, batch_size, 0, ranks.device, channels_last=channels_last
    )


def _step_of(phase: SrresnetPhase, sampler: CropSampler) -> Callable[[int], None]:
    def step(number: int) -> None:
        phase.compute_gradients(sampler.batch(0, number))
        phase.apply_gradients(number, 1e-4)

    return step


def _plain_step(sampler: CropSampler, device: torch.device) -> Callable[[int], None]:
    """What a textbook would write: the network, torch's defaults, no average kept."""
    network: nn.Module = Generator(16, 64).to(device).train()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-4, foreach=False)

    def step(number: int) -> None:
        batch = sampler.batch(0, number)
        optimiser.zero_grad()
        F.mse_loss(network(batch.low), batch.high).backward()
        optimiser.step()

    return step


def _timed(work: Callable[[], None], device: torch.device) -> float:
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def _sgemm_flops_per_second(device: torch.device) -> float:
    left, right = torch.randn(2, MATRIX_SIDE, MATRIX_SIDE, device=device)
    repeats = 10
    seconds = _timed(lambda: [left @ right for _ in range(repeats)] and None, device)
    return repeats * 2 * MATRIX_SIDE**3 / seconds
