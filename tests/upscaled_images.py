"""Images upscaled as the job does it, without Spark."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from srgan.upscaling import images, worker
from srgan.upscaling.model_choice import read_model
from srgan.upscaling.output_options import DEFAULTS, OutputOptions
from srgan.upscaling.tiles import Box, Upscaler

BICUBIC = worker.Tools(read_model("bicubic"), 512, 200, 1)


def upscale_file(
    source: Path, options: OutputOptions = DEFAULTS, upscaler: Upscaler | None = None
) -> tuple[Path, tuple[str, ...]]:
    """The result's file, in a folder beside the source, and what is noted of it."""
    target = source.parent / "results" / options.name_of(source.name, True)
    target.parent.mkdir(exist_ok=True)
    size = images.probe_image(str(source), 200, str(target), options)
    box = Box(0, 0, size.width, size.height)
    pixels = images.upscale_block(str(source), box, upscaler or BICUBIC.upscaler("cpu"))
    images.write_image(target, pixels, str(source), options)
    return target, size.notes


def upscaled(source: Path, options: OutputOptions = DEFAULTS) -> Image.Image:
    """The result, opened by another library than wrote it."""
    image = Image.open(upscale_file(source, options)[0])
    image.load()
    return image
