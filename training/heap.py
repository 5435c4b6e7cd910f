"""Returns unused heap memory of CPU tensors to the system."""

import ctypes

from torch import device

#: Only glibc has it.
_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)


def trim_heap(place: device) -> None:
    """Return the free memory between live tensors to the system.

    glibc takes tensors below 32 MiB from one heap and keeps free memory that lies under the newest
    of them. Layers that are computed twice each leave a tensor behind many larger ones: with half a
    billion weights and 4,096 tokens, 3 GiB stay allocated that no tensor uses.
    """
    if place.type == "cpu" and _trim is not None:
        _trim(0)
