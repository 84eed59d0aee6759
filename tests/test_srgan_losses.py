"""Loss terms: their values, and that each of them moves the generator."""

import pickle
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from srgan_samples import data_path, sample_pixels, tiny_options
from torch import Tensor

from srgan.batches import Batch, CropSampler
from srgan.errors import BadDataError, UnavailableError
from srgan.losses import (
    MseContent,
    VggContent,
    adversarial_loss,
    content_loss,
    discriminator_losses,
)
from srgan.models import Discriminator, Generator
from srgan.vgg import IMAGENET_DEVIATION, IMAGENET_MEAN, VggFeatures, load_vgg


@pytest.fixture
def batch() -> Batch:
    return CropSampler([sample_pixels(64, 64)], 32, 4, 0, torch.device("cpu")).batch(0, 0)


@pytest.fixture
def vgg22_file(tmp_path) -> Path:
    """Random weights in the format of the real file: only the layers up to relu2_2 and one more."""
    torch.manual_seed(0)
    state = VggFeatures("vgg22").state_dict()
    state["features.10.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "vgg.pth")
    return tmp_path / "vgg.pth"


def generator_gradient(loss_of, batch: Batch) -> Tensor:
    torch.manual_seed(1)
    generator = Generator(residual_blocks=1, channels=8)
    loss_of(generator(batch.low)).backward()
    gradients = [parameter.grad.flatten() for parameter in generator.parameters()]
    return torch.cat(gradients)


def assert_moves_every_layer(loss_of, batch: Batch) -> None:
    gradient = generator_gradient(loss_of, batch)
    assert gradient.isfinite().all()
    assert (gradient != 0).float().mean() > 0.9


def test_mse_moves_the_generator(batch):
    assert_moves_every_layer(lambda image: MseContent()(image, batch.high), batch)


def test_vgg22_moves_the_generator(batch, vgg22_file):
    content = VggContent(load_vgg("vgg22", str(vgg22_file)), 1 / 12.75)
    assert_moves_every_layer(lambda image: content(image, batch.high), batch)


def test_vgg22_with_real_weights_moves_the_generator(batch):
    path = data_path("weights/vgg19-conv1_1-conv3_4.pth")
    content = content_loss(tiny_options(content="vgg22", vgg_weights=str(path)))
    assert_moves_every_layer(lambda image: content(image, batch.high), batch)


def test_vgg54_moves_the_generator(batch):
    torch.manual_seed(0)
    content = VggContent(VggFeatures("vgg54"), 1 / 12.75)
    assert_moves_every_layer(lambda image: content(image, batch.high), batch)


def test_adversarial_loss_moves_the_generator(batch):
    torch.manual_seed(0)
    discriminator = Discriminator(32, channels=8)
    assert_moves_every_layer(lambda image: adversarial_loss(discriminator(image)), batch)


def test_adversarial_losses_are_the_papers():
    logits = torch.tensor([[0.3], [-1.2]])
    probabilities = torch.sigmoid(logits)
    assert adversarial_loss(logits) == pytest.approx(float(-probabilities.log().mean()))
    losses = discriminator_losses(logits, -2 * logits)
    assert losses["discriminator_original"] == pytest.approx(float(-probabilities.log().mean()))
    generated = torch.sigmoid(-2 * logits)
    expected = float(-(1 - generated).log().mean())
    assert losses["discriminator_generated"] == pytest.approx(expected)


def test_vgg_loss_scales_by_the_square(batch):
    torch.manual_seed(0)
    features = VggFeatures("vgg22")
    other = batch.high.flip(3)
    distance = F.mse_loss(features(other), features(batch.high))
    assert VggContent(features, 1 / 12.75)(other, batch.high) == pytest.approx(
        float(distance) / 12.75**2
    )


def test_features_are_taken_after_relu_and_before_pooling():
    images = torch.rand(1, 3, 32, 32) * 2 - 1
    vgg22, vgg54 = VggFeatures("vgg22")(images), VggFeatures("vgg54")(images)
    assert vgg22.shape == (1, 128, 16, 16) and vgg54.shape == (1, 512, 2, 2)
    assert vgg22.min() == 0 and vgg54.min() == 0
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
def test_missing_weights_name_the_way_out(path):
    with pytest.raises(UnavailableError, match="--vgg-weights FILE, or use --content mse"):
        load_vgg("vgg22", path)


def test_weights_that_end_too_early(vgg22_file):
    with pytest.raises(UnavailableError, match=r"features\.10\.bias .*not enough for vgg54"):
        load_vgg("vgg54", str(vgg22_file))


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


def test_truncated_weights(vgg22_file):
    vgg22_file.write_bytes(vgg22_file.read_bytes()[:5000])
    with pytest.raises(BadDataError, match=r"vgg\.pth"):
        load_vgg("vgg22", str(vgg22_file))
