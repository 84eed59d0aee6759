"""The terms of the losses; each is returned on its own, so that each can be logged.

Batches are means over the crops of one rank; DDP's mean over ranks makes them the mean of all.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srgan.lpips import unit
from srgan.recipe import Recipe
from srgan.vgg import VggFeatures, load_vgg


class MseContent(nn.Module):
    """Mean squared error of pixels in [-1, 1] (formula 4)."""

    def forward(self, generated: Tensor, original: Tensor) -> Tensor:
        return F.mse_loss(generated, original)


class VggContent(nn.Module):
    """Mean squared distance of scaled VGG features (formula 5)."""

    def __init__(self, features: VggFeatures, feature_scale: float) -> None:
        """The loss is proportional to the square of feature_scale: 1/12.75 makes it 0.006."""
        super().__init__()
        self.features = features
        self.loss_scale = feature_scale**2

    def forward(self, generated: Tensor, original: Tensor) -> Tensor:
        with torch.no_grad():
            target = self.features(original)
        return self.loss_scale * F.mse_loss(self.features(generated).float(), target.float())


class LpipsContent(nn.Module):
    """Distance of VGG16's features of all stages, each of length 1 (Zhang et al., 1801.03924).

    Not the paper's. It is LPIPS 0.1 with VGG16; the LPIPS that judges has AlexNet.
    """

    def __init__(self, features: VggFeatures) -> None:
        super().__init__()
        self.features = features

    def forward(self, generated: Tensor, original: Tensor) -> Tensor:
        with torch.no_grad():
            targets = [unit(stage.float()) for stage in self.features.stages(original)]
        stages = zip(self.features.stages(generated), targets, self.features.heads, strict=True)
        distances = [
            ((unit(stage.float()) - target).square().mean((0, 2, 3)) * head).sum()
            for stage, target, head in stages
        ]
        return torch.stack(distances).sum()


def frequency_error(generated: Tensor, original: Tensor) -> Tensor:
    """Mean absolute error of the Fourier coefficients (Cho et al., arXiv 2108.05054, formula 5).

    It grows with the side of the crops, since a coefficient is a sum over all pixels.

    Args:
        generated: N x 3 x H x W in [-1, 1]; likewise the original.
        original: what it should be.
    """
    return torch.view_as_real(torch.fft.rfft2(generated - original)).abs().mean()


def content_loss(options: Recipe) -> nn.Module:
    """The content loss of the srgan phase.

    Raises:
        UnavailableError, BadDataError: no usable VGG weights (see load_vgg).
    """
    if options.content == "mse":
        return MseContent()
    features = load_vgg(options.content, options.vgg_weights)
    if options.content == "lpips":
        return LpipsContent(features)
    return VggContent(features, options.vgg_feature_scale)


def adversarial_loss(generated_logits: Tensor) -> Tensor:
    """What the generator pays for being found out: mean of -log D(G(low)) (formula 6)."""
    return F.softplus(-generated_logits).mean()


def discriminator_losses(
    original_logits: Tensor, generated_logits: Tensor, label_smoothing: float = 0
) -> dict[str, Tensor]:
    """What the discriminator pays for each kind of mistake (formula 2, negated).

    With label smoothing the target of originals is that much less than 1.
    """
    return {
        "discriminator_original": (
            F.softplus(-original_logits) + label_smoothing * original_logits
        ).mean(),
        "discriminator_generated": F.softplus(generated_logits).mean(),
    }
