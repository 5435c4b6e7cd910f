"""Which pages of memory this process has written, as Linux keeps it: of a private mapping, those
that are no longer the file's.

Source: Documentation/admin-guide/mm/pagemap.rst and linux/fs.h of Linux 6.7, which has it first.
"""

import ctypes
import fcntl
import os
import struct

_PAGEMAP = "/proc/self/pagemap"
#: The call, _IOWR('f', 16, struct pm_scan_arg), and its argument: its size, flags, start, end, the
#: end of what was looked at, the place and length of the answer, most pages; then categories.
_SCAN, _ARGUMENT = 0xC0606610, struct.Struct("=12Q")
_LOOKED = 4
#: Categories of pages: the file's, in memory, elsewhere. The one that is all zeros is as written: a
#: kernel that merges pages puts it in the place of one that was.
_FILE, _PRESENT, _SWAPPED = 1 << 2, 1 << 3, 1 << 4
#: Numbers of a range in the answer: start, end, categories. Most ranges of an answer.
_RANGE, _RANGES_MAX = 3, 2_048


class WrittenPages:
    """Asks the kernel about the process that made this object: a fork of it is told nothing."""

    def __init__(self) -> None:
        """Raises OSError if this machine keeps no such record."""
        self._descriptor = os.open(_PAGEMAP, os.O_RDONLY | os.O_CLOEXEC)
        self._process = os.getpid()
        self._answer = (ctypes.c_uint64 * (_RANGE * _RANGES_MAX))()

    def find(self, start: int, end: int) -> list[tuple[int, int]] | None:
        """Ranges of addresses between two; None: there are too many, or this kernel cannot tell."""
        if os.getpid() != self._process:
            return None
        any_of = _PRESENT | _SWAPPED
        answer = ctypes.addressof(self._answer), _RANGES_MAX
        categories = _FILE, _FILE, any_of, any_of
        given = _ARGUMENT.pack(_ARGUMENT.size, 0, start, end, 0, *answer, 0, *categories)
        held = bytearray(given)
        try:
            count = fcntl.ioctl(self._descriptor, _SCAN, held)
        except OSError:
            return None
        if _ARGUMENT.unpack(held)[_LOOKED] != end:
            return None
        found = self._answer[: _RANGE * count]
        return list(zip(found[::_RANGE], found[1::_RANGE], strict=True))
