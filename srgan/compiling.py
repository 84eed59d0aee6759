"""What torch.compile needs of a machine: a compiler, and a cache without what a killed run left."""

import contextlib
import logging
import os
import struct
import sysconfig
from pathlib import Path

from filelock import FileLock, Timeout

from srgan.errors import UnavailableError

logger = logging.getLogger(__name__)

ELF = b"\x7fELF"
SECTION_TABLE = struct.Struct("<40xQ10xHH")
"""In the header of a library: where its table of sections begins, size of an entry, entries."""


def prepare_compiling() -> None:
    """See before a training that torch.compile can do its work.

    Raises:
        UnavailableError: a compiler or Python's headers are missing.
    """
    # Seconds of imports, for who compiles alone.
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise UnavailableError(
            "--compile finds no C++ compiler; install g++, or leave --compile out"
        ) from error
    headers = sysconfig.get_path("include")
    if not os.path.exists(f"{headers}/Python.h"):
        raise UnavailableError(
            f"--compile finds no Python.h in {headers}; install Python's headers (python3-dev), or "
            "leave --compile out"
        )
    remove_cut_off_libraries(Path(cache_dir()))


def remove_cut_off_libraries(cache: Path) -> None:
    """Delete libraries of torch's compile cache that are not whole; they are compiled anew.

    Compilers write them in place, and torch takes for whole what is there. A process that loads
    half a library is ended by the kernel, without a word, and so is the next.
    """
    removed = 0
    for path in cache.glob("*/*.so"):
        if is_whole(path):
            continue
        # Whoever writes one holds its lock.
        lock = cache / "locks" / f"{path.name.partition('.')[0]}.lock"
        with contextlib.suppress(Timeout, FileNotFoundError), FileLock(lock, timeout=0):
            if not is_whole(path):
                path.unlink()
                removed += 1
    if removed:
        logger.warning("%d libraries in %s were cut off; they are compiled anew", removed, cache)


def is_whole(library: Path) -> bool:
    """Whether a library reaches to the end of its table of sections, which linkers write last."""
    with open(library, "rb") as file:
        header = file.read(SECTION_TABLE.size)
        size = os.fstat(file.fileno()).st_size
    if len(header) < SECTION_TABLE.size or not header.startswith(ELF):
        return False
    begin, entry, entries = SECTION_TABLE.unpack(header)
    return bool(size >= begin + entry * entries)
