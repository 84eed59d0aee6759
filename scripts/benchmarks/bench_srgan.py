"""The training steps of the paper's SRResNet and SRGAN, their input, and one against two ranks."""

from __future__ import annotations

import argparse
import functools
import json
import logging
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.baselines.plain_generator import PlainGenerator
from benchmarks.charts import bars_of
from jobs.runtime.tables import median_and_spread, table
from srgan.batches import CropSampler
from srgan.cpu.memory import keep_freed_memory
from srgan.distributed import Ranks, joined_ranks
from srgan.losses import VggContent
from srgan.measurement import count_flops
from srgan.phases import Phase, SrganPhase, SrresnetPhase
from srgan.recipe import Recipe
from srgan.vgg import VggFeatures

logger = logging.getLogger("benchmark")

VARIANTS: dict[str, dict[str, Any]] = {
    "as shipped": {},
    "contiguous tensors": {"channels_last": False},
    "unfused Adam": {"fused_adam": False},
    "bf16 autocast": {"precision": "bf16"},
}
"""The first is what ships; each of the others changes one thing."""
PLAIN = "plain implementation"
SRGAN = "SRGAN step with VGG22"
"""The weights do not matter for the speed, hence random ones."""
MATRIX_SIDE = 2048
INPUT_BATCHES = 20
"""Of the input pipeline alone, in each round."""
STEPS_PROGRAM = Path(__file__).resolve().parent / "probes" / "srgan_steps.py"
STEPS_A_PROCESS = 3
PROCESSES = {"1 process of 2 threads": (1, 2), "2 ranks of 1 thread": (2, 1)}
"""Ranks, and threads of each."""


