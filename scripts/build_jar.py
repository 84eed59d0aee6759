"""Compile lenet/jvm/*.java into lenet/jvm/lenet.jar; needs a javac of Java 9 or later.

    python scripts/build_jar.py [FILE]

The jar is in the repository, so only who changes a source runs this (on Debian javac comes with
openjdk-17-jdk-headless). The same sources and the same javac give the same bytes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pyspark
from bigdl.dllib.utils.engine import get_bigdl_jars

from jobs.runtime.command import command
from jobs.runtime.errors import EXIT_OK, JobError, UnavailableError
from lenet.bigdl import JAR

SOURCES = JAR.parent
RELEASE = "8"
"""Java 8, the oldest that the jobs run on."""
EPOCH = (1980, 1, 1, 0, 0, 0)


def compile_classes(folder: Path) -> None:
    """Compile all sources into a folder.

    Raises:
        JobError: a source has a mistake, which javac has printed.
        UnavailableError: there is no javac.
    """
    spark = Path(pyspark.__path__[0]) / "jars" / "*"
    class_path = ":".join([*sorted(get_bigdl_jars()), str(spark)])
    words = [
        *("javac", "--release", RELEASE, "-proc:none", "-g:none", "-nowarn", "-Xlint:-options"),
        *("-XDsuppressNotes", "-cp", class_path, "-d", folder, *sorted(SOURCES.glob("*.java"))),
    ]
    try:
        subprocess.run([str(word) for word in words], check=True)
    except FileNotFoundError:
        raise UnavailableError("no javac here; on Debian: openjdk-17-jdk-headless") from None
    except subprocess.CalledProcessError:
        raise JobError(f"javac refuses {SOURCES}; nothing was written") from None


def write_jar(folder: Path, jar: Path) -> None:
    """Pack compiled classes, always in the same order and with the same date."""
    with zipfile.ZipFile(jar, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*.class")):
            entry = zipfile.ZipInfo(str(file.relative_to(folder)), EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, file.read_bytes())


@command("build_jar")
def main(argv: Sequence[str] | None = None) -> int:
    """Build the jar and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("jar", metavar="FILE", nargs="?", type=Path, default=JAR, help="to write")
    jar = parser.parse_args(argv).jar
    with tempfile.TemporaryDirectory() as folder:
        compile_classes(Path(folder))
        write_jar(Path(folder), jar)
    print(f"{jar}: {jar.stat().st_size} bytes")
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
