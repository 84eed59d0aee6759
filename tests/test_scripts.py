"""The set-up says what it lacks, in one line, and ends with 69."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the set-up needs, without an environment."""
    folder = tmp_path / "check out"
    for name in ("conf", "scripts", "jobs", "lenet", "srgan"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder)
    return folder


def quickstart(checkout: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "scripts/quickstart.sh"],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_no_python(checkout: Path, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "dirname", "sha256sum", "cut", "cat"):
        (tools / name).symlink_to(shutil.which(name) or name)
    done = quickstart(checkout, {"PATH": str(tools)})
    assert done.returncode == 69, done.stderr
    assert done.stderr.strip().splitlines() == [
        "setup: error: no Python 3.10 or 3.11 found; install one, or name it with PYTHON=..."
    ]


def test_no_network(checkout: Path) -> None:
    nowhere = "http://127.0.0.1:9/simple"
    environment = {
        **{"PATH": os.environ["PATH"], "HOME": str(checkout)},
        **{"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": nowhere, "PIP_NO_CACHE_DIR": "1"},
    }
    done = quickstart(checkout, environment)
    assert done.returncode == 69, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert "could not install the packages (is there a network?)" in line


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


def test_every_link_of_the_documents_leads_somewhere() -> None:
    documents = [
        ROOT / "README.md",
        ROOT / "srgan/weights/README.md",
        *(ROOT / "docs").glob("*.md"),
    ]
    for document in documents:
        text = document.read_text(encoding="utf-8")
        for path, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text):
            target = document.parent / path if path else document
            assert target.exists(), f"{document.name}: {path}"
            if anchor:
                headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.M)
                names = [re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings]
                assert anchor in names, f"{document.name}: {path}#{anchor}"
