"""Features of VGG16 and VGG19 (Simonyan and Zisserman), by which content losses compare images.

Written out, since it is ten lines, rather than taken from torchvision, whose import fails beside a
CPU build of torch; names and numbers of the layers are torchvision's.
"""

import io
import logging
import pickle
from collections.abc import Collection
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from srgan.errors import BadDataError, MissingDataError, UnavailableError
from srgan.storage import read_bytes

logger = logging.getLogger(__name__)

VggPart = Literal["vgg22", "vgg53", "vgg54", "lpips"]
Network = Literal["VGG16", "VGG19"]

# Channels of the convolutions in each of the five stages; a pooling ends a stage.
STAGES: dict[Network, tuple[tuple[int, ...], ...]] = {
    "VGG16": ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3),
    "VGG19": ((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,) * 4),
}
# Numbers of the convolutions that only one of them has.
MARKS: dict[Network, tuple[int, ...]] = {
    "VGG16": (17, 24, 26),
    "VGG19": (16, 23, 25, 30, 32, 34),
}
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


class Part(NamedTuple):
    """What a content loss needs of a network, and where scripts/fetch_data.py has its weights."""

    networks: tuple[Network, ...]
    stages: int
    fetched_by: str
    file: str


# VGGij of the paper (section 2.2.1): the j-th convolution of stage i, after its ReLU, before the
# pooling. Each of these is the last of its stage. Stages 1 and 2 are the same in both networks.
# LPIPS looks at the last of every stage of VGG16.
PARTS: dict[VggPart, Part] = {
    "vgg22": Part(("VGG16", "VGG19"), 2, "vgg16", "vgg16.safetensors"),
    "vgg53": Part(("VGG16",), 5, "vgg16", "vgg16.safetensors"),
    "vgg54": Part(("VGG19",), 5, "vgg19", "vgg19-dcbb9e9d.pth"),
    "lpips": Part(("VGG16",), 5, "vgg16", "vgg16.safetensors"),
}
DEFAULT_FOLDER = Path(__file__).resolve().parents[1] / "data" / "weights"

RELU22 = 9
"""How many modules lead to relu2_2."""
RELU22_RMS: dict[Network, float] = {"VGG16": 3.362222, "VGG19": 2.628830}
"""Root mean square of relu2_2 over _test_picture(). VGG16: torchvision's. VGG19: Oxford's, at the
scale where on photographs it equals torchvision's VGG16, for want of torchvision's own."""
RELU53_RMS = 0.5954314
"""The same of relu5_3 of torchvision's VGG16."""
OTHER_SCALE = 4
"""Features so many times larger or smaller are of another scale. Networks trained alike differ less
(two of them 1.3 times), and Caffe's, made for inputs of 0 to 255, are 117 times as large."""


