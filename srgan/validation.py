"""Evaluation during a training, its images spread over the ranks."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from srgan.distributed import Ranks, failing_together
from srgan.evaluation import ImageResult, Upscale, evaluate_image, mean_scores
from srgan.image_folder import NamedImage
from srgan.lpips import Lpips
from srgan.metrics import Scores
from srgan.recipe import PhaseName

TestSets = Mapping[str, Sequence[NamedImage]]


class Best(NamedTuple):
    """How good a model is, by one metric."""

    metric: str
    """psnr_y, of which more is better, or lpips, of which less is."""
    value: float

    def is_better_than(self, other: "Best | None") -> bool:
        """Whether it beats another, if there is one and it was measured by the same metric."""
        if other is None or other.metric != self.metric:
            return True
        return self.value < other.value if self.metric == "lpips" else self.value > other.value


class Validation(NamedTuple):
    """Mean scores of each test set, and the first images for pictures."""

    means: dict[str, Scores]
    examples: list[ImageResult]

    @property
    def first(self) -> Scores | None:
        """Mean scores of the first test set, by which the best model is chosen."""
        return next(iter(self.means.values()), None)

    def best(self, phase: PhaseName) -> Best | None:
        """What counts when models of a phase are compared; None without a test set.

        The srresnet phase is after PSNR. The srgan phase gives it up for what people see, so by
        PSNR its best would be its first: there LPIPS counts, where it could be measured.
        """
        if self.first is None:
            return None
        if phase == "srgan" and self.first.lpips is not None:
            return Best("lpips", self.first.lpips)
        return Best("psnr_y", self.first.psnr_y)


def validate(
    test_sets: TestSets,
    upscale: Upscale,
    ranks: Ranks,
    examples: int = 0,
    lpips: Lpips | None = None,
) -> Validation:
    """Score an upscale on all test sets; every rank takes its part and gets all scores.

    Args:
        test_sets: images by name of the set.
        upscale: from low to high resolution.
        ranks: the ranks, all of which call this.
        examples: how many of the first images to return.
        lpips: measures LPIPS; without it there is none among the scores.
    """
    images = [(name, image) for name, images in test_sets.items() for image in images]
    own: dict[int, ImageResult] = {}
    with failing_together(ranks):
        for number in range(ranks.rank, len(images), ranks.world_size):
            own[number] = evaluate_image(images[number][1], upscale, lpips)
    shared = (
        {number: result.scores for number, result in own.items()},
        {number: result for number, result in own.items() if number < examples},
    )
    scores: dict[int, Scores] = {}
    results: dict[int, ImageResult] = {}
    for other_scores, other_results in ranks.gather(shared):
        scores.update(other_scores)
        results.update(other_results)
    means = {
        name: mean_scores(scores[number] for number, image in enumerate(images) if image[0] == name)
        for name in test_sets
    }
    return Validation(means, [results[number] for number in sorted(results)])
