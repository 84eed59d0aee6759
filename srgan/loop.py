"""The steps of one phase, and what happens between them."""

import logging
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from srgan.balance import SHARE, BalanceWatch, with_shares
from srgan.batches import CropSampler
from srgan.checkpoint import TrainingState
from srgan.distributed import Ranks
from srgan.errors import DivergedError
from srgan.evaluation import upscale_with
from srgan.lpips import Lpips
from srgan.measurement import Throughput, count_flops, waiting_share
from srgan.phases import Phase
from srgan.recipe import PhaseName, Recipe
from srgan.training_output import TrainingOutput
from srgan.validation import Best, TestSets, Validation, validate

logger = logging.getLogger(__name__)

Losses = dict[str, float]

LARGEST_PIXEL_LOSS = 4.0
"""Mean squared error of black against white, in [-1, 1]; the absolute error is less."""


class Progress(NamedTuple):
    """What a training tells while it runs, on the first rank, every log_every steps."""

    phase: PhaseName
    step: int
    """Steps done in this phase."""
    steps: int
    """Steps of this phase in all."""
    losses: Losses
    """Means over all ranks and over the steps since the last report."""
    crops_per_second: float
    scores: dict[str, dict[str, float | None]] | None = None
    """Of each test set, by metric, right after an evaluation."""


@dataclass(frozen=True)
class TrainingSetup:
    """What the phases of a training have in common."""

    options: Recipe
    ranks: Ranks
    sampler: CropSampler
    images: int
    """Number of training images."""
    test_sets: TestSets
    folder: TrainingOutput | None
    """On the first rank, which writes; None on the others."""
    progress: Callable[[Progress], None] | None
    stop: Callable[[], bool] | None
    lpips: Lpips | None = None
    """What measures the perceptual distance in evaluations, where there are weights for it."""
    learning_rate_factor: float = 1.0


@dataclass
class Outcome:
    """What became of a phase."""

    step: int
    """Steps done, in this run and in those it continues."""
    stopped: bool = False
    validation: Validation | None = None
    """The one after the last step; None when the phase was stopped or complete before."""
    crops_per_second: float | None = None
    allreduce_share: float | None = None
    tflops: float | None = None
    losses: list[Losses] = field(default_factory=list)
    """Means of the first and of the last steps that were logged together."""


