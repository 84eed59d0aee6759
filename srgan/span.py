"""SPAN, an efficient network: all layers at low resolution, no normalisation, no attention weights.

Wan et al., "Swift Parameter-free Attention Network for Efficient Super-Resolution", CVPR workshops
2024 (arXiv 2311.12770). Six blocks of three 3x3 convolutions; a block's last output, passed through
a sigmoid, is its own attention map. Here the picture's bicubic version may be added at the end.

While it is trained, each 3x3 convolution has a second branch (expand, convolve, squeeze), which
makes it easier to optimise. Both are linear, so one 3x3 convolution does the same: model files hold
that, and a network built for training from such a file begins with the same function.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srgan import SCALE
from srgan.sub_pixel import EvenSubPixelConv2d, sub_pixel_convolution

BLOCKS = 6
EXPANSION = 2
MEAN_RGB = (0.4488, 0.4371, 0.4040)
"""Of DIV2K, in [0, 1]; what SPAN takes from its input."""


class TwoBranchConv2d(nn.Conv2d):
    """A 3x3 convolution whose kernel is the sum of a plain one and of three in a row.

    The sum is made of the kernels, not of the branches' outputs: that is the same function, and
    costs little more than the plain convolution.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1)
        expand = nn.Conv2d(in_channels, EXPANSION * in_channels, 1)
        middle = nn.Conv2d(EXPANSION * in_channels, EXPANSION * out_channels, 3)
        squeeze = nn.Conv2d(EXPANSION * out_channels, out_channels, 1)
        # In this order of axes two matrix products without a copy compose the kernels.
        self.expand = nn.Parameter(expand.weight.detach()[:, :, 0, 0].clone())
        self.middle = nn.Parameter(middle.weight.detach().permute(0, 2, 3, 1).contiguous())
        self.squeeze = nn.Parameter(squeeze.weight.detach()[:, :, 0, 0].clone())

    def forward(self, inputs: Tensor) -> Tensor:
        return F.conv2d(inputs, self.merged_weight(), self.bias, padding=1)

    def merged_weight(self) -> Tensor:
        """The kernel of the one convolution that does the same, outputs x inputs x 3 x 3."""
        # In bf16 the rounding of two terms that nearly cancel would be all that is left of them.
        with torch.autocast(self.weight.device.type, enabled=False):
            rows = self.squeeze @ self.middle.flatten(1)
            rows = rows.view(-1, len(self.expand)) @ self.expand
            composed = rows.view(self.out_channels, 3, 3, self.in_channels).permute(0, 3, 1, 2)
            return self.weight + composed

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *arguments: Any
    ) -> None:
        if f"{prefix}expand" not in state_dict:
            # A merged kernel: this network's second branch stays, the first makes up for it.
            branch = self.merged_weight().detach() - self.weight.detach()
            state_dict = {
                **state_dict,
                f"{prefix}expand": self.expand.detach(),
                f"{prefix}middle": self.middle.detach(),
                f"{prefix}squeeze": self.squeeze.detach(),
                f"{prefix}weight": state_dict[f"{prefix}weight"] - branch,
            }
        super()._load_from_state_dict(state_dict, prefix, *arguments)


class SpanBlock(nn.Module):
    """Three convolutions; what the last one says, as a symmetric sigmoid, weighs the sum."""

    def __init__(self, channels: int, convolution: type[nn.Conv2d]) -> None:
        super().__init__()
        self.first = _convolution(convolution, channels, channels)
        self.second = _convolution(convolution, channels, channels)
        self.third = _convolution(convolution, channels, channels)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """The block's output, and that of its first convolution."""
        first = self.first(inputs)
        third = self.third(F.silu(self.second(F.silu(first))))
        return (third + inputs) * (torch.sigmoid(third) - 0.5), first


class Span(nn.Module):
    """The network; N x 3 x H x W in [0, 1] to N x 3 x 4H x 4W in [-1, 1]."""

    mean: Tensor

    def __init__(
        self,
        channels: int = 48,
        skip: nn.Module | None = None,
        even_sub_pixels: bool = False,
        for_training: bool = False,
    ) -> None:
        """With that many feature maps, the paper's 48.

        Args:
            channels: feature maps of every layer.
            skip: makes the picture to which the network adds the difference, at first none.
            even_sub_pixels: let the last layer be such that it cannot draw a grid.
            for_training: give each 3x3 convolution its second branch.
        """
        super().__init__()
        convolution = TwoBranchConv2d if for_training else nn.Conv2d
        self.head = _convolution(convolution, 3, channels)
        self.blocks = nn.ModuleList(SpanBlock(channels, convolution) for _ in range(BLOCKS))
        self.body_end = _convolution(convolution, channels, channels)
        self.fuse = nn.Conv2d(4 * channels, channels, 1)
        self.tail = sub_pixel_convolution(channels, 3 * SCALE**2, SCALE, even_sub_pixels)
        self.skip = skip
        self.register_buffer("mean", torch.tensor(MEAN_RGB)[:, None, None], persistent=False)
        if skip is not None:
            nn.init.zeros_(self.tail.weight)
            nn.init.zeros_(self.tail.bias)  # type: ignore[arg-type]

    def forward(self, low: Tensor) -> Tensor:
        features = self.head(low - self.mean)
        outputs, firsts = [features], []
        for block in self.blocks:
            output, first = block(outputs[-1])
            outputs.append(output)
            firsts.append(first)
        # As in the paper's figure 2: head, last block, first block, first layer of the last block.
        kept = [features, self.body_end(outputs[-1]), outputs[1], firsts[-1]]
        high = F.pixel_shuffle(self.tail(self.fuse(torch.cat(kept, dim=1))), SCALE)
        return high if self.skip is None else high + self.skip(low)


def merged_state(network: nn.Module) -> dict[str, Tensor]:
    """The state dict of a network, with plain convolutions for those that training alone has."""
    state = dict(network.state_dict())
    for name, module in network.named_modules():
        if isinstance(module, EvenSubPixelConv2d):
            state[f"{name}.weight"] = module.merged_weight().detach()
            state[f"{name}.bias"] = module.merged_bias().detach()
        if isinstance(module, TwoBranchConv2d):
            for branch in ("expand", "middle", "squeeze"):
                del state[f"{name}.{branch}"]
            state[f"{name}.weight"] = module.merged_weight().detach()
    return state


def _convolution(kind: type[nn.Conv2d], inputs: int, outputs: int) -> nn.Conv2d:
    if kind is TwoBranchConv2d:
        return TwoBranchConv2d(inputs, outputs)
    return nn.Conv2d(inputs, outputs, 3, padding=1)
