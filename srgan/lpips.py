"""LPIPS, a distance between images as people see it (Zhang et al., arXiv 1801.03924).

Version 0.1 with AlexNet, which papers report; 0 for equal images, above that less is better.
Measured of whole images: no border is cut off.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from srgan.errors import BadDataError
from srgan.storage import read_bytes

DEFAULT_WEIGHTS = (
    Path(__file__).resolve().parents[1] / "data" / "weights" / "lpips-alex.safetensors"
)
"""Where scripts/fetch_data.py lpips puts the weights."""

SMALLEST_SIDE = 31
"""Least width and height in pixels: below, nothing is left after AlexNet's second pooling."""

SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
CHANNELS = (64, 192, 384, 256, 256)
STRIDES = (4, 8, 16, 16, 16)
"""Pixels between two neighbouring places of each layer."""

HALO = 96
"""Pixels that a strip sees beyond its own, of which 80 before and 96 behind reach them: so strips
add up to exactly what the whole image gives."""
STRIP_PIXELS = 1 << 22
"""About how many pixels a strip has of its own: with them 600 MB are needed."""
NARROWEST_STRIP = 256
"""Less wide, a strip would be mostly halo."""


class Lpips(nn.Module):
    """AlexNet's five convolutions in torchvision's numbering, and a head over each of them."""

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, stride=4, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(inplace=True),
        )
        self.heads = nn.ParameterList(torch.zeros(channels) for channels in CHANNELS)
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None], False)
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None], False)
        self.requires_grad_(False)

    def forward(self, images: Tensor, originals: Tensor) -> Tensor:
        """Distances (N) of two batches N x 3 x H x W in [-1, 1], no side below SMALLEST_SIDE."""
        layers = [places.mean((1, 2)) for places in self._differences(images, originals)]
        return torch.stack(layers).sum(0)

    @torch.inference_mode()
    def distance(self, image: np.ndarray, original: np.ndarray) -> float | None:
        """Distance of two images (uint8, height x width x 3); None where a side is too small.

        Large ones are measured in strips, which bounds the memory and changes nothing else.

        Raises:
            ValueError: the shapes differ.
        """
        if image.shape != original.shape:
            raise ValueError(f"cannot compare {image.shape} with {original.shape}")
        height, width = image.shape[:2]
        if min(height, width) < SMALLEST_SIDE:
            return None
        sums, counts = [0.0] * len(CHANNELS), [0] * len(CHANNELS)
        # Across the longer side strips have the shorter borders, hence the least halo.
        side = 0 if height >= width else 1
        own = max(STRIP_PIXELS // min(height, width), NARROWEST_STRIP) // STRIDES[-1] * STRIDES[-1]
        for start in range(0, max(height, width), own):
            first, end = max(start - HALO, 0), start + own + HALO
            strips = [_to_batch(_part(pixels, side, first, end)) for pixels in (image, original)]
            for layer, places in enumerate(self._differences(*strips)):
                begin, count = (start - first) // STRIDES[layer], own // STRIDES[layer]
                counted = _part(places[0], side, begin, begin + count)
                sums[layer] += float(counted.sum(dtype=torch.float64))
                counts[layer] += counted.numel()
        return sum(total / count for total, count in zip(sums, counts, strict=True))

    def _differences(self, images: Tensor, originals: Tensor) -> Iterator[Tensor]:
        """For each layer the weighted squared difference at each place, N x h x w."""
        layers = zip(self._layers(images), self._layers(originals), self.heads, strict=True)
        for ours, theirs, head in layers:
            difference = unit(ours) - unit(theirs)
            yield difference.square().movedim(1, -1) @ head

    def _layers(self, images: Tensor) -> Iterator[Tensor]:
        features = (images - self.shift) / self.scale
        for module in self.features:
            features = module(features)
            if isinstance(module, nn.ReLU):
                yield features


def _part(array: Any, side: int, first: int, end: int) -> Any:
    """Some rows (side 0) or columns (side 1) of an array or tensor."""
    return array[first:end] if side == 0 else array[:, first:end]


def unit(features: Tensor) -> Tensor:
    """Features N x C x h x w of length 1 at each place."""
    return features / (torch.linalg.vector_norm(features, dim=1, keepdim=True) + 1e-10)


def _to_batch(pixels: np.ndarray) -> Tensor:
    """One image as 1 x 3 x H x W in [-1, 1], channels last."""
    return torch.tensor(pixels).permute(2, 0, 1)[None].float().div_(127.5).sub_(1)


def find_lpips(path: str | None) -> Lpips | None:
    """LPIPS with the weights of a file; without a path, of the default place if it has them.

    Raises:
        MissingDataError: there is no file at the path.
        BadDataError: it holds something else.
    """
    data = read_lpips(path)
    return None if data is None else decode_lpips(data, path or str(DEFAULT_WEIGHTS))


def read_lpips(path: str | None) -> bytes | None:
    """What decode_lpips takes, to be sent to machines that do not have the file; see find_lpips.

    Raises:
        MissingDataError: there is no file at the path.
    """
    if path is None and not DEFAULT_WEIGHTS.exists():
        return None
    return read_bytes(path or str(DEFAULT_WEIGHTS))


def decode_lpips(data: bytes, path: str) -> Lpips:
    """LPIPS from the content of a safetensors file; the path is for messages alone.

    Raises:
        BadDataError: it holds something else, or is damaged.
    """
    network = Lpips()
    try:
        state = load(data)
        network.load_state_dict(state)
        if not all(tensor.isfinite().all() for tensor in state.values()):
            raise RuntimeError("not all of them are finite numbers")
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise BadDataError(
            f"{path}: not the weights of LPIPS ({reason}); get them by "
            "python scripts/fetch_data.py lpips"
        ) from error
    return network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
