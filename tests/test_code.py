"""The code itself: style, types, shell scripts, and who may import whom."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGES = {"lenet": {"jobs", "srgan"}, "srgan": {"jobs", "lenet"}}


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "check", "jobs", "lenet", "srgan", "scripts", "tests"),
        ("ruff", "format", "--check", "jobs", "lenet", "srgan", "scripts", "tests"),
        ("mypy",),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_style_and_types(command: tuple[str, ...]) -> None:
    done = run(sys.executable, "-m", *command)
    assert done.returncode == 0, done.stdout + done.stderr


def test_shell_scripts() -> None:
    scripts = [str(path) for path in [*ROOT.glob("scripts/**/*.sh"), ROOT / ".ci" / "run"]]
    assert len(scripts) >= 4
    done = run("shellcheck", "--external-sources", *scripts)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_packages_know_nothing_of_each_other(package: str) -> None:
    imported = set()
    for path in (ROOT / package).glob("**/*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.partition(".")[0])
    assert imported, "the package is empty"
    assert not imported & PACKAGES[package]


def test_every_entry_script_opens_with_its_command() -> None:
    for path in [*(ROOT / "jobs").glob("*.py"), *(ROOT / "scripts").glob("*.py")]:
        if path.name == "__init__.py":
            continue
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        assert path.name in docstring, path


def test_profiles_hold_only_what_a_person_decides() -> None:
    allowed = ("spark.master", "spark.driver.", "spark.executor.", "spark.cores.max", "spark.ui.")
    for path in Path(ROOT / "conf").glob("*.conf"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.strip() and not line.startswith("#"):
                assert line.startswith(allowed), f"{path.name}: {line}"
