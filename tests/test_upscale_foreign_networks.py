"""Models that other programs have trained: read without executing anything, used at their scale."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from films import first_frame, write_film
from PIL import Image
from safetensors.torch import save
from srgan_samples import sample_pixels
from torch import nn
from upscaled_images import upscale_file

from srgan.errors import BadDataError, OptionsError
from srgan.upscaling import worker
from srgan.upscaling.foreign_networks import decode_foreign_network
from srgan.upscaling.inputs import find_entries
from srgan.upscaling.model_choice import read_model, scale_of
from srgan.upscaling.networks import decode_network
from srgan.upscaling.output_options import OutputOptions
from srgan.upscaling.tiles import Box, Upscaler

CPU = torch.device("cpu")


def compact(scale: int) -> nn.Module:
    """Real-ESRGAN's small network, whose result is the picture's nearest plus a difference."""
    from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact

    torch.manual_seed(0)
    return SRVGGNetCompact(num_feat=8, num_conv=2, upscale=scale)


def swinir() -> nn.Module:
    """By 2, in windows of 8 pixels: other sizes have to be padded."""
    from spandrel.architectures.SwinIR.__arch.SwinIR import SwinIR

    torch.manual_seed(0)
    return SwinIR(
        upscale=2,
        img_size=16,
        window_size=8,
        depths=[2],
        embed_dim=12,
        num_heads=[2],
        mlp_ratio=2,
        upsampler="pixelshuffledirect",
    )


def pth(content: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("network", "name", "scale", "wrapped"),
    [
        (compact(4), "RealESRGAN Compact", 4, False),
        (compact(2), "RealESRGAN Compact", 2, True),
        (swinir(), "SwinIR", 2, True),
    ],
)
def test_both_kinds_of_file_give_what_the_network_gives(network, name, scale, wrapped):
    state = network.state_dict()
    low = torch.rand(1, 3, 21, 30)
    files = [pth({"params_ema": state} if wrapped else state)]
    if not wrapped:
        files.append(save({key: value.contiguous() for key, value in state.items()}))
    for data in files:
        found = decode_foreign_network(data, "x.pth")
        assert (found.name, found.scale) == (name, scale)
        with torch.inference_mode():
            ours = (found.network(low) + 1) / 2
            theirs = network.eval()(low)
        assert ours.shape == (1, 3, 21 * scale, 30 * scale)
        # Beyond a margin, which padding to whole windows reaches into.
        assert torch.allclose(ours[..., :16, :16], theirs[..., :16, :16], atol=1e-4)


def test_tiles_take_its_scale_and_the_memory_that_is_allowed():
    found = decode_foreign_network(pth(compact(2).state_dict()), "x.pth")
    upscaler = Upscaler.of(found, CPU, 4)
    pixels = sample_pixels(150, 170)
    assert upscaler.pixels < pixels.shape[0] * pixels.shape[1]
    tiled = upscaler.upscale(pixels[None], Box(0, 0, 170, 150))[0]
    with torch.inference_mode():
        low = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
        whole = ((found.network(low)[0] + 1) * 127.5).round().clamp(0, 255).permute(1, 2, 0)
    assert tiled.shape == (300, 340, 3)
    assert np.abs(tiled.astype(int) - whole.numpy()).max() <= 1


class Malicious:
    """Writes a file as soon as it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch executed",)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (pth({"params": Malicious()}), "more than weights"),
        (pickle.dumps(Malicious()), "more than weights"),
        (pth(compact(4)), "more than weights"),
        (pth(compact(4).state_dict())[:-300], "damaged"),
        (save({"weight": torch.zeros(3)}), "weights of no architecture that is known"),
        (save({"weight": torch.zeros(3)})[:-1], "damaged"),
        (b"<html>", "no model file"),
        (b"", "no model file"),
        (pth([1, 2]), "no weights by name"),
        (pth(compact(1).state_dict()), None),
    ],
)
def test_other_files_are_refused_without_executing_anything(data, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.pth").write_bytes(data)
    if reason is None:
        assert decode_network(read_model("x.pth"), "").scale == 1
        return
    with pytest.raises(BadDataError, match=rf"^x\.pth: .*{reason}"):
        read_model("x.pth")
    assert not Path("executed").exists()


@pytest.mark.parametrize("scale", [1, 2, 8])
def test_pictures_in_blocks_and_films_take_its_scale(scale, tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    Image.fromarray(sample_pixels(40, 60)).save(tmp_path / "in/a.png")
    write_film(tmp_path / "in/b.mp4", 0.2, "libx264", "aac")
    (tmp_path / "x.pth").write_bytes(pth(compact(scale).state_dict()))
    model = read_model(str(tmp_path / "x.pth"))
    written = OutputOptions(network_scale=scale_of(model, "x.pth"))
    tools = worker.Tools(model, 512, 200, 1, written)
    whole = tools.upscaler("cpu").upscale(sample_pixels(40, 60)[None], Box(0, 0, 60, 40))[0]
    monkeypatch.setattr("srgan.upscaling.pieces.BLOCK_SIDE", 33)
    for entry in find_entries(str(tmp_path / "in"), str(tmp_path / "out"), written).entries:
        work = worker.cut(entry, str(tmp_path / "out/.upscaling"), tools)
        for piece in work.pieces:
            worker.do(piece, tools, "cpu")
        if work.parts:
            worker.put_together(work, written)
    assert np.abs(np.asarray(Image.open(tmp_path / "out/a.png")).astype(int) - whole).max() <= 1
    before, after = (first_frame(tmp_path / place / "b.mp4") for place in ("in", "out"))
    assert (after.width, after.height) == (scale * before.width, scale * before.height)


def test_results_can_be_smaller_than_its_scale_but_not_larger(tmp_path):
    Image.fromarray(sample_pixels(40, 60)).save(tmp_path / "a.png")
    upscaler = Upscaler.of(decode_foreign_network(pth(compact(8).state_dict()), ""), CPU, 512)
    written = OutputOptions(network_scale=8, scale=3)
    assert written.text() == "--scale 3"
    target, _ = upscale_file(tmp_path / "a.png", written, upscaler)
    assert Image.open(target).size == (180, 120)
    with pytest.raises(OptionsError, match="--scale 3: the model enlarges by 2; take at most"):
        OutputOptions(network_scale=2, scale=3)
    assert OutputOptions(network_scale=2, scale=2).text() == ""


def test_another_scale_can_be_refused(tmp_path):
    path = tmp_path / "x.pth"
    path.write_bytes(pth(compact(2).state_dict()))
    with pytest.raises(BadDataError, match="enlarges by 2, not by 4"):
        read_model(str(path), scale=4)