class PhaseLoop:
    """Takes a phase from its first step, or from a checkpoint, to its last."""

    def __init__(self, phase: Phase, setup: TrainingSetup, best: dict[str, Best]) -> None:
        """Prepare a phase; the best evaluation of each phase is brought up to date as it runs."""
        self._phase = phase
        self._setup = setup
        self._best = best
        self._balance = BalanceWatch()
        options = setup.options
        self._steps = options.steps(phase.name, setup.images)
        # TensorBoard's axis goes on through both phases.
        self._earlier_steps = (
            options.steps("srresnet", setup.images)
            if phase.name == "srgan" and options.phase == "both"
            else 0
        )
        self._throughput = Throughput()
        self._waiting_share: float | None = None
        self._flops = 0
        self._last_losses: Losses = {}
        self._rate = 0.0
        self._learning_rate = 0.0

    def run(self, first_step: int) -> Outcome:
        """Do the steps from first_step on.

        Raises:
            DivergedError: a loss is not finite, or larger than pictures allow.
        """
        options, phase = self._setup.options, self._phase
        outcome = Outcome(first_step)
        if first_step >= self._steps:
            return outcome
        if self._setup.folder is not None:
            self._setup.folder.open_events(self._earlier_steps + first_step)
        window: list[dict[str, Tensor]] = []
        self._throughput.start_window()
        for step in range(first_step, self._steps):
            batch = self._setup.sampler.batch(phase.number, step)
            window.append(phase.compute_gradients(batch))
            rate = options.learning_rate_at(phase.name, step, self._steps)
            self._learning_rate = rate * self._setup.learning_rate_factor
            phase.apply_gradients(step, self._learning_rate)

            done = step + 1
            last = done == self._steps
            validating = last or done % options.validate_every == 0
            saving = last or done % options.checkpoint_every == 0
            if not (validating or saving or done % options.log_every == 0):
                continue
            # Losses are read before anything is written, so nothing broken is ever kept.
            self._log(done, window, outcome)
            window.clear()
            if self._waiting_share is None:
                self._flops = count_flops(phase, batch)
                self._waiting_share = waiting_share(phase, batch, self._setup.ranks)
            outcome.stopped = not last and self._asked_to_stop()
            if validating:
                outcome.validation = self._validate(done)
            if saving or outcome.stopped:
                self._save(done)
            if outcome.stopped:
                break
            self._throughput.start_window()
        self._measure(outcome)
        return outcome

    def _log(self, done: int, window: Sequence[dict[str, Tensor]], outcome: Outcome) -> None:
        """Read the losses of the last steps: the one place where the device is waited for."""
        means = torch.stack([torch.stack(list(terms.values())) for terms in window])
        rows: list[list[float]] = self._setup.ranks.mean(means).tolist()
        crops_per_second = self._setup.options.batch_size * self._throughput.end_window(len(rows))
        for step, row in enumerate(rows, start=done - len(rows) + 1):
            self._check(step, row)
        steps = [with_shares(dict(zip(window[0], row, strict=True))) for row in rows]
        losses = {name: statistics.fmean(step[name] for step in steps) for name in steps[0]}
        self._last_losses, self._rate = losses, crops_per_second
        outcome.step = done
        outcome.losses = [*outcome.losses[:1], losses]
        if self._setup.folder is None:
            return
        self._balance.look(steps)
        events = self._setup.folder.events
        # What LeNet's training writes as well bears the names that BigDL gives it.
        curves = {
            "Loss": next(iter(losses.values())),
            "Throughput": crops_per_second,
            "LearningRate": self._learning_rate,
            **{
                f"{'Share' if name.endswith(SHARE) else 'Loss'}/{self._phase.name} {name}": value
                for name, value in losses.items()
            },
        }
        events.add_scalars(curves, self._earlier_steps + done)
        self._tell(done)

    def _tell(self, done: int, scores: dict[str, dict[str, float | None]] | None = None) -> None:
        if self._setup.progress is not None:
            self._setup.progress(
                Progress(
                    phase=self._phase.name,
                    step=done,
                    steps=self._steps,
                    losses=self._last_losses,
                    crops_per_second=self._rate,
                    scores=scores,
                )
            )

    def _check(self, step: int, losses: Sequence[float]) -> None:
        if not all(math.isfinite(loss) for loss in losses):
            found = "no finite number"
        elif self._phase.name == "srresnet" and losses[0] > LARGEST_PIXEL_LOSS:
            found = f"{losses[0]:.3g}, more than any picture can be off"
        else:
            return
        batches = math.ceil(self._setup.images / self._setup.options.batch_size)
        epoch, batch = divmod(step - 1, batches)
        raise DivergedError(
            f"{self._phase.name}: the loss is {found} at step {step} (batch {batch + 1} of epoch "
            f"{epoch + 1})"
        )

    def _validate(self, done: int) -> Validation:
        """Score the averaged generator; all ranks take part."""
        upscale = upscale_with(self._phase.average.network, self._setup.ranks.device)
        validation = validate(
            self._setup.test_sets,
            upscale=upscale,
            ranks=self._setup.ranks,
            examples=self._setup.options.pictures,
            lpips=self._setup.lpips,
        )
        name = self._phase.name
        found = validation.best(name)
        best = found is not None and found.is_better_than(self._best.get(name))
        if found is not None and best:
            self._best[name] = found
        folder = self._setup.folder
        if folder is not None:
            scores = {of: one._asdict() for of, one in validation.means.items()}
            logger.info("%s step %d: %s", name, done, scores)
            self._tell(done, scores)
            events_step = self._earlier_steps + done
            folder.save_validation(
                self._phase, done, events_step, validation, lpips=self._setup.lpips
            )
            if best:
                folder.save_model(self._phase, done, validation.first, best=True)
            if done == self._steps:
                folder.save_model(self._phase, done, validation.first)
        return validation

    def _save(self, done: int) -> None:
        if self._setup.folder is None:
            return
        state: TrainingState = {
            "phase": self._phase.name,
            "step": done,
            "options": self._setup.options.model_dump(),
            "best": {name: (one.metric, one.value) for name, one in self._best.items()},
            "learning_rate_factor": self._setup.learning_rate_factor,
            "rng": torch.get_rng_state(),
            **self._phase.state_dict(),
        }
        self._setup.folder.save_checkpoint(self._phase, done, state)

    def _asked_to_stop(self) -> bool:
        if self._setup.stop is None:
            return False
        asked = torch.tensor(float(self._setup.stop()), device=self._setup.ranks.device)
        return self._setup.ranks.mean(asked).item() > 0

    def _measure(self, outcome: Outcome) -> None:
        rate = self._throughput.steps_per_second
        assert rate is not None and self._waiting_share is not None
        outcome.crops_per_second = self._setup.options.batch_size * rate
        outcome.allreduce_share = self._waiting_share
        outcome.tflops = self._flops * self._setup.ranks.world_size * rate / 1e12
