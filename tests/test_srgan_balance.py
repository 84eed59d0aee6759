"""Shares of the generator's gradient, and the warnings that follow from them."""

import logging
import re

import pytest
import torch

from srgan.balance import STEPS_IN_A_ROW, BalanceWatch, gradient_powers, with_shares


def values(share: float = 0.2, original: float = 0.6, generated: float = 0.6) -> dict[str, float]:
    return {
        "adversarial_share": share,
        "discriminator_original": original,
        "discriminator_generated": generated,
    }


def test_shares_are_of_the_norms():
    gradients = {"content": torch.tensor([[3.0, 4.0]]), "adversarial": torch.tensor([[0.0, -15.0]])}
    powers = {name: power.item() for name, power in gradient_powers(gradients).items()}
    values = with_shares({"content": 0.1, **powers})
    assert values == {
        "content": 0.1,
        "content_share": pytest.approx(0.25),
        "adversarial_share": pytest.approx(0.75),
    }


def test_no_gradient_at_all_is_no_division_by_zero():
    assert with_shares({"content_power": 0.0, "adversarial_power": 0.0}) == {
        "content_share": 0,
        "adversarial_share": 0,
    }


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (values(share=0.00004), "less than 1% .*raise --adversarial-weight"),
        (values(share=0.95), "more than 90% .*lower --adversarial-weight"),
        (values(original=0.04, generated=0.03), "it has won.*--spectral-norm"),
    ],
)
def test_a_lost_balance_is_warned_of_once(caplog, step, words):
    watch = BalanceWatch()
    with caplog.at_level(logging.WARNING):
        watch.look([step] * (STEPS_IN_A_ROW - 1))
        assert not caplog.records
        for _ in range(3):
            watch.look([step] * STEPS_IN_A_ROW)
    (record,) = caplog.records
    assert re.search(words, record.getMessage())


def test_steps_in_between_start_the_count_anew(caplog):
    watch = BalanceWatch()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            watch.look([values(share=0.001)] * (STEPS_IN_A_ROW - 1) + [values()])
        # One of the two losses below the bound is no victory.
        watch.look([values(original=0.01)] * 2 * STEPS_IN_A_ROW)
        # The srresnet phase has no shares.
        watch.look([{"mse": 0.1}] * 2 * STEPS_IN_A_ROW)
    assert not caplog.records
