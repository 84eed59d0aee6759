"""Evaluation of images and sets, and the comparison pictures."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from srgan_samples import sample_pixels

from srgan.comparison import comparison, contact_sheet, most_detailed, png
from srgan.evaluation import bicubic, evaluate, evaluate_image, upscale_with
from srgan.image_folder import NamedImage
from srgan.models import Bicubic, build_model
from srgan.upscaling.tiles import LARGEST_SIDE


def test_original_is_cropped_to_whole_fours_at_right_and_bottom():
    pixels = sample_pixels(43, 50)
    result = evaluate_image(NamedImage("a", pixels), bicubic)
    np.testing.assert_array_equal(result.original, pixels[:40, :48])
    assert result.low.shape == (10, 12, 3) and result.low.dtype == np.uint8
    assert result.upscaled.shape == result.original.shape


def test_low_resolution_is_pillows():
    pixels = sample_pixels(40, 48)
    theirs = Image.fromarray(pixels).resize((12, 10), Image.Resampling.BICUBIC)
    result = evaluate_image(NamedImage("a", pixels), bicubic)
    np.testing.assert_array_equal(result.low, np.asarray(theirs))


def test_better_upscale_scores_better():
    image = NamedImage("a", sample_pixels(48, 48))

    def nearest(low: np.ndarray) -> np.ndarray:
        return low.repeat(4, axis=0).repeat(4, axis=1)

    by_bicubic, by_nearest = (evaluate_image(image, way).scores for way in (bicubic, nearest))
    assert by_bicubic.psnr_y > by_nearest.psnr_y
    assert by_bicubic.ssim_y > by_nearest.ssim_y


def test_network_goes_the_same_way_as_pillow():
    image = NamedImage("a", sample_pixels(48, 60))
    ours = evaluate_image(image, upscale_with(Bicubic())).scores
    assert ours.psnr_y == pytest.approx(evaluate_image(image, bicubic).scores.psnr_y, abs=0.05)


def test_large_image_goes_through_the_network_in_tiles_unseen():
    low = sample_pixels(530, 90)
    torch.manual_seed(0)
    network = build_model("edsr", residual_blocks=2, channels=8).eval()
    with torch.inference_mode():
        whole = network(torch.from_numpy(low).permute(2, 0, 1)[None] / 255)[0].permute(1, 2, 0)
    expected = ((whole + 1) * 127.5).round().clamp(0, 255).numpy()
    sides: list[int] = []
    network.register_forward_pre_hook(lambda _, inputs: sides.extend(inputs[0].shape[2:]))
    assert np.abs(upscale_with(network)(low) - expected).max() <= 1
    assert max(sides) <= LARGEST_SIDE


def test_small_image_may_pass_through_a_jpeg_file():
    image = NamedImage("a", sample_pixels(64, 64))
    clean = evaluate_image(image, bicubic)
    results = {q: evaluate_image(image, bicubic, jpeg_quality=q) for q in (40, 80)}
    file = io.BytesIO()
    Image.fromarray(clean.low).save(file, "JPEG", quality=40)
    np.testing.assert_array_equal(results[40].low, np.asarray(Image.open(file)))
    scores = [result.scores.psnr_y for result in (results[40], results[80], clean)]
    assert scores == sorted(scores)


def test_scores_by_image_and_their_mean():
    images = [NamedImage(str(number), sample_pixels(40, 40, number)) for number in range(3)]
    scores = evaluate(images, bicubic)
    assert list(scores) == ["0", "1", "2", "mean"]
    expected = np.mean([scores[name].psnr_y for name in ("0", "1", "2")])
    assert scores["mean"].psnr_y == pytest.approx(expected)


def test_grey_image_scores_the_same_in_each_channel():
    grey = sample_pixels(40, 40)[..., :1].repeat(3, axis=2)
    result = evaluate_image(NamedImage("grey", grey), bicubic)
    np.testing.assert_array_equal(result.upscaled[..., 0], result.upscaled[..., 2])
    # Y spans 219 of RGB's 255 levels, so its errors are smaller by that.
    difference = result.scores.psnr_y - result.scores.psnr_rgb
    assert difference == pytest.approx(20 * np.log10(255 / 219), abs=0.01)


def test_contact_sheet_holds_the_images_unchanged():
    results = [
        evaluate_image(NamedImage(f"im_{side}.png", sample_pixels(side, side)), bicubic)
        for side in (120, 160)
    ]
    rows = [comparison({"SRResNet": result, "SRGAN": result}) for result in results]
    with Image.open(io.BytesIO(png(contact_sheet(rows)))) as picture:
        sheet = np.asarray(picture)
    assert sheet.shape == (sum(row.height for row in rows), max(row.width for row in rows), 3)
    # Low resolution, bicubic, two methods and the original; the small image twice its size.
    assert [row.width // 5 for row in rows] > [240, 160]
    windows = np.lib.stride_tricks.sliding_window_view(sheet, (1, 160, 3))[:, :, 0, 0]
    for version, count in ((results[1].original, 1), (results[1].upscaled, 3)):
        assert (windows == version[80]).all(axis=(-1, -2)).any(axis=0).sum() == count


def test_of_a_large_image_the_most_detailed_part_is_shown():
    pixels = np.full((700, 900, 3), 90, np.uint8)
    pixels[300:500, 450:700] = np.random.default_rng(0).integers(0, 256, (200, 250, 3))
    rows, columns = most_detailed(pixels, 300)
    assert rows.start <= 300 and rows.stop >= 500 and rows.stop - rows.start == 300
    assert columns.start <= 450 and columns.stop >= 700 and columns.stop - columns.start == 300
    assert most_detailed(pixels, 800) == (slice(0, 700), slice(0, 800))
    row = comparison({"SRGAN": evaluate_image(NamedImage("a", pixels), bicubic)})
    assert row.width < 4 * (384 + 20) and row.height < 384 + 50
