"""Networks ready for upscaling: this project's, and those that other programs have trained."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from srgan import SCALE
from srgan.export import ModelDescription, decode_generator, is_generator
from srgan.gpu import SHORT_CAPABILITY

MARGIN = 20
"""Pixels around a tile that the network sees and whose result is thrown away. Two layers and eight
blocks of two look 18 far."""

DEEP_MARGIN = 26
"""The same for more than eight blocks. `default`, of 16, looks 34 far and feels nothing beyond 26:
in tiles of 100 x 100 no value of pictures of Set14 was another one in float32, and 0.2 in a million
were one off in bfloat16; with 20 pixels 0.1 and 213."""


@dataclass(frozen=True)
class UpscalingNetwork:
    """A network, and what must be known to use it."""

    network: nn.Module
    """In evaluation mode, on the CPU; N x 3 x H x W in [0, 1] to N x 3 x scale H x scale W in
    [-1, 1]."""
    name: str
    """What it is, such as "edsr" or "ESRGAN"."""
    scale: int
    margin: int
    """Input pixels around a tile that it has to see."""
    bytes_per_pixel: int
    """Bytes that its layers take at their widest, for an input pixel."""
    near_in_bfloat16: bool
    """Whether its results are within a grey level when computed in bfloat16, but for a few values
    in a million."""


def decode_network(data: bytes, path: str) -> UpscalingNetwork:
    """The network in the content of a model file; the path is for messages alone.

    Raises:
        BadDataError: it holds no network that is known here.
    """
    if not is_generator(data):
        # It takes seconds to import, which nobody should wait for who does not need it.
        from srgan.upscaling.foreign_networks import decode_foreign_network

        return decode_foreign_network(data, path)
    network, description = decode_generator(data, path)
    # edsr adds what it computes to bicubic and keeps its sums in float32.
    near_in_bfloat16 = description.model == "edsr" and description.bicubic_skip
    return UpscalingNetwork(
        network=_fused(network),
        name=description.model,
        scale=SCALE,
        margin=_margin(description),
        bytes_per_pixel=_bytes_per_pixel(description),
        near_in_bfloat16=near_in_bfloat16,
    )


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies in bfloat16: GPUs since Ampere, CPUs with AVX512_BF16 or AMX."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= SHORT_CAPABILITY
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _margin(description: ModelDescription) -> int:
    is_deep = description.model in ("edsr", "srresnet") and description.residual_blocks > 8
    return DEEP_MARGIN if is_deep else MARGIN


def _bytes_per_pixel(description: ModelDescription) -> int:
    """Bytes that a network's layers take at their widest, for an input pixel.

    SRResNet: the second sub-pixel stage has 4 x channels at twice the side, before and after the
    shuffle; DCGAN: 2 x channels at twice the side and channels at four times; SPAN: four kept
    feature maps, their concatenation, and 3 channels at four times the side; EDSR: less; SRCNN: 64
    and 64 feature maps at four times the side.
    """
    if description.model == "srresnet":
        return 3 * 4 * 16 * description.channels
    if description.model == "dcgan":
        return 4 * (8 + 3 * 16) * description.channels
    if description.model in ("span", "edsr"):
        return 4 * (10 * description.channels + 4 * 48)
    return 3 * 4 * 16 * (64 if description.model == "srcnn" else 3)


def _fused(network: nn.Module) -> nn.Module:
    """Batch normalisations become part of the convolutions before them."""
    for module in network.modules():
        if not isinstance(module, nn.Sequential):
            continue
        for number in range(len(module) - 1):
            convolution, norm = module[number], module[number + 1]
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                module[number] = fuse_conv_bn_eval(convolution, norm)
                module[number + 1] = nn.Identity()
    return network
