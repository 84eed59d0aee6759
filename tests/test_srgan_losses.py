"""Loss terms: their values, and that each of them moves the generator."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from srgan_samples import data_path, sample_pixels, tiny_options
from torch import Tensor

from srgan.batches import Batch, CropSampler
from srgan.losses import (
    LpipsContent,
    MseContent,
    VggContent,
    adversarial_loss,
    content_loss,
    discriminator_losses,
    frequency_error,
)
from srgan.models import Discriminator, Generator
from srgan.vgg import DEFAULT_FOLDER, VggFeatures


@pytest.fixture
def batch() -> Batch:
    return CropSampler([sample_pixels(64, 64)], 32, 4, 0, torch.device("cpu")).batch(0, 0)


def generator_gradient(loss_of, batch: Batch) -> Tensor:
    torch.manual_seed(1)
    generator = Generator(residual_blocks=1, channels=8)
    loss_of(generator(batch.low)).backward()
    gradients = [parameter.grad.flatten() for parameter in generator.parameters()]
    return torch.cat(gradients)


def assert_moves_every_layer(loss_of, batch: Batch) -> None:
    gradient = generator_gradient(loss_of, batch)
    assert gradient.isfinite().all()
    assert (gradient != 0).float().mean() > 0.9


def test_mse_moves_the_generator(batch):
    assert_moves_every_layer(lambda image: MseContent()(image, batch.high), batch)


def test_frequency_error_is_that_of_the_coefficients():
    torch.manual_seed(0)
    first, second = torch.rand(2, 2, 3, 8, 10) * 2 - 1
    coefficients = [np.fft.fft2(one.numpy())[..., :6] for one in (first, second)]
    difference = coefficients[0] - coefficients[1]
    expected = (np.abs(difference.real) + np.abs(difference.imag)).mean() / 2
    assert frequency_error(first, second).item() == pytest.approx(expected, rel=1e-5)


def test_frequency_error_moves_the_generator(batch):
    assert_moves_every_layer(lambda image: frequency_error(image, batch.high), batch)


def test_vgg22_with_real_weights_moves_the_generator(batch):
    path = data_path("weights/vgg19-conv1_1-conv3_4.pth")
    content = content_loss(tiny_options(content="vgg22", vgg_weights=str(path)))
    assert_moves_every_layer(lambda image: content(image, batch.high), batch)


@pytest.mark.parametrize("layer", ["vgg22", "vgg53", "vgg54"])
def test_vgg_features_move_the_generator(batch, layer):
    torch.manual_seed(0)
    content = VggContent(VggFeatures(layer), 1 / 12.75)
    assert_moves_every_layer(lambda image: content(image, batch.high), batch)


def test_lpips_moves_the_generator(batch):
    torch.manual_seed(0)
    content = LpipsContent(lpips_features())
    assert_moves_every_layer(lambda image: content(image, batch.high), batch)


def lpips_features() -> VggFeatures:
    """Random weights, with heads that are not negative, as those of LPIPS."""
    features = VggFeatures("lpips")
    for head in features.heads:
        torch.nn.init.uniform_(head)
    return features


def test_lpips_is_the_authors():
    """The value is that of lpips.LPIPS(net="vgg") of the authors' package, version 0.1.4."""
    if not (DEFAULT_FOLDER / "vgg16.safetensors").exists():
        pytest.skip("data/weights lacks VGG16: python scripts/fetch_data.py vgg16")
    content = content_loss(tiny_options(content="lpips"))
    torch.manual_seed(0)
    original = torch.rand(2, 3, 64, 64) * 2 - 1
    image = (original + 0.3 * torch.randn_like(original)).clamp(-1, 1)
    assert content(image, original) == pytest.approx(0.08126159, abs=2e-7)


def test_lpips_sees_directions_not_lengths(batch):
    """Features that grow by the same factor, as by weights of another scale, are equal to it."""
    torch.manual_seed(0)
    features = lpips_features()
    other = batch.high.flip(3)
    expected = LpipsContent(features)(other, batch.high)
    with torch.no_grad():
        features.features[0].weight.mul_(5)
        for module in features.features:
            if isinstance(module, torch.nn.Conv2d):
                module.bias.mul_(5)
    assert LpipsContent(features)(batch.high, batch.high) == 0
    torch.testing.assert_close(LpipsContent(features)(other, batch.high), expected)


def test_adversarial_loss_moves_the_generator(batch):
    torch.manual_seed(0)
    discriminator = Discriminator(32, channels=8)
    assert_moves_every_layer(lambda image: adversarial_loss(discriminator(image)), batch)


def test_adversarial_losses_are_the_papers():
    logits = torch.tensor([[0.3], [-1.2]])
    probabilities = torch.sigmoid(logits)
    assert adversarial_loss(logits) == pytest.approx(float(-probabilities.log().mean()))
    losses = discriminator_losses(logits, -2 * logits)
    assert losses["discriminator_original"] == pytest.approx(float(-probabilities.log().mean()))
    generated = torch.sigmoid(-2 * logits)
    expected = float(-(1 - generated).log().mean())
    assert losses["discriminator_generated"] == pytest.approx(expected)


def test_vgg_loss_scales_by_the_square(batch):
    torch.manual_seed(0)
    features = VggFeatures("vgg22")
    other = batch.high.flip(3)
    distance = F.mse_loss(features(other), features(batch.high))
    assert VggContent(features, 1 / 12.75)(other, batch.high) == pytest.approx(
        float(distance) / 12.75**2
    )
