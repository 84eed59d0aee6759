"""Freed memory is taken again without the system, which clears and maps every page anew."""

import ctypes
import subprocess
import sys

import pytest
from conftest import ROOT

PROGRAM = """
import resource, sys, torch
from srgan.cpu.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
for _ in range(60):
    torch.empty(20_000_000).fill_(1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def page_faults(word: str) -> int:
    command = [sys.executable, "-c", PROGRAM, word]
    return int(subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not glibc")
def test_kept_memory_is_seldom_mapped_again():
    # Not from the first block on: glibc's gaps must first grow large enough for an aligned block.
    assert 3 * page_faults("keep") < page_faults("leave")
