"""The set-up says what it lacks, in one line, and ends with 69; what it installs is pinned."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from conftest import ROOT

# All that the set-up asks of a machine beside a Python.
TOOLS = (
    *("bash", "cat", "cksum", "cut", "dirname", "find", "grep", "head", "id", "ls", "mkdir"),
    *("rm", "sed", "sha256sum", "tail", "uname"),
)
DOCUMENTS = (
    *(ROOT / "README.md", ROOT / "README.ja.md", ROOT / "CONTRIBUTING.md"),
    *(ROOT / "scripts/README.md", ROOT / "srgan/weights/README.md"),
    *(ROOT / "docs").glob("*.md"),
)
NO_INDEX = "http://127.0.0.1:9/simple"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the set-up needs, without an environment."""
    folder = tmp_path / "check out"
    for name in ("scripts", "jobs", "lenet", "srgan", "conf"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder for the PATH, with no Python in it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in TOOLS:
        (folder / name).symlink_to(shutil.which(name) or name)
    return folder


def quickstart(
    checkout: Path, environment: Mapping[str, object]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "scripts/quickstart.sh"],
        cwd=checkout,
        env={name: str(value) for name, value in environment.items()},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def error_of(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of an end with 69."""
    assert done.returncode == 69, done.stdout + done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("setup: error: ")
    return line


def test_neither_python_nor_uv(checkout: Path, tools: Path) -> None:
    line = error_of(quickstart(checkout, {"PATH": tools}))
    assert "neither uv nor pip nor Python's venv module; install one of them" in line


def test_a_python_that_does_not_fit(checkout: Path, tools: Path) -> None:
    too_old = tools / "python2"
    too_old.write_text("#!/bin/sh\necho 2.7\n")
    too_old.chmod(0o755)
    line = error_of(quickstart(checkout, {"PATH": os.environ["PATH"], "PYTHON": too_old}))
    assert f"PYTHON={too_old} is Python 2.7, not Python 3.11, " in line


def test_no_network(checkout: Path) -> None:
    environment = {
        **{"PATH": os.environ["PATH"], "HOME": checkout, "PIP_CONFIG_FILE": os.devnull},
        **{"PIP_INDEX_URL": NO_INDEX, "PIP_NO_CACHE_DIR": 1, "UV_HTTP_RETRIES": 0},
    }
    assert "could not fetch uv" in error_of(quickstart(checkout, environment))
    own_uv = ROOT / ".venv" / "uv" / "bin" / "uv"
    if not own_uv.exists():
        pytest.skip("this checkout was not set up by scripts/setup.sh")
    (checkout / ".venv" / "uv" / "bin").mkdir(parents=True, exist_ok=True)
    (checkout / ".venv" / "uv" / "bin" / "uv").symlink_to(own_uv)
    line = error_of(quickstart(checkout, environment))
    assert re.search("could not install the packages: .*(refused|connect)", line, re.IGNORECASE)


def test_a_python_by_uv(checkout: Path, tools: Path, tmp_path: Path) -> None:
    """uv unpacks this very Python from a folder, as it would that of its own site."""
    own_uv = ROOT / ".venv" / "uv" / "bin" / "uv"
    if not own_uv.exists():
        pytest.skip("this checkout was not set up by scripts/setup.sh")
    (tools / "uv").symlink_to(own_uv)
    wanted = (checkout / "conf" / "versions").read_text()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    (checkout / "conf" / "versions").write_text(f'{wanted}\nPYTHONS="{version}"\n')
    found = tmp_path / "python.tar.gz"
    _pack_this_python(found, version)
    listing = tmp_path / "pythons.json"
    number = ".".join(map(str, sys.version_info[:3]))
    listing.write_text(
        json.dumps(
            {
                f"cpython-{number}-linux-x86_64-gnu": {
                    **{"name": "cpython", "arch": {"family": "x86_64", "variant": None}},
                    **{"os": "linux", "libc": "gnu", "prerelease": "", "variant": None},
                    **dict(zip(("major", "minor", "patch"), sys.version_info[:3], strict=True)),
                    **{"url": found.as_uri(), "build": "20260101"},
                    "sha256": hashlib.sha256(found.read_bytes()).hexdigest(),
                }
            }
        )
    )
    environment = {
        **{"PATH": tools, "HOME": tmp_path, "UV_PYTHON_DOWNLOADS_JSON_URL": listing},
        **{"UV_DEFAULT_INDEX": NO_INDEX, "UV_HTTP_RETRIES": 0, "PIP_CONFIG_FILE": os.devnull},
        **{"LD_LIBRARY_PATH": sysconfig.get_config_var("LIBDIR")},
    }
    # It gets as far as the packages.
    assert "could not install the packages" in error_of(quickstart(checkout, environment))
    python = checkout / ".venv" / "bin" / "python"
    assert python.resolve().is_relative_to(checkout / ".venv" / "python")
    environment["UV_PYTHON_DOWNLOADS_JSON_URL"] = tmp_path / "nowhere.json"
    shutil.rmtree(checkout / ".venv")
    line = error_of(quickstart(checkout, environment))
    assert "uv could not fetch one: " in line and "name it with PYTHON=" in line


def _pack_this_python(target: Path, version: str) -> None:
    """A Python with its standard library, as uv expects it: python/bin, python/lib."""
    library = Path(sysconfig.get_path("stdlib"))

    def slim(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        left_out = {"site-packages", "dist-packages", "test", "__pycache__", "idlelib"}
        return None if left_out & set(Path(member.name).parts) else member

    with tarfile.open(target, "w:gz", compresslevel=1) as archive:
        archive.add(Path(sys.executable).resolve(), f"python/bin/python{version}")
        archive.add(library, f"python/lib/python{version}", filter=slim)


def test_settings_of_pip_are_given_to_uv(tmp_path: Path) -> None:
    config = tmp_path / "pip.conf"
    config.write_text(
        "[global]\nfind-links =\n  /a\n  /b\n[install]\nextra-index-url = file:///c\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", ROOT / "scripts" / "setting_up" / "uv_settings.py"],
        env={
            **{"HOME": str(tmp_path), "PIP_CONFIG_FILE": str(config)},
            **{"PIP_INDEX_URL": "file:///d", "UV_DEFAULT_INDEX": "file:///e"},
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert {"export UV_FIND_LINKS=/a,/b", "export UV_INDEX=file:///c"} <= set(
        done.stdout.splitlines()
    )
    assert "UV_DEFAULT_INDEX" not in done.stdout


def test_what_is_declared_is_locked() -> None:
    """python scripts/lock.py was run after the last change of pyproject.toml."""
    declared = re.findall(r'^    "([\w-]+)==([^;"]+)', (ROOT / "pyproject.toml").read_text(), re.M)
    assert len(declared) > 30
    locked = "".join(path.read_text() for path in (ROOT / "conf" / "locked").glob("*.txt"))
    missing = [pin for pin in declared if not re.search(rf"^{pin[0]}=={pin[1]}[ \\]", locked, re.M)]
    assert not missing
    entries = re.findall(r"^\w.*\n.*", locked, re.MULTILINE)
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in locked


def test_an_environment_that_is_there_is_left_alone() -> None:
    if not (ROOT / ".venv" / "setup.stamp").exists():
        pytest.skip("this checkout was not set up by scripts/setup.sh")
    done = subprocess.run(
        ["bash", ROOT / "scripts" / "setup.sh"],
        capture_output=True,
        text=True,
        timeout=5,
        check=True,
    )
    assert done.stdout == ""


def test_every_file_and_test_that_the_documents_name_is_there() -> None:
    folders = "|".join(("conf", "docs", "jobs", "lenet", "scripts", "srgan", "tests"))
    tests = {path.name: path.read_text(encoding="utf-8") for path in ROOT.glob("tests/*.py")}
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for path in re.findall(rf"`((?:{folders})/[\w./-]+)`", text):
            assert (ROOT / path).exists(), f"{document.name}: {path}"
        for name, test in re.findall(r"`(?:tests/)?(test_\w+\.py)(?:::(test_\w+))?`", text):
            assert name in tests, f"{document.name}: {name}"
            assert f"def {test}" in tests[name], f"{document.name}: {name}::{test}"
        for test in re.findall(r"`(test_\w+)`", text):
            assert any(f"def {test}" in test_file for test_file in tests.values()), test


def test_every_link_of_the_documents_leads_somewhere() -> None:
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for path, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text):
            target = document.parent / path if path else document
            assert target.exists(), f"{document.name}: {path}"
            if anchor:
                headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.M)
                names = [re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings]
                assert anchor in names, f"{document.name}: {path}#{anchor}"
