"""Who moves the generator, and whether generator and discriminator are still each other's match."""

import logging
import math
from collections.abc import Mapping, Sequence

from torch import Tensor

logger = logging.getLogger(__name__)

POWER, SHARE = "_power", "_share"
"""End the names of what gradient_powers and with_shares give."""

LEAST_ADVERSARIAL_SHARE, MOST_ADVERSARIAL_SHARE = 0.01, 0.9
WON_BELOW = 0.05
"""Both losses of a discriminator that hardly errs are below that."""
STEPS_IN_A_ROW = 100


MESSAGES = {
    "weak": f"the adversarial term has had less than {LEAST_ADVERSARIAL_SHARE:.0%} of the "
    "generator's gradient: this trains by content alone; raise --adversarial-weight",
    "strong": f"the adversarial term has had more than {MOST_ADVERSARIAL_SHARE:.0%} of the "
    "generator's gradient: content no longer counts; lower --adversarial-weight",
    "won": f"both losses of the discriminator have been below {WON_BELOW:g}: it has won, and the "
    "generator learns little from it; give --spectral-norm or --label-smoothing 0.1",
}


def gradient_powers(gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The mean square of each term's gradient, as that of an image alone.

    Squares, because their mean over ranks is that of all images together, which no mean of norms
    or of shares is; of an image alone, because a loss is a mean over the images of a rank.

    Args:
        gradients: those of the weighted terms to the generated images (N x 3 x H x W), by name of
            the term. The generator passes them on to all its weights: what counts is not how large
            a loss is but how hard it pulls.

    Returns:
        By name of the term with _power behind it, on the same device.
    """
    return {
        f"{name}{POWER}": (len(gradient) * gradient.float()).square().mean()
        for name, gradient in gradients.items()
    }


def with_shares(values: Mapping[str, float]) -> dict[str, float]:
    """The values of a step, with shares in place of powers.

    A share, 0 to 1, is a term's part of the sum of the norms of the terms' gradients; its name is
    that of the term with _share behind it.
    """
    norms = {name: math.sqrt(value) for name, value in values.items() if name.endswith(POWER)}
    total = sum(norms.values()) or 1.0
    return {
        **{name: value for name, value in values.items() if name not in norms},
        **{name.removesuffix(POWER) + SHARE: norm / total for name, norm in norms.items()},
    }


class BalanceWatch:
    """Warns, once each, of an adversarial term that does nothing or all, and of a won game."""

    def __init__(self) -> None:
        self._steps = {"weak": 0, "strong": 0, "won": 0}
        self._warned: set[str] = set()

    def look(self, values: Sequence[Mapping[str, float]]) -> None:
        """Take in the values of the steps since the last look, in their order."""
        for step in values:
            share = step.get(f"adversarial{SHARE}")
            if share is None:
                return
            losses = step["discriminator_original"], step["discriminator_generated"]
            self._count("weak", share < LEAST_ADVERSARIAL_SHARE)
            self._count("strong", share > MOST_ADVERSARIAL_SHARE)
            self._count("won", max(losses) < WON_BELOW)

    def _count(self, what: str, found: bool) -> None:
        self._steps[what] = self._steps[what] + 1 if found else 0
        if self._steps[what] < STEPS_IN_A_ROW or what in self._warned:
            return
        self._warned.add(what)
        logger.warning("for %d steps %s", STEPS_IN_A_ROW, MESSAGES[what])
