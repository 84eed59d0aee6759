"""Super-resolve test images and score them.

Pure functions of one image each, so that whoever calls may spread them over machines.
"""

import contextlib
import io
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import nn

from srgan import SCALE
from srgan.gpu import convolutions
from srgan.image_folder import NamedImage
from srgan.lpips import Lpips
from srgan.metrics import Scores, score
from srgan.upscaling.tiles import LARGEST_SIDE, Box, Upscaler

Upscale = Callable[[np.ndarray], np.ndarray]
"""From low to high resolution, both uint8, height x width x 3."""


SMALLEST_SIDE = 20
"""Least width and height, in pixels, of a test image: what SSIM needs, cropped to whole fours."""


class ImageResult(NamedTuple):
    """One test image: its versions (uint8, height x width x 3) and the scores of an upscale."""

    name: str
    original: np.ndarray
    low: np.ndarray
    upscaled: np.ndarray
    scores: Scores


def evaluate_image(
    image: NamedImage,
    upscale: Upscale,
    lpips: Lpips | None = None,
    jpeg_quality: int | None = None,
) -> ImageResult:
    """Downscale an image by 4, upscale it again and score the result.

    The original is first cropped at its right and bottom to a multiple of 4.

    Args:
        image: the original.
        upscale: from low to high resolution.
        lpips: measures LPIPS; without it there is none among the scores.
        jpeg_quality: of the JPEG file that the small image is saved to and read from, if any.
    """
    height, width = (side - side % SCALE for side in image.pixels.shape[:2])
    original = image.pixels[:height, :width]
    low = resize(original, width // SCALE, height // SCALE)
    if jpeg_quality is not None:
        low = compressed(low, jpeg_quality)
    upscaled = upscale(low)
    return ImageResult(
        name=image.name,
        original=original,
        low=low,
        upscaled=upscaled,
        scores=score(upscaled, original, lpips),
    )


def evaluate(images: Iterable[NamedImage], upscale: Upscale) -> dict[str, Scores]:
    """Scores of each image by name, and of their mean as "mean"."""
    scores = {image.name: evaluate_image(image, upscale).scores for image in images}
    return {**scores, "mean": mean_scores(scores.values())}


def mean_scores(scores: Iterable[Scores]) -> Scores:
    """The mean of each metric over the images that have it."""
    columns = zip(*scores, strict=True)
    found = ([value for value in column if value is not None] for column in columns)
    return Scores(*(float(np.mean(values)) if values else None for values in found))  # type: ignore[arg-type]


def bicubic(low: np.ndarray) -> np.ndarray:
    """Upscale by 4 with Pillow's bicubic, the baseline."""
    return resize(low, low.shape[1] * SCALE, low.shape[0] * SCALE)


def resize(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Pillow's bicubic, to whole grey levels.

    The paper's low resolution is MATLAB's imresize, which differs by about 0.2 grey levels.
    """
    resized = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(resized)


def compressed(pixels: np.ndarray, quality: int) -> np.ndarray:
    """What is left of pixels in a JPEG file of that quality, 1 to 100, colour at half the side."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def upscale_with(network: nn.Module, device: torch.device | str = "cpu") -> Upscale:
    """An upscale by 4 with a network that lies on the device; sets it to evaluation mode.

    What is larger than a tile of upscaling goes through it in tiles, which is faster; so does what
    a GPU's memory, which other tasks share, is too small for.

    Raises:
        UnavailableError: when called; the memory is too small for the least tile.
    """
    network.eval()
    tiles = Upscaler(network, torch.device(device), LARGEST_SIDE**2)

    @torch.inference_mode()
    def upscale(low: np.ndarray) -> np.ndarray:
        height, width = low.shape[:2]
        if max(height, width) <= LARGEST_SIDE:
            with contextlib.suppress(torch.OutOfMemoryError):
                return whole(low)
        return tiles.upscale(low[None], Box(0, 0, width, height))[0]

    def whole(low: np.ndarray) -> np.ndarray:
        batch = torch.tensor(low, device=device).permute(2, 0, 1)[None].float() / 255
        with convolutions("float32"):
            high = network(batch)[0].float()
        pixels = ((high + 1) * 127.5).round_().clamp_(0, 255).to(torch.uint8)
        return pixels.permute(1, 2, 0).contiguous().cpu().numpy()

    return upscale
