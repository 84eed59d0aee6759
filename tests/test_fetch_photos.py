"""fetch_data.py with a data set out of several packages, Debian's among them: none is trusted."""

from __future__ import annotations

import csv
import hashlib
import http.server
import io
import os
import shutil
import struct
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from test_fetch_data import fetch
from test_fetch_images import files_below, names_of

import fetch_data
from fetching import debian_source
from jobs.runtime.errors import UnavailableError
from lenet.errors import BadDataError, MissingDataError

DEB = "pictures-data_1.0_all.deb"
CONTENTS = {
    "animals/cat.png": b"cat" * 999,
    "animals/dog.webp": b"dog" * 99,
    "more/house.jpg": b"h",
}
ENTRY: dict[str, Any] = {
    "title": "Pictures",
    "licence": "CC0",
    "parts": {"animals": {"deb": "pictures-data"}, "more": {"deb": "more-data"}},
}
needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is not here")


def resource(files: dict[str, bytes], version: int = 3) -> bytes:
    """A Qt resource file with these files in one folder, and one that is compressed."""
    packed = {name: (0, content) for name, content in files.items()} | {"cat.png": (1, b"packed")}
    header = 24 if version == 3 else 20
    names = data = b""
    nodes = struct.pack(">IHII", 0, 2, len(packed), 1) + bytes(8 * (version > 1))
    for name, (flags, content) in packed.items():
        nodes += struct.pack(">IHHHI", len(names), flags, 0, 0, len(data))
        nodes += bytes(8 * (version > 1))
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
        data += struct.pack(">I", len(content)) + content
    start = header + len(data) + len(names)
    places = struct.pack(">IIII", version, start, header, header + len(data))
    return b"qres" + places + bytes(header - 20) + data + names + nodes


def deb_of(path: Path, members: list[tuple[tarfile.TarInfo, bytes]], cut: int = 0) -> Path:
    """A package with any members, which dpkg-deb would not make."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    parts = {"debian-binary": b"2.0\n", "control.tar": bytes(10240), "data.tar": data.getvalue()}
    packed = b"!<arch>\n"
    for name, content in parts.items():
        packed += (
            f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode() + content
        )
    path.write_bytes(packed[: len(packed) - cut])
    return path


def file(name: str, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
    return tarfile.TarInfo(name), content


def read_all(path: Path, name: str) -> list[bytes]:
    with debian_source.open_deb(path) as read:
        return list(read(name))


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for the data set `pictures`, whose checksums are known."""
    sums = [f"{hashlib.md5(content).hexdigest()}  {name}" for name, content in CONTENTS.items()]
    (tmp_path / "data" / "checksums").mkdir(parents=True)
    (tmp_path / "data" / "checksums" / "pictures.md5").write_text("\n".join(sums))
    monkeypatch.setattr(fetch_data, "DATA", tmp_path / "data")
    return tmp_path / "target"


