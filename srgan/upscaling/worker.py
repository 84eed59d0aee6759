"""What a process does with a piece: read, upscale, write under another name, rename."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from fsspec.implementations.local import LocalFileSystem

from srgan import storage
from srgan.errors import BadDataError, MissingDataError
from srgan.gpu import usable_device
from srgan.upscaling import images
from srgan.upscaling.films.joining import Joined, join_segments
from srgan.upscaling.films.planning import plan_film
from srgan.upscaling.films.upscaling import upscale_segment
from srgan.upscaling.inputs import WORK_FOLDER
from srgan.upscaling.networks import decode_network
from srgan.upscaling.output_options import DEFAULTS, OutputOptions
from srgan.upscaling.pieces import Done, Entry, Piece, Segment, Work, image_work, video_work
from srgan.upscaling.tiles import Box, Upscaler

TEMPORARY = ".upscaling-"
"""Begins the names of what is not finished."""


@dataclass(frozen=True)
class Tools:
    """What every worker gets."""

    model: bytes
    """A model file's content, as networks.decode_network reads it."""
    memory_mb: int | None
    """Megabytes that the network may take; None: see Upscaler.of."""
    largest_megapixels: float
    """Largest image or frame, of the input."""
    threads: int
    """For torch to compute with."""
    output: OutputOptions = DEFAULTS
    """How results are written."""

    @lru_cache(maxsize=1)  # noqa: B019
    def upscaler(self, device: str) -> Upscaler:
        """The network on a device such as "cpu" or "cuda:0"; a process builds it once.

        Raises:
            OptionsError: memory_mb is too little for it.
            UnavailableError: torch cannot use that device.
        """
        place = usable_device(device)
        torch.set_num_threads(self.threads)
        network = decode_network(self.model, "the model")
        return Upscaler.of(network, place, self.memory_mb)


class Outcome(NamedTuple):
    """What became of an entry, or of a piece of one; never an exception."""

    name: str
    """Of the entry."""
    value: Any
    error: str | None
    """Why it failed, in one line."""
    exit_code: int | None = None
    """Of the error, if it has one."""


def attempt(name: str, function: Callable[..., Any], *arguments: Any) -> Outcome:
    """Call a function on an entry of that name; what it raises is the outcome."""
    try:
        return Outcome(name, function(*arguments), None)
    except Exception as error:
        text, code = " ".join(str(error).split()), getattr(error, "exit_code", None)
        if code is None and isinstance(error, OSError) and error.strerror:
            text = f"{error.strerror} ({error.filename})" if error.filename else error.strerror
        elif code is None or not text:
            text = f"could not be upscaled ({type(error).__name__}: {text})"
        return Outcome(name, None, text, code)


def cut(entry: Entry, work_folder: str, tools: Tools) -> Work | None:
    """Look into a file and say into what pieces it is cut.

    The result is of the content that this call has seen, or of a later one.

    Args:
        entry: the file.
        work_folder: where pieces may keep their results.
        tools: the limits.

    Returns:
        The pieces of the entry, whose digest is set; None if it has that digest already.

    Raises:
        BadDataError, MissingDataError: it cannot be upscaled.
    """
    with local_file(entry.source) as path:
        digest = _digest(path)
        if digest == entry.digest:
            return None
        entry = replace(entry, digest=digest)
        version: tuple[str, ...] = (entry.name, digest, hashlib.sha256(tools.model).hexdigest())
        if entry.kind == "video":
            # Its pieces are encoded already, those of an image are not.
            version += (tools.output.text(),)
        parts = storage.join(work_folder, hashlib.sha256(repr(version).encode()).hexdigest()[:24])
        if entry.kind == "image":
            size = images.probe_image(path, tools.largest_megapixels, entry.target, tools.output)
            return image_work(entry, size.width, size.height, parts, notes=size.notes)
        if tools.output.resizes:
            raise BadDataError(
                f"films are enlarged by {tools.output.network_scale} alone; give them a run "
                "without --scale and --outscale"
            )
        suffix = Path(entry.target).suffix.lower()
        scale = tools.output.network_scale
        plan = plan_film(path, suffix, scale, tools.largest_megapixels, options=tools.output)
        return video_work(entry, plan, parts)


