"""Checkpoints of a training: written whole or not at all, and read only when whole.

Beside each checkpoint lies its checksum in the format of sha256sum. A checkpoint without one was
cut short; one that differs from it is damaged.
"""

import hashlib
import io
import logging
import pickle
from typing import Any, TypedDict

import torch
from torch import Tensor

from srgan import storage
from srgan.errors import BadDataError, MissingDataError
from srgan.listing import list_folder
from srgan.recipe import PhaseName

logger = logging.getLogger(__name__)

SUFFIX = ".pt"
CHECKSUM_SUFFIX = ".sha256"


class PhaseState(TypedDict):
    """What a phase goes on from."""

    networks: dict[str, dict[str, Any]]
    """State dicts by the networks' names; likewise of the optimisers."""
    average: dict[str, Tensor]
    """The state dict of the generator's moving average."""
    optimisers: dict[str, dict[str, Any]]


class _EarlierState(TypedDict, total=False):
    best_psnr_y: dict[str, float]
    """Instead of `best`."""


class TrainingState(PhaseState, _EarlierState):
    """What a checkpoint holds."""

    phase: PhaseName
    step: int
    """Steps of the phase that are done."""
    options: dict[str, Any]
    """Of the recipe that trained so far."""
    best: dict[str, tuple[str, float]]
    """Of each phase: a metric, and its value in the evaluation that was best."""
    learning_rate_factor: float
    rng: Tensor
    """torch's on the first rank."""


class Checkpoints:
    """The folder of a run's checkpoints, local or remote."""

    def __init__(self, folder: str, keep: int) -> None:
        """Use a folder, in which the newest checkpoints are kept, as many as keep says."""
        self._folder = folder
        self._keep = keep

    def save(self, phase_number: int, phase: str, step: int, state: TrainingState) -> str:
        """Save a state after a number of steps of a phase, drop old ones, return the path."""
        name = f"{phase_number}-{phase}-{step:09d}{SUFFIX}"
        buffer = io.BytesIO()
        torch.save(state, buffer)
        data = buffer.getvalue()
        path = storage.join(self._folder, name)
        # An older run's checksum must not lie beside the new file even for a moment.
        storage.remove(path + CHECKSUM_SUFFIX)
        storage.write_atomically(path, data)
        line = f"{hashlib.sha256(data).hexdigest()}  {name}\n"
        storage.write_atomically(path + CHECKSUM_SUFFIX, line.encode())
        for old in self._names()[self._keep :]:
            self._remove(old)
        return path

    def newest(self) -> bytes | None:
        """The newest whole checkpoint (for decode); None where there is none."""
        damaged: list[str] = []
        for name in self._names():
            data = self._read_whole(name)
            if data is not None:
                if damaged:
                    logger.warning("%s: damaged, so going on from %s", ", ".join(damaged), name)
                return data
            damaged.append(name)
        if damaged:
            logger.warning("%s: damaged, so starting over", ", ".join(damaged))
        return None

    def clear(self) -> None:
        """Remove all checkpoints."""
        for name in self._names():
            self._remove(name)

    def _names(self) -> list[str]:
        """Names of all checkpoints, the newest, that is the one of most steps, first."""
        if not storage.exists(self._folder):
            return []
        names = [file.name for file in list_folder(self._folder).files]
        return sorted((name for name in names if name.endswith(SUFFIX)), reverse=True)

    def _read_whole(self, name: str) -> bytes | None:
        path = storage.join(self._folder, name)
        try:
            checksum = storage.read_bytes(path + CHECKSUM_SUFFIX).split()[0].decode()
            data = storage.read_bytes(path)
        except (MissingDataError, IndexError, UnicodeDecodeError):
            return None
        return data if hashlib.sha256(data).hexdigest() == checksum else None

    def _remove(self, name: str) -> None:
        path = storage.join(self._folder, name)
        storage.remove(path)
        storage.remove(path + CHECKSUM_SUFFIX)


def decode(data: bytes) -> TrainingState:
    """The state in a checkpoint, on the CPU; tensors and plain values only, nothing executed.

    Raises:
        BadDataError: it holds something else.
    """
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise BadDataError(
            "the newest checkpoint holds more than tensors and plain values, so no training of "
            "this project has written it; delete it, or choose another --run-dir"
        ) from error
