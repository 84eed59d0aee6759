"""In which order a rater sees what: at random, and no image twice in a row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from random import Random
from typing import Literal, NamedTuple

from mos_study.study import REFERENCES, Study

Kind = Literal["calibration", "main", "repeat"]
REPEATED_SHARE = 0.1
"""Share of ratings asked for twice (SRGAN's raters repeated 10 of about 230)."""
FEWEST_REPEATS = 4


class Trial(NamedTuple):
    """One picture to be rated: an image, by its number in the study, in one version."""

    kind: Kind
    image: int
    version: str


def trials_for_a_rater(study: Study, random: Random) -> list[Trial]:
    """What a rater is to see, in order.

    First the references of two images (calibration), then every method on every image, some of
    them twice. What is seen again is a "repeat".
    """
    calibration = [
        Trial("calibration", image, version)
        for image in study.calibration
        for version in REFERENCES
    ]
    main = [
        Trial("main", image, method)
        for image in range(len(study.images))
        for method in study.methods
    ]
    wanted = max(FEWEST_REPEATS, round(REPEATED_SHARE * len(main)))
    # Of different images: else one image might fill more than half of all.
    images = random.sample(range(len(study.images)), min(wanted, len(study.images)))
    again = [Trial("main", image, random.choice(study.methods)) for image in images]
    first = mixed(calibration, random)
    return [*first, *_marked(mixed([*main, *again], random, first[-1].image))]


def mixed(trials: Iterable[Trial], random: Random, previous: int | None = None) -> list[Trial]:
    """A random order in which no image follows itself.

    Args:
        trials: of which no image has more than half, rounded up.
        random: decides.
        previous: the image that was shown before; it has no more than half, rounded down.
    """
    left = list(trials)
    order: list[Trial] = []
    while left:
        counts = Counter(trial.image for trial in left)
        # An image that fills more than half of what remains must come now.
        urgent = [image for image, count in counts.items() if count > len(left) // 2]
        allowed = [trial for trial in left if trial.image in (urgent or counts)]
        chosen = random.choice([trial for trial in allowed if trial.image != previous])
        left.remove(chosen)
        order.append(chosen)
        previous = chosen.image
    return order


def _marked(order: Sequence[Trial]) -> list[Trial]:
    """The same order, the second time of each trial called a repeat."""
    seen: set[Trial] = set()
    marked = []
    for trial in order:
        marked.append(trial._replace(kind="repeat") if trial in seen else trial)
        seen.add(trial)
    return marked
