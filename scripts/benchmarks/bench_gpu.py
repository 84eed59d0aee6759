"""A GPU: does it compute what a CPU does, does it wait, and how fast is it; a section at a time."""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import logging
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jobs.runtime.errors import UnavailableError
from jobs.runtime.strict_json import to_json
from srgan.batches import CropSampler
from srgan.checkpoint import decode
from srgan.cpu.layers import FewOutputsConv2d
from srgan.distributed import Ranks
from srgan.gpu import describe_gpu
from srgan.losses import VggContent
from srgan.phases import Phase, SrganPhase, SrresnetPhase
from srgan.recipe import Recipe
from srgan.upscaling.model_choice import read_model
from srgan.upscaling.networks import decode_network
from srgan.upscaling.tiles import Box, Upscaler
from srgan.vgg import VggFeatures

LOG = logging.getLogger("benchmark")
CPU = Ranks(0, 1, torch.device("cpu"), "none")
BUDGET_SECONDS = 540.0
STEPS = 5
TINY_STEPS = 2
# Small enough for a CPU to follow.
SMALL: dict[str, Any] = {"residual_blocks": 2, "channels": 16, "batch_size": 8}


@dataclass
class Bench:
    """What every section needs: where to compute, and how much."""

    ranks: Ranks
    tiny: bool
    deadline: float

    @property
    def number(self) -> int:
        """Steps of a comparison."""
        return TINY_STEPS if self.tiny else STEPS

    @property
    def device(self) -> torch.device:
        return self.ranks.device

    def phase(self, ranks: Ranks | None = None, srgan: bool = False, **changes: Any) -> Phase:
        """A phase of the paper's recipe with these changes; VGG's weights are random."""
        tiny = {"residual_blocks": 1, "channels": 8, "crop_size": 32} if self.tiny else {}
        options = Recipe(**{"content": "vgg22", **changes, **tiny})
        if not srgan:
            return SrresnetPhase(options, ranks or self.ranks, None)
        torch.manual_seed(0)
        content = VggContent(VggFeatures("vgg22"), options.vgg_feature_scale)
        return SrganPhase(options, ranks or self.ranks, None, content)

    def step(
        self, phase: Phase, ranks: Ranks | None = None, first: int = 0
    ) -> Callable[[], dict[str, Any]]:
        """A function that does the next step of a phase, and returns its losses."""
        pixels = np.random.default_rng(0).integers(0, 256, (8, 256, 256, 3), dtype=np.uint8)
        options, numbers = phase.options, itertools.count(first)
        device = (ranks or self.ranks).device
        sampler = CropSampler(list(pixels), options.crop_size, options.batch_size, 0, device)

        def do() -> dict[str, Any]:
            number = next(numbers)
            terms = phase.compute_gradients(sampler.batch(phase.number, number))
            phase.apply_gradients(number, 1e-4)
            return terms

        return do

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def seconds(self, work: Callable[[], object]) -> float:
        """Median time of a call; it is waited for at the end of several only."""
        for _ in range(1 if self.tiny else 5):
            work()
        windows, calls = (1, 1) if self.tiny else (5, 10)
        times = []
        for _ in range(windows):
            self.wait()
            begin = time.perf_counter()
            for _ in range(calls):
                work()
            self.wait()
            times.append((time.perf_counter() - begin) / calls)
        return statistics.median(times)


def losses_of_cpu(bench: Bench) -> dict[str, Any]:
    """The largest relative difference of a loss to the CPU's in a few steps."""
    found = {}
    for name, precision in itertools.product(("SRResNet", "SRGAN"), ("float32", "tf32")):
        of_device = []
        for ranks in (CPU, bench.ranks):
            phase = bench.phase(ranks, name == "SRGAN", precision=precision, **SMALL)
            step = bench.step(phase, ranks)
            of_device.append(
                np.array([[float(value) for value in step().values()] for _ in range(bench.number)])
            )
        found[f"{name} {precision}"] = float(np.abs(of_device[1] / of_device[0] - 1).max())
    return found


def host_waits(bench: Bench) -> dict[str, Any]:
    """Whether the host waits for the GPU inside a step: torch then raises."""
    found = {}
    for name in ("SRResNet", "SRGAN"):
        step = bench.step(bench.phase(None, name == "SRGAN", **SMALL))
        step(), step()
        torch.cuda.set_sync_debug_mode("error")
        try:
            step()
            found[name] = "none"
        except RuntimeError as error:
            found[name] = str(error).splitlines()[0]
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return found


def checkpoints(bench: Bench) -> dict[str, Any]:
    """The largest difference of a weight to a training that stayed where it was."""
    found = {}
    for first, then in ((CPU, bench.ranks), (bench.ranks, CPU), (bench.ranks, bench.ranks)):
        stays = bench.phase(first, **SMALL)
        step = bench.step(stays, first)
        for _ in range(bench.number):
            step()
        buffer = io.BytesIO()
        torch.save(stays.state_dict(), buffer)
        goes = bench.phase(then, **SMALL)
        goes.load_state_dict(decode(buffer.getvalue()))
        other = bench.step(goes, then, bench.number)
        for _ in range(bench.number):
            step(), other()
        pairs = zip(*(one.networks["generator"].parameters() for one in (stays, goes)), strict=True)
        found[f"{first.device.type} to {then.device.type}"] = max(
            float((a.detach().cpu() - b.detach().cpu()).abs().max()) for a, b in pairs
        )
    return found


