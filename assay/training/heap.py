"""Returns unused memory of CPU tensors to the system at once."""

import ctypes

#: Only glibc has it, and its M_MMAP_THRESHOLD.
_set_option = getattr(ctypes.CDLL(None), "mallopt", None)
_MMAP_THRESHOLD = -3
#: Bytes from which a tensor has its own pages. Tuning: smaller ones leave little behind.
_OWN_PAGES = 1 << 20


def return_pages() -> None:
    """Give each tensor of a MiB or more its own pages, in the whole process from now on.

    glibc takes tensors below 32 MiB from one heap and keeps free memory that lies under the newest
    of them. Layers that are computed twice each leave a tensor behind many larger ones: with half a
    billion weights and 4,096 tokens, 3 GiB stay allocated that no tensor uses.
    """
    if _set_option is not None:
        _set_option(_MMAP_THRESHOLD, _OWN_PAGES)