def compare(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Time one step of each variant in turn, `options.rounds` times, after a warm-up round."""
    batch_size = options.batch_size
    keep_freed_memory()
    with joined_ranks() as ranks:
        samplers = {order: _sampler(batch_size, ranks, order) for order in (True, False)}
        steps: dict[str, Callable[[int], None]] = {}
        flops = 0
        for name, changes in VARIANTS.items():
            if changes.get("precision") == "bf16" and ranks.device.type == "cpu":
                # Without the instructions for it, one step takes minutes.
                continue
            train_options = Recipe(batch_size=batch_size, **changes)
            phase = SrresnetPhase(train_options, ranks, None)
            sampler = samplers[train_options.channels_last]
            flops = flops or count_flops(phase, sampler.batch(0, 0))
            steps[name] = _step_of(phase, sampler)
        steps[PLAIN] = _plain_step(samplers[False], ranks.device)
        train_options = Recipe(batch_size=batch_size, content="vgg22")
        content = VggContent(VggFeatures("vgg22"), train_options.vgg_feature_scale)
        steps[SRGAN] = _step_of(SrganPhase(train_options, ranks, None, content), samplers[True])
        seconds: dict[str, list[float]] = {name: [] for name in steps}
        sgemm: list[float] = []
        inputs: list[float] = []
        for number in range(options.rounds + 1):
            # Each takes its turn at every place: what ran before leaves caches and clocks behind.
            first = number % len(steps)
            for name, step in [*steps.items()][first:] + [*steps.items()][:first]:
                seconds[name].append(_timed(functools.partial(step, number), ranks.device))
            sgemm.append(_sgemm_flops_per_second(ranks.device))
            inputs.append(_input_crops_per_second(samplers[True], batch_size, ranks.device))
            logger.info("round %d of %d", number, options.rounds)
        device = str(ranks.device)
        memory = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    processes: dict[str, list[dict[str, float]]] = {name: [] for name in PROCESSES}
    if device == "cpu":
        for number in range(options.rounds):
            for name, (count, threads) in PROCESSES.items():
                processes[name].append(_in_processes(count, threads, batch_size))
            logger.info("one and two processes, round %d of %d", number + 1, options.rounds)
    crops = {name: [batch_size / one for one in times[1:]] for name, times in seconds.items()}
    bars_of(folder / "srgan.png", crops, f"crops/s, batch {batch_size}")
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
        "input_crops_per_second": statistics.median(inputs[1:]),
        "peak_memory_bytes": memory,
        "processes": {name: runs for name, runs in processes.items() if runs},
    }


def markdown(report: dict[str, Any]) -> str:
    """The comparison as a table, and one of processes and threads."""
    crops = report["crops_per_second"]
    flops_per_crop = report["flops_per_step"] / report["batch_size"]
    machine = f"batch {report['batch_size']}, {report['device']}, {report['threads']} threads"
    rows = []
    for name, rate in crops.items():
        share = rate * flops_per_crop / report["sgemm_flops_per_second"]
        compared = (f"{rate / crops[PLAIN]:.2f}", f"{100 * share:.0f} %")
        rows.append((name, f"{rate:.2f}", *(compared if name != SRGAN else ("", ""))))
    inputs, trained = report["input_crops_per_second"], max(crops.values())
    lines = [
        table((f"SRResNet step, {machine}", "crops/s", "to plain", "of sgemm"), rows),
        "",
        f"- sgemm of {MATRIX_SIDE} by {MATRIX_SIDE}: "
        f"{report['sgemm_flops_per_second'] / 1e9:.0f} GFLOP/s.",
        f"- Input pipeline alone: {inputs:.0f} crops/s, {inputs / trained:.0f} times the fastest "
        "step.",
        f"- Memory of the process with all variants: {report['peak_memory_bytes'] / 2**30:.1f} GiB "
        "at most.",
    ]
    return "\n".join(lines) + "\n" + _processes_table(report["processes"])


def _processes_table(processes: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    if not processes:
        return ""
    rows = []
    first = 0.0
    for name, runs in processes.items():
        rates = [run["crops_per_second"] for run in runs]
        rate = statistics.median(rates)
        first = first or rate
        waiting = statistics.median(run["waiting_share"] for run in runs)
        memory = max(run["peak_memory_bytes"] for run in runs) / 2**30
        of_first = f"{rate / first:.2f}"
        waits = f"{100 * waiting:.0f} %"
        rows.append((name, median_and_spread(rates), of_first, waits, f"{memory:.1f} GiB"))
    header = ("SRResNet step", "crops/s", "to the first", "waiting", "memory")
    return f"\n{table(header, rows)}\n"


def _sampler(batch_size: int, ranks: Ranks, channels_last: bool) -> CropSampler:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 256, 256, 3), dtype=np.uint8)
    crop_size = Recipe().crop_size
    return CropSampler(
        images=list(pixels),
        crop_size=crop_size,
        batch_size=batch_size,
        seed=0,
        device=ranks.device,
        channels_last=channels_last,
    )


def _in_processes(count: int, threads: int, batch_size: int) -> dict[str, float]:
    words = (STEPS_PROGRAM, batch_size, STEPS_A_PROCESS, threads)
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count)),
        *map(str, words),
    ]
    # The program sets its threads itself; torchrun would say a paragraph about it.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(done.stdout.strip().splitlines()[-1])


def _input_crops_per_second(sampler: CropSampler, batch_size: int, device: torch.device) -> float:
    def draw() -> None:
        for number in range(INPUT_BATCHES):
            sampler.batch(0, number)

    return INPUT_BATCHES * batch_size / _timed(draw, device)


def _step_of(phase: Phase, sampler: CropSampler) -> Callable[[int], None]:
    def step(number: int) -> None:
        phase.compute_gradients(sampler.batch(0, number))
        phase.apply_gradients(number, 1e-4)

    return step


def _plain_step(sampler: CropSampler, device: torch.device) -> Callable[[int], None]:
    """What a textbook would write: torch's layers and defaults, no average kept."""
    network: nn.Module = PlainGenerator().to(device).train()
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
    """Of the faster library: on some CPUs torch's matrix product (MKL) has half oneDNN's rate."""
    left, right = torch.randn(2, MATRIX_SIDE, MATRIX_SIDE, device=device)
    products: list[Callable[[], Tensor]] = [lambda: left @ right]
    if device.type == "cpu":
        # A convolution of one pixel is a matrix product, which oneDNN computes.
        kernel = right[:, :, None, None]
        image = left.view(1, MATRIX_SIDE, MATRIX_SIDE // 32, 32)
        products.append(lambda: F.conv2d(image, kernel))
    return max(map(functools.partial(_flops_per_second, device), products))


def _flops_per_second(device: torch.device, product: Callable[[], Tensor]) -> float:
    repeats = 10
    product()

    def repeat() -> None:
        for _ in range(repeats):
            product()

    seconds = _timed(repeat, device)
    return repeats * 2 * MATRIX_SIDE**3 / seconds
