"""What can be chosen about a LeNet5 training; the defaults are the tuned recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, model_validator


class Recipe(BaseModel):
    """Network, optimiser and schedule of a training.

    The mean loss of a batch is minimised by SGD. With `learning_rate_schedule = "linear"`
    iteration i of n, counted from 0, runs at learning_rate * (1 - i / n); with "inverse" at
    learning_rate / (1 + i * learning_rate_decay), BigDL's default.
    """

    network: Literal["lenet5", "seed"] = Field(
        "lenet5", description="lenet5: tuned; seed: BigDL's stock network, as in the experiment"
    )
    arithmetic: Literal["fused", "bigdl"] = Field(
        "fused",
        description="fused: lenet5 as one module, and batches, of our own; bigdl: BigDL's layers "
        "and transformers, on a Spark that inspects every closure",
    )
    epochs: int = Field(12, ge=1, description="passes over the training set")
    max_iterations: int = Field(
        0, ge=0, description="end after this many iterations, 0: only after the epochs"
    )
    batch_size: int = Field(512, ge=1, description="records per iteration, over all executors")
    learning_rate: float = Field(
        0.15, gt=0, allow_inf_nan=False, description="of the first iteration"
    )
    learning_rate_schedule: Literal["linear", "inverse"] = Field(
        "linear", description="how the learning rate falls"
    )
    learning_rate_decay: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="per iteration, for the inverse schedule"
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
    def _check_arithmetic(self) -> Recipe:
        if self.network != "lenet5" and self.arithmetic == "fused":
            raise ValueError(f"--network {self.network} needs --arithmetic bigdl")
        return self

    @model_validator(mode="after")
    def _check_decay(self) -> Recipe:
        if self.learning_rate_schedule == "linear" and self.learning_rate_decay:
            raise ValueError("--learning-rate-decay needs --learning-rate-schedule inverse")
        return self

    def learning_rate_at(self, iteration: int, iterations: int) -> float:
        """The learning rate of an iteration, counted from 0, of all epochs' iterations."""
        if self.learning_rate_schedule == "inverse":
            return self.learning_rate / (1 + iteration * self.learning_rate_decay)
        return self.learning_rate * (1 - iteration / iterations)
