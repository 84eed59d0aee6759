"""Options: the paper's recipe as defaults, everything checked."""

import math
import pickle
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from srgan.recipe import Recipe

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CONF = Path(__file__).resolve().parents[1] / "conf"


def read_conf(name: str) -> dict:
    return tomllib.loads((CONF / name).read_text())


def test_paper_recipe_is_the_default():
    assert Recipe(**read_conf("srgan.toml")) == Recipe()


def test_seed_recipe_is_5000_epochs_of_general_100():
    options = Recipe(**read_conf("srgan-seed.toml"))
    assert options.steps("srresnet", 100) + options.steps("srgan", 100) == 5000 * 13


def test_tiny_recipe_is_valid():
    assert Recipe(**read_conf("srgan-tiny.toml")).phases == ("srresnet",)


def test_every_option_is_explained():
    missing = [name for name, field in Recipe.model_fields.items() if not field.description]
    assert missing == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"crop": 96},
        {"crop_size": 100},
        {"batch_size": 0},
        {"learning_rate": math.nan},
        {"adversarial_weight": math.inf},
        {"ema_decay": 1.0},
        {"model": "srcnn"},
        {"model": "dcgan", "crop_size": 48},
        {"label_smoothing": 0.5},
    ],
)
def test_wrong_options_are_refused_by_name(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Recipe(**wrong)


def test_learning_rate_drops_in_the_second_half_of_srgan_alone():
    options = Recipe()
    assert options.learning_rate_at("srresnet", 999_999, 1_000_000) == 1e-4
    assert options.learning_rate_at("srgan", 99_999, 200_000) == 1e-4
    assert options.learning_rate_at("srgan", 100_000, 200_000) == 1e-5


def test_cosine_schedule_falls_from_the_phases_own_rate_to_a_hundredth():
    options = Recipe(learning_rate=2e-3, srgan_learning_rate=2e-4, learning_rate_schedule="cosine")
    for phase, rate in (("srresnet", 2e-3), ("srgan", 2e-4)):
        rates = [options.learning_rate_at(phase, step, 1000) for step in range(1001)]
        assert rates[0] == rate and rates[500] == pytest.approx(0.505 * rate)
        assert rates[1000] == pytest.approx(rate / 100)
        assert rates == sorted(rates, reverse=True)
    paper = Recipe(srgan_learning_rate=2e-4)
    assert paper.learning_rate_at("srgan", 0, 10) == 2e-4
    assert paper.learning_rate_at("srresnet", 0, 10) == 1e-4


def test_options_can_be_sent_to_other_processes():
    options = Recipe(batch_size=8)
    assert pickle.loads(pickle.dumps(options)) == options
