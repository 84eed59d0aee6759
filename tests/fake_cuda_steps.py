"""Training steps, evaluation and upscaling with CUDA tensors that have no content.

No GPU and no arithmetic, but devices, types and memory order, and whatever makes the host wait for
a value (item, nonzero) raises. Runs in a process of its own with LD_PRELOAD=fake_cuda.so, and
prints a line of JSON.

    python tests/fake_cuda_steps.py srresnet|srgan float32|tf32|bf16 bicubic|photo
    python tests/fake_cuda_steps.py norm | upscale
"""

import collections
import json
import os
import sys
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.distributed as dist
from torch._subclasses.fake_impls import register_op_impl
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from srgan.batches import CropSampler, Degradation
from srgan.distributed import Ranks
from srgan.evaluation import upscale_with
from srgan.losses import VggContent
from srgan.models import build_model
from srgan.phases import Phase, SrganPhase, SrresnetPhase
from srgan.recipe import Recipe
from srgan.upscaling.tiles import Box, Upscaler
from srgan.vgg import VggFeatures

DEVICE = torch.device("cuda", 0)
# What moves no data, by parts of the names.
VIEWS = (
    *("view", "permute", "expand", "slice", "select", "squeeze", "aten.t.", "transpose", "alias"),
    *("as_strided", "unbind", "split", "empty", "detach", "prim.", "::"),
)


