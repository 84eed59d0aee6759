"""Train SRResNet and SRGAN (x4 super-resolution) with torch DDP, one rank per GPU or core.

    spark-submit --properties-file conf/local.conf jobs/train_srgan.py \\
        --config conf/srgan-tiny.toml --data data/sample/train --test-sets data/sample/test
    spark-submit --properties-file conf/gpu-nodes.conf --master spark://HOST:7077 \\
        jobs/train_srgan.py --data data/General-100 --test-sets data/Set5,data/Set14 \\
        --vgg-weights vgg19-dcbb9e9d.pth --run-dir hdfs://HOST:9000/runs/srgan

The run folder receives the models (srresnet.safetensors, srgan.safetensors, and the best of each
phase: by PSNR, and by LPIPS), checkpoints, comparison pictures, TensorBoard events, log.txt and
result.json. The same command with the same --run-dir goes on from the newest whole checkpoint.

On several machines the first rank writes the run folder: let it be on hdfs:// or a shared disk.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from jobs.runtime import remote
from jobs.runtime.errors import UsageError
from jobs.runtime.gpu import DEVICE_HELP, local_gpus
from jobs.runtime.job import Run, run_job
from jobs.runtime.options import JobOptions
from jobs.runtime.progress import Progress
from jobs.runtime.text import counted, number
from srgan.recipe import Recipe

if TYPE_CHECKING:
    from srgan.loop import Progress as TrainingProgress

logger = logging.getLogger("jobs.train_srgan")

STOP_FILE = ".stop"
"""Its presence in the run folder asks the ranks to stop with a checkpoint."""


class Options(Recipe, JobOptions):
    """The recipe, where the images are, and how the ranks are launched."""

    may_grow: ClassVar[frozenset[str]] = frozenset(
        {"srresnet_steps", "srgan_steps", "srresnet_epochs", "srgan_epochs"}
    )

    data: str = Field("data/General-100", description="folder of training images, local or hdfs://")
    test_sets: str = Field(
        "", description="folders of test images, separated by commas; the first chooses the best"
    )
    ranks: int | None = Field(
        None, ge=1, description="processes [one per GPU; without GPUs, one per core]"
    )
    device: Literal["auto", "cpu"] = Field("auto", description=DEVICE_HELP)
    max_restarts: int = Field(
        2, ge=0, description="how often a training that lost a rank is launched again"
    )

    def recipe(self) -> Recipe:
        """What concerns the training alone."""
        return Recipe.model_validate(self.model_dump(include=set(Recipe.model_fields)))


def work(run: Run[Options]) -> dict[str, Any]:
    """Launch the ranks, again if need be, and return the first one's metrics."""
    # torch takes seconds to import, which nobody should wait for who mistyped an option.
    from jobs.runtime.ranks import Launch, plan_launch, run_on_ranks
    from srgan.losses import content_loss

    options = run.options
    launch = plan_launch(run.cluster, options.ranks, local_gpus(run.cluster, options.device))
    if options.batch_size % launch.ranks:
        raise UsageError(
            f"--batch-size {options.batch_size} does not divide among {launch.ranks} ranks"
        )
    if "srgan" in options.phases and options.vgg_weights is None:
        # A forgotten file is known here already, before Spark and the ranks have started.
        content_loss(options.recipe())
    data, test_sets = remote.absolute(options.data), _test_sets(options.test_sets)
    context = run.start_spark(launch.properties)
    logger.info(
        "%s, %s", counted(launch.ranks, "rank"), "a GPU each" if launch.use_gpu else "on cores"
    )

    bars: dict[str, Progress] = {}

    def on_progress(values: dict[str, Any]) -> None:
        if "warning" in values:
            logger.warning("%s", values["warning"])
            return
        phase = values["phase"]
        if phase not in bars:
            bars[phase] = Progress(values["steps"], f"{phase} steps", done=values["step"])
        if values["scores"]:
            scores = ", ".join(f"{name} {_in_words(one)}" for name, one in values["scores"].items())
            logger.info("%s step %d: %s", phase, values["step"], scores)
        named = values["losses"].items()
        losses = ", ".join(f"{name} {number(value, '.4g')}" for name, value in named)
        bars[phase].update(values["step"], f"{losses}, {values['crops_per_second']:.1f} crops/s")

    stop_file = f"{run.folder.url}/{STOP_FILE}"
    remote.delete_file(stop_file)

    def recover() -> Launch:
        run.stop.check()
        return launch.on_fewer(executors.recover(), options.batch_size)

    training = partial(
        _train_on_rank,
        use_gpu=launch.use_gpu,
        options=options.recipe(),
        data=data,
        test_sets=test_sets,
        run_dir=run.folder.url,
    )
    with run.executors() as executors, run.stop.gently(lambda: remote.touch(stop_file)):
        metrics = run_on_ranks(
            context,
            launch,
            training,
            on_progress=on_progress,
            recover=recover,
            max_restarts=options.max_restarts,
        )
    run.stop.check()
    for bar in bars.values():
        bar.close()
    for line in metrics["skipped_images"]:
        logger.warning("left out %s", line)
    return metrics


