"""VGG: its layers, and files of weights whole, cut off, of another network and of another scale."""

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from srgan_samples import data_path, sample_pixels
from torch import Tensor

from srgan import vgg
from srgan.errors import BadDataError, UnavailableError
from srgan.losses import VggContent
from srgan.vgg import (
    DEFAULT_FOLDER,
    IMAGENET_DEVIATION,
    IMAGENET_MEAN,
    VggFeatures,
    VggPart,
    load_vgg,
)


@pytest.fixture
def vgg22_file(tmp_path) -> Path:
    """Random weights in the format of the real file: only the layers up to relu2_2 and one more."""
    torch.manual_seed(0)
    state = VggFeatures("vgg22").state_dict()
    state["features.10.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "vgg.pth")
    return tmp_path / "vgg.pth"


def test_features_are_taken_after_relu_and_before_pooling():
    images = torch.rand(1, 3, 32, 32) * 2 - 1
    vgg22, vgg54 = VggFeatures("vgg22")(images), VggFeatures("vgg54")(images)
    assert vgg22.shape == (1, 128, 16, 16) and vgg54.shape == (1, 512, 2, 2)
    assert vgg22.min() == 0 and vgg54.min() == 0
    assert VggFeatures("vgg53")(images).shape == (1, 512, 2, 2)
    names = [name for name in VggFeatures("vgg53").state_dict() if name.endswith("weight")]
    numbers = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    assert names == [f"features.{number}.weight" for number in numbers]
    names = [name for name in VggFeatures("vgg54").state_dict() if name.endswith("weight")]
    numbers = [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34]
    assert names == [f"features.{number}.weight" for number in numbers]


def test_images_are_normalised_as_vgg_expects():
    features = VggFeatures("vgg22")
    features.features = torch.nn.Sequential()
    images = torch.rand(1, 3, 8, 8)
    mean, deviation = (torch.tensor(x)[:, None, None] for x in (IMAGENET_MEAN, IMAGENET_DEVIATION))
    torch.testing.assert_close(features(images * 2 - 1), (images - mean) / deviation)


@pytest.mark.parametrize("path", [None, "nowhere/vgg.pth"])
@pytest.mark.parametrize(("layer", "fetched"), [("vgg22", "vgg16"), ("vgg54", "vgg19")])
def test_missing_weights_name_the_way_out(path, layer, fetched, tmp_path, monkeypatch):
    monkeypatch.setattr(vgg, "DEFAULT_FOLDER", tmp_path)
    with pytest.raises(
        UnavailableError,
        match=f"fetch_data.py {fetched}, .*--vgg-weights FILE, or use --content mse",
    ):
        load_vgg(layer, path)


def test_weights_that_end_too_early(vgg22_file):
    with pytest.raises(UnavailableError, match=r"features\.10\.bias .*not enough for vgg54"):
        load_vgg("vgg54", str(vgg22_file))
    with pytest.raises(UnavailableError, match=r"features\.10\.bias .*not enough for vgg53"):
        load_vgg("vgg53", str(vgg22_file))


def test_stages_are_taken_after_relu_and_before_pooling():
    features, images = VggFeatures("lpips"), torch.rand(1, 3, 32, 32) * 2 - 1
    stages = features.stages(images)
    assert [tuple(stage.shape[1:]) for stage in stages] == [
        (64, 32, 32),
        (128, 16, 16),
        (256, 8, 8),
        (512, 4, 4),
        (512, 2, 2),
    ]
    assert [len(head) for head in features.heads] == [64, 128, 256, 512, 512]
    assert all(stage.min() == 0 for stage in stages)
    assert torch.equal(stages[-1], features(images))


def test_lpips_needs_heads(tmp_path):
    """Files of other programs, and those fetched by earlier versions, lack them."""
    torch.save(VggFeatures("vgg53").state_dict(), tmp_path / "vgg.pth")
    with pytest.raises(
        UnavailableError, match=r"lacks heads\.0 .*not enough for lpips; .*fetch_data.py vgg16"
    ):
        load_vgg("lpips", str(tmp_path / "vgg.pth"))


def vgg_state(layer: VggPart) -> dict[str, Tensor]:
    """Small random weights, at whose scale the features are torchvision's."""
    torch.manual_seed(0)
    network = VggFeatures(layer)
    for module in network.features:
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    wanted = vgg.RELU53_RMS if layer == "vgg53" else vgg.RELU22_RMS["VGG16"]
    rms = network(vgg._test_picture()).square().mean().sqrt()
    return scaled(network.state_dict(), float(wanted / rms))


def scaled(state: dict[str, Tensor], factor: float) -> dict[str, Tensor]:
    """Weights whose features are so many times as large."""
    return {
        name: tensor * factor if name.endswith("bias") or name == "features.0.weight" else tensor
        for name, tensor in state.items()
    }


@pytest.mark.parametrize(("held", "asked"), [("vgg53", "vgg54"), ("vgg54", "vgg53")])
def test_the_other_networks_weights(tmp_path, held, asked):
    torch.save(VggFeatures(held).state_dict(), tmp_path / "vgg.pth")
    holds, needs = {"vgg53": ("VGG16", "VGG19"), "vgg54": ("VGG19", "VGG16")}[held]
    way_out = f"fetch_data.py {needs.lower()}, .*--vgg-weights FILE"
    with pytest.raises(
        UnavailableError, match=f"vgg.pth: holds {holds}, but {asked} is of {needs}; .*{way_out}"
    ) as raised:
        load_vgg(asked, str(tmp_path / "vgg.pth"))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("held", ["vgg53", "vgg54"])
def test_vgg22_takes_the_first_layers_of_both_networks(tmp_path, held):
    torch.manual_seed(0)
    state = {**VggFeatures(held).state_dict(), **vgg_state("vgg22")}
    save_file(state, tmp_path / "vgg.safetensors")
    loaded = load_vgg("vgg22", str(tmp_path / "vgg.safetensors")).state_dict()
    assert loaded.keys() == vgg_state("vgg22").keys()
    for name, tensor in loaded.items():
        torch.testing.assert_close(tensor, state[name], rtol=0, atol=0)


def test_weights_in_their_default_place(tmp_path, monkeypatch):
    monkeypatch.setattr(vgg, "DEFAULT_FOLDER", tmp_path)
    state = vgg_state("vgg53")
    save_file(state, tmp_path / "vgg16.safetensors")
    loaded = load_vgg("vgg53", None).state_dict()
    torch.testing.assert_close(dict(loaded), state, rtol=0, atol=0)
    assert len(load_vgg("vgg22", None).features) == vgg.RELU22


def content_and_gradient(path: Path, layer: VggPart) -> tuple[float, Tensor]:
    """The content loss of a picture, and its gradient."""
    original = torch.tensor(sample_pixels(48, 48)).permute(2, 0, 1)[None] / 127.5 - 1
    image = (0.8 * original).requires_grad_()
    loss = VggContent(load_vgg(layer, str(path)), 1 / 12.75)(image, original)
    (gradient,) = torch.autograd.grad(loss, image)
    return float(loss.detach()), gradient


def assert_scale_is_made_good(state, path: Path, layer: VggPart, factor: float, caplog) -> None:
    torch.save(state, path)
    expected, expected_gradient = content_and_gradient(path, layer)
    assert not caplog.records
    torch.save(scaled(state, factor), path)
    loss, gradient = content_and_gradient(path, layer)
    assert loss == pytest.approx(expected, rel=1e-4)
    largest = float(expected_gradient.abs().max())
    torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=1e-4 * largest)
    (record,) = caplog.records
    assert f"{path}: features {factor:.4g} times as large" in record.getMessage()
    assert "\n" not in record.getMessage()


