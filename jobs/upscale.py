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
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field
from pyspark import SparkConf

from jobs.runtime import remote
from jobs.runtime.errors import PartlyFailedError
from jobs.runtime.findings import Findings
from jobs.runtime.gpu import DEVICE_HELP
from jobs.runtime.job import Run, run_job
from jobs.runtime.lock import FolderLock
from jobs.runtime.options import JobOptions
from jobs.runtime.spark import huge_page_properties, task_gpus
from jobs.runtime.text import counted, in_one_line

if TYPE_CHECKING:
    from srgan.upscaling.output_options import OutputOptions
    from srgan.upscaling.pieces import Work

logger = logging.getLogger("jobs.upscale")

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
    from jobs.upscaling.stages import Stages
    from srgan.upscaling.inputs import find_entries
    from srgan.upscaling.manifest import Manifest
    from srgan.upscaling.model_choice import scale_of
    from srgan.upscaling.worker import Tools

    options = run.options
    source, output = remote.absolute(options.input), remote.absolute(options.output)
    model = _read_model(options.model)
    network_scale = scale_of(model, options.model)
    written = _output_options(options, network_scale)
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
        logger.info("%s, %d of them done before", counted(files, "file"), done_before)
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
        works: list[Work] = []
        seconds = 0.0
        if waiting:
            properties, local_gpus = task_gpus(run.cluster, options.device)
            task_cpus = properties.get("spark.task.cpus") or SparkConf().get("spark.task.cpus", "1")
            tools = Tools(
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
            stages = Stages(
                context,
                tools,
                output=output,
                local_gpus=local_gpus,
                manifest=manifest,
                findings=findings,
            )
            works, unchanged = stages.run(waiting)
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


def _output_options(options: Options, network_scale: int) -> OutputOptions:
    from srgan.upscaling.output_options import OutputOptions, parse_size

    return OutputOptions(
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


def _draw_sheet(works: Sequence[Work], run: Run[Options]) -> dict[str, str]:
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


def _read_model(name: str) -> bytes:
    from srgan.upscaling.model_choice import BY_NAME, read_model

    return read_model(name if name in BY_NAME else remote.absolute(name))


def summary(metrics: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    """The table at the end."""
    rows = [
        ("files", f"{metrics['files']} ({metrics['done_before']} done before)"),
        ("done", f"{counted(metrics['images'], 'image')}, {counted(metrics['videos'], 'video')}"),
    ]
    if metrics["megapixels_per_second"]:
        rate = metrics["megapixels_per_second"]
        rows.append(("megapixels", f"{metrics['megapixels']:.1f}, {rate:.2f} a second"))
    return rows


if __name__ == "__main__":
    sys.exit(run_job("upscale", Options, work, summary, looks_again=True))
