"""Try what scripts/setup.sh has made, and write an archive of the classes that a job loads, from
which later JVMs start sooner.

    python scripts/try_environment.py [.venv/spark-classes.jsa]

A training of one iteration on generated digits shows which classes (Java 8 and 11 can write no
archive that covers an application). Meanwhile the libraries that it leaves alone are imported: one
that does not fit this machine says so now, and they are compiled for users who may not write here.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile

import numpy as np

from jobs.runtime.files import ROOT
from jobs.runtime.text import option_word
from lenet.idx import FILES, IMAGE_SIZE, write_images, write_labels

RECORDS = 64
LIBRARIES = (
    "av",
    "flask_limiter",
    "hdfs_native",
    "jinja2",
    "matplotlib.pyplot",
    "pillow_heif",
    "pyvips",
    "safetensors.torch",
    "scipy.stats",
    "torch.distributed",
    "torch.utils.tensorboard",
    "flask",
    "waitress",
    "srgan.upscaling.foreign_networks",  # spandrel and torchvision
)


def main(archive: str | None) -> int:
    """Run the training, import the libraries, and return the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        for images, labels in FILES.values():
            blank = np.zeros((RECORDS, IMAGE_SIZE, IMAGE_SIZE), np.uint8)
            write_images(os.path.join(folder, images), blank)
            write_labels(os.path.join(folder, labels), np.zeros(RECORDS, np.uint8))
        command = [
            *("spark-submit", "--properties-file", str(ROOT / "conf" / "local.conf")),
            *("--master", "local[2]", str(ROOT / "jobs" / "train_lenet.py")),
            *("--data", folder, "--batch-size", str(RECORDS), "--epochs", "1"),
            *("--run-dir", os.path.join(folder, "run")),
        ]
        options = os.environ["SPARK_SUBMIT_OPTS"]
        if archive is not None:
            options += f" -XX:ArchiveClassesAtExit={option_word(archive)}"
        environment = {**os.environ, "SPARK_SUBMIT_OPTS": options}
        with subprocess.Popen(command, env=environment) as training:
            for library in LIBRARIES:
                importlib.import_module(library)
    return training.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else None))