@pytest.mark.parametrize("layer", ["vgg22", "vgg53"])
@pytest.mark.parametrize("factor", [117, 0.01])
def test_weights_of_another_scale(tmp_path, caplog, layer, factor):
    assert_scale_is_made_good(vgg_state(layer), tmp_path / "vgg.pth", layer, factor, caplog)


def test_real_vgg19_of_caffes_scale(tmp_path, caplog):
    state = torch.load(data_path("weights/vgg19-conv1_1-conv3_4.pth"), weights_only=True)
    assert_scale_is_made_good(state, tmp_path / "vgg.pth", "vgg22", 117, caplog)


@pytest.mark.parametrize("layer", ["vgg22", "vgg53"])
def test_real_vgg16_of_caffes_scale(tmp_path, caplog, layer):
    path = DEFAULT_FOLDER / "vgg16.safetensors"
    if not path.exists():
        pytest.skip("data/weights lacks VGG16: python scripts/fetch_data.py vgg16")
    assert_scale_is_made_good(load_file(path), tmp_path / "vgg.pth", layer, 117, caplog)


def test_scales_nearby_are_left_as_they_are(tmp_path, caplog):
    state = vgg_state("vgg22")
    for factor in (0.5, 2):
        torch.save(scaled(state, factor), tmp_path / "vgg.pth")
        loaded = load_vgg("vgg22", str(tmp_path / "vgg.pth")).state_dict()
        torch.testing.assert_close(dict(loaded), scaled(state, factor), rtol=0, atol=0)
    assert not caplog.records


def test_weights_without_features(tmp_path):
    state = {name: torch.zeros_like(tensor) for name, tensor in vgg_state("vgg22").items()}
    torch.save(state, tmp_path / "vgg.pth")
    with pytest.raises(BadDataError, match=r"vgg\.pth: gives no features"):
        load_vgg("vgg22", str(tmp_path / "vgg.pth"))


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("by_torch", [True, False])
def test_malicious_weights_are_not_executed(tmp_path, by_torch):
    trace = tmp_path / "executed"
    file = tmp_path / "vgg.pth"
    if by_torch:
        torch.save({"features.0.weight": Malicious(trace)}, file)
    else:
        file.write_bytes(pickle.dumps(Malicious(trace), protocol=2))
    with pytest.raises(BadDataError, match=r"vgg\.pth"):
        load_vgg("vgg22", str(file))
    assert not trace.exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: [],
        lambda state: {**state, "features.5.bias": torch.zeros(3)},
        lambda state: {**state, "features.5.bias": torch.full((128,), torch.nan)},
        lambda state: {**state, "features.5.bias": "text"},
    ],
)
def test_unusable_weights(vgg22_file, damage):
    torch.save(damage(torch.load(vgg22_file, weights_only=True)), vgg22_file)
    with pytest.raises(BadDataError, match=r"vgg\.pth"):
        load_vgg("vgg22", str(vgg22_file))


@pytest.mark.parametrize("content", [b"", b"no safetensors " * 10, bytes(8)])
def test_files_that_are_no_safetensors(tmp_path, content):
    (tmp_path / "vgg.safetensors").write_bytes(content)
    with pytest.raises(BadDataError, match=r"vgg\.safetensors"):
        load_vgg("vgg22", str(tmp_path / "vgg.safetensors"))


def test_truncated_weights(vgg22_file):
    vgg22_file.write_bytes(vgg22_file.read_bytes()[:5000])
    with pytest.raises(BadDataError, match=r"vgg\.pth"):
        load_vgg("vgg22", str(vgg22_file))
