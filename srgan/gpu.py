"""What a GPU must be able to do, and what to say when its memory is too small."""

import contextlib
from collections.abc import Iterator

import torch

from srgan.distributed import Ranks
from srgan.errors import OptionsError, UnavailableError
from srgan.recipe import Recipe

BF16_CAPABILITY = (8, 0)
"""Ampere: older cards compute bfloat16 slower than float32, or not at all."""


def check_gpu(device: torch.device, options: Recipe) -> None:
    """See before a training that a GPU can do what the options ask for; of a CPU nothing is asked.

    Raises:
        OptionsError: it has no arithmetic in bfloat16.
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
    if options.precision == "bf16" and capability < BF16_CAPABILITY:
        raise OptionsError(
            f"precision bf16: the {name} (compute capability {version}) has no arithmetic in "
            "bfloat16, which begins with 8.0; give --precision float32"
        )


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
