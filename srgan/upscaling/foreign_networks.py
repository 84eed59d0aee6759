"""Networks that other programs have trained, as people already have them: ESRGAN, SPAN, SwinIR, ...

spandrel knows some forty architectures by the names and shapes of their weights. Files are read as
weights alone: nothing that is in them is ever executed.
"""

from __future__ import annotations

import io
import pickle

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn
from torch import library as torch_library

from srgan.errors import BadDataError
from srgan.upscaling.networks import UpscalingNetwork

try:
    import torchvision  # noqa: F401
except RuntimeError:
    # Its operators are missing beside a CPU build of torch. spandrel imports it, but no network
    # that upscales calls them, so it is enough that they are declared.
    for _operator in ("nms", "qnms"):
        torch_library.define(
            f"torchvision::{_operator}",
            "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        )
from spandrel import (
    ImageModelDescriptor,
    ModelLoader,
    UnsupportedModelError,
    canonicalize_state_dict,
)

MARGIN = 32
"""Pixels around a tile: deep networks look farther, but hardly depend on what is there."""

LARGEST_SCALE = 8
PROBE_SIDE = 64
"""Of the picture, in pixels, by which the memory that a network takes is measured."""
RESERVE = 1.2
"""How much more than that it may take: windows and paddings differ from size to size."""


class ForeignNetwork(nn.Module):
    """A network with the interface of this project's: N x 3 in [0, 1] to N x 3 in [-1, 1]."""

    def __init__(self, descriptor: ImageModelDescriptor) -> None:
        super().__init__()
        self.network = descriptor.model
        self.scale = descriptor.scale
        self.input_channels = descriptor.input_channels
        self._requirements = descriptor.size_requirements

    def forward(self, low: Tensor) -> Tensor:
        height, width = low.shape[2:]
        right, bottom = self._requirements.get_padding(width, height)
        if self.input_channels == 1:
            low = low.mean(1, keepdim=True)
        low = F.pad(low, (0, right, 0, bottom), mode="replicate")
        high = self.network(low)[..., : self.scale * height, : self.scale * width]
        return 2 * high.expand(-1, 3, -1, -1) - 1


def decode_foreign_network(data: bytes, path: str) -> UpscalingNetwork:
    """The network whose weights are in the content of a .pth or .safetensors file.

    Raises:
        BadDataError: the file holds more than weights, is damaged, or no known architecture fits.
    """
    state = _weights(data, path)
    try:
        descriptor = ModelLoader().load_from_state_dict(canonicalize_state_dict(state))
    except UnsupportedModelError as error:
        raise BadDataError(
            f"{path}: weights of no architecture that is known here (spandrel's list has ESRGAN, "
            "Real-ESRGAN, SPAN, SwinIR and some forty more)"
        ) from error
    except Exception as error:
        # A file that resembles an architecture but does not fit fails anywhere in its code.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadDataError(f"{path}: damaged, or no such model as it seems ({reason})") from error
    name = descriptor.architecture.name
    if not isinstance(descriptor, ImageModelDescriptor) or not (
        1 <= descriptor.scale <= LARGEST_SCALE
    ):
        raise BadDataError(
            f"{path}: {name} is no network that upscales a picture by 1 to {LARGEST_SCALE}"
        )
    if descriptor.input_channels not in (1, 3) or descriptor.output_channels not in (1, 3):
        raise BadDataError(
            f"{path}: {name} takes {descriptor.input_channels} channels and gives "
            f"{descriptor.output_channels}; only 1 and 3 are supported"
        )
    network = ForeignNetwork(descriptor).eval()
    return UpscalingNetwork(
        network=network,
        name=name,
        scale=descriptor.scale,
        margin=MARGIN,
        bytes_per_pixel=_bytes_per_pixel(network, path),
        near_in_bfloat16=False,
    )


def _weights(data: bytes, path: str) -> dict[str, Tensor]:
    try:
        if data.startswith((b"PK", b"\x80")):
            state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        else:
            state = load(data)
    except (pickle.UnpicklingError, SafetensorError, RuntimeError, EOFError, ValueError) as error:
        raise BadDataError(
            f"{path}: no model file, damaged, or a pickle with more than weights in it, which "
            "would be executed; save its state_dict alone, or convert it to .safetensors"
        ) from error
    if not isinstance(state, dict):
        raise BadDataError(f"{path}: holds no weights by name, but a {type(state).__name__}")
    return state


@torch.inference_mode()
def _bytes_per_pixel(network: nn.Module, path: str) -> int:
    """Bytes that its layers take at their widest, for an input pixel, measured."""
    with torch.profiler.profile(profile_memory=True) as profile:
        try:
            network(torch.zeros(1, 3, PROBE_SIDE, PROBE_SIDE))
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise BadDataError(f"{path}: its network cannot be run ({reason})") from error
    held = peak = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return int(RESERVE * peak / PROBE_SIDE**2) + 1
