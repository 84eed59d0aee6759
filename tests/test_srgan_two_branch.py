"""EDSR and SPAN: size, and that what is trained and what is shipped are one function."""

import pytest
import torch
from srgan_samples import sample_pixels

from srgan.evaluation import bicubic, upscale_with
from srgan.export import ModelDescription, load_generator, save_generator
from srgan.models import build_model
from srgan.two_branch import TwoBranchConv2d, merged_state


@pytest.fixture
def low() -> torch.Tensor:
    torch.manual_seed(3)
    return torch.rand(2, 3, 12, 10)


def trained_a_little(model: str, bicubic_skip: bool = False) -> torch.nn.Module:
    """A network for training, no weight of which has the value it was made with."""
    torch.manual_seed(1)
    network = build_model(model, 2, 8, bicubic_skip, for_training=True)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval()


def test_span_has_the_published_size():
    # span-x4-ch48 of the authors: 0.426 million parameters when merged.
    network = build_model("span", channels=48)
    assert sum(parameter.numel() for parameter in network.parameters()) == 426_288


def test_both_branches_are_one_convolution(low):
    torch.manual_seed(2)
    layer = TwoBranchConv2d(3, 5)
    expand = torch.nn.functional.conv2d(low, layer.expand[:, :, None, None])
    middle = torch.nn.functional.conv2d(expand, layer.middle.permute(0, 3, 1, 2), padding=1)
    squeezed = torch.nn.functional.conv2d(middle, layer.squeeze[:, :, None, None])
    plain = torch.nn.functional.conv2d(low, layer.weight, layer.bias, padding=1)
    torch.testing.assert_close(layer(low), plain + squeezed)


@pytest.mark.parametrize("model", ["edsr", "span"])
def test_both_branches_are_trained(low, model):
    network = trained_a_little(model)
    network(low).square().sum().backward()
    assert all((parameter.grad != 0).any() for parameter in network.parameters())


@pytest.mark.parametrize("model", ["edsr", "span"])
@pytest.mark.parametrize("bicubic_skip", [False, True])
def test_a_model_file_holds_the_merged_network_and_trains_on(low, tmp_path, model, bicubic_skip):
    network = trained_a_little(model, bicubic_skip)
    description = ModelDescription(
        model=model,
        residual_blocks=2,
        channels=8,
        bicubic_skip=bicubic_skip,
        phase="srresnet",
        step=1,
    )
    path = str(tmp_path / "model.safetensors")
    save_generator(path, network, description)
    loaded, _ = load_generator(path)
    assert not any(isinstance(module, TwoBranchConv2d) for module in loaded.modules())
    torch.testing.assert_close(loaded(low), network(low))

    torch.manual_seed(9)
    again = build_model(model, 2, 8, bicubic_skip, for_training=True)
    again.load_state_dict(loaded.state_dict())
    torch.testing.assert_close(again(low), network(low), rtol=1e-4, atol=1e-5)
    assert merged_state(again).keys() == loaded.state_dict().keys()


@pytest.mark.parametrize("model", ["edsr", "span"])
def test_with_a_skip_it_begins_as_bicubic(model):
    network = build_model(model, 2, 8, bicubic_skip=True, for_training=True)
    low = sample_pixels(20, 31)
    assert abs(upscale_with(network)(low).astype(int) - bicubic(low)).max() <= 1
