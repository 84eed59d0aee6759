"""3x3 convolutions that have a second branch while they are trained, and none afterwards.

The second branch (expand, convolve, squeeze) makes a network easier to optimise. Both are linear,
so one 3x3 convolution does the same: model files hold that, and a network built for training from
such a file begins with the same function (as in Wan et al., arXiv 2311.12770, and others before).
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srgan.sub_pixel import EvenSubPixelConv2d

EXPANSION = 2


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


def convolution(inputs: int, outputs: int, for_training: bool) -> nn.Conv2d:
    """A 3x3 convolution, with the second branch if it is for training."""
    if for_training:
        return TwoBranchConv2d(inputs, outputs)
    return nn.Conv2d(inputs, outputs, 3, padding=1)


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