def steps(bench: Bench, srgan: bool = False, **changes: Any) -> dict[str, Any]:
    """Crops a second and the memory of steps, by precision and batch."""
    found: dict[str, Any] = {}
    precisions = ("float32", "tf32", "bf16") if not changes else ("bf16",)
    for batch, precision in itertools.product((4,) if bench.tiny else (16, 64, 256), precisions):
        name = f"{'SRGAN, VGG22' if srgan else 'SRResNet'}, {precision}, batch {batch}"
        name += ", compiled" if changes else ""
        if time.monotonic() > bench.deadline:
            return found | {name: "no time left"}
        if bench.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        begin = time.perf_counter()
        step = bench.step(
            bench.phase(None, srgan, precision=precision, batch_size=batch, **changes)
        )
        step()
        bench.wait()
        first = time.perf_counter() - begin
        seconds = bench.seconds(step)
        found[name] = {"crops/s": batch / seconds, "ms": 1e3 * seconds, "first step s": first}
        if bench.device.type == "cuda":
            found[name]["GiB"] = torch.cuda.max_memory_allocated() / 2**30
    return found


def last_convolution(bench: Bench) -> dict[str, Any]:
    """Milliseconds of 9 x 9 to three channels, both ways, forward and backward in bfloat16."""
    count, channels, side = (2, 8, 16) if bench.tiny else (256, 64, 96)
    layer = FewOutputsConv2d(channels, 3, 9).to(bench.device, torch.bfloat16)
    inputs = torch.randn(count, channels, side, side, device=bench.device)
    inputs = inputs.bfloat16().contiguous(memory_format=torch.channels_last).requires_grad_()
    ways: dict[str, Callable[[], torch.Tensor]] = {
        "as it is": lambda: layer(inputs),
        "rows as channels": lambda: layer.by_rows(inputs),
    }
    return {
        name: 1e3 * bench.seconds(lambda way=way: way().sum().backward())  # type: ignore[misc]
        for name, way in ways.items()
    }


def upscaling(bench: Bench) -> dict[str, Any]:
    """Output megapixels per second, and grey levels between the CPU's result and this one."""
    found: dict[str, Any] = {}
    side = 48 if bench.tiny else 1024
    pixels = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), dtype=np.uint8)
    models = ("default",) if bench.tiny else ("default", "fast", "photo", "snapshot")
    for model, memory in itertools.product(models, (512, None)):
        upscaler = Upscaler.of(decode_network(read_model(model), model), bench.device, memory)
        seconds = bench.seconds(lambda of=upscaler: of.upscale(pixels, Box(0, 0, side, side)))  # type: ignore[misc]
        found[f"{model}, --memory-mb {memory or 'by itself'}"] = 16 * side**2 / 1e6 / seconds
    for model in models:
        ours, on_cpu = (
            Upscaler.of(decode_network(read_model(model), model), device)
            .upscale(pixels[:, :96, :96], Box(0, 0, *pixels[:, :96, :96].shape[2:0:-1]))
            .astype(int)
            for device in (bench.device, CPU.device)
        )
        found[f"{model}, grey levels to the CPU"] = int(np.abs(ours - on_cpu).max())
    return found


SECTIONS: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "losses beside the CPU's": losses_of_cpu,
    "the host waits": host_waits,
    "checkpoints": checkpoints,
    "steps": steps,
    "adversarial steps": lambda bench: steps(bench, srgan=True),
    "upscaling": upscaling,
    "last convolution": last_convolution,
    "compiled steps": lambda bench: steps(bench, compile=True),
}


def compare(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run all sections, and write gpu.json after each; what fails in one does not end the others.

    Raises:
        UnavailableError: torch sees no GPU, and options.tiny does not let a CPU do.
    """
    if not torch.cuda.is_available() and not options.tiny:
        raise UnavailableError("torch sees no GPU here; --tiny tries the sections on the CPU")
    device = torch.device("cuda", 0) if torch.cuda.is_available() else CPU.device
    bench = Bench(Ranks(0, 1, device, "none"), options.tiny, time.monotonic() + BUDGET_SECONDS)
    report: dict[str, Any] = {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "gpu": describe_gpu(device),
        "tiny": options.tiny,
        "sections": {},
    }
    for name, of_section in _wanted(bench):
        begin = time.monotonic()
        try:
            found = of_section(bench)
        # The next one may still tell something, and hours of a GPU are dear.
        except Exception as error:
            found = {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
        report["sections"][name] = found
        report.setdefault("seconds", {})[name] = time.monotonic() - begin
        (folder / "gpu.json").write_text(to_json(report, indent=2) + "\n")
        LOG.info("%s: %s", name, to_json(found))
        if device.type == "cuda":
            with contextlib.suppress(RuntimeError):
                torch.cuda.empty_cache()
    return report


def _wanted(bench: Bench) -> Iterator[tuple[str, Callable[[Bench], dict[str, Any]]]]:
    for name, of_section in SECTIONS.items():
        if name == "the host waits" and bench.device.type == "cpu":
            continue
        if name == "compiled steps" and bench.tiny:
            # A minute of a compiler, which has a test of its own.
            continue
        if time.monotonic() > bench.deadline:
            LOG.info("%s: no time left", name)
            continue
        yield name, of_section


def markdown(report: dict[str, Any]) -> str:
    """The sections as a table."""
    gpu = report["gpu"]
    title = "a CPU, tiny" if gpu is None else f"{gpu['name']}, {gpu['memory_gib']} GiB"
    driver = "" if gpu is None else f", driver {gpu['driver']}"
    lines = [f"| {title}, torch {report['torch']}{driver} | |", "|---|---|"]
    for name, found in report["sections"].items():
        for what, value in found.items():
            lines.append(f"| {name}: {what} | {_in_words(value)} |")
    return "\n".join(lines) + "\n"


def _in_words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {number:.4g}" for name, number in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)
