"""Evaluation during a training, its images spread over the ranks."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from srgan.distributed import Ranks, failing_together
from srgan.evaluation import ImageResult, Upscale, evaluate_image, mean_scores
from srgan.images import NamedImage
from srgan.metrics import Scores

TestSets = Mapping[str, Sequence[NamedImage]]


class Validation(NamedTuple):
    """Mean scores of each test set, and the first images for pictures."""

    means: dict[str, Scores]
    examples: list[ImageResult]

    @property
    def psnr_y(self) -> float | None:
        """Mean PSNR (Y, dB) of the first test set, by which the best model is chosen."""
        return next((scores.psnr_y for scores in self.means.values()), None)


def validate(test_sets: TestSets, upscale: Upscale, ranks: Ranks, examples: int = 0) -> Validation:
    """Score an upscale on all test sets; every rank takes its part and gets all scores.

    Args:
        test_sets: images by name of the set.
        upscale: from low to high resolution.
        ranks: the ranks, all of which call this.
        examples: how many of the first images to return.
    """
    images = [(name, image) for name, images in test_sets.items() for image in images]
    own: dict[int, ImageResult] = {}
    with failing_together(ranks):
        for number in range(ranks.rank, len(images), ranks.world_size):
            own[number] = evaluate_image(images[number][1], upscale)
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
