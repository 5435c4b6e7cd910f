"""Memory that tensors on the processor have left, given back to the system."""

import ctypes

from torch import device

#: glibc's alone.
_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)


def trim_heap(place: device) -> None:
    """Gives back what is free between tensors that live.

    glibc takes tensors below 32 MiB from one heap and keeps what is free under the newest of them.
    Layers that are computed twice leave a tensor each behind a score of larger ones: of half a
    billion weights and 4,096 tokens, 3 GiB stay that no tensor has.
    """
    if place.type == "cpu" and _trim is not None:
        _trim(0)
