"""Write conf/locked/*.txt anew: every package that pyproject.toml leads to, with its checksums.

    python scripts/lock.py [options of uv pip compile, such as --upgrade-package NAME]

Versions stay as they are unless pyproject.toml or an option asks for others. uv is the one that
scripts/setup.sh has fetched, or that of the PATH.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKED = ROOT / "conf" / "locked"
OLDEST_PYTHON = "3.10"
CUDA = re.compile(r"(torch|torchvision|triton|nvidia-.*|cuda-.*)$")
"""PyTorch, and what only its build for NVIDIA's devices needs."""
OVERRIDDEN = re.compile(r'"((pyspark|numpy)==.*)",')
"""BigDL's packages name the versions of these that were the newest at their time."""
EXTRAS = ("test", "java", "uv")
HEADER = "# By scripts/lock.py; install with --no-deps.\n"


def main(options: list[str]) -> int:
    """Resolve, write one file per purpose, and return the exit code."""
    if {"-h", "--help"} & set(options):
        print((__doc__ or "").strip())
        return 0
    uv = ROOT / ".venv" / "uv" / "bin" / "uv"
    with tempfile.TemporaryDirectory() as folder:
        resolved, overrides = Path(folder, "resolved.txt"), Path(folder, "overrides.txt")
        # uv keeps the versions that it finds in the file that it is to write.
        resolved.write_text(
            "".join(path.read_text(encoding="utf-8") for path in sorted(LOCKED.glob("*.txt"))),
            encoding="utf-8",
        )
        declared = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        overrides.write_text(
            "".join(f"{match[1]}\n" for match in OVERRIDDEN.finditer(declared)), encoding="utf-8"
        )

        def resolve(*extras: str) -> Mapping[str, str]:
            subprocess.run(
                [
                    *(str(uv) if uv.exists() else "uv", "pip", "compile", "pyproject.toml"),
                    *("--quiet", "--universal", "--python-version", OLDEST_PYTHON),
                    *("--generate-hashes", "--no-annotate", "--no-header", "--no-emit-index-url"),
                    *("--no-emit-find-links", "--no-sources", "--override", str(overrides)),
                    *(f"--extra={extra}" for extra in extras),
                    *("--output-file", str(resolved), *options),
                ],
                cwd=ROOT,
                env={**os.environ, "UV_PYTHON_DOWNLOADS": "never"},
                check=True,
            )
            return _by_name(resolved.read_text(encoding="utf-8"))

        base = resolve()
        resolved_with = {extra: resolve(extra) for extra in EXTRAS}
    _write("cuda", (text for name, text in base.items() if CUDA.match(name)))
    _write("packages", (text for name, text in base.items() if not CUDA.match(name)))
    for extra, packages in resolved_with.items():
        _write(extra, (text for name, text in packages.items() if name not in base))
    return 0


def _by_name(text: str) -> Mapping[str, str]:
    """The entries of a requirements file: a package's lines for all Pythons, by its name."""
    entries: dict[str, str] = {}
    for entry in re.findall(r"^\w.*(?:\n .*)*\n", text, re.MULTILINE):
        name = re.split(r"[=\[ ]", entry, maxsplit=1)[0]
        entries[name] = entries.get(name, "") + entry
    return entries


def _write(name: str, entries: Iterable[str]) -> None:
    LOCKED.mkdir(exist_ok=True)
    (LOCKED / f"{name}.txt").write_text(HEADER + "".join(entries), encoding="utf-8")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except FileNotFoundError as error:
        sys.exit(f"lock: error: {error.filename}: {error.strerror}; set-up fetches uv")
    except subprocess.CalledProcessError as error:
        # uv has said why.
        sys.exit(error.returncode)
