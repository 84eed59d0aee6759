"""Judge super-resolution models on test sets by PSNR and SSIM, beside bicubic.

    spark-submit --properties-file conf/local.conf jobs/evaluate_srgan.py \\
        --models runs/tonight/srresnet-best.safetensors,runs/tonight/srgan.safetensors \\
        --test-sets data/Set5,data/Set14

Each image is a task of its own, spread over the executors. Scores are on the Y channel with 4
pixels cut off each border, as in the paper; those on RGB stand beside them. The run folder
receives scores.csv (an image a line), contact-sheet.png, pictures, log.txt and result.json.
"""

from __future__ import annotations

import csv
import io
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from jobs.runtime import remote
from jobs.runtime.errors import UsageError
from jobs.runtime.job import Run, run_job
from jobs.runtime.names import short_names, split_paths
from jobs.runtime.options import JobOptions

LOG = logging.getLogger("jobs.evaluate_srgan")

BICUBIC = "bicubic"
PICTURES_FOLDER = "pictures"


class Options(JobOptions):
    """What to judge on what."""

    models: str = Field(
        "", description="model files (.safetensors), separated by commas; bicubic is always judged"
    )
    test_sets: str = Field(description="folders of test images, separated by commas")
    pictures: int = Field(
        4, ge=0, description="images a test set in the contact sheet, by the last model"
    )


def work(run: Run[Options]) -> dict[str, Any]:
    """Score every image with every model."""
    # torch takes seconds to import, which nobody should wait for who mistyped an option.
    from srgan.evaluation import SMALLEST_SIDE
    from srgan.export import decode_generator
    from srgan.images import read_images
    from srgan.pictures import contact_sheet
    from srgan.storage import read_bytes

    options = run.options
    files = _named(options.models, "--models")
    if BICUBIC in files:
        raise UsageError(f"--models {options.models}: {BICUBIC} is judged in any case")
    models = {name: read_bytes(path) for name, path in files.items()}
    for name, data in models.items():
        decode_generator(data, files[name])
    items = [
        (test_set, image, number < options.pictures)
        for test_set, folder in _named(options.test_sets, "--test-sets").items()
        for number, image in enumerate(read_images(folder, SMALLEST_SIDE).usable)
    ]
    context = run.start_spark({})
    shared = context.broadcast(models)
    rows = context.parallelize(items, len(items)).mapPartitions(
        lambda part: _score(part, shared.value)
    )
    scores: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    sheets, pictures = [], []
    for test_set, image, by_method, versions in rows.collect():
        for method, values in by_method.items():
            scores.setdefault(test_set, {}).setdefault(method, {})[image] = values
        if versions:
            sheets.append(versions.pop("comparison"))
            method = list(by_method)[-1]
            pictures.append(
                {
                    "image": f"{test_set} {image}",
                    "method": method,
                    "psnr_y": by_method[method]["psnr_y"],
                    "bicubic_psnr_y": by_method[BICUBIC]["psnr_y"],
                    **_write_pictures(run.folder.path, f"{test_set}-{len(sheets)}", versions),
                }
            )
    if sheets:
        from PIL import Image

        sheet = contact_sheet([Image.open(io.BytesIO(picture)) for picture in sheets])
        sheet.save(run.folder.path / "contact-sheet.png")
    _write_csv(str(run.folder.path / "scores.csv"), scores)
    return {
        "models": files,
        "test_sets": {name: _means(found) for name, found in scores.items()},
        "pictures": pictures,
    }


def _write_pictures(folder: Path, name: str, versions: Mapping[str, bytes]) -> dict[str, str]:
    """Write the versions of an image; the files, from the run folder, by version."""
    (folder / PICTURES_FOLDER).mkdir(exist_ok=True)
    files = {version: f"{PICTURES_FOLDER}/{name}-{version}.png" for version in versions}
    for version, data in versions.items():
        (folder / files[version]).write_bytes(data)
    return files


def _score(part: Iterator[Any], models: Mapping[str, bytes]) -> Iterator[Any]:
    # Runs on an executor.
    import torch
    from PIL import Image

    from srgan.evaluation import Upscale, bicubic, evaluate_image, upscale_with
    from srgan.export import decode_generator
    from srgan.pictures import comparison, png

    torch.set_num_threads(1)
    methods: dict[str, Upscale] = {BICUBIC: bicubic}
    for name, data in models.items():
        methods[name] = upscale_with(decode_generator(data, name).network)
    for test_set, image, wants_picture in part:
        results = {name: evaluate_image(image, upscale) for name, upscale in methods.items()}
        scores = {name: result.scores._asdict() for name, result in results.items()}
        last = list(results)[-1]
        versions: dict[str, bytes] = {}
        if wants_picture:
            shown = results[last]
            versions["comparison"] = png(comparison(shown, last))
            for version, pixels in (
                ("bicubic", results[BICUBIC].upscaled),
                ("upscaled", shown.upscaled),
                ("original", shown.original),
            ):
                versions[version] = png(Image.fromarray(pixels))
        yield test_set, image.name, scores, versions


def _means(by_method: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, Any]:
    means = {}
    for method, images in by_method.items():
        values = list(images.values())
        means[method] = {key: sum(one[key] for one in values) / len(values) for key in values[0]}
    return means


def _write_csv(path: str, scores: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["test_set", "image", "method", "psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb"])
        for test_set, by_method in scores.items():
            for method, images in by_method.items():
                for image, values in images.items():
                    numbers = [f"{value:.4f}" for value in values.values()]
                    writer.writerow([test_set, image, method, *numbers])


def _named(paths: str, option: str) -> dict[str, str]:
    """Absolute paths by a short name."""
    given = split_paths(paths)
    return dict(zip(short_names(given, option), map(remote.absolute, given), strict=True))


def summary(metrics: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    """The table at the end."""
    return [
        (f"{test_set} {method}", f"PSNR {values['psnr_y']:.2f} dB, SSIM {values['ssim_y']:.4f}")
        for test_set, by_method in metrics["test_sets"].items()
        for method, values in by_method.items()
    ]


if __name__ == "__main__":
    sys.exit(run_job("evaluate_srgan", __doc__ or "", Options, work, summary))
