"""Finished generators as safetensors files: plain tensors, and what is needed to use them."""

import json
from typing import Any, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from srgan.errors import BadDataError
from srgan.models import ModelName, build_model
from srgan.storage import read_bytes, write_atomically
from srgan.two_branch import merged_state


class ModelDescription(BaseModel):
    """What a model file says of itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: ModelName
    residual_blocks: int = Field(ge=1, le=128)
    channels: int = Field(ge=1, le=512)
    bicubic_skip: bool = False
    phase: str
    step: int = Field(ge=0)
    psnr_y: float | None = None
    """Mean over the first test set, in dB; None when there was none."""
    lpips: float | None = None
    """Mean over the first test set; None when there was none, or no weights to measure by."""


class LoadedGenerator(NamedTuple):
    """A network in evaluation mode, on the CPU, and its description."""

    network: nn.Module
    description: ModelDescription


def save_generator(path: str, network: nn.Module, description: ModelDescription) -> None:
    """Write a generator and its description in one atomic step."""
    write_atomically(path, encode_generator(network, description))


def encode_generator(network: nn.Module, description: ModelDescription) -> bytes:
    """The content of a model file; what a network has for training alone is left out."""
    tensors = {
        name: tensor.detach().cpu().contiguous() for name, tensor in merged_state(network).items()
    }
    return save(tensors, {"description": description.model_dump_json()})


def load_generator(path: str) -> LoadedGenerator:
    """Build the network that a file of save_generator describes, and load its weights.

    Raises:
        MissingDataError: the file is not there or may not be read.
        BadDataError: it is something else, such as a pickle, or damaged.
    """
    return decode_generator(read_bytes(path), path)


def is_generator(data: bytes) -> bool:
    """Whether it seems to be the content of a file of save_generator."""
    try:
        return "residual_blocks" in _header(data)["__metadata__"]["description"]
    except (ValueError, KeyError, TypeError):
        return False


def decode_generator(data: bytes, path: str) -> LoadedGenerator:
    """As load_generator, from the file's content; the path is for messages alone.

    Raises:
        BadDataError: it is something else, such as a pickle, or damaged.
    """
    try:
        tensors = load(data)
        # safetensors checked the header, but its load leaves out the metadata.
        text = _header(data)["__metadata__"]["description"]
        description = ModelDescription.model_validate_json(text)
        network = build_model(
            description.model,
            description.residual_blocks,
            description.channels,
            description.bicubic_skip,
        )
        network.load_state_dict(tensors)
    except (SafetensorError, ValidationError, KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise BadDataError(
            f"{path}: no model written by this project's training ({reason})"
        ) from error
    return LoadedGenerator(network.eval(), description)


def blend(first: LoadedGenerator, second: LoadedGenerator, share: float) -> LoadedGenerator:
    """A network between two (network interpolation: ESRGAN, Wang et al. 2018, section 3.4).

    Args:
        first: whose description is kept, but for what was measured.
        second: of the same architecture, from which the training of the first began.
        share: of the first, 0 to 1.

    Raises:
        BadDataError: their architectures differ.
    """
    shapes = [
        one.description.model_dump(include={"model", "residual_blocks", "channels", "bicubic_skip"})
        for one in (first, second)
    ]
    if shapes[0] != shapes[1]:
        raise BadDataError(
            f"models of different shapes cannot be blended: {shapes[0]}, {shapes[1]}"
        )
    description = first.description.model_copy(update={"psnr_y": None, "lpips": None})
    network = build_model(**shapes[0])
    others = second.network.state_dict()
    network.load_state_dict(
        {
            name: torch.lerp(others[name], tensor, share) if tensor.is_floating_point() else tensor
            for name, tensor in first.network.state_dict().items()
        }
    )
    return LoadedGenerator(network.eval(), description)


def deepen(shallow: LoadedGenerator, residual_blocks: int) -> LoadedGenerator:
    """A deeper network that does the same, to train on from (Net2Net: Chen et al. 2016, 2.3).

    Each old block is followed by new ones, whose last layer is zero: they add nothing at first.

    Args:
        shallow: of the architecture `edsr`, which has no normalisation.
        residual_blocks: of the result, more than it has.

    Raises:
        BadDataError: it is of another architecture, or not shallower.
    """
    old = shallow.description
    if old.model != "edsr" or old.residual_blocks >= residual_blocks:
        raise BadDataError(
            f"{old.model} of {old.residual_blocks} residual blocks cannot become deeper, of "
            f"{residual_blocks}: only edsr can, and to more than it has"
        )
    description = old.model_copy(
        update={"residual_blocks": residual_blocks, "psnr_y": None, "lpips": None}
    )
    network = build_model(
        **description.model_dump(include={"model", "residual_blocks", "channels", "bicubic_skip"})
    )
    weights = network.state_dict()
    for name, tensor in weights.items():
        if name.startswith("body.") and ".second." in name:
            tensor.zero_()
    for name, tensor in shallow.network.state_dict().items():
        words = name.split(".")
        if words[0] == "body":
            words[1] = str(int(words[1]) * residual_blocks // old.residual_blocks)
        weights[".".join(words)] = tensor
    network.load_state_dict(weights)
    return LoadedGenerator(network.eval(), description)


def _header(data: bytes) -> dict[str, Any]:
    """What safetensors files begin with: a length, and JSON of that length."""
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
