"""Crops: right pixels, right low resolution, the same on any number of ranks."""

import numpy as np
import pytest
import torch
from PIL import Image
from srgan_samples import sample_pixels

from srgan.batches import CropSampler

CPU = torch.device("cpu")


def sampler(images, batch_size=8, crop_size=32, seed=3, **ranks) -> CropSampler:
    return CropSampler(images, crop_size, batch_size, seed, CPU, **ranks)


def to_pixels(batch: torch.Tensor) -> np.ndarray:
    """N x 3 x H x W in [0, 255] to uint8, N x H x W x 3."""
    return batch.round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def test_each_crop_is_a_flip_or_turn_of_a_place_in_an_image():
    """A crop of the whole image can only be one of the image's eight flips and turns."""
    image = sample_pixels(32, 32)
    turns = [np.rot90(flip, turn) for flip in (image, image[:, ::-1]) for turn in range(4)]
    seen = set()
    for step in range(8):
        for crop in to_pixels((sampler([image]).batch(0, step).high + 1) * 127.5):
            matches = [number for number, turn in enumerate(turns) if np.array_equal(crop, turn)]
            assert len(matches) == 1
            seen.update(matches)
    assert seen == set(range(8))


def test_crops_come_from_everywhere_in_all_images():
    # Each pixel's value names its image and its place.
    images = []
    for number, (height, width) in enumerate([(33, 40), (50, 34)]):
        rows, columns = np.indices((height, width))
        images.append(np.stack([rows, columns, np.full_like(rows, number)], -1).astype(np.uint8))
    corners = set()
    for step in range(60):
        for crop in to_pixels((sampler(images).batch(0, step).high + 1) * 127.5):
            rows, columns, number = crop[..., 0], crop[..., 1], crop[..., 2]
            assert number.min() == number.max()
            assert rows.max() - rows.min() == 31 and columns.max() - columns.min() == 31
            corners.add((int(number[0, 0]), int(rows.min()), int(columns.min())))
    for number, image in enumerate(images):
        own = [corner for corner in corners if corner[0] == number]
        assert {corner[1] for corner in own} == set(range(image.shape[0] - 31))
        assert {corner[2] for corner in own} == set(range(image.shape[1] - 31))


def test_low_resolution_is_pillows_within_a_grey_level():
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 256, (96, 96, 3), dtype=np.uint8)
    for image in (noise, sample_pixels(96, 96)):
        batch = sampler([image], crop_size=96).batch(0, 0)
        originals, lows = to_pixels((batch.high + 1) * 127.5), to_pixels(batch.low * 255)
        for original, low in zip(originals, lows, strict=True):
            theirs = Image.fromarray(original).resize((24, 24), Image.Resampling.BICUBIC)
            difference = np.abs(low.astype(int) - np.asarray(theirs))
            assert difference.max() <= 1
            assert difference.mean() < 0.01


def test_ranges_shapes_and_memory_order():
    low, high = sampler([sample_pixels(50, 60)]).batch(1, 7)
    assert low.shape == (8, 3, 8, 8) and high.shape == (8, 3, 32, 32)
    assert low.min() >= 0 and low.max() <= 1
    assert high.min() >= -1 and high.max() <= 1 and high.min() < 0
    assert low.is_contiguous(memory_format=torch.channels_last)
    assert high.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("world_size", [2, 4])
def test_slices_of_ranks_make_the_batch_of_one_rank(world_size):
    images = [sample_pixels(40, 50), sample_pixels(60, 45, seed=1)]
    whole = sampler(images).batch(0, 5)
    slices = [
        sampler(images, rank=rank, world_size=world_size).batch(0, 5) for rank in range(world_size)
    ]
    assert torch.equal(torch.cat([part.low for part in slices]), whole.low)
    assert torch.equal(torch.cat([part.high for part in slices]), whole.high)


def test_batches_depend_on_seed_phase_and_step_alone():
    images = [sample_pixels(80, 80)]
    first = sampler(images).batch(0, 5).high
    used = sampler(images)
    used.batch(0, 4)
    assert torch.equal(used.batch(0, 5).high, first)
    assert not torch.equal(used.batch(0, 6).high, first)
    assert not torch.equal(used.batch(1, 5).high, first)
    assert not torch.equal(sampler(images, seed=4).batch(0, 5).high, first)
