"""The CPU's own layers against torch's, in double precision."""

import pytest
import torch
from torch import nn

from srgan.cpu.layers import FewOutputsConv2d, SharedPReLU

FORMATS = (torch.contiguous_format, torch.channels_last)


@pytest.mark.parametrize("memory_format", FORMATS, ids=str)
@pytest.mark.parametrize("size", [(9, 11), (3, 20), (1, 1)], ids=str)
@pytest.mark.parametrize(
    ("ours", "plain"),
    [
        (lambda: SharedPReLU(), lambda: nn.PReLU()),
        (lambda: FewOutputsConv2d(5, 3, 9), lambda: nn.Conv2d(5, 3, 9, padding=4)),
        (lambda: FewOutputsConv2d(5, 1, 1), lambda: nn.Conv2d(5, 1, 1)),
    ],
    ids=["prelu", "9x9", "1x1"],
)
def test_outputs_and_gradients_are_those_of_torch(ours, plain, size, memory_format):
    torch.manual_seed(0)
    layer, reference = ours().double(), plain().double()
    reference.load_state_dict(layer.state_dict())
    inputs = torch.randn(2, 5, *size, dtype=torch.double).contiguous(memory_format=memory_format)
    found = []
    for one in (layer, reference):
        leaf = inputs.detach().clone(memory_format=torch.preserve_format).requires_grad_()
        outputs = one(leaf)
        outputs.backward(torch.cos(outputs.detach() * 3))
        found.append([outputs, leaf.grad, *(parameter.grad for parameter in one.parameters())])
    for own, expected in zip(*found, strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-10, atol=1e-10)


def test_frozen_parameters_get_no_gradient():
    for layer in (FewOutputsConv2d(2, 3, 3), SharedPReLU()):
        layer.requires_grad_(False)
        inputs = torch.randn(1, 2, 6, 6, requires_grad=True)
        layer(inputs).sum().backward()
        assert inputs.grad is not None
        assert all(parameter.grad is None for parameter in layer.parameters())


def test_autocast_is_left_to_torch():
    layer = FewOutputsConv2d(2, 3, 3)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.randn(1, 2, 6, 6)).dtype == torch.bfloat16
