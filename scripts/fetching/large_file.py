"""One file too large to be held in memory, for fetch_data.py.

It is read in pieces, from the web or from a folder, and only takes its name once it is whole.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from fetching.sources import TIMEOUT_SECONDS
from jobs.runtime.errors import UnavailableError, one_line
from jobs.runtime.files import open_atomically
from lenet.errors import BadDataError, MissingDataError

PIECE = 1 << 20
logger = logging.getLogger("fetch_data")


def fetch_large_file(entry: dict[str, Any], target: Path, where: str) -> None:
    """Put the file of a catalog entry into the folder `target`, unless it is there and whole.

    Args:
        entry: its `file` is the address, `bytes` the size, `sha256_begins` the first digits of the
            checksum, which is all that torchvision says of its files: enough for damage.
        where: auto or mirror for the address; or the file itself, or a folder that holds it.

    Raises:
        BadDataError: what came is damaged.
        MissingDataError: `where` is not there.
        UnavailableError: the address does not answer.
    """
    url = entry["file"]
    path = target / url.rpartition("/")[2]
    if _is_whole(path, entry):
        logger.info("%s: there and whole", path)
        return
    from_web = where in ("auto", "mirror")
    source = url if from_web else _find(where, path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_atomically(path) as file:
            _copy(_from_web(url) if from_web else _from_file(source), file, entry, source)
    except (BadDataError, UnavailableError) as error:
        place = "elsewhere" if from_web else f"from {url}"
        advice = f"download it {place} and give it by --source FILE or --source DIR"
        raise type(error)(f"{one_line(error)}; {advice}") from error
    logger.info("%s: there and whole, from %s", path, source)
    logger.info("%s; licence: %s", entry["title"], entry["licence"])


def _find(where: str, name: str) -> str:
    folder = Path(where)
    places = [folder / name, *sorted(folder.glob(f"*/{name}"))] if folder.is_dir() else [folder]
    for place in places:
        if place.is_file():
            return str(place)
    raise MissingDataError(f"--source {where}: no such file, nor a folder that holds {name}")


def _is_whole(path: Path, entry: dict[str, Any]) -> bool:
    try:
        if path.stat().st_size != entry["bytes"]:
            return False
        digest = hashlib.sha256()
        for piece in _from_file(str(path)):
            digest.update(piece)
    except OSError:
        return False
    return digest.hexdigest().startswith(entry["sha256_begins"])


def _copy(pieces: Iterator[bytes], file: IO[bytes], entry: dict[str, Any], source: str) -> None:
    digest, size, wanted = hashlib.sha256(), 0, entry["bytes"]
    # disable=None: no bar where stderr is no terminal.
    with tqdm(total=wanted, unit="B", unit_scale=True, desc=source, disable=None) as bar:
        for piece in pieces:
            digest.update(piece)
            size += len(piece)
            if size > wanted:
                raise BadDataError(f"{source}: more than the {wanted} bytes it should have")
            file.write(piece)
            bar.update(len(piece))
    if size < wanted:
        raise BadDataError(f"{source}: {size} of {wanted} bytes came, the rest was cut off")
    if not digest.hexdigest().startswith(entry["sha256_begins"]):
        raise BadDataError(f"{source}: damaged, its checksum is not {entry['sha256_begins']}...")


def _from_web(url: str) -> Iterator[bytes]:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:
            while piece := response.read(PIECE):
                yield piece
    except (OSError, http.client.HTTPException) as error:
        raise UnavailableError(f"{url}: {getattr(error, 'reason', error)}") from error


def _from_file(path: str) -> Iterator[bytes]:
    try:
        with open(path, "rb") as file:
            while piece := file.read(PIECE):
                yield piece
    except OSError as error:
        raise MissingDataError(f"{path}: {error.strerror}") from error
