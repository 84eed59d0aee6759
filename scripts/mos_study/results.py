"""What the ratings say: mean opinion scores, differences between methods, and who rated with care.

A rater's ratings are not independent of each other: one is strict, another mild. So the unit is
the rater: a rater's mean over the images is one observation, for the confidence intervals and
for the comparisons. Only raters who have finished count, and of them those who used the scale.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from scipy import stats

from mos_study.store import StoredTrial
from mos_study.study import NEAREST, ORIGINAL, Measured, Study

CONFIDENCE = 0.95
SIGNIFICANT = 0.05
LEAST_SPAN = 1.5
"""A rater who uses the scale finds originals better than nearest neighbour by this at least."""
LARGEST_REPEAT_DIFFERENCE = 1.25
"""Mean difference up to which a rater rates the same picture alike again."""
ALL_SETS = "all"

Standing = Literal["counted", "unfinished", "calibration failed", "inconsistent"]


@dataclass(frozen=True)
class Rater:
    """A rater and how they rated."""

    rater: int
    name: str
    """What they called themselves."""
    done: int
    """Trials rated."""
    total: int
    """Trials in all."""
    span: float | None
    """Mean rating of the calibration's originals minus that of nearest neighbour."""
    repeat_difference: float | None
    """Mean absolute difference between first and second rating."""
    standing: Standing
    """Either "counted" or why not."""


@dataclass(frozen=True)
class Score:
    """Mean opinion score of a method on an image set."""

    set: str
    """Image set, or "all"."""
    method: str
    mos: float
    """Mean over raters of their means over images, 1 to 5."""
    low: float | None
    """Ends of the 95 % confidence interval (Student's t over raters); None for one rater."""
    high: float | None
    raters: int
    ratings: int
    """Of all raters."""
    psnr: float | None
    """Mean PSNR (Y, dB) of the very pictures; None in studies that did not measure it."""
    lpips: float | None
    """Mean LPIPS likewise, of which less is better."""


@dataclass(frozen=True)
class Comparison:
    """Two methods on all images, by the paired two-sided Wilcoxon signed-rank test."""

    first: str
    second: str
    difference: float
    """Mean of the first minus that of the second."""
    p: float
    """Over raters (each rater's mean difference is a pair)."""
    p_adjusted: float
    """By Holm's method, for all comparisons together; this decides."""
    p_ratings: float
    """Over single ratings, as if they were independent; smaller than it should be."""
    verdict: Literal["better", "worse", "no difference", "too few raters"]
    """Of the first; "too few raters" where even raters of one mind could not be significant."""


@dataclass(frozen=True)
class Results:
    """All that is known; `scores` and `comparisons` are empty before a rater has finished."""

    raters: list[Rater]
    scores: list[Score]
    comparisons: list[Comparison]


def analyse(study: Study, trials: Iterable[StoredTrial]) -> Results:
    """Judge the raters, then the methods by those who count."""
    by_rater: dict[int, list[StoredTrial]] = {}
    for trial in trials:
        by_rater.setdefault(trial.rater, []).append(trial)
    raters = [_judge(own) for own in by_rater.values()]
    counted = [rater.rater for rater in raters if rater.standing == "counted"]
    if not counted:
        return Results(raters, [], [])
    ratings = _table(study, [by_rater[rater] for rater in counted])
    names = [image.set for image in study.images]
    sets = {name: [number for number, one in enumerate(names) if one == name] for name in names}
    if len(sets) > 1:
        sets = {**sets, ALL_SETS: list(range(len(names)))}
    scores = [
        _score(
            name,
            method,
            ratings[:, images, column],
            [study.measured[image][method] for image in images] if study.measured else [],
        )
        for name, images in sets.items()
        for column, method in enumerate(study.methods)
    ]
    return Results(raters, scores, _compare(study.methods, ratings))


def standing_of(span: float, repeat_difference: float) -> Standing:
    """Whether a rater who has finished counts."""
    if span < LEAST_SPAN:
        return "calibration failed"
    if repeat_difference > LARGEST_REPEAT_DIFFERENCE:
        return "inconsistent"
    return "counted"


