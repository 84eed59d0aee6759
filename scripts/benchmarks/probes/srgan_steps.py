"""Time SRResNet steps on the ranks that torchrun has started.

    python -m torch.distributed.run --nproc-per-node 2 \\
        scripts/benchmarks/probes/srgan_steps.py BATCH_SIZE STEPS THREADS_PER_RANK

Prints a line of JSON.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time

import numpy as np
import torch

from srgan.batches import CropSampler
from srgan.cpu.memory import keep_freed_memory
from srgan.distributed import joined_ranks
from srgan.measurement import waiting_share
from srgan.phases import SrresnetPhase
from srgan.recipe import Recipe

WARM_UP = 1


def main(batch_size: str, steps: str, threads: str) -> None:
    """Time the steps, the first left out."""
    torch.set_num_threads(int(threads))
    keep_freed_memory()
    with joined_ranks() as ranks:
        options = Recipe(batch_size=int(batch_size))
        pixels = np.random.default_rng(0).integers(0, 256, (8, 256, 256, 3), dtype=np.uint8)
        sampler = CropSampler(
            list(pixels),
            crop_size=options.crop_size,
            batch_size=options.batch_size,
            seed=options.seed,
            device=ranks.device,
            rank=ranks.rank,
            world_size=ranks.world_size,
        )
        phase = SrresnetPhase(options, ranks, None)
        seconds = []
        for number in range(int(steps) + WARM_UP):
            started = time.perf_counter()
            phase.compute_gradients(sampler.batch(0, number))
            phase.apply_gradients(number, 1e-4)
            seconds.append(time.perf_counter() - started)
        waiting = waiting_share(phase, sampler.batch(0, 0), ranks)
        # The sum over ranks, in KiB.
        memory = torch.tensor(float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
        memory = ranks.mean(memory) * ranks.world_size
    if ranks.rank == 0:
        figures = {
            "crops_per_second": options.batch_size / statistics.median(seconds[WARM_UP:]),
            "waiting_share": waiting,
            "peak_memory_bytes": 1024 * float(memory),
        }
        print(json.dumps(figures, allow_nan=False))


if __name__ == "__main__":
    main(*sys.argv[1:])
