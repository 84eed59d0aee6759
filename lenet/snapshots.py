"""Snapshots of a training: what it takes to go on after the last whole epoch.

    snapshots/epoch-0003/model.bigdl     the weights, in BigDL's own format
    snapshots/epoch-0003/velocity.npy    of the momentum, in the order of the weights
    snapshots/epoch-0003/state.json      epoch, iteration, history
    snapshots/epoch-0003/SHA256SUMS      of the others

A snapshot is made under a temporary name and renamed. DistriOptimizer's own checkpoints are not
used: it writes them in place, takes the newest by time stamp even if it is cut off, and looks
for them on local disks alone.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from bigdl.dllib.nn.layer import Layer, Model
from numpy.typing import NDArray
from py4j.protocol import Py4JJavaError

from lenet.errors import BadDataError, MissingDataError, TrainingFailedError

logger = logging.getLogger(__name__)

FOLDER = "snapshots"
MODEL_FILE = "model.bigdl"
VELOCITY_FILE = "velocity.npy"
STATE_FILE = "state.json"
SUMS_FILE = "SHA256SUMS"
KEEP = 3


def save_snapshot(
    run_folder: Path,
    network: Layer,
    velocity: NDArray[np.float32] | None,
    state: dict[str, Any],
) -> Path:
    """Write the snapshot of the epoch that `state["epoch"]` names; keep the newest KEEP.

    Args:
        run_folder: where.
        network: its weights are kept.
        velocity: of the momentum, None where the optimiser has none.
        state: what else it takes to go on.

    Raises:
        TrainingFailedError: it cannot be written; those before are left as they are.
    """
    folder = run_folder / FOLDER
    final = folder / f"epoch-{state['epoch']:04d}"
    temporary = folder / f".{final.name}"
    try:
        folder.mkdir(exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        save_model(network, temporary / MODEL_FILE)
        if velocity is not None:
            np.save(temporary / VELOCITY_FILE, velocity)
        text = json.dumps(state, indent=2, allow_nan=False) + "\n"
        (temporary / STATE_FILE).write_text(text, encoding="utf-8")
        sums = [f"{_sha256(file)}  {file.name}\n" for file in sorted(temporary.iterdir())]
        (temporary / SUMS_FILE).write_text("".join(sums), encoding="utf-8")
        for file in temporary.iterdir():
            with open(file, "rb") as opened:
                os.fsync(opened.fileno())
        shutil.rmtree(final, ignore_errors=True)
        os.rename(temporary, final)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise TrainingFailedError(
            f"cannot write {final}: {error.strerror or error}; make room, then run the same "
            "command again to continue"
        ) from error
    for old in _by_epoch(run_folder)[KEEP:]:
        shutil.rmtree(old)
    return final


def save_model(network: Layer, path: Path) -> None:
    """Write a network in BigDL's own format.

    Raises:
        OSError: it cannot be written.
    """
    try:
        network.saveModel(str(path), over_write=True)
    except Py4JJavaError as error:
        cause = error.java_exception
        while cause.getCause() is not None:
            cause = cause.getCause()
        raise OSError(f"{path}: {cause.getMessage()}") from error
    # Hadoop's local file system leaves a checksum beside it, which a copied file would not match.
    path.with_name(f".{path.name}.crc").unlink(missing_ok=True)


def newest_snapshot(run_folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The newest whole snapshot and its state; a damaged one is named in the log and passed."""
    for folder in _by_epoch(run_folder):
        if is_whole(folder):
            return folder, json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
        logger.warning("%s is damaged (checksum); looking for the one before", folder)
    return None


def is_whole(folder: Path) -> bool:
    """Whether every file of a snapshot has the checksum noted for it."""
    try:
        lines = (folder / SUMS_FILE).read_text(encoding="utf-8").splitlines()
        sums = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
        present = {file.name for file in folder.iterdir()} - {SUMS_FILE}
        return {MODEL_FILE, STATE_FILE} <= present and sums == {
            name: _sha256(folder / name) for name in present
        }
    except (OSError, ValueError):
        return False


def load_velocity(snapshot: Path) -> NDArray[np.float32] | None:
    """The velocity in a whole snapshot, shape (parameters,); None where it has none."""
    file = snapshot / VELOCITY_FILE
    return np.load(file, allow_pickle=False) if file.exists() else None


def load_model(path: str) -> Layer:
    """The network in a run folder, a snapshot folder or a file that BigDL's saveModel wrote.

    Java-serialised checkpoints (DistriOptimizer's own `model.N`) are refused: to read one is to
    run whatever code it names.

    Raises:
        MissingDataError: nothing there.
        BadDataError: the file is no BigDL model.
    """
    file = _model_file(Path(path))
    try:
        with open(file, "rb") as opened:
            head = opened.read(4)
    except OSError as error:
        raise MissingDataError(f"{path}: {error.strerror}") from error
    if head[:2] == b"\xac\xed":
        raise BadDataError(
            f"{file} is a Java-serialised checkpoint, which can run code when it is read; "
            "save the model with saveModel instead"
        )
    try:
        return Model.loadModel(str(file))
    except Exception as error:
        raise BadDataError(f"{file} is no model that BigDL's saveModel wrote") from error


def _model_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    if (path / MODEL_FILE).is_file():
        return path / MODEL_FILE
    found = newest_snapshot(path)
    if found is None:
        raise MissingDataError(
            f"{path}: neither {MODEL_FILE} nor a whole snapshot in it; name a run folder, "
            "a snapshot or a model file"
        )
    return found[0] / MODEL_FILE


def _by_epoch(run_folder: Path) -> list[Path]:
    """The snapshot folders, the highest epoch first."""
    folder = run_folder / FOLDER
    names = os.listdir(folder) if folder.is_dir() else []
    found = [name for name in names if re.fullmatch(r"epoch-\d{4,}", name)]
    return [folder / name for name in sorted(found, key=lambda name: -int(name[6:]))]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
