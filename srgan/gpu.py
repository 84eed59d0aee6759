"""What a GPU must be able to do, and what to say when its memory is too small."""

import contextlib
import subprocess
from collections.abc import Iterator

import torch

from srgan.distributed import Ranks
from srgan.errors import OptionsError, UnavailableError
from srgan.recipe import Precision, Recipe

SHORT_CAPABILITY = (8, 0)
"""Ampere: older cards have no TF32, and bfloat16 is slower there than float32, if there at all."""


def check_gpu(device: torch.device, options: Recipe) -> None:
    """See before a training that a GPU can do what the options ask for; of a CPU nothing is asked.

    Raises:
        OptionsError: it has no arithmetic of that precision.
        UnavailableError: this torch has no code for such a GPU.
    """
    if device.type != "cuda":
        return
    name, capability = torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device)
    version = ".".join(map(str, capability))
    try:
        torch.zeros(1, device=device).add_(1).item()
    except RuntimeError as error:
        raise UnavailableError(
            f"torch {torch.__version__} cannot compute on the {name} (compute capability "
            f"{version}, where it knows {', '.join(torch.cuda.get_arch_list())}): "
            f"{str(error).splitlines()[0]}; install a torch for that GPU, or take a profile "
            "without GPUs"
        ) from error
    if options.precision != "float32" and capability < SHORT_CAPABILITY:
        raise OptionsError(
            f"precision {options.precision}: the {name} (compute capability {version}) has no such "
            "arithmetic, which begins with 8.0; give --precision float32"
        )


def usable_device(name: str) -> torch.device:
    """The device of a name such as "cpu" or "cuda:0".

    Raises:
        UnavailableError: torch does not see that GPU.
    """
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UnavailableError(
            f"Spark gave {name}, but torch sees no GPU there; install its CUDA build, or take a "
            "profile without GPUs"
        )
    if device.type == "cuda" and device.index >= torch.cuda.device_count():
        raise UnavailableError(
            f"Spark gave {name}, but torch sees {torch.cuda.device_count()} GPUs there; does the "
            "Worker's CUDA_VISIBLE_DEVICES hide it?"
        )
    return device


@contextlib.contextmanager
def convolutions(precision: Precision, same_shapes: bool = False) -> Iterator[None]:
    """Let a GPU's convolutions of float32 compute in it, or where the precision says so in TF32.

    Matrix products, which make the low resolution to whole grey levels, are never in TF32.

    Args:
        precision: of a training.
        same_shapes: few shapes follow, each often: the fastest algorithm is searched for each.
    """
    cudnn = torch.backends.cudnn
    with cudnn.flags(
        enabled=cudnn.enabled,
        benchmark=same_shapes,
        deterministic=cudnn.deterministic,
        allow_tf32=precision != "float32",
    ):
        yield


def describe_gpu(device: torch.device) -> dict[str, str | float] | None:
    """Name, memory in GiB, compute capability and driver of a GPU; None of a CPU."""
    if device.type != "cuda":
        return None
    properties = torch.cuda.get_device_properties(device)
    return {
        "name": properties.name,
        "memory_gib": round(properties.total_memory / 2**30, 1),
        "capability": f"{properties.major}.{properties.minor}",
        "driver": _driver_version(),
    }


def _driver_version() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.split("\n")[0].strip() or "unknown"


@contextlib.contextmanager
def explaining_memory(ranks: Ranks, options: Recipe) -> Iterator[None]:
    """Turn what torch says when a GPU's memory is full into an error that names ways out.

    Raises:
        UnavailableError: the memory was full; to try again would lead to the same.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise UnavailableError(
            f"rank {ranks.rank}: {_described(ranks.device)} has too little memory for "
            f"{options.batch_size // ranks.world_size} crops of {options.crop_size} pixels a step; "
            "give a smaller --batch-size, more ranks, or --precision bf16"
        ) from error


def _described(device: torch.device) -> str:
    if device.type != "cuda":
        return f"the {device}"
    size = torch.cuda.get_device_properties(device).total_memory / 2**30
    return f"the {torch.cuda.get_device_name(device)} ({device}, {size:.0f} GiB)"
