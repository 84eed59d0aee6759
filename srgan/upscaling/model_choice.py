"""Which model file a name stands for."""

from __future__ import annotations

from pathlib import Path

from srgan import SCALE, storage
from srgan.errors import BadDataError, MissingDataError
from srgan.export import ModelDescription, encode_generator, is_generator
from srgan.models import build_model
from srgan.upscaling.networks import decode_network

WEIGHTS = Path(__file__).resolve().parents[1] / "weights"
IN_THE_BOX = ("default", "fast", "photo", "snapshot")
"""The models that come with this project: true to the picture, likewise in half the time, inventing
detail, undoing JPEG."""
BY_NAME = (*IN_THE_BOX, "bicubic")
"""What is no path."""
SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt")
"""Of model files."""
DEFAULT_MODEL = WEIGHTS / "default.safetensors"
OF_A_RUN = ("srgan.safetensors", "srresnet-best.safetensors", "srresnet.safetensors")
"""What a run folder may hold, the most finished first."""


def scale_of(data: bytes, path: str) -> int:
    """By what the model in the content of a file enlarges; the path is for messages alone."""
    return SCALE if is_generator(data) else decode_network(data, path).scale


def read_model(name: str, scale: int | None = None) -> bytes:
    """The content of a model file, which is checked to be one.

    Args:
        name: one of BY_NAME, a model file of this project or of another program
            (.pth, .safetensors), or the run folder of a training; local or a URL.
        scale: by which it must enlarge; None for any.

    Raises:
        MissingDataError: it is not there.
        BadDataError: it is no model that is known here, or of another scale.
    """
    if name == "bicubic":
        description = ModelDescription(
            model="bicubic", residual_blocks=1, channels=1, phase="none", step=0
        )
        return encode_generator(build_model("bicubic"), description)
    path = str(WEIGHTS / f"{name}.safetensors") if name in IN_THE_BOX else name
    if not path.endswith(SUFFIXES):
        candidates = [storage.join(path, file) for file in OF_A_RUN]
        found = next((file for file in candidates if storage.exists(file)), None)
        if found is None and not storage.exists(path):
            raise MissingDataError(f"--model {name}: no such file or folder")
        if found is None and storage.is_folder(path):
            raise MissingDataError(f"--model {name}: no {' or '.join(OF_A_RUN)} in this folder")
        path = found or path
    data = storage.read_bytes(path)
    network = decode_network(data, path)
    if scale not in (None, network.scale):
        raise BadDataError(f"{path}: {network.name} enlarges by {network.scale}, not by {scale}")
    return data
