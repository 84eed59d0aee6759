"""A step, an evaluation and an upscale on a GPU, without a GPU: where each tensor lies, in what
order, and what the host would wait for."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

HERE = Path(__file__).resolve().parent

Steps = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def on_fake_cuda(tmp_path_factory: pytest.TempPathFactory) -> Steps:
    """Runs fake_cuda_steps.py with these arguments; what it has found."""
    if torch.backends.cuda.is_built() or shutil.which("g++") is None:
        pytest.skip("needs a CPU build of torch, and g++")
    folder, library = Path(torch.__path__[0]), tmp_path_factory.mktemp("cuda") / "fake_cuda.so"
    command = [
        *("g++", "-std=c++20", "-shared", "-fPIC", f"-I{folder / 'include'}"),
        *(str(HERE / "fake_cuda.cpp"), f"-L{folder / 'lib'}", "-lc10", "-ltorch_cpu"),
        *(f"-Wl,-rpath,{folder / 'lib'}", "-Wl,--no-as-needed", "-o", str(library)),
    ]
    subprocess.run(command, check=True)

    def run(*arguments: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, str(HERE / "fake_cuda_steps.py"), *arguments],
            env={**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": str(HERE.parent)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    return run


@pytest.mark.parametrize(
    ("phase", "most_kernels", "precision", "degradation", "travels"),
    [
        # The places of the crops, 24 bytes each, are all that travels to the GPU in a step, but
        # for the strengths of a degradation and its noise.
        *(("srresnet", 460, precision, "bicubic", 1) for precision in ("float32", "tf32", "bf16")),
        ("srresnet", 480, "float32", "photo", 11),
        *(("srgan", 820, precision, "bicubic", 1) for precision in ("float32", "bf16")),
    ],
)
def test_a_step_stays_on_the_gpu(
    on_fake_cuda: Steps,
    phase: str,
    most_kernels: int,
    precision: str,
    degradation: str,
    travels: int,
) -> None:
    found = on_fake_cuda(phase, precision, degradation)
    assert found["mixed devices"] == travels * ["aten._to_copy.default"]
    assert found["blocking"] == []
    assert found["off the GPU"] == found["in another order"] == 0
    assert found["terms"] == ["cuda:0 torch.float32"]
    assert found["kernels"] <= most_kernels
    assert found["reordered"] == []
    assert found["searching"] == [True, False]
    assert found["tf32"] == [precision != "float32"]


def test_batch_normalisation_over_ranks_waits_for_nothing(on_fake_cuda: Steps) -> None:
    for dtype, of in on_fake_cuda("norm").items():
        assert of["mixed devices"] == []
        assert of["outputs"] == of["gradient"] == f"cuda:0 {dtype}"


def test_pictures_travel_as_bytes_in_both_directions(on_fake_cuda: Steps) -> None:
    for model, of in on_fake_cuda("upscale").items():
        assert of["sent"] == ["torch.uint8"], model
        assert of["fetched"] == ["cuda:0 torch.uint8"], model
