"""Features of VGG19 (Simonyan and Zisserman), by which the VGG losses compare images."""

import io
import pickle
from typing import Literal

import torch
from torch import Tensor, nn

from srgan.errors import BadDataError, MissingDataError, UnavailableError
from srgan.storage import read_bytes

VggLayer = Literal["vgg22", "vgg54"]

# Channels of the convolutions in each of the five stages; a pooling ends a stage.
STAGES = ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4)
# VGGij of the paper (section 2.2.1): the j-th convolution of stage i, after its ReLU, before the
# pooling. Both are the last of their stage.
STAGES_OF_LAYER: dict[VggLayer, int] = {"vgg22": 2, "vgg54": 5}
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


class VggFeatures(nn.Module):
    """Frozen VGG19 up to one layer: images N x 3 x H x W in [-1, 1] to its feature maps.

    Written out, since it is ten lines, rather than taken from torchvision, whose import fails
    beside a CPU build of torch; names and numbers of the layers are torchvision's.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, layer: VggLayer) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for stage in STAGES[: STAGES_OF_LAYER[layer]]:
            for outputs in stage:
                layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
                inputs = outputs
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers[:-1])
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None], False)
        self.register_buffer("deviation", torch.tensor(IMAGENET_DEVIATION)[:, None, None], False)
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        return self.features(((images + 1) / 2 - self.mean) / self.deviation)


def load_vgg(layer: VggLayer, path: str | None) -> VggFeatures:
    """VGG19 up to a layer, with the weights of a state dict in torchvision's names.

    The file may hold all of VGG19 or its first layers; nothing in it is executed.

    Raises:
        UnavailableError: no file, or it ends before the layer.
        BadDataError: the file is no state dict, or its tensors have wrong shapes or types.
    """
    way_out = "give --vgg-weights FILE, or use --content mse"
    if path is None:
        raise UnavailableError(f"content={layer} needs VGG19 weights: {way_out}")
    try:
        data = read_bytes(path)
    except MissingDataError as error:
        raise UnavailableError(f"VGG19 weights: {error}; {way_out}") from error
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise BadDataError(f"{path}: not a plain file of torch weights; {way_out}") from error
    network = VggFeatures(layer)
    if not isinstance(state, dict):
        raise BadDataError(f"{path}: holds no state dict; {way_out}")
    wanted = network.state_dict()
    missing = [name for name in wanted if name not in state]
    if missing:
        raise UnavailableError(
            f"{path}: lacks {missing[0]} and so is not enough for {layer}; {way_out}"
        )
    for name, tensor in wanted.items():
        given = state[name]
        if not isinstance(given, Tensor) or given.shape != tensor.shape:
            raise BadDataError(f"{path}: {name} is not of shape {tuple(tensor.shape)}")
        if not given.is_floating_point() or not given.isfinite().all():
            raise BadDataError(f"{path}: {name} holds something else than finite numbers")
    network.load_state_dict({name: state[name] for name in wanted})
    return network
