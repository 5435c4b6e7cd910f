"""Memory that tensors have left goes back to the system."""

import ctypes
import subprocess
import sys

import pytest

from assay.training import heap

#: 256 MiB of tensors that are gone, and a small one that lives above each. MiB that stay.
PROGRAM = """
import runpy, torch

def read():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 >> 20

if {ask}:
    runpy.run_path({path!r})["return_pages"]()
torch.ones(7 << 20)  # glibc takes sizes below one that was freed from its heap
before = read()
gone, live = zip(*((torch.ones(2 << 20), torch.ones(1 << 10)) for _ in range(32)))
del gone
print(read() - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="glibc's alone")
@pytest.mark.parametrize("ask", [True, False], ids=["asked", "not-asked"])
def test_pages_go_back_below_tensors_that_live(ask):
    command = [sys.executable, "-c", PROGRAM.format(ask=ask, path=heap.__file__)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert (int(done.stdout) < 128) is ask
