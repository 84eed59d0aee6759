"""Degraded crops: JPEG as Pillow's, strengths as drawn, the same on any number of ranks."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from srgan_samples import sample_pixels

from srgan.batches import CropSampler
from srgan.degradation import PhotoDegradation, Strengths, jpeg

CPU = torch.device("cpu")
CLEAN = {
    "kernel": np.array([0]),
    "blur": np.zeros((1, 2)),
    "noise": np.array([0.0]),
    "grey_noise": np.array([False]),
    "noise_first": np.array([True]),
    "quality": np.array([0]),
    "half_chroma": np.array([False]),
}


def degraded(image: np.ndarray, **changed: np.ndarray) -> np.ndarray:
    """H x W x 3 to H/4 x W/4 x 3 grey levels, by one kind of degradation alone."""
    degradation = PhotoDegradation(image.shape[0], CPU)
    noise = degradation.draw_noise(np.random.default_rng(0), 1)
    high = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float()
    low = degradation.apply(high, Strengths(**{**CLEAN, **changed}), noise)
    return low[0].permute(1, 2, 0).numpy()


def pillows(image: np.ndarray, kernel: Image.Resampling) -> np.ndarray:
    side = image.shape[0] // 4
    return np.asarray(Image.fromarray(image).resize((side, side), kernel)).astype(float)


@pytest.mark.parametrize("quality", [30, 50, 74, 95])
@pytest.mark.parametrize("half_chroma", [False, True])
def test_jpeg_is_pillows(quality, half_chroma):
    # The last 50 rows are white: at quality 50 their transform lies between two steps.
    image = np.concatenate([sample_pixels(70, 90), np.full((50, 90, 3), 255, np.uint8)])
    file = io.BytesIO()
    subsampling = 2 if half_chroma else 0
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=subsampling)
    expected = np.asarray(Image.open(file)).astype(float)
    images = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    ours = jpeg(images, torch.tensor([quality]), torch.tensor([half_chroma]))
    off = np.abs(ours[0].permute(1, 2, 0).numpy() - expected)
    # libjpeg reads chroma beside hard edges in another way, which is 1 grey level in the mean.
    assert off.mean() < (0.8 if half_chroma else 0.2)
    assert ours.min() >= 0 and ours.max() <= 255 and torch.equal(ours, ours.round())


def test_kernels_are_pillows_within_a_grey_level():
    image = sample_pixels(96, 96)
    pillow_kernels = (Image.Resampling.BICUBIC, Image.Resampling.BILINEAR, Image.Resampling.BOX)
    for number, kernel in enumerate(pillow_kernels):
        low = degraded(image, kernel=np.array([number]))
        assert np.abs(low - pillows(image, kernel)).max() <= 1


def test_noise_has_its_strength_and_blur_takes_contrast():
    image = np.full((256, 256, 3), 128, np.uint8)
    noise = degraded(image, noise=np.array([8.0])) - 128
    assert 7.5 < noise.std() < 8.5 and np.abs(noise[..., 0] - noise[..., 1]).max() > 8
    grey = degraded(image, noise=np.array([8.0]), grey_noise=np.array([True])) - 128
    assert 7.5 < grey.std() < 8.5 and np.abs(grey[..., 0] - grey[..., 1]).max() == 0

    stripes = np.zeros((96, 96, 3), np.uint8)
    stripes[:, ::16] = stripes[:, 1::16] = 255
    sharp, across = degraded(stripes), degraded(stripes, blur=np.array([[0.0, 8.0]]))
    along = degraded(stripes, blur=np.array([[8.0, 0.0]]))
    inside = slice(6, 18)
    assert across[:, inside].std() < 0.2 * sharp[:, inside].std()
    assert np.abs(along[inside] - sharp[inside]).max() <= 1


@pytest.mark.parametrize("world_size", [2, 4])
def test_slices_of_ranks_make_the_batch_of_one_rank(world_size):
    images = [sample_pixels(80, 64), sample_pixels(64, 96)]

    def batch(rank: int, ranks: int) -> torch.Tensor:
        sampler = CropSampler(images, 32, 8, 3, CPU, rank, ranks, degradation="photo")
        return sampler.batch(0, 5).low

    slices = torch.cat([batch(rank, world_size) for rank in range(world_size)])
    assert torch.allclose(slices, batch(0, 1), atol=1.01 / 255)
    assert (slices != batch(0, 1)).float().mean() < 0.01


def test_high_resolution_stays_and_some_crops_are_left_clean():
    images = [sample_pixels(96, 96)]
    off = []
    for step in range(8):
        clean = CropSampler(images, 64, 32, 3, CPU).batch(0, step)
        photo = CropSampler(images, 64, 32, 3, CPU, degradation="photo").batch(0, step)
        assert torch.equal(clean.high, photo.high)
        off += ((clean.low - photo.low).abs().amax((1, 2, 3)) * 255).tolist()
    clean_crops = sum(largest <= 1 for largest in off)
    # One in 40: no blur, no noise, no compression, and bicubic out of three kernels.
    assert 1 <= clean_crops <= 20
