"""The srgan phase is adversarial: on real pictures, with real VGG features, measured by LPIPS.

VGG16 and LPIPS need weights (scripts/fetch_data.py vgg16 lpips, fetched here where the network
allows); without them this is skipped.
"""

import math
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from spectrum import grid_peaks

from srgan.evaluation import SMALLEST_SIDE, evaluate_image, upscale_with
from srgan.export import load_generator
from srgan.image_folder import read_images
from srgan.loop import Progress
from srgan.recipe import Recipe
from srgan.training import train

pytestmark = pytest.mark.slow

STEPS = 240
MOST_OF_ORIGINAL = 40
"""How far a grid may stand out beyond the original's; without even sub-pixels it did 600 times at a
period of 2, and 2500 times at 4."""


@pytest.fixture(scope="module")
def pictures() -> Path:
    """The sample pictures; with LPIPS' and VGG16's weights in their places."""
    for name in ("sample", "lpips", "vgg16"):
        command = [sys.executable, ROOT / "scripts" / "fetch_data.py", name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 69:
            pytest.skip(f"{name} cannot be fetched here: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr
    return ROOT / "data" / "sample"


def test_a_training_of_minutes_lowers_lpips_and_neither_side_wins(pictures, tmp_path, one_thread):
    options = Recipe(
        residual_blocks=4,
        channels=16,
        bicubic_skip=True,
        crop_size=64,
        batch_size=8,
        srresnet_steps=300,
        srgan_steps=STEPS,
        learning_rate=1e-3,
        srgan_learning_rate=2e-4,
        learning_rate_schedule="cosine",
        content="vgg22",
        even_sub_pixels=True,
        label_smoothing=0.1,
        ema_decay=0.98,
        log_every=20,
        validate_every=10_000,
        checkpoint_every=10_000,
    )
    reports: list[Progress] = []
    folders = {"test": str(pictures / "test")}
    train(options, str(pictures / "train"), folders, str(tmp_path), progress=reports.append)

    before, after = (report.scores["test"] for report in reports if report.scores is not None)
    assert after["lpips"] < 0.9 * before["lpips"]
    assert after["psnr_y"] > before["psnr_y"] - 2
    # After warm-up the adversarial term counts, and the discriminator errs, though not always.
    game = [report.losses for report in reports if report.phase == "srgan"][len(reports) // 8 :]
    assert all(0.03 < losses["adversarial_share"] < 0.8 for losses in game)
    for kind in ("discriminator_original", "discriminator_generated"):
        mean = sum(losses[kind] for losses in game) / len(game)
        assert 0.05 < mean < 2 * math.log(2), (kind, mean)

    upscale = upscale_with(load_generator(str(tmp_path / "srgan.safetensors")).network)
    for image in read_images(str(pictures / "test"), SMALLEST_SIDE).usable:
        result = evaluate_image(image, upscale)
        ours, originals = grid_peaks(result.upscaled), grid_peaks(result.original)
        assert all(ours[p] < MOST_OF_ORIGINAL * max(1, originals[p]) for p in ours), (
            ours,
            originals,
        )