@pytest.fixture
def deb(tmp_path: Path) -> Path:
    """A package as Debian makes them: a picture, and another inside of a Qt resource file."""
    root = tmp_path / "package"
    for folder in ("DEBIAN", "usr/share/pictures"):
        (root / folder).mkdir(parents=True)
    control = {"Package": "pictures-data", "Version": "1.0", "Architecture": "all"}
    control |= {"Maintainer": "Nobody <nobody@example.org>", "Description": "Pictures"}
    lines = "".join(f"{key}: {value}\n" for key, value in control.items())
    (root / "DEBIAN" / "control").write_text(lines)
    (root / "usr/share/pictures/cat.png").write_bytes(CONTENTS["animals/cat.png"])
    packed = resource({"dog.webp": CONTENTS["animals/dog.webp"]})
    (root / "usr/share/pictures/animals.rcc").write_bytes(packed)
    (tmp_path / "debs").mkdir()
    command = ["dpkg-deb", "--root-owner-group", "-b", str(root), str(tmp_path / "debs" / DEB)]
    subprocess.run(command, check=True, capture_output=True)
    return tmp_path / "debs" / DEB


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An apt-get that has the packages of the folder `debs`, and a list of those asked for."""
    asked = tmp_path / "asked"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "apt-get").write_text(
        f'#!/bin/sh\necho "$3" >> {asked}\ncp {tmp_path}/debs/"$3"_*.deb . 2> /dev/null && exit\n'
        'echo "E: Unable to locate package $3" >&2\nexit 100\n'
    )
    (tmp_path / "bin" / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return asked


@needs_dpkg
def test_each_part_comes_from_its_package(deb: Path, apt: Path, target: Path) -> None:
    deb_of(deb.parent / "more-data_2_all.deb", [file("./house.jpg", b"h")])
    fetch_data.fetch("pictures", ENTRY, target, "auto")
    assert {name: (target / name).read_bytes() for name in files_below(target)} == CONTENTS
    assert apt.read_text() == "pictures-data\nmore-data\n"
    (target / "more" / "house.jpg").unlink()
    fetch_data.fetch("pictures", ENTRY, target, "deb")
    assert apt.read_text() == "pictures-data\nmore-data\nmore-data\n"


@needs_dpkg
def test_a_package_that_apt_has_not_is_named_and_the_rest_comes(
    deb: Path, apt: Path, target: Path
) -> None:
    with pytest.raises(UnavailableError, match="more-data: E: Unable to locate package more-data"):
        fetch_data.fetch("pictures", ENTRY, target, "auto")
    assert files_below(target) == {"animals/cat.png", "animals/dog.webp"}


@needs_dpkg
def test_a_package_in_hand_gives_its_part(deb: Path, target: Path) -> None:
    with pytest.raises(MissingDataError, match=r"1 of 3 files are not in it: more/house"):
        fetch_data.fetch("pictures", ENTRY, target, str(deb))
    assert files_below(target) == {"animals/cat.png", "animals/dog.webp"}


@needs_dpkg
def test_a_folder_may_hold_packages_and_pictures(deb: Path, target: Path) -> None:
    (deb.parent / "house.jpg").write_bytes(CONTENTS["more/house.jpg"])
    fetch_data.fetch("pictures", ENTRY, target, str(deb.parent))
    assert files_below(target) == set(CONTENTS)


@needs_dpkg
def test_another_version_of_a_picture_is_refused(deb: Path, target: Path) -> None:
    deb_of(deb, [file("cat.png", b"another"), file("dog.webp", CONTENTS["animals/dog.webp"])])
    with pytest.raises(BadDataError, match="1 of 2 files damaged or cut off: animals/cat.png"):
        fetch_data.fetch("pictures", ENTRY, target, str(deb))
    assert files_below(target) == {"animals/dog.webp"}


@needs_dpkg
def test_members_land_by_base_names_only(tmp_path: Path, target: Path) -> None:
    cat, dog = CONTENTS["animals/cat.png"], CONTENTS["animals/dog.webp"]
    outside = tmp_path / "outside"
    outside.write_bytes(dog)
    link, device, folder = (tarfile.TarInfo(f"{n}/dog.webp") for n in ("link", "device", "folder"))
    link.type, link.linkname = tarfile.SYMTYPE, str(outside)
    device.type, folder.type = tarfile.CHRTYPE, tarfile.DIRTYPE
    hostile = [(link, b""), (device, b""), (folder, b""), file(f"{tmp_path}/evil", b"evil")]
    hostile += [file("small/cat.png", b"small"), file("../../cat.png", cat)]
    deb_of(tmp_path / DEB, hostile)
    before = files_below(tmp_path)
    with pytest.raises(MissingDataError, match="1 of 2 files missing: animals/dog.webp"):
        fetch_data.fetch("pictures", ENTRY, target, str(tmp_path / DEB))
    assert files_below(tmp_path) - before == {"target/animals/cat.png"}


@needs_dpkg
@pytest.mark.parametrize("content", [b"", b"no package\n" * 100, b"!<arch>\n", None])
def test_a_file_that_is_no_package_is_refused(
    tmp_path: Path, deb: Path, content: bytes | None
) -> None:
    path = tmp_path / "gcompris-qt-data_1_all.deb"
    path.write_bytes(deb.read_bytes()[:-100] if content is None else content)
    done = fetch("photos", "--to", tmp_path / "target", "--source", path)
    assert done.returncode == 65
    assert len(done.stderr.splitlines()) == 1
    assert str(path) in done.stderr
    assert not (tmp_path / "target").exists()


@needs_dpkg
def test_a_package_cut_off_or_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = [file("cat.png", bytes(1 << 20))]
    with pytest.raises(BadDataError, match=DEB):
        read_all(deb_of(tmp_path / DEB, members, cut=20000), "cat.png")
    whole = deb_of(tmp_path / DEB, members)
    assert read_all(whole, "cat.png") == [bytes(1 << 20)]
    monkeypatch.setattr(debian_source, "MAX_BYTES", (1 << 20) - 1)
    with pytest.raises(BadDataError, match="cat.png: more than 1048575 bytes"):
        read_all(whole, "cat.png")
    monkeypatch.setattr(debian_source, "MAX_UNPACKED", 1 << 19)
    with pytest.raises(BadDataError, match="unpacks to more than 524288 bytes"):
        read_all(whole, "cat.png")


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_resource_file_gives_what_is_stored_as_it_is(version: int) -> None:
    content = resource({"dog.webp": b"dog", "Käfer.webp": b""}, version)
    found = {name: content[part] for name, part in debian_source.qt_resources("a.rcc", content)}
    assert found == {"dog.webp": b"dog", "Käfer.webp": b""}


@needs_dpkg
def test_damaged_resource_files_are_refused(tmp_path: Path) -> None:
    whole = resource({"dog.webp": b"dog"})
    beyond = bytearray(whole)
    struct.pack_into(">I", beyond, 12, 1 << 31)
    for content in (b"", b"qres", b"text" + whole[4:], whole[:4] + bytes(4) + whole[8:], beyond):
        deb_of(tmp_path / DEB, [file("usr/animals.rcc", bytes(content))])
        with pytest.raises(BadDataError, match=r"animals\.rcc"):
            read_all(tmp_path / DEB, "dog.webp")
    # Every byte of it may be wrong: at worst a picture is missing or has another checksum.
    for at in range(len(whole)):
        content = whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]
        try:
            assert len(list(debian_source.qt_resources("a.rcc", content))) <= 2
        except BadDataError as error:
            assert "a.rcc" in str(error)


def test_without_apt_or_dpkg_a_line_says_so(tmp_path: Path) -> None:
    nowhere = {"PATH": str(tmp_path)}
    done = fetch("photos", "--to", tmp_path / "target", "--source", "deb", **nowhere)
    assert done.returncode == 69
    assert "palapeli-data: a package of Debian's, and apt-get is not here" in done.stderr
    assert "--source FILE.deb or --source DIR" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    (tmp_path / "palapeli-data_1_all.deb").write_bytes(b"")
    source = tmp_path / "palapeli-data_1_all.deb"
    done = fetch("photos", "--to", tmp_path / "target", "--source", source, **nowhere)
    assert done.returncode == 69
    assert len(done.stderr.splitlines()) == 1
    assert "dpkg-deb is not here" in done.stderr


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """The address of a folder `web`, over HTTP."""
    (tmp_path / "web").mkdir()
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "web")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_parts_may_be_archives_on_the_web_or_in_hand(
    tmp_path: Path, target: Path, web: str
) -> None:
    for part in ("animals", "more"):
        with zipfile.ZipFile(tmp_path / "web" / f"{part}.zip", "w") as archive:
            for name, content in CONTENTS.items():
                if name.startswith(part):
                    archive.writestr(f"{part}-1a2b3c/pictures/{Path(name).name}", content)
    parts = {part: {"archive": f"{web}/{part}.zip"} for part in ("animals", "more")}
    entry = ENTRY | {"parts": parts}
    fetch_data.fetch("pictures", entry, target, "auto")
    assert files_below(target) == set(CONTENTS)
    shutil.rmtree(target)
    with pytest.raises(MissingDataError, match=r"missing: more/house.jpg.*--source FILE\.zip"):
        fetch_data.fetch("pictures", entry, target, str(tmp_path / "web" / "animals.zip"))
    fetch_data.fetch("pictures", entry, target, str(tmp_path / "web" / "more.zip"))
    assert files_below(target) == set(CONTENTS)
    (tmp_path / "web" / "more.zip").unlink()
    (target / "more" / "house.jpg").unlink()
    with pytest.raises(UnavailableError, match=r"more\.zip: "):
        fetch_data.fetch("pictures", entry, target, "auto")


@pytest.mark.parametrize(
    ("dataset", "licences"),
    [
        ("photos", {"public domain", "CC0 1.0", "CC BY 2.0", "CC BY 3.0", "CC BY 4.0"}),
        ("varied", {"CC0 1.0", "CC BY 2.0", "unrestricted use"}),
    ],
)
def test_every_photograph_has_a_licence_that_allows_training(
    dataset: str, licences: set[str]
) -> None:
    with open(ROOT / "data" / f"{dataset}.csv", encoding="utf-8", newline="") as listed:
        rows = list(csv.DictReader(listed))
    assert [row["file"] for row in rows] == names_of(dataset)
    assert {row["licence"] for row in rows} == licences
    assert all(row["author"] for row in rows)
    # Sources are searched by base names, and pictures without their suffix become PNG files.
    assert len({Path(row["file"]).stem.lower() for row in rows}) == len(rows)
