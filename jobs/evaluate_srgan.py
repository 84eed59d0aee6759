"""Judge super-resolution models on test sets by PSNR, SSIM and LPIPS, beside bicubic.

    spark-submit --properties-file conf/local.conf jobs/evaluate_srgan.py \\
        --models default,runs/tonight,runs/tonight/srresnet-best.safetensors \\
        --test-sets data/Set5,data/Set14

Each image is a task of its own, spread over the executors. PSNR and SSIM are on the Y channel with
4 pixels cut off each border, as in the paper; those on RGB stand beside them. PSNR ends at 100 dB,
which stands for equal images. LPIPS, of the whole image, is measured where its weights are there
(python scripts/fetch_data.py lpips), on this machine alone; lower is better. The run folder
receives scores.csv (one line per image), contact-sheet.png, pictures, log.txt and result.json.
"""

from __future__ import annotations

import csv
import io
import logging
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from jobs.runtime import remote
from jobs.runtime.errors import UnavailableError, UsageError
from jobs.runtime.gpu import DEVICE_HELP, task_device
from jobs.runtime.job import Run, run_job
from jobs.runtime.names import short_names, split_paths
from jobs.runtime.options import JobOptions
from jobs.runtime.spark import task_gpus

if TYPE_CHECKING:
    from srgan.image_folder import NamedImage
    from srgan.metrics import Scores

    # Test set, image, and whether it is to be shown; test set, name, scores by method, pictures.
    Item = tuple[str, NamedImage, bool]
    Row = tuple[str, str, dict[str, Scores], dict[str, bytes]]

logger = logging.getLogger("jobs.evaluate_srgan")

BICUBIC = "bicubic"
LPIPS = "LPIPS"
PICTURES_FOLDER = "pictures"
LARGEST_PICTURE = 768
"""Side in pixels; of larger images the part with the most detail is kept."""


class Options(JobOptions):
    """What to judge on what."""

    models: str = Field(
        "",
        description="as upscale takes them, separated by commas: run folders of train_srgan, model "
        "files, or models that come with this project, such as default; bicubic is always judged",
    )
    test_sets: str = Field(description="folders of test images, separated by commas")
    pictures: int = Field(4, ge=0, description="images per test set in the contact sheet")
    jpeg_quality: int | None = Field(
        None,
        ge=1,
        le=100,
        description="save the small images as JPEG of this quality before they are upscaled "
        "[they stay as they are]",
    )
    device: Literal["auto", "cpu"] = Field("auto", description=DEVICE_HELP)
    lpips_weights: str | None = Field(
        None, description="weights of LPIPS [what fetch_data.py lpips fetched]"
    )
    skip_bad: bool = Field(
        False, description="leave out unusable images instead of refusing the folder"
    )


def work(run: Run[Options]) -> dict[str, Any]:
    """Score every image with every model."""
    # torch takes seconds to import, which nobody should wait for who mistyped an option.
    from srgan import SCALE
    from srgan.comparison import contact_sheet
    from srgan.evaluation import SMALLEST_SIDE, mean_scores
    from srgan.image_folder import SKIP_BAD, read_images
    from srgan.lpips import decode_lpips, read_lpips
    from srgan.upscaling.model_choice import BY_NAME, read_model

    options = run.options
    sources = _named(options.models, "--models", BY_NAME)
    if BICUBIC in sources:
        raise UsageError(f"--models {options.models}: {BICUBIC} is judged in any case")
    models = {name: read_model(source, SCALE) for name, source in sources.items()}
    weights = read_lpips(options.lpips_weights)
    if weights is not None:
        # A wrong file is known here already, before Spark has started.
        decode_lpips(weights, options.lpips_weights or LPIPS)
    items, skipped = [], []
    for test_set, folder in _named(options.test_sets, "--test-sets").items():
        images, bad = read_images(folder, SMALLEST_SIDE, skip_bad=options.skip_bad, advice=SKIP_BAD)
        items += [
            (test_set, image, number < options.pictures) for number, image in enumerate(images)
        ]
        skipped += [f"{test_set}/{line}" for line in bad]
    for line in skipped:
        logger.warning("left out %s", line)
    properties, local = task_gpus(run.cluster, options.device)
    context = run.start_spark(properties)
    # Executors need not have these files: they get what is in them.
    shared = context.broadcast((models, weights, options.jpeg_quality))
    rows = context.parallelize(items, len(items)).mapPartitions(
        lambda part: _with_refusal(_score(part, local, *shared.value))
    )
    scores: dict[str, dict[str, dict[str, Scores]]] = {}
    sheets, pictures = [], []
    for row in rows.collect():
        if isinstance(row, UnavailableError):
            raise row
        test_set, image, by_method, versions = row
        for method, values in by_method.items():
            scores.setdefault(test_set, {}).setdefault(method, {})[image] = values
        if versions:
            sheets.append(versions.pop("comparison"))
            method = list(by_method)[-1]
            pictures.append(
                {
                    "image": f"{test_set} {image}",
                    "method": method,
                    "psnr_y": by_method[method].psnr_y,
                    "bicubic_psnr_y": by_method[BICUBIC].psnr_y,
                    "lpips": by_method[method].lpips,
                    "bicubic_lpips": by_method[BICUBIC].lpips,
                    **_write_pictures(run.folder.path, f"{test_set}-{len(sheets)}", versions),
                }
            )
    if sheets:
        from PIL import Image

        sheet = contact_sheet([Image.open(io.BytesIO(picture)) for picture in sheets])
        sheet.save(run.folder.path / "contact-sheet.png")
    _write_csv(str(run.folder.path / "scores.csv"), scores)
    return {
        "models": sources,
        "has_lpips": weights is not None,
        "test_sets": {
            name: {method: mean_scores(of.values())._asdict() for method, of in found.items()}
            for name, found in scores.items()
        },
        "equal_images": _count_equal(scores),
        "pictures": pictures,
        "skipped_images": skipped,
    }


