"""Data sets that fetch_data.py takes from several packages, Debian's among them.

Each part of such a data set is a folder of it, and names the package that holds its files. Debian's
versions differ between releases; the checksums decide whether one will do. No package is installed
or unpacked to paths of its own: its tar is read, by the base names of the files wanted.
"""

from __future__ import annotations

import logging
import os
import shutil
import struct
import subprocess
import tarfile
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from fetching.sources import CHUNK, MAX_BYTES, Read, Source, find_sources
from jobs.runtime.errors import UnavailableError
from lenet.errors import BadDataError

MAX_UNPACKED = 1 << 30
"""The largest of the catalog unpacks to 150 MB."""
KINDS = ("mirror", "wheel", "deb", "auto")
TAR_ERRORS = (tarfile.TarError, EOFError, ValueError, OverflowError)
"""What tarfile raises on archives that are damaged or made up."""
NODE = struct.Struct(">IH4xI")
"""A file or folder in a Qt resource file: where its name is, what it is, where its content is."""
logger = logging.getLogger("fetch_data")


def find_parts(entry: dict[str, Any], where: str) -> list[Source]:
    """The sources of all parts of a catalog entry that `where` stands for, in the order to try.

    Raises:
        MissingDataError: `where` is no kind of source, no folder and no file.
    """
    parts: dict[str, dict[str, Any]] = entry["parts"]
    if where in KINDS:
        found = []
        for name, part in parts.items():
            sources = find_sources(part, where)
            if "deb" in part and where in ("deb", "auto"):
                sources.append(Source(part["deb"], partial(_open_package, part["deb"])))
            found += [replace(source, folder=f"{name}/") for source in sources]
        return found
    debs = [
        Source(str(path), partial(open_deb, path), folder=f"{name}/")
        for name, part in parts.items()
        for path in _debs_of(part, Path(where))
    ]
    return debs if debs and Path(where).is_file() else [*debs, *find_sources(entry, where)]


def _debs_of(part: dict[str, Any], where: Path) -> list[Path]:
    """The packages in the folder `where`, or `where` itself, that hold this part."""
    if "deb" not in part:
        return []
    pattern = f"{part['deb']}_*.deb"
    return [where] if where.is_file() and where.match(pattern) else sorted(where.glob(pattern))


@contextmanager
def _open_package(package: str) -> Iterator[Read]:
    apt = shutil.which("apt-get")
    if apt is None:
        raise UnavailableError(f"{package}: a package of Debian's, and apt-get is not here")
    with tempfile.TemporaryDirectory() as folder:
        logger.info("downloading the Debian package %s ...", package)
        done = subprocess.run(
            [apt, "download", "--quiet", package],
            cwd=folder,
            env={**os.environ, "LC_ALL": "C"},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        debs = list(Path(folder).glob("*.deb"))
        if done.returncode or not debs:
            reason = (done.stderr.strip().splitlines() or ["apt-get download failed"])[-1]
            raise UnavailableError(f"{package}: {reason}")
        with open_deb(debs[0]) as read:
            yield read


@contextmanager
def open_deb(path: Path) -> Iterator[Read]:
    """Read the files of a package of Debian's, and those in its Qt resource files."""
    with tempfile.TemporaryFile() as file:
        _write_tar(path, file)
        try:
            archive = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115
            # A link could only lead to a file that has an entry of its own.
            infos = list(filter(tarfile.TarInfo.isreg, archive))
        except TAR_ERRORS as error:
            raise BadDataError(f"{path}: damaged ({error})") from error
        members = defaultdict(list)
        for info in infos:
            members[PurePosixPath(info.name).name].append((info, slice(None)))
            if info.name.endswith(".rcc"):
                content = _content(str(path), archive, info)
                for name, part in qt_resources(f"{path}:{info.name}", content):
                    members[name].append((info, part))

        def read(name: str) -> Iterator[bytes]:
            for info, part in members.get(PurePosixPath(name).name, []):
                yield _content(str(path), archive, info)[part]

        with archive:
            yield read


def _write_tar(path: Path, file: IO[bytes]) -> None:
    dpkg = shutil.which("dpkg-deb")
    if dpkg is None:
        raise UnavailableError(f"{path}: a package of Debian's, and dpkg-deb is not here")
    with tempfile.TemporaryFile() as errors:
        # An absolute path cannot be taken for an option.
        command = [dpkg, "--fsys-tarfile", str(path.absolute())]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as unpacking:
            assert unpacking.stdout is not None
            while chunk := unpacking.stdout.read(CHUNK):
                if file.tell() + len(chunk) > MAX_UNPACKED:
                    unpacking.kill()
                    raise BadDataError(f"{path}: unpacks to more than {MAX_UNPACKED} bytes")
                file.write(chunk)
        if unpacking.returncode:
            errors.seek(0)
            reason = errors.read().decode(errors="replace").strip() or "dpkg-deb failed"
            raise BadDataError(f"{path}: damaged or cut off ({reason.splitlines()[-1]})")
    file.seek(0)


def _content(title: str, archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    where = f"{title}:{PurePosixPath(info.name).name}"
    if info.size > MAX_BYTES:
        raise BadDataError(f"{where}: more than {MAX_BYTES} bytes")
    try:
        stream = archive.extractfile(info)
        content = b"" if stream is None else stream.read()
    except TAR_ERRORS as error:
        raise BadDataError(f"{where}: damaged or cut off ({error})") from error
    if len(content) != info.size:
        raise BadDataError(f"{where}: {len(content)} of {info.size} bytes are there")
    return content


def qt_resources(where: str, content: bytes) -> Iterator[tuple[str, slice]]:
    """Name and place of each file of a Qt resource file (.rcc) that is stored as it is.

    GCompris keeps its pictures in such files. The tree of names ends the file, and looking at each
    node of it spares following a tree that may lead in circles.

    Raises:
        BadDataError: the file is damaged.
    """
    try:
        magic, version, nodes, data, names = struct.unpack_from(">4s4I", content)
        if magic != b"qres" or not 1 <= version <= 3:
            raise BadDataError(f"{where}: no Qt resource file of version 1 to 3")
        # Later versions add the time of change.
        size = NODE.size if version == 1 else NODE.size + 8
        for node in range(nodes, len(content) - size + 1, size):
            name, flags, start = NODE.unpack_from(content, node)
            # Anything else is compressed, or a folder.
            if flags == 0:
                (letters,) = struct.unpack_from(">H", content, names + name)
                # Four bytes between are the name's hash.
                text = content[names + name + 6 : names + name + 6 + 2 * letters]
                (length,) = struct.unpack_from(">I", content, data + start)
                first = data + start + 4
                yield text.decode("utf-16-be", "replace"), slice(first, first + length)
    except struct.error as error:
        raise BadDataError(f"{where}: damaged or cut off ({error})") from error
