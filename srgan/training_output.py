"""What the first rank of a training writes into its run folder."""

import numpy as np

from srgan import storage
from srgan.checkpoint import Checkpoints, TrainingState
from srgan.comparison import comparison, contact_sheet, png
from srgan.events import EventLog
from srgan.export import ModelDescription, save_generator
from srgan.lpips import Lpips
from srgan.metrics import Scores
from srgan.models import ModelName
from srgan.phases import Phase
from srgan.recipe import PhaseName, Recipe
from srgan.validation import Validation


def label_of(model: ModelName, phase: PhaseName) -> str:
    """What a model is called under a picture."""
    if model == "srresnet":
        return "SRGAN" if phase == "srgan" else "SRResNet"
    return f"{model.upper()} GAN" if phase == "srgan" and model != "dcgan" else model.upper()


class TrainingOutput:
    """The run folder, local or remote."""

    def __init__(self, path: str, options: Recipe) -> None:
        self._path = path
        self._options = options
        self.checkpoints = Checkpoints(storage.join(path, "checkpoints"), options.keep_checkpoints)
        self._events: EventLog | None = None

    def open_events(self, first_step: int) -> None:
        """Begin to write events, discarding those an interrupted run left after first_step."""
        if self._events is None:
            self._events = EventLog(self._path, first_step)

    @property
    def events(self) -> EventLog:
        """The TensorBoard events; open_events comes first."""
        assert self._events is not None
        return self._events

    def close(self) -> None:
        """Complete the events."""
        if self._events is not None:
            self._events.close()
            self._events = None

    def model_path(self, phase: PhaseName, best: bool = False) -> str:
        """Where the generator of a phase is kept: the last one or the best."""
        return storage.join(self._path, f"{phase}{'-best' if best else ''}.safetensors")

    def save_model(
        self, phase: Phase, step: int, scores: Scores | None, best: bool = False
    ) -> None:
        """Write the averaged generator after a number of steps."""
        description = ModelDescription(
            model=self._options.model,
            residual_blocks=self._options.residual_blocks,
            channels=self._options.channels,
            bicubic_skip=self._options.bicubic_skip,
            phase=phase.name,
            step=step,
            psnr_y=scores.psnr_y if scores else None,
            lpips=scores.lpips if scores else None,
        )
        save_generator(self.model_path(phase.name, best), phase.average.network, description)

    def save_checkpoint(self, phase: Phase, step: int, state: TrainingState) -> None:
        """Write all that a later run needs, and let others see the events so far."""
        self.checkpoints.save(phase.number, phase.name, step, state)
        self.events.flush()

    def save_validation(
        self,
        phase: Phase,
        step: int,
        events_step: int,
        validation: Validation,
        lpips: Lpips | None,
    ) -> None:
        """Write the scores and the comparison picture after a number of steps."""
        for name, scores in validation.means.items():
            values = {key: value for key, value in scores._asdict().items() if value is not None}
            self.events.add_scalars(
                {f"{name}/{key}": value for key, value in values.items()}, events_step
            )
        if validation.examples:
            label = label_of(self._options.model, phase.name)
            rows = [comparison({label: example}, lpips) for example in validation.examples]
            sheet = contact_sheet(rows)
            name = f"{phase.name}-{step:09d}.png"
            storage.write_atomically(storage.join(self._path, f"pictures/{name}"), png(sheet))
            self.events.add_picture("comparison", np.asarray(sheet), events_step)