def _train_on_rank(
    *, use_gpu: bool, options: Recipe, data: str, test_sets: Mapping[str, str], run_dir: str
) -> dict[str, Any]:
    # Runs in another process, maybe on another machine; importing `remote` teaches it hdfs://.
    from jobs.runtime import remote  # noqa: F401
    from jobs.runtime.rank_reports import WarningsForDriver, report_progress
    from jobs.runtime.ranks import check_gpu
    from srgan.storage import exists, join
    from srgan.training import train

    if use_gpu:
        check_gpu()
    if os.environ["RANK"] == "0":
        # The others would say the same.
        logging.getLogger("srgan").addHandler(WarningsForDriver(logging.WARNING))

    def progress(values: TrainingProgress) -> None:
        report_progress(values._asdict())

    def stop() -> bool:
        return os.environ["RANK"] == "0" and exists(join(run_dir, STOP_FILE))

    return train(options, data, test_sets, run_dir, progress=progress, stop=stop)


def _in_words(scores: Mapping[str, float | None]) -> str:
    lpips = scores.get("lpips")
    return f"{scores['psnr_y']:.2f} dB" + ("" if lpips is None else f", LPIPS {lpips:.4f}")


def _test_sets(folders: str) -> dict[str, str]:
    paths = [folder.strip() for folder in folders.split(",") if folder.strip()]
    named = {os.path.basename(path.rstrip("/")): remote.absolute(path) for path in paths}
    if len(named) < len(paths):
        raise UsageError(f"--test-sets {folders}: two folders have the same name")
    return named


def summary(metrics: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    """The table at the end."""
    rows = [
        ("steps", f"{metrics['steps']} ({metrics['crops']} crops)"),
        ("ranks", f"{metrics['world_size']} on {metrics['device']}, {metrics['backend']}"),
    ]
    if metrics["crops_per_second"] is not None:
        rows.append(("crops/s", f"{metrics['crops_per_second']:.1f}"))
        rows.append(("waiting", f"{100 * metrics['allreduce_share']:.0f} % of a step"))
    for name, scores in metrics["test_sets"].items():
        gain = scores["psnr_y"] - scores["bicubic_psnr_y"]
        rows.append(
            (
                name,
                f"PSNR {scores['psnr_y']:.2f} dB ({gain:+.2f} to bicubic), "
                f"SSIM {scores['ssim_y']:.4f} (bicubic {scores['bicubic_ssim_y']:.4f}), "
                + (
                    f"LPIPS {scores['lpips']:.4f} (bicubic {scores['bicubic_lpips']:.4f})"
                    if scores.get("lpips") is not None
                    else "LPIPS not measured (python scripts/fetch_data.py lpips)"
                ),
            )
        )
    return rows


if __name__ == "__main__":
    sys.exit(run_job("train_srgan", Options, work, summary, workers_write=True))
