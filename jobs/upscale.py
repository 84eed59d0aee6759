"""Upscale folders of images, and videos, by 4 on all executors.

    spark-submit --properties-file conf/local.conf jobs/upscale.py --input photos --output large
    spark-submit --properties-file conf/lab-4pc.conf --master spark://HOST:7077 jobs/upscale.py \\
        --model runs/tonight --input 'hdfs://HOST:9000/photos/*.png' --output hdfs://HOST:9000/large
    spark-submit --properties-file conf/local.conf jobs/upscale.py --model bicubic \\
        --input film.mp4 --output large

The input is a file, a folder with everything below it, or a pattern. Results keep their names:
PNG, JPEG, BMP, TIFF, WebP, AVIF, HEIC, JPEG XL and GIF images, mp4, m4v, mov, mkv and webm films.
The same command again does what is new or has changed, and what failed. The run folder receives
failed.jsonl (a line for each file that could not be upscaled, or only in part because it is
damaged: name, source, reason), log.txt and result.json, whose notes say of each file what its
result does not keep; with --sheet N also contact-sheet.jpg, the first N pictures before and after.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field
from pyspark import SparkConf, SparkContext

from jobs.runtime import remote
from jobs.runtime.errors import PartlyFailedError, UnavailableError
from jobs.runtime.findings import Findings
from jobs.runtime.gpu import DEVICE_HELP, task_device
from jobs.runtime.job import Run, run_job
from jobs.runtime.lock import FolderLock
from jobs.runtime.options import JobOptions
from jobs.runtime.progress import Progress
from jobs.runtime.spark import huge_page_properties, task_gpus
from jobs.runtime.text import in_one_line

if TYPE_CHECKING:
    from srgan.upscaling.manifest import Manifest

logger = logging.getLogger("jobs.upscale")

LEAST_PIXELS = 512 * 512
"""As much as takes a core a few seconds, so that starting a task costs little."""
LOCK = ".upscale.lock"
CONTACT_SHEET = "contact-sheet.jpg"


class Options(JobOptions):
    """What to upscale by what."""

    model: str = Field(
        "default",
        description="default, photo or snapshot, which come with this project (true to the "
        "picture; inventing detail; for noise and JPEG's blocks), bicubic, a run folder of "
        "train_srgan, or a model file of this project or of another one (.pth, .safetensors: "
        "ESRGAN, SPAN, SwinIR, ...)",
    )
    input: str = Field(description="file, folder or pattern ('photos/*.png'), local or hdfs://")
    output: str = Field(description="folder for the results, local or hdfs://")
    device: Literal["auto", "cpu"] = Field("auto", description=DEVICE_HELP)
    memory_mb: int | None = Field(
        None,
        ge=1,
        description="megabytes that the network may take in each task, whatever the size of an "
        "image [512; on a GPU a tenth of its memory]",
    )
    max_megapixels: float = Field(
        200, gt=0, allow_inf_nan=False, description="refuse larger images (and video frames)"
    )
    strict: bool = Field(False, description="stop at the first file that fails")
    scale: int | None = Field(
        None,
        ge=1,
        le=8,
        description="of pictures: at most that of the model (4, of models of other programs 1 to "
        "8), whose result is then reduced by Lanczos's filter; by itself the model's",
    )
    outscale: str | None = Field(
        None,
        description="instead of a scale the exact size of every picture as it is shown, "
        "WIDTHxHEIGHT in pixels; what comes from the model is resized by Lanczos's filter",
    )
    suffix: str = Field("", description="put behind each name, before the dot")
    format: Literal["same", "png", "jpeg", "webp", "tiff", "avif", "heic", "jxl"] = Field(
        "same", description="of pictures; by itself that of their names"
    )
    quality: int | None = Field(
        None,
        ge=1,
        le=100,
        description="of JPEG, and of WebP, AVIF, HEIC and JPEG XL, which without this are stored "
        "without loss if their source was (95)",
    )
    video_codec: Literal["auto", "h264", "hevc", "vp9", "av1"] = Field(
        "auto",
        description="of films; by itself H.264, HEVC for 10 bits and HDR, VP9 or AV1 in WebM",
    )
    crf: float | None = Field(
        None,
        ge=0,
        le=63,
        allow_inf_nan=False,
        description="constant rate factor of films: less is better and larger; H.264 17, HEVC 18, "
        "VP9 20, AV1 22 by themselves",
    )
    preset: str | None = Field(
        None,
        description="how long films may take to be small: ultrafast to placebo of H.264 and HEVC, "
        "8 to 0 of VP9, 13 to 0 of AV1",
    )
    sheet: int = Field(
        0,
        ge=0,
        le=100,
        description="of so many pictures, the first by name that are done, the run folder "
        "receives contact-sheet.jpg: before, after, and both in detail",
    )


def work(run: Run[Options]) -> dict[str, Any]:
    """Find the files, cut them into pieces, upscale these, and put them together."""
    # torch takes seconds to import, which nobody should wait for who mistyped an option.
    from srgan.upscaling import worker
    from srgan.upscaling.inputs import WORK_FOLDER, find_entries
    from srgan.upscaling.manifest import Manifest
    from srgan.upscaling.model_choice import scale_of
    from srgan.upscaling.output_options import OutputOptions, parse_size

    options = run.options
    source, output = remote.absolute(options.input), remote.absolute(options.output)
    model = _read_model(options.model)
    network_scale = scale_of(model, options.model)
    written = OutputOptions(
        network_scale=network_scale,
        scale=options.scale,
        size=None if options.outscale is None else parse_size(options.outscale),
        suffix=options.suffix,
        format=options.format,
        quality=options.quality,
        video_codec=options.video_codec,
        crf=options.crf,
        preset=options.preset,
    )
    found = find_entries(source, output, written)
    for name in found.others:
        logger.info("left out %s: neither image nor video", in_one_line(name))
    for one in found.left_out:
        logger.info("left out %s: %s", in_one_line(one.name), one.reason)
    files = len(found.entries) + len(found.unusable)
    with (
        closing(FolderLock(output, LOCK, "--output")),
        closing(Manifest(output, model, written.text(), options.fresh)) as manifest,
    ):
        status = manifest.status(found.entries)
        waiting, done_before = status.waiting, status.done
        logger.info("%d files, %d of them done before", files, done_before)
        if status.taken_over:
            logger.info(
                "%d of these are in no record, but newer than their files", status.taken_over
            )
        for entry in status.spoilt:
            logger.warning("%s: its result is not as it was written", in_one_line(entry.name))
        sources = {one.name: one.path for one in found.unusable}
        sources |= {entry.name: entry.source for entry in found.entries}
        findings = Findings(run.folder, sources, options.strict, logger)
        for one in found.unusable:
            findings.fail(one.name, one.reason)
        for entry, reason in status.blocked:
            findings.fail(entry.name, reason)
        works: list[Any] = []
        seconds = 0.0
        if waiting:
            properties, local = task_gpus(run.cluster, options.device)
            task_cpus = properties.get("spark.task.cpus") or SparkConf().get("spark.task.cpus", "1")
            tools = worker.Tools(
                model,
                options.memory_mb,
                options.max_megapixels,
                threads=int(task_cpus or 1),
                output=written,
            )
            # Too little memory is said once and before Spark starts, not by every task.
            tools.upscaler("cpu")
            context = run.start_spark({**huge_page_properties(), **properties})
            begin = time.monotonic()
            work_folder = f"{output}/{WORK_FOLDER}"
            works, unchanged = _upscale(
                context,
                tools=tools,
                local=local,
                entries=waiting,
                work_folder=work_folder,
                manifest=manifest,
                findings=findings,
            )
            done_before += unchanged
            seconds = time.monotonic() - begin
    megapixels = sum(one.pixels for one in works) * network_scale**2 / 1e6
    metrics = {
        "files": files,
        "done": len(works),
        "done_before": done_before,
        "images": sum(one.entry.kind == "image" for one in works),
        "videos": sum(one.entry.kind == "video" for one in works),
        "megapixels": megapixels,
        "megapixels_per_second": megapixels / seconds if seconds else None,
        "seconds": seconds,
        **findings.metrics(),
        **_draw_sheet(works, run),
    }
    incomplete = findings.summary(files)
    if incomplete is not None:
        raise PartlyFailedError(incomplete, metrics)
    return metrics


def _upscale(
    context: SparkContext,
    tools: Any,
    local: int,
    entries: Sequence[Any],
    work_folder: str,
    manifest: Manifest,
    findings: Findings,
) -> tuple[list[Any], int]:
    """The works that are done, and how many entries have the content of before."""
    from jobs.runtime.pool import run_on_executors
    from srgan.upscaling import worker

    shared = context.broadcast(tools)
    works: dict[str, Any] = {}
    unchanged: list[str] = []

    def on_cut(outcome: Any) -> None:
        if _is_failure(outcome, findings):
            return
        if outcome.value is None:
            unchanged.append(outcome.name)
        else:
            works[outcome.name] = outcome.value
            findings.note(outcome.name, outcome.value.notes)

    run_on_executors(
        context,
        entries,
        lambda entry: worker.attempt(entry.name, worker.cut, entry, work_folder, shared.value),
        weigh=lambda entry: 1 + entry.size / 1e6,
        least_weight=50,
        on_outcome=on_cut,
    )
    same = set(unchanged)
    for entry in entries:
        if entry.name in same:
            manifest.unchanged(entry)
    manifest.begin([one.entry for one in works.values()])
    worker.remove_leftovers(
        os.path.dirname(work_folder), [one.parts for one in works.values() if one.parts]
    )
    pieces = [piece for one in works.values() for piece in one.pieces]
    # An input pixel becomes so many output megapixels.
    growth = tools.output.network_scale**2 / 1e6
    total = growth * sum(one.pixels for one in works.values())
    progress = Progress(max(1, round(total)), "megapixels")
    begin = time.monotonic()
    done_pixels = done_pieces = 0

    def note(name: str, done: Any) -> None:
        findings.note(name, done.notes)
        if done.damage is not None:
            findings.damage(name, done.damage)
        if done.size is not None:
            manifest.finished(works[name].entry, done.size)

    def on_piece(outcome: Any) -> None:
        nonlocal done_pixels, done_pieces
        pixels, done = outcome.value
        if not _is_failure(outcome, findings):
            note(outcome.name, done)
        done_pixels, done_pieces = done_pixels + pixels, done_pieces + 1
        megapixels = growth * done_pixels
        rate = megapixels / max(1e-9, time.monotonic() - begin)
        shown = f"{done_pieces}/{len(pieces)} pieces, {rate:.2f} megapixels/s"
        progress.update(round(megapixels), shown)

    def do(piece: Any) -> Any:
        # Runs on an executor.
        name, tools = piece.entry.name, shared.value
        outcome = worker.attempt(name, lambda: worker.do(piece, tools, task_device(local)))
        return outcome._replace(value=(piece.pixels, outcome.value))

    run_on_executors(
        context,
        pieces,
        do,
        weigh=lambda piece: float(piece.pixels),
        least_weight=LEAST_PIXELS,
        on_outcome=on_piece,
    )
    progress.close()

    def on_whole(outcome: Any) -> None:
        if not _is_failure(outcome, findings):
            note(outcome.name, outcome.value)

    run_on_executors(
        context,
        [one for one in works.values() if one.parts and one.entry.name not in findings.failures],
        lambda one: worker.attempt(one.entry.name, worker.put_together, one, shared.value.output),
        weigh=lambda one: float(one.pixels),
        least_weight=0,
        on_outcome=on_whole,
    )
    done = [one for name, one in works.items() if name not in findings.failures]
    return done, len(unchanged)


def _draw_sheet(works: Sequence[Any], run: Run[Options]) -> dict[str, str]:
    from srgan.comparison import jpeg
    from srgan.errors import BadDataError, MissingDataError
    from srgan.upscaling.contact_sheet import draw_sheet

    pictures = sorted(
        (one.entry for one in works if one.entry.kind == "image"), key=lambda entry: entry.name
    )[: run.options.sheet]
    if not pictures:
        return {}
    try:
        sheet = draw_sheet([(in_one_line(entry.name), entry) for entry in pictures])
    except (BadDataError, MissingDataError) as error:
        # The results are there, and somebody may have moved one of them by now.
        logger.warning("no contact sheet: %s", error)
        return {}
    (run.folder.path / CONTACT_SHEET).write_bytes(jpeg(sheet))
    return {"contact_sheet": CONTACT_SHEET}


def _is_failure(outcome: Any, findings: Findings) -> bool:
    if outcome.error is None:
        return False
    if outcome.exit_code == UnavailableError.exit_code:
        # Not the file's fault, and the next one would fare no better.
        raise UnavailableError(outcome.error)
    findings.fail(outcome.name, outcome.error)
    return True


def _read_model(name: str) -> bytes:
    from srgan.upscaling.model_choice import BY_NAME, read_model

    return read_model(name if name in BY_NAME else remote.absolute(name))


def summary(metrics: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    """The table at the end."""
    rows = [
        ("files", f"{metrics['files']} ({metrics['done_before']} done before)"),
        ("done", f"{metrics['images']} images, {metrics['videos']} videos"),
    ]
    if metrics["megapixels_per_second"]:
        rate = metrics["megapixels_per_second"]
        rows.append(("megapixels", f"{metrics['megapixels']:.1f}, {rate:.2f} a second"))
    return rows


if __name__ == "__main__":
    sys.exit(run_job("upscale", Options, work, summary, looks_again=True))
