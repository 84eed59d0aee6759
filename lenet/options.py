"""What can be chosen about a LeNet5 training; the defaults are the tuned recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, model_validator


class Recipe(BaseModel):
    """Network, optimiser and schedule of a training.

    The mean loss of a batch is minimised by SGD. With `learning_rate_schedule = "linear"` epoch k
    of n runs at learning_rate * (n - k + 1) / n; with "inverse" iteration i runs at
    learning_rate / (1 + i * learning_rate_decay), BigDL's default.
    """

    network: Literal["lenet5", "seed"] = Field(
        "lenet5", description="lenet5: tuned; seed: BigDL's stock network, as in the experiment"
    )
    epochs: int = Field(8, ge=1, description="passes over the training set")
    max_iterations: int = Field(
        0, ge=0, description="end after this many iterations, 0: only after the epochs"
    )
    batch_size: int = Field(512, ge=1, description="records an iteration, over all executors")
    learning_rate: float = Field(
        0.1, gt=0, allow_inf_nan=False, description="of the first iteration"
    )
    learning_rate_schedule: Literal["linear", "inverse"] = Field(
        "linear", description="how the learning rate falls"
    )
    learning_rate_decay: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="an iteration, for the inverse schedule"
    )
    momentum: float = Field(
        0.9, ge=0, lt=1, allow_inf_nan=False, description="Nesterov momentum, 0: plain SGD"
    )
    shift: int = Field(
        1, ge=0, le=8, description="pixels by which training images are moved about at random"
    )
    seed: int = Field(
        1, ge=1, lt=2**31, description="of the first weights; the order of records is not seeded"
    )

    @model_validator(mode="after")
    def _check_decay(self) -> Recipe:
        if self.learning_rate_schedule == "linear" and self.learning_rate_decay:
            raise ValueError("--learning-rate-decay needs --learning-rate-schedule inverse")
        return self

    def learning_rate_in(self, epoch: int) -> float:
        """The learning rate at the first iteration of an epoch (counted from 1)."""
        if self.learning_rate_schedule == "inverse":
            return self.learning_rate
        return self.learning_rate * (self.epochs - epoch + 1) / self.epochs
