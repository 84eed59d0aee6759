"""Train SRGAN: the same function alone, under torchrun and as the tasks of a Spark stage.

    train(Recipe(), "data/General-100", {"Set5": "data/Set5"}, "runs/srgan")

Called by each of N ranks (see distributed.py) with the same arguments; called again with the same
run folder it goes on from the newest whole checkpoint. Folders may be local or remote. Images are
read by every rank, the run folder by the first rank alone. The run folder receives

    checkpoints/                    the newest checkpoints
    srresnet.safetensors            the averaged generator at the end of each phase,
    srresnet-best.safetensors       and the best on the first test set, by PSNR; likewise srgan,
                                    whose best is chosen by LPIPS where there are weights for it
    pictures/srresnet-000005000.png test images after that many steps
    tensorboard/                    losses, speed and scores
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from srgan.batches import CropSampler
from srgan.checkpoint import TrainingState
from srgan.compiling import prepare_compiling
from srgan.cpu.memory import keep_freed_memory
from srgan.distributed import Ranks, failing_together, joined_ranks
from srgan.errors import DivergedError, OptionsError
from srgan.evaluation import SMALLEST_SIDE, bicubic, upscale_with
from srgan.gpu import check_gpu, convolutions, describe_gpu, explaining_memory
from srgan.image_folder import SKIP_BAD, NamedImage, read_images
from srgan.loop import Outcome, PhaseLoop, Progress, TrainingSetup
from srgan.losses import content_loss
from srgan.lpips import find_lpips
from srgan.phases import Phase, SrganPhase, SrresnetPhase, Weights
from srgan.recipe import PHASES, PhaseName, Recipe
from srgan.starting_point import best_so_far, starting_point
from srgan.training_output import TrainingOutput
from srgan.validation import Validation, validate

logger = logging.getLogger(__name__)

SLOWER = 0.1
"""What the learning rate is multiplied by, once, when a loss is not finite."""


def train(
    options: Recipe,
    data_folder: str,
    test_sets: Mapping[str, str],
    run_dir: str,
    fresh: bool = False,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> dict[str, Any]:
    """Train on the images of a folder, or go on with it, as one of however many ranks there are.

    Args:
        options: see Recipe.
        data_folder: folder of training images.
        test_sets: folders of test images by name; the best model is chosen by the first.
        run_dir: folder that receives everything.
        fresh: start over, even where there are checkpoints; these are removed.
        progress: called on the first rank from time to time.
        stop: asked on every rank from time to time; a checkpoint follows when one says True.

    Returns:
        The metrics of the training, the same on each rank; see _metrics.

    Raises:
        OptionsError: the options fit neither the number of ranks nor the run folder.
        MissingDataError, BadDataError: unusable images, VGG weights or initial generator.
        UnavailableError: no VGG weights, or no compiler; a GPU that torch cannot use, or with too
            little memory.
        DivergedError: a loss is not finite, with a lower learning rate as well.
        WriteError: the run folder cannot be written.
    """
    with (
        joined_ranks() as ranks,
        explaining_memory(ranks, options),
        convolutions(options.precision),
    ):
        if ranks.device.type == "cpu":
            keep_freed_memory()
        if options.batch_size % ranks.world_size:
            raise OptionsError(
                f"batch_size {options.batch_size} cannot be shared equally by "
                f"{ranks.world_size} ranks; give a multiple"
            )
        folder = TrainingOutput(run_dir, options) if ranks.is_first else None
        # Whatever may be missing is asked for here, before hours are spent.
        with failing_together(ranks):
            check_gpu(ranks.device, options)
            if options.compile:
                prepare_compiling()
            images, skipped = read_images(
                data_folder, options.crop_size, skip_bad=options.skip_bad, advice=SKIP_BAD
            )
            tests: dict[str, list[NamedImage]] = {}
            for name, path in test_sets.items():
                tests[name], bad = read_images(
                    path, SMALLEST_SIDE, skip_bad=options.skip_bad, advice=SKIP_BAD
                )
                skipped += [f"{name}/{line}" for line in bad]
            content = content_loss(options) if "srgan" in options.phases else None
            lpips = find_lpips(options.lpips_weights)
        start = starting_point(options, folder, ranks, fresh)

        sampler = CropSampler(
            images=[image.pixels for image in images],
            crop_size=options.crop_size,
            batch_size=options.batch_size,
            seed=options.seed,
            device=ranks.device,
            rank=ranks.rank,
            world_size=ranks.world_size,
            channels_last=options.channels_last,
            degradation=options.degradation,
        )
        setup = TrainingSetup(
            options=options,
            ranks=ranks,
            sampler=sampler,
            images=len(images),
            test_sets=tests,
            folder=folder,
            progress=progress,
            stop=stop,
            lpips=lpips,
        )
        try:
            outcomes, phase = _run_from(start, setup, content)
        finally:
            if folder is not None:
                folder.close()

        validation = outcomes[phase.name].validation
        if validation is None:
            upscale = upscale_with(phase.average.network, ranks.device)
            validation = validate(tests, upscale, ranks, lpips=lpips)
        metrics = _metrics(options, ranks, len(images), outcomes)
        metrics["skipped_images"] = skipped
        metrics["test_sets"] = _score_table(
            validation, validate(tests, bicubic, ranks, lpips=lpips)
        )
        return metrics


def _run_from(
    start: tuple[TrainingState | None, Weights | None],
    setup: TrainingSetup,
    content: nn.Module | None,
) -> tuple[dict[PhaseName, Outcome], Phase]:
    """Run the phases; once, a loss that is not finite is met with a lower learning rate."""
    state, weights = start
    if state is not None:
        factor = state.get("learning_rate_factor", 1.0)
        setup = replace(setup, learning_rate_factor=factor)
    try:
        return _run_phases(setup, state, weights, content)
    except DivergedError as error:
        if setup.learning_rate_factor < 1:
            raise DivergedError(
                f"{error}, with {SLOWER:g} of the learning rate as well; take a smaller "
                "--learning-rate or --precision float32, and look at the data"
            ) from error
        reason = str(error)
    options, folder = setup.options, setup.folder
    state, weights = starting_point(options, folder, setup.ranks, fresh=False)
    if folder is not None:
        folder.close()
        begin = f"step {state['step']} of {state['phase']}" if state else "the beginning"
        logger.warning("%s; from %s with %g of the learning rate", reason, begin, SLOWER)
    state = {**state, "learning_rate_factor": SLOWER} if state else None
    return _run_from((state, weights), replace(setup, learning_rate_factor=SLOWER), content)


def _run_phases(
    setup: TrainingSetup,
    state: TrainingState | None,
    weights: Weights | None,
    content: nn.Module | None,
) -> tuple[dict[PhaseName, Outcome], Phase]:
    """Run the phases that are not behind the state; what became of each, and the last of them."""
    options, ranks = setup.options, setup.ranks
    best = {} if state is None else best_so_far(state)
    reached = 0 if state is None else PHASES.index(state["phase"])
    outcomes: dict[PhaseName, Outcome] = {}
    for name in options.phases:
        if PHASES.index(name) < reached:
            continue
        phase: Phase
        if name == "srgan" and content is not None:
            phase = SrganPhase(options, ranks, weights, content)
        else:
            phase = SrresnetPhase(options, ranks, weights)
        first_step = 0
        if state is not None and state["phase"] == name:
            phase.load_state_dict(state)
            torch.set_rng_state(state["rng"])
            first_step = state["step"]
        outcomes[name] = PhaseLoop(phase, setup, best).run(first_step)
        if outcomes[name].stopped:
            break
        weights = phase.average.network.state_dict()
    return outcomes, phase


def _metrics(
    options: Recipe, ranks: Ranks, images: int, outcomes: Mapping[PhaseName, Outcome]
) -> dict[str, Any]:
    """Numbers of the training, as plain values.

    steps and crops count all phases, in this run and in those it continues. crops_per_second (over
    all ranks, median), allreduce_share (see measurement.waiting_share) and tflops are those of
    the last phase that ran, None when nothing was left to do. losses holds, for each phase that
    ran, the means of the first and the last log_every steps.
    """
    last_name, last = list(outcomes.items())[-1]
    steps = last.step
    if options.phase == "both" and last_name == "srgan":
        steps += options.steps("srresnet", images)
    return {
        "steps": steps,
        "crops": steps * options.batch_size,
        "images": images,
        "stopped": last.stopped,
        "world_size": ranks.world_size,
        "backend": ranks.backend,
        "device": str(ranks.device),
        "gpu": describe_gpu(ranks.device),
        "precision": options.precision,
        "crops_per_second": last.crops_per_second,
        "allreduce_share": last.allreduce_share,
        "tflops": last.tflops,
        "losses": {
            name: {"first": outcome.losses[0], "last": outcome.losses[-1]}
            for name, outcome in outcomes.items()
            if outcome.losses
        },
    }


def _score_table(ours: Validation, by_bicubic: Validation) -> dict[str, dict[str, float | None]]:
    """For each test set psnr_y (dB), ssim_y, lpips, ..., and the same with bicubic_ before it."""
    return {
        name: {
            **scores._asdict(),
            **{f"bicubic_{key}": value for key, value in by_bicubic.means[name]._asdict().items()},
        }
        for name, scores in ours.means.items()
    }
