"""PSNR and SSIM against scikit-image, and the paper's bicubic row."""

import numpy as np
import pytest
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from srgan_samples import data_path, sample_pixels

from srgan.evaluation import bicubic, evaluate
from srgan.image_folder import read_images
from srgan.metrics import MAX_PSNR, luminance, score


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    original = sample_pixels(50, 61)
    noise = np.random.default_rng(0).normal(0, 12, original.shape)
    return np.clip(original + noise, 0, 255).astype(np.uint8), original


def test_luminance_is_studio_swing():
    extremes = np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)
    np.testing.assert_allclose(luminance(extremes), [[16, 235]])
    pixels = sample_pixels(20, 20)
    np.testing.assert_allclose(luminance(pixels), rgb2ycbcr(pixels)[..., 0], atol=1e-9)


def test_scores_are_those_of_scikit_image(pair):
    ours = score(*pair)
    image, original = (pixels[4:-4, 4:-4] for pixels in pair)
    image_y, original_y = rgb2ycbcr(image)[..., 0], rgb2ycbcr(original)[..., 0]
    wang = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    assert ours.psnr_y == pytest.approx(
        peak_signal_noise_ratio(original_y, image_y, data_range=255), abs=1e-9
    )
    assert ours.psnr_rgb == pytest.approx(peak_signal_noise_ratio(original, image), abs=1e-9)
    assert ours.ssim_y == pytest.approx(
        structural_similarity(original_y, image_y, data_range=255, **wang), abs=1e-6
    )
    assert ours.ssim_rgb == pytest.approx(
        structural_similarity(original, image, channel_axis=2, data_range=255, **wang), abs=1e-6
    )


def test_equal_images_are_perfect(pair):
    scores = score(pair[1], pair[1])
    assert scores.psnr_y == MAX_PSNR and scores.ssim_rgb == pytest.approx(1)


def test_border_does_not_count(pair):
    image, original = pair
    before = score(image, original)
    spoiled = image.copy()
    spoiled[:4], spoiled[-4:], spoiled[:, :4], spoiled[:, -4:] = 0, 0, 0, 0
    assert score(spoiled, original) == before


def test_different_or_tiny_images_are_refused(pair):
    with pytest.raises(ValueError, match="cannot compare"):
        score(pair[0][:-1], pair[1])
    with pytest.raises(ValueError, match="too small"):
        score(pair[0][:18], pair[1][:18])


@pytest.mark.parametrize(("name", "paper"), [("Set5", 28.43), ("Set14", 25.99)])
def test_bicubic_row_of_the_paper(name, paper):
    """Within 0.11 dB: the paper's low resolution is MATLAB's, ours Pillow's."""
    images = read_images(str(data_path(f"data/{name}"))).usable
    assert evaluate(images, bicubic)["mean"].psnr_y == pytest.approx(paper, abs=0.11)
