"""Networks: shapes, sizes, and the bicubic one against Pillow."""

import numpy as np
import pytest
import torch
from srgan_samples import sample_pixels

from srgan.evaluation import bicubic, upscale_with
from srgan.models import Bicubic, Discriminator, Generator, build_discriminator, build_model


def parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("model", ["srresnet", "span", "dcgan", "srcnn", "bicubic"])
def test_all_models_upscale_by_four(model):
    network = build_model(model, residual_blocks=2, channels=8)
    assert network(torch.rand(2, 3, 7, 9)).shape == (2, 3, 28, 36)


def test_generator_has_the_papers_size():
    # Head and tail; 16 blocks; the convolution after them; two sub-pixel stages; PReLUs.
    head_and_tail = 3 * 64 * 81 + 64 + 64 * 3 * 81 + 3
    convolution_and_norm = 64 * 64 * 9 + 2 * 64
    stage = 64 * 256 * 9 + 256
    expected = head_and_tail + 33 * convolution_and_norm + 2 * stage + 1 + 16 + 2
    assert parameters(Generator()) == expected


def test_generator_has_no_bound_on_its_output():
    network = Generator(residual_blocks=1, channels=4)
    torch.nn.init.constant_(network.tail.bias, 5.0)
    assert network(torch.rand(1, 3, 8, 8)).max() > 1


@pytest.mark.parametrize("crop_size", [16, 48, 96])
def test_discriminator_takes_its_crop_size(crop_size):
    network = Discriminator(crop_size, channels=4)
    images = torch.rand(2, 3, crop_size, crop_size) * 2 - 1
    assert network(images).shape == (2, 1)


def test_discriminator_widens_as_in_the_paper():
    convolutions = [
        module for module in Discriminator().modules() if isinstance(module, torch.nn.Conv2d)
    ]
    assert [module.out_channels for module in convolutions] == [
        64,
        64,
        128,
        128,
        256,
        256,
        512,
        512,
    ]
    assert [module.stride[0] for module in convolutions] == [1, 2] * 4


def test_bicubic_network_is_pillows_within_a_grey_level():
    low = sample_pixels(20, 31)
    difference = upscale_with(Bicubic())(low).astype(int) - bicubic(low)
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("model", ["srresnet", "dcgan"])
def test_spectral_norm_bounds_every_layer_and_replaces_batch_norm(model):
    torch.manual_seed(0)
    network = build_discriminator(model, crop_size=64, channels=8, spectral_norm=True)
    for _ in range(200):
        # Each pass improves the estimate of the largest singular value.
        logits = network(torch.rand(2, 3, 64, 64))
    assert logits.shape == (2, 1)
    modules = list(network.modules())
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in modules)
    layers = [m for m in modules if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    for layer in layers:
        gain = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)
        assert gain.item() == pytest.approx(1, rel=0.02)
        assert layer.bias is not None


def test_dcgan_follows_its_papers_guidelines():
    generator = list(build_model("dcgan", channels=8).modules())
    judge = list(build_discriminator("dcgan", crop_size=64, channels=8).modules())
    for kinds in (torch.nn.Linear, torch.nn.MaxPool2d, torch.nn.AvgPool2d, torch.nn.PixelShuffle):
        assert not any(isinstance(module, kinds) for module in generator + judge)
    assert (
        sum(isinstance(m, torch.nn.ConvTranspose2d) and m.stride == (2, 2) for m in generator) == 2
    )
    assert isinstance(generator[-1], torch.nn.Tanh)
    assert sum(isinstance(m, torch.nn.Conv2d) and m.stride == (2, 2) for m in judge) == 4
    # Not after the first layer and not after the last.
    assert sum(isinstance(m, torch.nn.BatchNorm2d) for m in judge) == 3


@pytest.mark.parametrize(("crop_size", "logits"), [(64, 1), (96, 9)])
def test_dcgans_discriminator_takes_larger_crops(crop_size, logits):
    judge = build_discriminator("dcgan", crop_size, channels=4)
    assert judge(torch.rand(2, 3, crop_size, crop_size)).shape == (2, logits)


def test_sub_pixel_stages_begin_without_a_grid():
    torch.manual_seed(0)
    stage = Generator(residual_blocks=1, channels=4).upscale
    made = stage(torch.rand(1, 4, 5, 5))[0]
    pixels = made.unfold(1, 2, 2).unfold(2, 2, 2)
    assert torch.equal(pixels, pixels[..., :1, :1].expand_as(pixels))
    assert made.std() > 0
