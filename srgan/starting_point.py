"""Where a training begins: at its newest checkpoint, or from a trained generator."""

from srgan.checkpoint import TrainingState, decode
from srgan.distributed import Ranks, failing_together
from srgan.errors import MissingDataError, OptionsError
from srgan.export import load_generator
from srgan.phases import Weights
from srgan.recipe import PHASES, Recipe
from srgan.storage import exists
from srgan.training_output import TrainingOutput
from srgan.validation import Best

GENERATOR = ("model", "residual_blocks", "channels", "bicubic_skip")
ARCHITECTURE = (*GENERATOR, "crop_size", "even_sub_pixels", "spectral_norm", "optimizer")


def starting_point(
    options: Recipe, folder: TrainingOutput | None, ranks: Ranks, fresh: bool
) -> tuple[TrainingState | None, Weights | None]:
    """The newest checkpoint, if there is one, and the generator to start a phase from.

    Only the first rank reads; the others may be on machines without the run folder.
    """
    data: bytes | None = None
    weights: Weights | None = None
    with failing_together(ranks):
        if folder is not None:
            if fresh:
                folder.checkpoints.clear()
            data = folder.checkpoints.newest()
            if data is None and (options.phase == "srgan" or options.initial_generator):
                weights = _initial_weights(options, folder)
    data, weights = ranks.broadcast((data, weights))
    if data is None:
        return None, weights
    state = decode(data)
    for name in ARCHITECTURE:
        # Earlier versions had fewer options, which stand for today's defaults.
        saved = state["options"].get(name, Recipe.model_fields[name].default)
        if saved != getattr(options, name):
            raise OptionsError(
                f"the run folder holds a training with {name} {saved}, not "
                f"{getattr(options, name)}; choose another --run-dir, or give --fresh"
            )
    if PHASES.index(state["phase"]) > PHASES.index(options.phases[-1]):
        raise OptionsError(
            f"the run folder is already in phase {state['phase']}, past phase {options.phase}; "
            "choose another --run-dir, or give --fresh"
        )
    for name in ("srresnet_steps", "srresnet_epochs"):
        before = state["options"][name]
        if state["phase"] == "srgan" and getattr(options, name) != before:
            raise OptionsError(
                f"the run folder is already in phase srgan, which began after {name} {before}; "
                "choose another --run-dir, or give --fresh"
            )
    return state, state["average"]


def best_so_far(state: TrainingState) -> dict[str, Best]:
    """The best evaluation of each phase; earlier versions kept its PSNR alone."""
    if "best" not in state:
        return {name: Best("psnr_y", psnr) for name, psnr in state["best_psnr_y"].items()}
    return {name: Best(*best) for name, best in state["best"].items()}


def _initial_weights(options: Recipe, folder: TrainingOutput) -> Weights:
    """The trained generator from which a training starts."""
    path = options.initial_generator or folder.model_path("srresnet")
    if not exists(path):
        raise MissingDataError(
            f"{path}: no trained generator to start from; give --initial-generator FILE, "
            "or use --phase both"
        )
    network, description = load_generator(path)
    for name in GENERATOR:
        if getattr(description, name) != getattr(options, name):
            raise OptionsError(
                f"{path}: has {name} {getattr(description, name)}, the options "
                f"{getattr(options, name)}"
            )
    return network.state_dict()