class VggFeatures(nn.Module):
    """Frozen VGG up to one layer: images N x 3 x H x W in [-1, 1] to its feature maps."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, part: VggPart) -> None:
        super().__init__()
        networks, stages, *_ = PARTS[part]
        layers: list[nn.Module] = []
        inputs = 3
        for stage in STAGES[networks[0]][:stages]:
            for outputs in stage:
                layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
                inputs = outputs
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers[:-1])
        channels = [stage[-1] for stage in STAGES[networks[0]]] if part == "lpips" else []
        self.heads = nn.ParameterList(torch.zeros(number) for number in channels)
        """For lpips, the weight of each channel, of the last layer of every stage."""
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None], False)
        self.register_buffer("deviation", torch.tensor(IMAGENET_DEVIATION)[:, None, None], False)
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        return self.features(self.normalised(images))

    def stages(self, images: Tensor) -> list[Tensor]:
        """The feature maps of the last layer of every stage."""
        features, ends = self.normalised(images), []
        for module in self.features:
            if isinstance(module, nn.MaxPool2d):
                ends.append(features)
            features = module(features)
        return [*ends, features]

    def normalised(self, images: Tensor) -> Tensor:
        """Images in [-1, 1] as the first layer expects them."""
        return ((images + 1) / 2 - self.mean) / self.deviation


def load_vgg(part: VggPart, path: str | None) -> VggFeatures:
    """VGG up to what a content loss needs, with the weights of a state dict in torchvision's names.

    The file, .safetensors or torch's, may hold all of VGG16 or VGG19 or its first layers; nothing
    in it is executed. Its first layer must take RGB as torchvision normalises it. Features of
    another scale are brought to torchvision's, so that weights of losses mean the same with every
    file. Without a path it is what scripts/fetch_data.py fetched.

    Raises:
        UnavailableError: no file, or it ends too early, or is of the other network.
        BadDataError: the file is no state dict, or its tensors have wrong shapes or types.
    """
    networks, stages, fetched_by, file = PARTS[part]
    way_out = (
        f"python scripts/fetch_data.py {fetched_by}, or give --vgg-weights FILE, "
        "or use --content mse"
    )
    if path is None:
        if not (DEFAULT_FOLDER / file).exists():
            needed = " or ".join(networks)
            raise UnavailableError(f"content={part} needs {needed} weights: {way_out}")
        path = str(DEFAULT_FOLDER / file)
    try:
        data = read_bytes(path)
    except MissingDataError as error:
        raise UnavailableError(f"VGG weights: {error}; {way_out}") from error
    state = _decode(data, path, way_out)
    network = VggFeatures(part)
    wanted = network.state_dict()
    held = _network_of(state)
    if held is not None and held not in networks:
        raise UnavailableError(f"{path}: holds {held}, but {part} is of {networks[0]}; {way_out}")
    missing = [name for name in wanted if name not in state]
    if missing:
        raise UnavailableError(
            f"{path}: lacks {missing[0]} and so is not enough for {part}; {way_out}"
        )
    for name, tensor in wanted.items():
        given = state[name]
        if not isinstance(given, Tensor) or given.shape != tensor.shape:
            raise BadDataError(f"{path}: {name} is not of shape {tuple(tensor.shape)}")
        if not given.is_floating_point() or not given.isfinite().all():
            raise BadDataError(f"{path}: {name} holds something else than finite numbers")
    network.load_state_dict({name: state[name] for name in wanted})
    # Of VGG19 beyond relu2_2 there is nothing to compare with: the scale of relu2_2 carries.
    whole = stages == 5 and networks == ("VGG16",)
    reference = RELU53_RMS if whole else RELU22_RMS[held or "VGG16"]
    modules = len(network.features) if whole else RELU22
    _bring_to_scale(network, modules, reference, path)
    return network


def _decode(data: bytes, path: str, way_out: str) -> dict[str, Tensor]:
    try:
        if path.endswith(".safetensors"):
            return load(data)
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise BadDataError(f"{path}: no whole safetensors file; {way_out}") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise BadDataError(f"{path}: not a plain file of torch weights; {way_out}") from error
    if not isinstance(state, dict):
        raise BadDataError(f"{path}: holds no state dict; {way_out}")
    return state


def _network_of(names: Collection[str]) -> Network | None:
    """Which network the names are of; None where both have them all."""
    for network, numbers in MARKS.items():
        if any(f"features.{number}.weight" in names for number in numbers):
            return network
    return None


@torch.no_grad()
def _bring_to_scale(network: VggFeatures, modules: int, reference: float, path: str) -> None:
    """Make features after so many modules as large as the reference, if they clearly are not.

    ReLU and pooling pass factors on, so dividing the first layer's weight and every bias divides
    the features of all layers.

    Raises:
        BadDataError: there are no features.
    """
    features = network.features[:modules](network.normalised(_test_picture()))
    times = float(features.square().mean().sqrt()) / reference
    if times == 0 or not np.isfinite(times):
        raise BadDataError(f"{path}: gives no features of a picture that has some")
    if 1 / OTHER_SCALE < times < OTHER_SCALE:
        return
    logger.warning(
        "%s: features %.4g times as large as torchvision's, so divided by that", path, times
    )
    convolutions = [module for module in network.features if isinstance(module, nn.Conv2d)]
    convolutions[0].weight.div_(times)
    for module in convolutions:
        if module.bias is not None:
            module.bias.div_(times)


def _test_picture() -> Tensor:
    """A picture that VGG sees something in: 1 x 3 x 96 x 96 in [-1, 1].

    Overlapping discs of all sizes, mostly grey: edges and areas are as frequent as in photographs.
    """
    # Unlike those of newer generators its numbers are promised to stay the same.
    random = np.random.RandomState(0)
    rows, columns = np.mgrid[:96, :96]
    picture = np.zeros((96, 96, 3))
    for _ in range(600):
        radius = 2 / np.sqrt(random.uniform(0.004, 1))
        row, column = random.uniform(0, 96, 2)
        colour = 0.56 * random.uniform(-1, 1) + 0.14 * random.uniform(-1, 1, 3)
        picture[(rows - row) ** 2 + (columns - column) ** 2 < radius**2] = colour
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float()
