"""Images, options and data folders for the tests of srgan."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from srgan.recipe import Recipe

if TYPE_CHECKING:
    from srgan.loop import Progress


def sample_pixels(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A colourful image with smooth areas and edges, uint8, height x width x 3."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    pixels = np.array(smooth)
    pixels[height // 3 : height // 2, width // 4 : width // 2] = generator.integers(0, 256, 3)
    return pixels


def write_samples(folder: Path, count: int, side: int = 40) -> Path:
    """Write that many PNG images of different sizes, none smaller than side."""
    folder.mkdir(parents=True)
    for number in range(count):
        pixels = sample_pixels(side + 4 * number, side + 3 * number, seed=number)
        Image.fromarray(pixels).save(folder / f"im_{number + 1}.png")
    return folder


def write_lpips(path: Path) -> Path:
    """Random weights of LPIPS: by them, too, 0 means equal, and that is all that they are for."""
    # torch takes seconds to import, which the other samples do not need.
    import torch
    from safetensors.torch import save_file

    from srgan.lpips import Lpips

    torch.manual_seed(0)
    state = Lpips().state_dict()
    heads = {name: torch.rand_like(state[name]) for name in state if name.startswith("heads")}
    save_file({**state, **heads}, path)
    return path


def tiny_options(**changes: object) -> Recipe:
    """A training of two small phases of three steps each, within a second."""
    options: dict[str, object] = {
        "residual_blocks": 1,
        "channels": 8,
        "crop_size": 32,
        "batch_size": 4,
        "srresnet_steps": 3,
        "srgan_steps": 3,
        "learning_rate": 1e-3,
        "content": "mse",
        "log_every": 1,
        "validate_every": 100,
        "checkpoint_every": 100,
        "pictures": 1,
        **changes,
    }
    return Recipe(**options)


ALL_TERMS = {
    "spectral_norm": True,
    "pixel_weight": 0.01,
    "even_sub_pixels": True,
    "label_smoothing": 0.1,
    "learning_rate_schedule": "cosine",
    "srgan_learning_rate": 5e-4,
}
"""What the srgan phase has beside the paper's."""


def run_tiny(
    options: Recipe, data: Path, run_dir: Path, **arguments: Any
) -> tuple[dict[str, Any], list[Progress]]:
    """Metrics, and reports of the steps, of a training that is tested on its own images."""
    # torch takes seconds to import, which the other samples do not need.
    from srgan.training import train

    reports: list[Progress] = []
    metrics = train(
        options, str(data), {"own": str(data)}, str(run_dir), progress=reports.append, **arguments
    )
    evaluations = [report for report in reports if report.scores is not None]
    assert all(report.scores.keys() == {"own"} for report in evaluations)
    return metrics, [report for report in reports if report.scores is None]


def losses_of(reports: list[Progress]) -> list[tuple[Any, ...]]:
    """Phase, step and losses of each report."""
    return [(report.phase, report.step, report.losses) for report in reports]


def data_path(name: str) -> Path:
    """A real data set or weight file, given by SRGAN's test data folder; skips where missing.

    The folder is that of the variable SPARK_SR_DATA, or else ../shared beside the checkout.
    """
    beside = Path(__file__).resolve().parents[2] / "shared"
    path = Path(os.environ.get("SPARK_SR_DATA", beside)) / name
    if not path.exists():
        pytest.skip(f"{name} is not here: set SPARK_SR_DATA to the folder that holds it")
    return path
