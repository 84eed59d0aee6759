"""Write an archive of the classes that a job loads, from which later JVMs start sooner.

    python scripts/class_archive.py .venv/spark-classes.jsa

Called by scripts/setup.sh, for Java 17 (its class data sharing; Java 8 and 11 have none that
covers an application). A training of one iteration on generated digits shows which classes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from jobs.runtime.cluster_state import ROOT
from jobs.runtime.text import option_word
from lenet.idx import FILES, IMAGE_SIZE, write_images, write_labels

RECORDS = 64


def main(archive: str) -> int:
    """Run the training and return the exit code."""
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
        recording = f"-XX:ArchiveClassesAtExit={option_word(archive)}"
        options = f"{os.environ['SPARK_SUBMIT_OPTS']} {recording}"
        environment = {**os.environ, "SPARK_SUBMIT_OPTS": options}
        code = subprocess.run(command, env=environment, check=False).returncode
    return code or int(not Path(archive).exists())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
