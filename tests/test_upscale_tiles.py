"""Tiles and blocks give what the whole image would give, within the memory that is allowed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from srgan_samples import sample_pixels

from srgan.errors import OptionsError
from srgan.evaluation import upscale_with
from srgan.upscaling.model_choice import read_model
from srgan.upscaling.networks import UpscalingNetwork, decode_network
from srgan.upscaling.tiles import Box, Upscaler

CPU = torch.device("cpu")


@pytest.fixture
def default() -> UpscalingNetwork:
    return decode_network(read_model("default"), "default")


@pytest.mark.parametrize("memory_mb", [60, 120])
def test_tiled_equals_whole_within_a_grey_level(default: UpscalingNetwork, memory_mb: int) -> None:
    pixels = sample_pixels(311, 363)
    whole = upscale_with(default.network)(pixels).astype(int)
    upscaler = Upscaler.of(decode_network(read_model("default"), ""), CPU, memory_mb)
    assert upscaler.pixels < pixels.shape[0] * pixels.shape[1] / 2
    tiled = upscaler.upscale(pixels[None], Box(0, 0, 363, 311))[0]
    assert np.abs(whole - tiled).max() <= 1


def test_a_box_is_the_same_as_that_part_of_the_whole(default: UpscalingNetwork) -> None:
    pixels = sample_pixels(150, 170)
    whole = upscale_with(default.network)(pixels).astype(int)
    upscaler = Upscaler.of(decode_network(read_model("default"), ""), CPU, 512)
    box = Box(70, 40, 60, 50)
    outer = box.grown(default.margin, 170, 150)
    around = pixels[outer.top : outer.top + outer.height, outer.left : outer.left + outer.width]
    part = upscaler.upscale(around[None], box.within(outer))[0]
    assert np.abs(whole[160:360, 280:520] - part).max() <= 1
    exact = replace(upscaler, half=False).upscale(around[None], box.within(outer))[0]
    assert np.abs(whole[160:360, 280:520] - exact).mean() < 1e-4


def test_several_pictures_at_a_time(default: UpscalingNetwork) -> None:
    pictures = np.stack([sample_pixels(40, 50, seed) for seed in range(5)])
    upscaler = Upscaler.of(decode_network(read_model("default"), ""), CPU, 512)
    assert upscaler.pixels > 2 * 40 * 50
    together = upscaler.upscale(pictures, Box(0, 0, 50, 40))
    for picture, result in zip(pictures, together, strict=True):
        whole = upscale_with(default.network)(picture).astype(int)
        assert np.abs(whole - result).max() <= 1


def test_sixteen_bits_are_finer_than_eight() -> None:
    upscaler = Upscaler.of(decode_network(read_model("default"), ""), CPU, 512)
    upscaler = replace(upscaler, half=False)
    eight = sample_pixels(40, 50)
    box = Box(0, 0, 50, 40)
    fine = upscaler.upscale(eight[None].astype(np.uint16) * 257, box)[0]
    coarse = upscaler.upscale(eight[None], box)[0]
    assert fine.dtype == np.uint16
    assert np.abs(fine / 257 - coarse).max() <= 0.51
    assert len(np.unique(fine)) > 4 * len(np.unique(coarse))


def test_too_little_memory_is_refused_with_the_least(default: UpscalingNetwork) -> None:
    with pytest.raises(OptionsError, match=r"--memory-mb 1: this network needs at least \d+"):
        Upscaler.of(default, CPU, 1)


def test_the_network_takes_what_it_is_said_to_take() -> None:
    """Counts what torch itself allocates and frees while a batch is computed."""
    found = decode_network(read_model("default"), "")
    upscaler = Upscaler.of(found, CPU, 200)
    side = int(upscaler.pixels**0.5)
    pixels = sample_pixels(side, side)[None]
    with torch.profiler.profile(profile_memory=True) as profile:
        upscaler.upscale(pixels, Box(0, 0, side, side))
    held = peak = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    assert 0.2 * 200e6 < peak < 200e6, found.bytes_per_pixel
