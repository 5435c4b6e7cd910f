"""A second wall around files: a list of what a process may open, which the kernel enforces.

The fence is Landlock (Linux 5.13). The process reads Python's own files, writes nothing but
`/dev/null`, and runs no other program.

Source: linux/landlock.h, Documentation/userspace-api/landlock.rst.
"""

import ctypes
import errno
import os
import stat
import struct
import sys
import sysconfig
from contextlib import suppress

#: System calls with the same numbers on every machine.
_CREATE, _ADD, _RESTRICT = 444, 445, 446
_ASK_VERSION, _BENEATH, _NO_NEW_PRIVILEGES = 1, 1, 38
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_FOLDER = 1, 2, 4, 8
#: Landlock's version → how many rights it knows. Later versions added moving files between folders,
#: truncating a file, and device control.
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
#: Folders of the libraries that Python is linked with.
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/nix/store")


def get_version() -> int:
    """The version of Landlock here; 0 if this kernel has none, or has it switched off."""
    return max(0, _call(_CREATE, None, 0, _ASK_VERSION)[0])


def shut() -> bool:
    """Lets this process and its descendants open nothing else from now on. Returns False if this
    kernel has no such fence. Raises OSError if the kernel has it and refuses."""
    version = get_version()
    if version == 0:
        return False
    rights = (1 << _RIGHTS[min(version, max(_RIGHTS))]) - 1
    rules = _require(_call(_CREATE, struct.pack("=Q", rights), 8, 0))
    for path in list_python():
        _allow(rules, path, _READ_FILE | _READ_FOLDER)
    for path in _list_programs():
        _allow(rules, path, _EXECUTE | _READ_FILE)
    _allow(rules, os.devnull, _READ_FILE | _WRITE_FILE)
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    if libc.prctl(_NO_NEW_PRIVILEGES, ctypes.c_ulong(1), zero, zero, zero):
        raise OSError(ctypes.get_errno(), "no new privileges")
    _require(_call(_RESTRICT, rules, 0))
    os.close(rules)
    return True


def list_python() -> list[str]:
    """The files and folders that this Python needs to start again and import its standard
    library."""
    paths = {"/etc/ld.so.cache", f"{sys.prefix}/pyvenv.cfg", *_LIBRARIES}
    paths |= {f"{sys.base_prefix}/lib", f"{sys.base_exec_prefix}/lib"}
    paths |= {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    return sorted(paths)


def _list_programs() -> set[str]:
    """This Python's program, and the loader by which the kernel starts it."""
    with open("/proc/self/maps") as maps:
        mapped = {line.split()[-1] for line in maps}
    loaders = {path for path in mapped if os.path.basename(path).startswith("ld-")}
    return {os.path.realpath(sys.executable), *loaders}


def _allow(rules: int, path: str, rights: int) -> None:
    """Add a rule that allows `path`. A path that does not exist needs no rule."""
    with suppress(FileNotFoundError):
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= ~_READ_FOLDER
        _require(_call(_ADD, rules, _BENEATH, struct.pack("=Qi", rights, place), 0))
        os.close(place)


def _call(number: int, *arguments: int | bytes | None) -> tuple[int, int]:
    """The result of a system call, and its error number."""
    libc = ctypes.CDLL(None, use_errno=True)
    words = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    return int(libc.syscall(ctypes.c_long(number), *words)), ctypes.get_errno()


def _require(result: tuple[int, int]) -> int:
    number, error = result
    if number < 0:
        raise OSError(error, f"Landlock: {errno.errorcode.get(error, error)}")
    return number
