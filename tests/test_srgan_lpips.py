"""LPIPS: known values, equal in strips, and files that are something else.

Values need the weights (scripts/fetch_data.py lpips, fetched here where the network allows) and
Set5 and Set14 in ../shared; what is not here is skipped.
"""

import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import ROOT
from safetensors.torch import load, save
from srgan_samples import data_path, sample_pixels

from srgan import lpips
from srgan.errors import BadDataError, MissingDataError
from srgan.evaluation import bicubic, evaluate_image
from srgan.image_folder import read_images
from srgan.lpips import DEFAULT_WEIGHTS, Lpips, decode_lpips, find_lpips, read_lpips


@pytest.fixture(scope="session")
def weights() -> bytes:
    """The published weights, fetched if need be."""
    command = [sys.executable, ROOT / "scripts" / "fetch_data.py", "lpips"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 69:
        pytest.skip(f"LPIPS' weights cannot be fetched here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return DEFAULT_WEIGHTS.read_bytes()


@pytest.fixture
def random_network() -> Lpips:
    """A network that measures nothing sensible, but needs no file."""
    torch.manual_seed(0)
    network = Lpips()
    for head in network.heads:
        head.uniform_()
    return network.eval()


@pytest.fixture
def narrow_strips(monkeypatch) -> None:
    """As few pixels a strip as possible, so that small images have many."""
    monkeypatch.setattr(lpips, "STRIP_PIXELS", 1)
    monkeypatch.setattr(lpips, "NARROWEST_STRIP", 16)


@pytest.mark.parametrize(("name", "published"), [("Set5", 0.3397), ("Set14", 0.4386)])
def test_bicubic(weights, name, published):
    """0.3407 and 0.4393 are published, for MATLAB's low resolution; these are for Pillow's."""
    network = decode_lpips(weights, "weights")
    images = read_images(str(data_path(f"data/{name}"))).usable
    found = [evaluate_image(image, bicubic, network).scores.lpips for image in images]
    assert np.mean(found) == pytest.approx(published, abs=0.0005)


def test_no_difference_and_the_largest(weights):
    network = decode_lpips(weights, "weights")
    pixels = sample_pixels(64, 48)
    assert network.distance(pixels, pixels) == 0
    black, white = np.zeros_like(pixels), np.full_like(pixels, 255)
    assert network.distance(black, white) > 0.5
    noise = np.random.default_rng(0).normal(0, 1, pixels.shape)
    noisy = [np.clip(pixels + s * noise, 0, 255).astype(np.uint8) for s in (5, 20, 80)]
    distances = [network.distance(image, pixels) for image in noisy]
    assert distances == sorted(distances) and distances[0] > 0


@pytest.mark.parametrize("size", [(31, 31), (31, 97), (300, 97), (97, 300), (333, 250), (255, 272)])
def test_strips_add_up_to_the_whole(random_network, narrow_strips, size):
    image, original = sample_pixels(*size), sample_pixels(*size, seed=1)
    batches = (torch.tensor(x).permute(2, 0, 1)[None] / 127.5 - 1 for x in (image, original))
    whole = float(random_network(*batches))
    assert random_network.distance(image, original) == pytest.approx(whole, rel=1e-5)


def test_batches_have_a_distance_each(random_network):
    ours, theirs = torch.rand(2, 3, 3, 64, 48) * 2 - 1
    together = random_network(ours, theirs)
    assert together.shape == (3,)
    alone = [random_network(x[None], y[None]) for x, y in zip(ours, theirs, strict=True)]
    torch.testing.assert_close(together, torch.cat(alone))


def test_gradients_are_finite_even_where_nothing_differs(random_network):
    ours = torch.zeros(1, 3, 64, 64, requires_grad=True)
    random_network(ours, torch.zeros(1, 3, 64, 64)).sum().backward()
    assert ours.grad is not None and ours.grad.isfinite().all()


def test_small_images_are_not_measured(random_network):
    assert random_network.distance(sample_pixels(30, 200), sample_pixels(30, 200)) is None
    assert random_network.distance(sample_pixels(200, 30), sample_pixels(200, 30)) is None
    assert random_network.distance(sample_pixels(31, 31), sample_pixels(31, 31, seed=1)) > 0


def test_different_shapes_are_refused(random_network):
    with pytest.raises(ValueError, match="cannot compare"):
        random_network.distance(sample_pixels(40, 40), sample_pixels(40, 44))


def test_a_file_wherever_it_lies(random_network, tmp_path, monkeypatch):
    monkeypatch.setattr(lpips, "DEFAULT_WEIGHTS", tmp_path / "lpips-alex.safetensors")
    assert find_lpips(None) is None and read_lpips(None) is None
    (tmp_path / "lpips-alex.safetensors").write_bytes(save(random_network.state_dict()))
    image, original = sample_pixels(40, 40), sample_pixels(40, 40, seed=1)
    expected = random_network.distance(image, original)
    for path in (None, str(tmp_path / "lpips-alex.safetensors")):
        found = find_lpips(path)
        assert found is not None
        assert found.distance(image, original) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(MissingDataError, match=r"nowhere\.safetensors"):
        find_lpips("nowhere.safetensors")


@pytest.mark.parametrize("damage", ["empty", "short", "another", "shape", "nan"])
def test_files_that_are_something_else(random_network, damage):
    data = save(random_network.state_dict())
    state = load(data)
    if damage == "nan":
        state["heads.0"][0] = torch.nan
    elif damage == "shape":
        state["heads.0"] = torch.zeros(3)
    content = {
        "empty": b"",
        "short": data[:-1],
        "another": save({"weight": torch.zeros(1)}),
        "shape": save(state),
        "nan": save(state),
    }
    with pytest.raises(BadDataError, match="weights.safetensors: not the weights of LPIPS.*lpips"):
        decode_lpips(content[damage], "weights.safetensors")
