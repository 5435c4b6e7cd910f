"""Memory that tensors have left goes back to the system."""

import ctypes
import subprocess
import sys

import pytest

#: 256 MiB of tensors that are gone, and one that lives above them. MiB that stay.
PROGRAM = """
import torch
from assay.training.heap import return_pages

def read():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 >> 20

if {ask}:
    return_pages()
torch.ones(7 << 20)  # glibc takes sizes below one that was freed from its heap
before = read()
gone = [torch.ones(2 << 20) for _ in range(32)]
lives = torch.ones(1 << 10)
del gone
print(read() - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="glibc's alone")
@pytest.mark.parametrize("ask", [True, False], ids=["asked", "not-asked"])
def test_pages_go_back_below_a_tensor_that_lives(ask):
    command = [sys.executable, "-c", PROGRAM.format(ask=ask)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert (int(done.stdout) < 64) is ask
