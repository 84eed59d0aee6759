"""LeNet's rules that need no Spark: batch sizes and learning rates."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from lenet.errors import BatchSizeError
from lenet.recipe import Recipe
from lenet.schedule import check_batch_size, iterations_per_epoch, total_iterations
from lenet.summaries import drop_torn_event


@pytest.mark.parametrize(
    ("batch_size", "executors", "cores", "nearest"),
    [(33, 1, 2, "32 or 34"), (500, 4, 2, "496 or 504"), (3, 2, 2, "4"), (100, 3, 4, "96 or 108")],
)
def test_a_batch_that_does_not_divide(
    batch_size: int, executors: int, cores: int, nearest: str
) -> None:
    with pytest.raises(BatchSizeError, match=f"the nearest sizes that do: {nearest}$"):
        check_batch_size(batch_size, executors, cores)


def test_a_batch_that_divides() -> None:
    check_batch_size(512, 4, 2)
    check_batch_size(32, 4, 2)


def test_iterations() -> None:
    assert iterations_per_epoch(60000, 512) == 118
    assert iterations_per_epoch(60000, 32) == 1875
    recipe = Recipe(epochs=15, batch_size=32)
    assert total_iterations(recipe, 60000) == 28125, "the experiment's number"
    assert total_iterations(Recipe(epochs=15, batch_size=8), 60000) == 112500, "on two PCs"
    assert total_iterations(Recipe(max_iterations=10), 60000) == 10


def test_learning_rates() -> None:
    recipe = Recipe(learning_rate=0.1)
    assert [recipe.learning_rate_at(iteration, 100) for iteration in (0, 50, 99)] == pytest.approx(
        [0.1, 0.05, 0.001]
    )
    inverse = Recipe(learning_rate_schedule="inverse", learning_rate=0.1, learning_rate_decay=0.01)
    assert inverse.learning_rate_at(300, 1000) == pytest.approx(0.025)
    with pytest.raises(ValidationError, match="--arithmetic bigdl"):
        Recipe(network="seed")
    with pytest.raises(ValidationError, match="inverse"):
        Recipe(learning_rate_decay=2e-4)


def test_half_an_event_is_cut_off(tmp_path: Path) -> None:
    whole = (3).to_bytes(8, "little") + b"crc." + b"abc" + b"crc."
    file = tmp_path / "events.out.tfevents.1"
    for torn in (b"", whole[:5], whole[:-1], (1 << 40).to_bytes(8, "little")):
        file.write_bytes(2 * whole + torn)
        drop_torn_event(file)
        assert file.read_bytes() == 2 * whole
