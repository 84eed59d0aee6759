"""Upscale a folder of PNG pictures as a textbook would.

    python scripts/benchmarks/baselines/plain_upscale.py PICTURES RESULTS

One process, one thread, whole pictures.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from srgan.export import load_generator
from srgan.upscaling.model_choice import DEFAULT_MODEL


def main(source: Path, target: Path) -> None:
    """Upscale every file of a folder."""
    torch.set_num_threads(1)
    network = load_generator(str(DEFAULT_MODEL)).network
    target.mkdir(exist_ok=True)
    with torch.no_grad():
        for path in sorted(source.iterdir()):
            pixels = torch.tensor(np.asarray(Image.open(path))).permute(2, 0, 1)[None] / 255
            high = ((network(pixels)[0] + 1) * 127.5).round().clamp(0, 255).byte()
            Image.fromarray(high.permute(1, 2, 0).numpy()).save(target / path.name)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
