"""The networks: the paper's generator and discriminator (figure 4), SRCNN and bicubic.

EDSR, SPAN and DCGAN's two are in files of their own.

Everything that upscales has one interface: N x 3 x H x W in [0, 1] to N x 3 x 4H x 4W in [-1, 1].

Batch normalisation is plain nn.BatchNorm2d here; training on several ranks replaces it (see
batch_norm.py) without a change to the state dict.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srgan import SCALE
from srgan.cpu.layers import FewOutputsConv2d, SharedPReLU
from srgan.dcgan import DcganDiscriminator, DcganGenerator
from srgan.edsr import Edsr
from srgan.span import Span
from srgan.sub_pixel import PixelShuffle, begin_with_zeros, sub_pixel_convolution

ModelName = Literal["srresnet", "edsr", "span", "dcgan", "srcnn", "bicubic"]


def build_model(
    model: ModelName,
    residual_blocks: int = 16,
    channels: int = 64,
    bicubic_skip: bool = False,
    even_sub_pixels: bool = False,
    for_training: bool = False,
) -> nn.Module:
    """The network of that name.

    Args:
        model: its name.
        residual_blocks: of srresnet and edsr.
        channels: of all but srcnn and bicubic.
        bicubic_skip: let srresnet, edsr and span give the difference to bicubic.
        even_sub_pixels: train these three so that they cannot draw a grid.
        for_training: with what edsr and span have in training alone.
    """
    if model == "srresnet":
        return Generator(residual_blocks, channels, bicubic_skip, even_sub_pixels)
    skip = Bicubic() if bicubic_skip else None
    if model == "edsr":
        return Edsr(
            residual_blocks=residual_blocks,
            channels=channels,
            skip=skip,
            even_sub_pixels=even_sub_pixels,
            for_training=for_training,
        )
    if model == "span":
        return Span(channels, skip, even_sub_pixels, for_training)
    if model == "dcgan":
        return DcganGenerator(channels)
    return SRCNN() if model == "srcnn" else Bicubic()


def build_discriminator(
    model: ModelName, crop_size: int, channels: int, spectral_norm: bool = False
) -> nn.Module:
    """The discriminator that goes with a generator.

    Args:
        model: the generator; dcgan has one of its own.
        crop_size: side of the images that it judges, in pixels.
        channels: feature maps of its first layer.
        spectral_norm: bound every layer's gain to 1 instead of normalising batches (Miyato et
            al., arXiv 1802.05957).
    """
    if model == "dcgan":
        network: nn.Module = DcganDiscriminator(channels)
    else:
        network = Discriminator(crop_size, channels)
    return _with_spectral_norm(network) if spectral_norm else network


def _with_spectral_norm(network: nn.Module) -> nn.Module:
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, nn.Identity())
            elif isinstance(child, nn.Conv2d | nn.Linear):
                if child.bias is None:
                    # The normalisation that made it needless is gone.
                    child.bias = nn.Parameter(torch.zeros(len(child.weight)))
                nn.utils.parametrizations.spectral_norm(child)
    return network


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation, a PReLU between, and a skip connection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            SharedPReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        return features + self.body(features)


class Generator(nn.Module):
    """SRResNet, which is also the generator of SRGAN.

    Its output is linear, as in the paper's figure 4: many reimplementations add a tanh, but that
    flattens the gradient of the MSE near black and white. Values beyond [-1, 1] are clipped where
    pixels are made of them.

    With a bicubic skip, which the paper does not have, the network gives the difference to the
    bicubic image, at first none: a short training starts from bicubic instead of from noise.
    """

    def __init__(
        self,
        residual_blocks: int = 16,
        channels: int = 64,
        bicubic_skip: bool = False,
        even_sub_pixels: bool = False,
    ) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(3, channels, 9, padding=4), SharedPReLU())
        self.body = nn.Sequential(
            *(ResidualBlock(channels) for _ in range(residual_blocks)),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.upscale = nn.Sequential(
            *_sub_pixel_stage(channels, even_sub_pixels),
            *_sub_pixel_stage(channels, even_sub_pixels),
        )
        self.tail = FewOutputsConv2d(channels, 3, 9)
        self.skip = Bicubic() if bicubic_skip else None
        if bicubic_skip:
            begin_with_zeros(self.tail)

    def forward(self, low: Tensor) -> Tensor:
        features = self.head(low)
        high = self.tail(self.upscale(features + self.body(features)))
        return high if self.skip is None else high + self.skip(low)


def _sub_pixel_stage(channels: int, even: bool) -> list[nn.Module]:
    convolution = sub_pixel_convolution(channels, 4 * channels, 2, even)
    return [convolution, PixelShuffle(2), SharedPReLU()]


class Discriminator(nn.Module):
    """Tells originals (high) from generated images (low); returns logits, N x 1.

    The sigmoid of the paper is part of the loss, where it is numerically safe.
    """

    def __init__(self, crop_size: int = 96, channels: int = 64) -> None:
        """The crop size (pixels, a multiple of 16) fixes the size of the dense layer."""
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1), nn.LeakyReLU(0.2)]
        layers += _discriminator_block(channels, channels, stride=2)
        for width in (2 * channels, 4 * channels, 8 * channels):
            layers += _discriminator_block(width // 2, width, stride=1)
            layers += _discriminator_block(width, width, stride=2)
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(8 * channels * (crop_size // 16) ** 2, 16 * channels),
            nn.LeakyReLU(0.2),
            nn.Linear(16 * channels, 1),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.features(images))


def _discriminator_block(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(0.2),
    ]


class Bicubic(nn.Module):
    """Bicubic interpolation, the same as Pillow's before it rounds to whole grey levels."""

    def forward(self, low: Tensor) -> Tensor:
        # Without antialias torch takes another cubic (a = -0.75) than Pillow (a = -0.5).
        high = F.interpolate(low, scale_factor=SCALE, mode="bicubic", antialias=True)
        return high * 2 - 1


class SRCNN(nn.Module):
    """The 9-1-5 network of Dong et al. (arXiv 1501.00092), on all of RGB."""

    def __init__(self) -> None:
        super().__init__()
        self.interpolate = Bicubic()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 64, 9, padding=4),
            nn.ReLU(),
            nn.Conv2d(64, 32, 1),
            nn.ReLU(),
            nn.Conv2d(32, 3, 5, padding=2),
        )

    def forward(self, low: Tensor) -> Tensor:
        return self.layers(self.interpolate(low))
