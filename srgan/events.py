"""TensorBoard events of a run; TensorBoard writes locally only, remote folders get copies."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from fsspec.implementations.local import LocalFileSystem
from torch.utils.tensorboard import SummaryWriter

from srgan import storage


class EventLog:
    """Curves and pictures of a run, in its folder "tensorboard"."""

    def __init__(self, run_dir: str, first_step: int) -> None:
        """Write on from first_step; later events of a broken run are discarded."""
        filesystem, path = storage.file_system(storage.join(run_dir, "tensorboard"))
        self._copy_to: str | None = None
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        if not isinstance(filesystem, LocalFileSystem):
            self._copy_to = storage.join(run_dir, "tensorboard")
            self._temporary = tempfile.TemporaryDirectory(prefix="tensorboard-")
            path = self._temporary.name
        self._folder = Path(path)
        self._writer = SummaryWriter(path, purge_step=first_step)

    def add_scalars(self, values: Mapping[str, float], step: int) -> None:
        """A point of each curve, by its tag."""
        for tag, value in values.items():
            self._writer.add_scalar(tag, value, step)

    def add_picture(self, name: str, pixels: np.ndarray, step: int) -> None:
        """A picture, uint8, height x width x 3."""
        self._writer.add_image(name, pixels, step, dataformats="HWC")

    def flush(self) -> None:
        """Let others see what has been written so far."""
        self._writer.flush()
        if self._copy_to is not None:
            for file in self._folder.iterdir():
                storage.write_atomically(storage.join(self._copy_to, file.name), file.read_bytes())

    def close(self) -> None:
        """Flush and end."""
        self.flush()
        self._writer.close()
        if self._temporary is not None:
            self._temporary.cleanup()