def _judge(own: Sequence[StoredTrial]) -> Rater:
    rated = [trial for trial in own if trial.rating is not None]
    references: dict[str, list[int]] = {NEAREST: [], ORIGINAL: []}
    first: dict[tuple[int, str], int] = {}
    differences = []
    for trial in rated:
        assert trial.rating is not None
        shown = (trial.image, trial.version)
        if trial.kind == "calibration":
            references[trial.version].append(trial.rating)
        elif trial.kind == "main":
            first[shown] = trial.rating
        else:
            differences.append(abs(trial.rating - first[shown]))
    span = repeat_difference = None
    if all(references.values()):
        span = float(np.mean(references[ORIGINAL]) - np.mean(references[NEAREST]))
    if differences:
        repeat_difference = float(np.mean(differences))
    standing: Standing = "unfinished"
    if len(rated) == len(own) and span is not None and repeat_difference is not None:
        standing = standing_of(span, repeat_difference)
    return Rater(
        rater=own[0].rater,
        name=own[0].name,
        done=len(rated),
        total=len(own),
        span=span,
        repeat_difference=repeat_difference,
        standing=standing,
    )


def _table(study: Study, of_raters: Sequence[Sequence[StoredTrial]]) -> np.ndarray:
    """First ratings, raters x images x methods; all raters have finished."""
    table = np.empty((len(of_raters), len(study.images), len(study.methods)))
    for row, own in enumerate(of_raters):
        for trial in own:
            if trial.kind == "main":
                table[row, trial.image, study.methods.index(trial.version)] = trial.rating
    return table


def _score(name: str, method: str, ratings: np.ndarray, measured: Sequence[Measured]) -> Score:
    """From ratings of raters x images, and what was measured of the images."""
    means = ratings.mean(axis=1)
    low = high = None
    if len(means) > 1:
        error = stats.sem(means)
        margin = stats.t.ppf((1 + CONFIDENCE) / 2, len(means) - 1) * error
        low, high = float(means.mean() - margin), float(means.mean() + margin)
    return Score(
        set=name,
        method=method,
        mos=float(means.mean()),
        low=low,
        high=high,
        raters=len(means),
        ratings=ratings.size,
        psnr=_mean([one.psnr_y for one in measured]),
        lpips=_mean([one.lpips for one in measured if one.lpips is not None]),
    )


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _compare(methods: Sequence[str], ratings: np.ndarray) -> list[Comparison]:
    pairs = list(combinations(range(len(methods)), 2))
    differences = [ratings[:, :, first] - ratings[:, :, second] for first, second in pairs]
    ps = [wilcoxon(difference.mean(axis=1)) for difference in differences]
    # The smallest p that so many raters can give, if all of them agree.
    best_p = 2.0 ** (1 - len(ratings))
    too_few = best_p * len(pairs) >= SIGNIFICANT
    found = []
    for (first, second), difference, p, adjusted in zip(
        pairs, differences, ps, holm(ps), strict=True
    ):
        mean = float(difference.mean())
        verdict: Literal["better", "worse", "no difference", "too few raters"] = "no difference"
        if too_few:
            verdict = "too few raters"
        elif adjusted < SIGNIFICANT:
            verdict = "better" if mean > 0 else "worse"
        found.append(
            Comparison(
                first=methods[first],
                second=methods[second],
                difference=mean,
                p=p,
                p_adjusted=adjusted,
                p_ratings=wilcoxon(difference.ravel()),
                verdict=verdict,
            )
        )
    return found


def wilcoxon(differences: np.ndarray) -> float:
    """p of the two-sided signed-rank test; zeros are left out, and 1 if nothing else is there."""
    # Means over images that are equal but for the order of adding are equal.
    rounded = np.round(differences, 9)
    return float(stats.wilcoxon(rounded).pvalue) if rounded.any() else 1.0


def holm(ps: Sequence[float]) -> list[float]:
    """p values adjusted for being several (S. Holm, 1979)."""
    adjusted = [0.0] * len(ps)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = largest
    return adjusted


def as_json(study: Study, results: Results) -> Mapping[str, object]:
    """For results.json: plain dictionaries, the study's own facts in front, no token."""
    return {
        "methods": study.methods,
        "sources": study.sources,
        "images": [image.model_dump() for image in study.images],
        **{name: [vars(one) for one in getattr(results, name)] for name in vars(results)},
    }