class Watch(TorchDispatchMode):
    """Counts kernels, and finds what travels and what convolutions would have to reorder."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels: collections.Counter[str] = collections.Counter()
        self.mixed: list[str] = []
        self.blocking: list[str] = []
        self.sent: set[str] = set()
        self.reordered: list[str] = []
        self.searching: set[bool] = set()
        self.tf32: set[bool] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = func(*args, **(kwargs or {}))
        name = str(func)
        inputs = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
        outputs = [one for one in tree_leaves(results) if isinstance(one, torch.Tensor)]
        if len({one.device for one in inputs + outputs}) > 1:
            self.mixed.append(name)
            self.sent |= {str(one.dtype) for one in inputs if one.device.type == "cpu"}
            # A copy that blocks waits for all that the GPU has still to do.
            self.blocking += [name] * (not kwargs or not kwargs.get("non_blocking"))
        if "linalg" in name:
            # Those look on the host whether the matrix was singular, which without content they
            # leave out.
            self.blocking.append(name)
        if name.startswith("aten.convolution"):
            self.searching.add(torch.backends.cudnn.benchmark)
            self.tf32.add(torch.backends.cudnn.allow_tf32)
            operands, weight = (
                (inputs[:2], inputs[2]) if "backward" in name else (inputs[:1], inputs[1])
            )
            if _is_nhwc(weight):
                self.reordered += [f"{name} {one.shape}" for one in operands if not _is_nhwc(one)]
        if not any(view in name for view in VIEWS):
            self.kernels[name] += 1
        return results


def _is_nhwc(tensor: torch.Tensor) -> bool:
    return tensor.is_contiguous(memory_format=torch.channels_last)


def _to(
    module: torch.nn.Module, device: Any = None, *, memory_format: Any = None, **_: Any
) -> torch.nn.Module:
    """nn.Module.to, which cannot exchange parameters without content."""
    for part in module.modules():
        for store in (part._parameters, part._buffers):
            for name, tensor in list(store.items()):
                if tensor is None or device is None or tensor.device == torch.device(device):
                    continue
                order = memory_format if memory_format and tensor.dim() == 4 else None
                new = torch.empty(
                    tensor.shape,
                    dtype=tensor.dtype,
                    device=device,
                    memory_format=order or torch.contiguous_format,
                )
                is_parameter = store is part._parameters
                store[name] = torch.nn.Parameter(new, tensor.requires_grad) if is_parameter else new
    return module


def step(phase_name: str, precision: str, degradation: Degradation) -> dict[str, Any]:
    """The second step of a phase."""
    options = Recipe(content="vgg22", precision=precision)
    ranks = Ranks(0, 1, DEVICE, "none")
    image = np.zeros((100, 120, 3), np.uint8)
    sampler = CropSampler([image], 96, 16, 0, DEVICE, degradation=degradation)
    phase: Phase
    if phase_name == "srresnet":
        phase = SrresnetPhase(options, ranks, None)
    else:
        phase = SrganPhase(options, ranks, None, VggContent(VggFeatures("vgg22"), 1 / 12.75))
    for number in range(2):
        with Watch() as watch:
            terms = phase.compute_gradients(sampler.batch(phase.number, number))
            phase.apply_gradients(number, 1e-4)
    state = [
        (parameter, value)
        for optimiser in phase._optimisers.values()
        for parameter, values in optimiser.state.items()
        for value in (parameter.grad, *values.values())
    ]
    return {
        "kernels": sum(watch.kernels.values()),
        "mixed devices": watch.mixed,
        "blocking": watch.blocking,
        "reordered": watch.reordered,
        # cuDNN's search for the fastest way belongs to steps, whose shapes are always the same.
        "searching": [*watch.searching, torch.backends.cudnn.benchmark],
        "tf32": [*watch.tf32],
        "terms": sorted({f"{term.device} {term.dtype}" for term in terms.values()}),
        "off the GPU": sum(value.device != DEVICE for _, value in state),
        "in another order": sum(
            value.dim() > 0 and value.stride() != parameter.stride() for parameter, value in state
        ),
    }


@register_op_impl(torch.ops.aten.batch_norm_update_stats.default)  # type: ignore[untyped-decorator]
def _update_stats(mode: Any, _: Any, inputs: torch.Tensor, *__: Any) -> tuple[torch.Tensor, ...]:
    with mode:
        return torch.empty(inputs.shape[1], device=DEVICE), torch.empty(
            inputs.shape[1], device=DEVICE
        )


def norm() -> dict[str, Any]:
    """Batch normalisation over two ranks, whose exchange does nothing here."""
    dist.init_process_group("fake", rank=0, world_size=2, store=FakeStore())
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        layer = Ranks(0, 2, DEVICE, "nccl").prepare(torch.nn.Sequential(torch.nn.BatchNorm2d(8)))
        layer.train()
        inputs = torch.empty(4, 8, 6, 6, device=DEVICE, dtype=dtype).requires_grad_()
        with Watch() as watch:
            outputs = layer(inputs)
            outputs.float().sum().backward()
        assert inputs.grad is not None
        found[str(dtype)] = {
            "mixed devices": watch.mixed,
            "outputs": f"{outputs.device} {outputs.dtype}",
            "gradient": f"{inputs.grad.device} {inputs.grad.dtype}",
        }
    return found


def upscale() -> dict[str, Any]:
    """Both ways that pictures go, up to the copy to the host, by each kind of network."""
    found = {}

    def on_host(tensor: torch.Tensor) -> Any:
        fetched.append(f"{tensor.device} {tensor.dtype}")
        return mock.Mock(numpy=lambda: np.zeros(tensor.shape, np.uint8))

    for model in ("srresnet", "edsr", "span", "srcnn", "bicubic"):
        network = build_model(model, 2, 8).to(DEVICE).eval()
        fetched: list[str] = []
        with mock.patch.object(torch.Tensor, "cpu", on_host), Watch() as watch:
            Upscaler(network, DEVICE, 64**2).upscale(
                np.zeros((1, 70, 40, 3), np.uint8), Box(0, 0, 40, 70)
            )
            upscale_with(network, DEVICE)(np.zeros((12, 16, 3), np.uint8))
        found[model] = {"sent": sorted(watch.sent), "fetched": sorted(set(fetched))}
    return found


def main(what: str, *arguments: str) -> None:
    ways: dict[str, Callable[..., dict[str, Any]]] = {"norm": norm, "upscale": upscale}
    with (
        mock.patch.object(torch.nn.Module, "to", _to),
        FakeTensorMode(allow_non_fake_inputs=True),
        mock.patch("torch.cuda.is_available", lambda: True),
        mock.patch("torch.cuda.is_bf16_supported", lambda *_, **__: True),
    ):
        found = ways[what]() if what in ways else step(what, *arguments)
    print(json.dumps(found), flush=True)
    # Taking tensors without content apart at the end of a process may abort it.
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
