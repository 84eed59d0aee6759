"""Pictures with transparent parts: what cannot be seen has no part in what can.

Where a pixel is fully transparent its colour means nothing; editors leave black, white or anything
there. Upscaled apart from alpha, that colour becomes a fringe around every cut-out. So the colours
that can be seen are spread outwards before the network looks at them, and of its result only what
differs from bicubic interpolation is taken: it is added to the picture interpolated premultiplied,
which has no fringe. With bicubic as the network this is premultiplied interpolation itself, and
where a picture is opaque it is the network's result itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from srgan.upscaling.tiles import Box, Upscaler

REACH = 16
"""Pixels by which colours are spread into what cannot be seen. Whoever cuts a picture into blocks
needs so many more around each than the network's margin."""

FIRM = 1 / 8
"""Alpha from which on a pixel's own colour counts in full: below, few levels of it were kept."""

SUPPORT = 3
"""Pixels around a tile that bicubic interpolation sees, and one more."""

TILE_SIDE = 256
"""In input pixels; a tile's interpolations take some thirty megabytes."""


@torch.inference_mode()
def upscale_transparent(pixels: np.ndarray, inner: Box, upscaler: Upscaler) -> np.ndarray:
    """Upscale a box of pictures with alpha of one size; alpha by bicubic interpolation.

    Args:
        pixels: N x height x width x 4, uint8 or uint16: red, green, blue and alpha, not
            premultiplied.
        inner: the box to upscale.
        upscaler: the network.

    Returns:
        N x scale inner.height x scale inner.width x 4, of the same type, not premultiplied. It does
        not depend on the colours of fully transparent pixels.
    """
    levels = int(np.iinfo(pixels.dtype).max)
    count, height, width, _ = pixels.shape
    high = np.full(
        (count, upscaler.scale * inner.height, upscaler.scale * inner.width, 4),
        levels,
        pixels.dtype,
    )
    if (pixels[..., 3] == levels).all():
        high[..., :3] = upscaler.upscale(pixels[..., :3], inner)
        return high
    spread = np.stack([_spread(one, levels, upscaler.device) for one in pixels])
    high[..., :3] = upscaler.upscale(spread, inner)
    for low, colours, target in zip(pixels, spread, high, strict=True):
        for tile in inner.cells(TILE_SIDE):
            window = tile.grown(SUPPORT, width, height)
            smooth = F.interpolate(
                _planes(_cut(low, window), _cut(colours, window), levels, upscaler.device),
                scale_factor=upscaler.scale,
                mode="bicubic",
                # Without it torch takes another cubic than Pillow.
                antialias=True,
            )[0].permute(1, 2, 0)
            smooth = _cut(smooth, tile.within(window).scaled(upscaler.scale))
            place = _cut(target, tile.within(inner).scaled(upscaler.scale))
            place[:] = _composed(smooth, place, levels)
    return high


def _planes(low: np.ndarray, colours: np.ndarray, levels: int, device: torch.device) -> Tensor:
    """1 x 7 planes in [0, 1]: premultiplied colours, alpha, spread colours."""
    straight, shown = (
        torch.from_numpy(part.astype(np.float32)).to(device) / levels for part in (low, colours)
    )
    alpha = straight[..., 3:]
    return torch.cat([straight[..., :3] * alpha, alpha, shown], dim=2).permute(2, 0, 1)[None]


def _composed(smooth: Tensor, high: np.ndarray, levels: int) -> np.ndarray:
    """Colours and alpha of a tile: what is smooth, and the network's detail on it."""
    fine = torch.from_numpy(high[..., :3].astype(np.float32)).to(smooth.device) / levels
    alpha = smooth[..., 3:4].clamp(0, 1)
    seen = torch.minimum(smooth[..., :3].clamp(min=0), alpha)
    seen = seen + alpha * (fine - smooth[..., 4:].clamp(0, 1))
    colours = (torch.minimum(seen.clamp(min=0), alpha) / alpha).nan_to_num_()
    rounded = (alpha * levels).round_()
    # What cannot be seen keeps a colour that fits, for programs that resize without care.
    colours = torch.where(rounded > 0, colours, fine)
    both = torch.cat([(colours * levels).round_(), rounded], dim=2)
    return both.cpu().numpy().astype(high.dtype)


def _spread(pixels: np.ndarray, levels: int, device: torch.device) -> np.ndarray:
    """Colours of a picture, spread from what can be seen into what cannot, of the same type.

    Where little can be seen they are mixed with those around, by the weight of alpha. What lies
    farther than REACH pixels from all that can be seen is black.
    """
    low = torch.from_numpy(pixels.astype(np.float32)).to(device).permute(2, 0, 1)[None] / levels
    own, alpha = low[:, :3], low[:, 3:]
    sums = torch.cat([own * alpha, alpha], dim=1)
    around = torch.zeros_like(own)
    missing = torch.ones_like(alpha, dtype=torch.bool)
    for _ in range(REACH):
        sums = F.avg_pool2d(sums, 3, stride=1, padding=1)
        reached = missing & (sums[:, 3:] > 0)
        around = torch.where(reached, sums[:, :3] / sums[:, 3:], around)
        missing &= ~reached
        if not missing.any():
            break
    firm = (alpha / FIRM).clamp(max=1)
    # As a choice where it is firm: there the colour must be the very same.
    spread = torch.where(firm < 1, firm * own + (1 - firm) * around, own)
    rounded = (spread[0].permute(1, 2, 0) * levels).round_().clamp_(0, levels)
    return rounded.cpu().numpy().astype(pixels.dtype)


def _cut(pixels: Any, box: Box) -> Any:
    return pixels[box.top : box.top + box.height, box.left : box.left + box.width]
