"""Networks: shapes, sizes, and the bicubic one against Pillow."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import ROOT
from srgan_samples import sample_pixels

from srgan.evaluation import bicubic, upscale_with
from srgan.export import ModelDescription, load_generator, save_generator
from srgan.models import Bicubic, Discriminator, Generator, build_discriminator, build_model
from srgan.sub_pixel import EvenSubPixelConv2d


def parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("model", ["srresnet", "edsr", "span", "dcgan", "srcnn", "bicubic"])
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


@pytest.mark.parametrize("model", ["srresnet", "edsr", "span"])
def test_even_sub_pixels_cannot_draw_a_grid(model):
    torch.manual_seed(0)
    flat = torch.full((1, 3, 40, 40), 0.4)
    spread = {}
    for even in (False, True):
        network = build_model(model, 2, 8, even_sub_pixels=even, for_training=True).eval()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
            # Far from the borders, whose padding the layers see.
            spread[even] = network(flat)[..., 76:84, 76:84].std(dim=(2, 3)).max().item()
    assert spread[False] > 1e-3 and spread[True] < 1e-5


@pytest.mark.parametrize("model", ["srresnet", "edsr", "span"])
def test_a_file_of_even_sub_pixels_holds_plain_convolutions(model, tmp_path):
    torch.manual_seed(0)
    network = build_model(model, 2, 8, even_sub_pixels=True, for_training=True).eval()
    description = ModelDescription(
        model=model, residual_blocks=2, channels=8, phase="srresnet", step=1
    )
    save_generator(str(tmp_path / "m.safetensors"), network, description)
    loaded, _ = load_generator(str(tmp_path / "m.safetensors"))
    low = torch.rand(1, 3, 9, 7)
    torch.testing.assert_close(loaded(low), network(low))
    assert not any(isinstance(module, EvenSubPixelConv2d) for module in loaded.modules())


def test_a_blend_lies_between_two_networks(tmp_path):
    paths = [str(tmp_path / f"{number}.safetensors") for number in range(2)]
    for number, path in enumerate(paths):
        torch.manual_seed(number)
        network = build_model("edsr", residual_blocks=1, channels=8)
        description = ModelDescription(
            model="edsr", residual_blocks=1, channels=8, phase="srgan", step=7 + number, lpips=0.2
        )
        save_generator(path, network, description)
    target = tmp_path / "blend.safetensors"
    command = [sys.executable, ROOT / "scripts/blend_models.py", *paths, "--share", "0.25"]
    assert subprocess.run([*command, "--to", target], cwd=ROOT).returncode == 0
    found, first, second = (load_generator(path) for path in (str(target), *paths))
    # What was measured holds for the first alone.
    assert (found.description.step, found.description.lpips) == (7, None)
    weights = (one.network.state_dict()["head.weight"] for one in (found, first, second))
    between, a, b = weights
    assert torch.allclose(between, 0.25 * a + 0.75 * b)


def test_models_of_different_shapes_are_not_blended(tmp_path):
    paths = [str(tmp_path / f"{channels}.safetensors") for channels in (4, 8)]
    for channels, path in zip((4, 8), paths, strict=True):
        description = ModelDescription(
            model="edsr", residual_blocks=1, channels=channels, phase="srgan", step=1
        )
        save_generator(path, build_model("edsr", 1, channels), description)
    command = [sys.executable, ROOT / "scripts/blend_models.py", *paths, "--to", tmp_path / "x"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (65, 1)
    assert "different shapes" in done.stderr
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("blocks", [5, 16])
def test_a_deeper_model_does_the_same(tmp_path, blocks):
    torch.manual_seed(0)
    network = build_model("edsr", 3, 8, bicubic_skip=True).eval()
    torch.nn.init.normal_(network.tail.weight, std=0.1)
    description = ModelDescription(
        model="edsr", residual_blocks=3, channels=8, bicubic_skip=True, phase="x", step=1
    )
    path, target = str(tmp_path / "shallow.safetensors"), str(tmp_path / "deep.safetensors")
    save_generator(path, network, description)
    command = [sys.executable, ROOT / "scripts/deepen_model.py", path, "--to", target]
    command += ["--residual-blocks", str(blocks)]
    assert subprocess.run(command, cwd=ROOT).returncode == 0
    deeper = load_generator(target)
    assert deeper.description.residual_blocks == len(deeper.network.body) == blocks
    low = torch.rand(1, 3, 12, 10)
    torch.testing.assert_close(deeper.network(low), network(low))
    # What was added can learn: its first layer is not zero.
    assert all(block.first.weight.std() > 0 for block in deeper.network.body)
    done = subprocess.run([*command[:-1], "2"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (65, 1)
    assert "edsr of 3 residual blocks cannot become deeper" in done.stderr
