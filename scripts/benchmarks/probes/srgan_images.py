"""Read the training images of a folder and draw crops.

    python scripts/benchmarks/probes/srgan_images.py FOLDER

Prints a line of JSON.
"""

from __future__ import annotations

import json
import resource
import sys
import time

import torch

from srgan.batches import CropSampler
from srgan.image_folder import read_images

CROP_SIZE = 96
BATCH_SIZE = 16
BATCHES = 100


def main(folder: str) -> None:
    """As a rank does before its first step, and then for each of them."""
    started = time.perf_counter()
    images = [image.pixels for image in read_images(folder, CROP_SIZE).usable]
    sampler = CropSampler(
        images=images,
        crop_size=CROP_SIZE,
        batch_size=BATCH_SIZE,
        seed=0,
        device=torch.device("cpu"),
    )
    ready = time.perf_counter()
    for number in range(BATCHES):
        sampler.batch(0, number)
    figures = {
        "seconds_to_read": ready - started,
        "crops_per_second": BATCHES * BATCH_SIZE / (time.perf_counter() - ready),
        "peak_memory_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }
    print(json.dumps(figures, allow_nan=False))


if __name__ == "__main__":
    main(*sys.argv[1:])