def do(piece: Piece, tools: Tools, device: str) -> Done:
    """Upscale a piece, unless its result is there.

    Raises:
        BadDataError, MissingDataError: its source cannot be read.
    """
    if piece.path is not None and storage.exists(piece.path):
        return Done()
    upscaler = tools.upscaler(device)
    with local_file(piece.entry.source) as source:
        if isinstance(piece.part, Segment):
            assert piece.path is not None
            with new_file(piece.path) as path:
                upscale_segment(source, piece.part, upscaler, path)
            return Done()
        pixels = images.upscale_block(source, piece.part, upscaler)
        with new_file(piece.path or piece.entry.target) as path:
            if piece.path is None:
                images.write_image(path, pixels, source, tools.output)
                return Done(path.stat().st_size)
            images.write_block(path, pixels)
            return Done()


def put_together(work: Work, output: OutputOptions = DEFAULTS) -> Done:
    """Make the result of an entry from those of its pieces, and delete these.

    Args:
        work: the entry, all of whose pieces are done.
        output: how results are written.
    """
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(local_file(work.entry.source))
        paths = [Path(stack.enter_context(local_file(one.path or ""))) for one in work.pieces]
        joined = Joined()
        with new_file(work.entry.target) as target:
            if work.encoding is not None:
                segments = [piece.part for piece in work.pieces if isinstance(piece.part, Segment)]
                joined = join_segments(target, paths, segments, source, encoding=work.encoding)
            else:
                boxes = [piece.part for piece in work.pieces if isinstance(piece.part, Box)]
                images.join_blocks(target, paths, boxes, source, options=output)
            size = target.stat().st_size
    if work.parts is not None:
        system, folder = storage.file_system(work.parts)
        system.rm(folder, recursive=True)
    return Done(size, joined.notes, joined.damage)


@contextlib.contextmanager
def local_file(path: str) -> Iterator[str]:
    """A file's path on this machine: itself, or a copy for as long as the block lasts.

    Raises:
        MissingDataError: it is not there or may not be read.
        BadDataError: it is no regular file: a named pipe would be waited for without end.
    """
    system, inner = storage.file_system(path)
    if isinstance(system, LocalFileSystem):
        try:
            if not stat.S_ISREG(os.stat(inner).st_mode):
                raise BadDataError("is no regular file")
            with open(inner, "rb"):
                pass
        except OSError as error:
            raise MissingDataError(f"cannot be read ({error.strerror})") from error
        yield inner
        return
    with tempfile.TemporaryDirectory(prefix="upscale-") as folder:
        copy = Path(folder) / f"copy{Path(inner).suffix}"
        try:
            system.get_file(inner, str(copy))
        except OSError as error:
            raise MissingDataError(f"cannot be read ({error})") from error
        yield str(copy)


@contextlib.contextmanager
def new_file(target: str) -> Iterator[Path]:
    """A path to write to; what was written there becomes the target in one step."""
    system, inner = storage.file_system(target)
    folder, _, name = inner.rpartition("/")
    system.makedirs(folder, exist_ok=True)
    is_local = isinstance(system, LocalFileSystem)
    with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=folder if is_local else None) as place:
        # A name of its own: the real one may be as long as the file system allows.
        path = Path(place) / f"new{Path(name).suffix}"
        yield path
        if is_local:
            # Without this a machine that loses its power may have the name and not the content.
            with open(path, "rb") as file:
                os.fsync(file.fileno())
            path.replace(inner)
            return
        copy = f"{folder}/{TEMPORARY}{path.parent.name}"
        system.put_file(str(path), copy)
        system.mv(copy, inner, overwrite=True)


def _digest(path: str) -> str:
    """SHA-256 of a file's content."""
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()


def remove_leftovers(folder: str, known: Sequence[str]) -> None:
    """Delete what processes that were killed left behind in an output folder.

    Args:
        folder: the output folder.
        known: folders of pieces' results that are still wanted.
    """
    system, root = storage.file_system(folder)
    wanted = {path.rpartition("/")[2] for path in known}
    # fsspec's own would ask for the size of every file.
    walk = os.walk if isinstance(system, LocalFileSystem) else system.walk
    for place, folders, _ in list(walk(root)):
        for name in folders:
            is_old_part = place.rpartition("/")[2] == WORK_FOLDER and name not in wanted
            if name.startswith(TEMPORARY) or is_old_part:
                system.rm(f"{place}/{name}", recursive=True)