def _count_equal(
    scores: Mapping[str, Mapping[str, Mapping[str, Scores]]],
) -> dict[str, dict[str, int]]:
    """How many images came out as the originals are, by test set and method, where there are any.

    A flat one always does; its bound instead of an infinite PSNR lifts the mean of all methods.
    """
    from srgan.metrics import MAX_PSNR

    counts = {
        name: {
            method: sum(values.psnr_y >= MAX_PSNR for values in images.values())
            for method, images in by_method.items()
        }
        for name, by_method in scores.items()
    }
    found = {
        name: {method: count for method, count in by_method.items() if count}
        for name, by_method in counts.items()
    }
    return {name: by_method for name, by_method in found.items() if by_method}


def _write_pictures(folder: Path, name: str, versions: Mapping[str, bytes]) -> dict[str, str]:
    """Write the versions of an image; the files, from the run folder, by version."""
    (folder / PICTURES_FOLDER).mkdir(exist_ok=True)
    # Two test sets called alike have their folder in front of their name.
    stem = f"{PICTURES_FOLDER}/{name.replace('/', '-')}"
    files = {version: f"{stem}-{version}.png" for version in versions}
    for version, data in versions.items():
        (folder / files[version]).write_bytes(data)
    return files


def _with_refusal(rows: Iterator[Row]) -> Iterator[Row | UnavailableError]:
    """The rows, and behind them, as a value, why the device cannot be used, if it cannot.

    Spark would try an exception four times, and lose its exit code.
    """
    from srgan import errors

    try:
        yield from rows
    except (UnavailableError, errors.UnavailableError) as error:
        yield UnavailableError(str(error))


def _score(
    part: Iterator[Item],
    local: int,
    models: Mapping[str, bytes],
    weights: bytes | None,
    jpeg_quality: int | None,
) -> Iterator[Row]:
    # Runs on an executor.
    import torch
    from PIL import Image

    from srgan.comparison import comparison, most_detailed, png
    from srgan.evaluation import Upscale, bicubic, evaluate_image, upscale_with
    from srgan.gpu import usable_device
    from srgan.lpips import decode_lpips
    from srgan.upscaling.networks import decode_network

    torch.set_num_threads(1)
    device = usable_device(task_device(local))
    methods: dict[str, Upscale] = {BICUBIC: bicubic}
    for name, data in models.items():
        network = decode_network(data, name).network.to(device)
        methods[name] = upscale_with(network, device)
    lpips = None if weights is None else decode_lpips(weights, LPIPS)
    for test_set, image, wants_picture in part:
        results = {
            name: evaluate_image(image, way, lpips, jpeg_quality) for name, way in methods.items()
        }
        scores = {name: result.scores for name, result in results.items()}
        last = list(results)[-1]
        versions: dict[str, bytes] = {}
        if wants_picture:
            shown = results[last]
            models_alone = {name: of for name, of in results.items() if name != BICUBIC}
            versions["comparison"] = png(comparison(models_alone or results, lpips))
            window = most_detailed(shown.original, LARGEST_PICTURE)
            for version, pixels in (
                ("bicubic", results[BICUBIC].upscaled),
                ("upscaled", shown.upscaled),
                ("original", shown.original),
            ):
                versions[version] = png(Image.fromarray(pixels[window]))
        yield test_set, image.name, scores, versions


def _write_csv(path: str, scores: Mapping[str, Mapping[str, Mapping[str, Scores]]]) -> None:
    from srgan.metrics import Scores

    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["test_set", "image", "method", *Scores._fields])
        for test_set, by_method in scores.items():
            for method, images in by_method.items():
                for image, values in images.items():
                    numbers = ["" if value is None else f"{value:.4f}" for value in values]
                    writer.writerow([test_set, image, method, *numbers])


def _named(paths: str, option: str, no_paths: Collection[str] = ()) -> dict[str, str]:
    """Absolute paths by a short name; what is no path stays as it is."""
    given = split_paths(paths)
    places = (one if one in no_paths else remote.absolute(one) for one in given)
    return dict(zip(short_names(given, option), places, strict=True))


def summary(metrics: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    """The table at the end."""
    rows = [
        (f"{test_set} {method}", _in_words(values))
        for test_set, by_method in metrics["test_sets"].items()
        for method, values in by_method.items()
    ]
    rows += [
        (f"{test_set} {method}", f"{count} of the images equal to the original, PSNR 100 dB")
        for test_set, by_method in metrics.get("equal_images", {}).items()
        for method, count in by_method.items()
    ]
    if not metrics.get("has_lpips"):
        rows.append((LPIPS, "not measured: python scripts/fetch_data.py lpips"))
    return rows


def _in_words(values: Mapping[str, Any]) -> str:
    words = f"PSNR {values['psnr_y']:.2f} dB, SSIM {values['ssim_y']:.4f}"
    return words if values.get("lpips") is None else f"{words}, LPIPS {values['lpips']:.4f}"


if __name__ == "__main__":
    sys.exit(run_job("evaluate_srgan", Options, work, summary))
