"""DCGAN's networks (Radford, Metz and Chintala, arXiv 1511.06434), made to upscale by 4.

The paper's generator turns noise into a picture; this one is given the low-resolution picture in
its place. For the rest both follow the paper's guidelines (section 3): convolutions with a stride
instead of pooling and of dense layers, batch normalisation everywhere but at the discriminator's
first and at both last layers, ReLU and at last tanh in the generator, LeakyReLU in the
discriminator, weights from a normal distribution of deviation 0.02.
"""

from torch import Tensor, nn


class DcganGenerator(nn.Module):
    """N x 3 x H x W in [0, 1] to N x 3 x 4H x 4W in [-1, 1]."""

    def __init__(self, channels: int = 64) -> None:
        """The last hidden layer has that many feature maps, those before it more."""
        super().__init__()
        self.layers = nn.Sequential(
            *_layer(nn.Conv2d(3, 4 * channels, 5, padding=2, bias=False)),
            *_layer(nn.Conv2d(4 * channels, 4 * channels, 3, padding=1, bias=False)),
            # Kernels of twice the stride: others would reach some pixels more often than others.
            *_layer(nn.ConvTranspose2d(4 * channels, 2 * channels, 4, 2, padding=1, bias=False)),
            *_layer(nn.ConvTranspose2d(2 * channels, channels, 4, 2, padding=1, bias=False)),
            nn.Conv2d(channels, 3, 5, padding=2),
            nn.Tanh(),
        )
        self.apply(_initialise)

    def forward(self, low: Tensor) -> Tensor:
        return self.layers(low * 2 - 1)


class DcganDiscriminator(nn.Module):
    """Tells originals from generated images; returns logits, N x 1 for crops of 64 pixels.

    Smaller crops do not reach its last layer; larger ones give a logit for each place at which the
    last layer fits.
    """

    def __init__(self, channels: int = 64) -> None:
        """The first layer has that many feature maps, the widest eight times as many."""
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, channels, 4, 2, padding=1), nn.LeakyReLU(0.2)]
        for width in (2 * channels, 4 * channels, 8 * channels):
            layers += [
                nn.Conv2d(width // 2, width, 4, 2, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.LeakyReLU(0.2),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(8 * channels, 1, 4))
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images).flatten(1)


def _layer(convolution: nn.Conv2d | nn.ConvTranspose2d) -> list[nn.Module]:
    return [convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU()]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1, 0.02)
