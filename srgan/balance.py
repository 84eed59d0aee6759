"""Who moves the generator, and whether generator and discriminator are still each other's match."""

import logging
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

SHARE = "_share"
"""Ends the names of the shares among the values of a step."""

LEAST_ADVERSARIAL_SHARE, MOST_ADVERSARIAL_SHARE = 0.01, 0.9
WON_BELOW = 0.05
"""Both losses of a discriminator that hardly errs are below that."""
STEPS_IN_A_ROW = 100


def gradient_shares(gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each term's part, 0 to 1, of the sum of the norms of the terms' gradients.

    The gradients are those of the weighted terms to the generated images, which the generator
    passes on to all its weights: what counts is not how large a loss is but how hard it pulls.

    Args:
        gradients: by name of the term, N x 3 x H x W.

    Returns:
        By name of the term with _share behind it, on the same device.
    """
    norms = torch.stack([gradient.float().norm() for gradient in gradients.values()])
    shares = norms / norms.sum().clamp(min=torch.finfo(norms.dtype).tiny)
    return {f"{name}{SHARE}": share for name, share in zip(gradients, shares, strict=True)}


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


MESSAGES = {
    "weak": f"the adversarial term has had less than {LEAST_ADVERSARIAL_SHARE:.0%} of the "
    "generator's gradient: this trains by content alone; raise --adversarial-weight",
    "strong": f"the adversarial term has had more than {MOST_ADVERSARIAL_SHARE:.0%} of the "
    "generator's gradient: content no longer counts; lower --adversarial-weight",
    "won": f"both losses of the discriminator have been below {WON_BELOW:g}: it has won, and the "
    "generator learns little from it; give --spectral-norm or --label-smoothing 0.1",
}
