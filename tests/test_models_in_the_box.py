"""The models that come along: true to the picture, looking real, none with a grid."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from spectrum import grid_peaks

from srgan.evaluation import SMALLEST_SIDE, ImageResult, bicubic, evaluate_image, upscale_with
from srgan.export import decode_generator
from srgan.image_folder import read_images
from srgan.lpips import find_lpips
from srgan.upscaling.model_choice import IN_THE_BOX, read_model
from srgan.upscaling.networks import decode_network
from srgan.upscaling.tiles import Box, Upscaler

MOST_OF_ORIGINAL = 20
"""How far a period may stand out of the spectrum beyond the original's. Bicubic reaches 5 times, a
grid that is seen hundreds to thousands."""


@pytest.fixture(scope="module")
def results() -> dict[str, list[ImageResult]]:
    """Two pictures that no model has been trained on, by bicubic and by each model."""
    for name in ("sample", "lpips"):
        command = [sys.executable, ROOT / "scripts" / "fetch_data.py", name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 69:
            pytest.skip(f"{name} cannot be fetched here: {done.stderr.strip()}")
    images = read_images(str(ROOT / "data" / "sample" / "test"), SMALLEST_SIDE).usable
    methods = {"bicubic": bicubic}
    for name in IN_THE_BOX:
        methods[name] = upscale_with(decode_generator(read_model(name), name).network)
    lpips = find_lpips(None)
    return {
        name: [evaluate_image(image, method, lpips) for image in images]
        for name, method in methods.items()
    }


def mean(results: list[ImageResult], metric: str) -> float:
    return sum(getattr(result.scores, metric) for result in results) / len(results)


def test_default_is_truest_and_photo_looks_most_real(results):
    assert mean(results["fast"], "psnr_y") > mean(results["bicubic"], "psnr_y") + 1.3
    assert mean(results["default"], "psnr_y") > mean(results["fast"], "psnr_y")
    assert mean(results["photo"], "lpips") < 0.9 * mean(results["default"], "lpips")
    assert mean(results["default"], "lpips") < mean(results["bicubic"], "lpips")


def test_snapshot_is_truer_and_looks_more_real_where_pictures_went_through_jpeg(results):
    images = read_images(str(ROOT / "data" / "sample" / "test"), SMALLEST_SIDE).usable
    lpips = find_lpips(None)
    psnr, distance = {}, {}
    for name in IN_THE_BOX:
        method = upscale_with(decode_generator(read_model(name), name).network)
        scores = [evaluate_image(image, method, lpips, 40).scores for image in images]
        psnr[name] = sum(one.psnr_y for one in scores) / len(scores)
        distance[name] = sum(one.lpips for one in scores) / len(scores)
    assert psnr["snapshot"] > psnr["photo"] + 0.2
    assert distance["snapshot"] < 0.9 * min(distance["default"], distance["photo"])


@pytest.mark.parametrize("name", IN_THE_BOX)
def test_no_period_of_the_network_stands_out_of_the_spectrum(results, name):
    for result in results[name]:
        ours, originals = grid_peaks(result.upscaled), grid_peaks(result.original)
        for period, peak in ours.items():
            assert peak < MOST_OF_ORIGINAL * max(1, originals[period]), (result.name, period, peak)


@pytest.mark.parametrize("name", IN_THE_BOX)
def test_bfloat16_is_within_a_grey_level(results, name):
    network = decode_network(read_model(name), name)
    upscaler = Upscaler.of(network, torch.device("cpu"), 512)
    for result in results[name]:
        low = np.ascontiguousarray(result.low[:64, :64])
        half, full = (
            replace(upscaler, half=half).upscale(low[None], Box(0, 0, 64, 64)).astype(int)
            for half in (True, False)
        )
        assert np.abs(half - full).max() <= 2
        assert (np.abs(half - full) > 1).mean() < 1e-4
        assert (half != full).mean() < 0.05


def test_all_have_a_licence_and_say_what_they_were_made_from():
    text = (Path(ROOT) / "srgan" / "weights" / "README.md").read_text()
    assert all(f"`{name}.safetensors`" in text for name in IN_THE_BOX)
