"""A second wall behind the sandbox's own: system calls that its process can never make again.

The kernel keeps it for that process and all its descendants: no socket, no new process, no file
made, changed or removed, no look into another process.

Source: linux/seccomp.h, linux/filter.h, seccomp_unotify(2); numbers from asm/unistd_64.h and
asm-generic/unistd.h.
"""

import ctypes
import errno
import os
import struct

#: The refused calls, with their numbers on x86-64 and on 64-bit ARM; - if that machine lacks the
#: call.
_REFUSED = """
socket 41 198, socketpair 53 199, bind 49 200, listen 50 201, accept 43 202, accept4 288 242
connect 42 203, sendto 44 206, recvfrom 45 207, sendmsg 46 211, recvmsg 47 212
sendmmsg 307 269, recvmmsg 299 243, io_uring_setup 425 425, io_uring_enter 426 426
io_uring_register 427 427, fork 57 -, vfork 58 -, clone 56 220, clone3 435 435
execveat 322 281, kill 62 129, tkill 200 130, tgkill 234 131, rt_sigqueueinfo 129 138
rt_tgsigqueueinfo 297 240, pidfd_send_signal 424 424, pidfd_open 434 434
pidfd_getfd 438 438, ptrace 101 117, process_vm_readv 310 270, process_vm_writev 311 271
creat 85 -, openat2 437 437, open_by_handle_at 304 265, truncate 76 45, ftruncate 77 46
fallocate 285 47, rename 82 -, renameat 264 38, renameat2 316 276, mkdir 83 -, mkdirat 258 34
rmdir 84 -, link 86 -, linkat 265 37, unlink 87 -, unlinkat 263 35, symlink 88 -
symlinkat 266 36, mknod 133 -, mknodat 259 33, chmod 90 -, fchmod 91 52, fchmodat 268 53
fchmodat2 452 452, chown 92 -, fchown 93 55, lchown 94 -, fchownat 260 54, utime 132 -
utimes 235 -, futimesat 261 -, utimensat 280 88, setxattr 188 5, lsetxattr 189 6
fsetxattr 190 7, removexattr 197 14, lremovexattr 198 15, fremovexattr 199 16, chroot 161 51
mount 165 40, umount2 166 39, open_tree 428 428, move_mount 429 429, unshare 272 97
setns 308 268, add_key 248 217, request_key 249 218, keyctl 250 219, shmget 29 194
shmat 30 196, semget 64 190, msgget 68 186, mq_open 240 180, memfd_create 319 279
perf_event_open 298 241, bpf 321 280, userfaultfd 323 282, setsid 112 157, setpgid 109 154
setpriority 141 140, ioprio_set 251 30, sched_setparam 142 118, sched_setscheduler 144 119
sched_setaffinity 203 122, sched_setattr 314 274, migrate_pages 256 238, move_pages 279 239
process_madvise 440 440, process_mrelease 448 448, kcmp 312 272, shmctl 31 195, semctl 66 191
semop 65 193, semtimedop 220 192, msgctl 71 187, msgrcv 70 188, msgsnd 69 189, mq_unlink 241 181
reboot 169 142, settimeofday 164 170, clock_settime 227 112, adjtimex 159 171
clock_adjtime 305 266, sethostname 170 161, setdomainname 171 162, init_module 175 105
finit_module 313 273, delete_module 176 106, kexec_load 246 104, kexec_file_load 320 294
swapon 167 224, swapoff 168 225, pivot_root 155 41, acct 163 89, iopl 172 -, ioperm 173 -
quotactl 179 60, quotactl_fd 443 443, syslog 103 116, vhangup 153 58, fsopen 430 430
fsconfig 431 431, fsmount 432 432, fspick 433 433, mount_setattr 442 442
"""
_CALLS = [call.split() for call in _REFUSED.strip().replace("\n", ", ").split(", ")]
#: Calls of which the filter inspects one argument, with their numbers as above.
_LOOKED_AT = {"open": (2, 0), "openat": (257, 56), "fcntl": (72, 25), "prlimit64": (302, 261)}
#: Name of a machine → AUDIT_ARCH, its column in the table.
_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
#: Flags that opening a file must not have: they create it, truncate it, or make a file without a
#: name.
_MAKES = os.O_CREAT | os.O_TRUNC | getattr(os, "O_TMPFILE", 0) & ~os.O_DIRECTORY
_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
#: Instructions: load a word; equal; not below; any bit set; end.
_LOAD, _EQUAL, _NOT_BELOW, _BITS, _END = 0x20, 0x15, 0x35, 0x45, 0x06
#: Offsets in a filter's input: call number, architecture, the first three arguments.
_NUMBER, _MACHINE, _FIRST, _SECOND, _THIRD = 0, 4, 16, 24, 32
#: Call → the offset of an argument, and its refused values: flags that create a file; a signal to
#: another process when a pipe is ready (F_SETOWN, F_SETSIG, F_SETOWN_EX); limits of another
#: process.
_LOOKS = {
    "open": (_SECOND, [(_BITS, _MAKES)]),
    "openat": (_THIRD, [(_BITS, _MAKES)]),
    "fcntl": (_SECOND, [(_EQUAL, 8), (_EQUAL, 10), (_EQUAL, 15)]),
    "prlimit64": (_FIRST, [(_BITS, 0xFFFFFFFF)]),
}
#: Numbers from here on belong to x86's second table of calls.
_OTHER_TABLE = 0x40000000


def shut() -> bool:
    """Refuses the calls from now on, in this process and its descendants. Returns False if this
    kernel or machine has no such fence."""
    known = _MACHINES.get(os.uname().machine)
    if known is None or not _renounce():
        return False
    return _set_filter(_write_filter(*known))


def _renounce() -> bool:
    """Bars this process and its descendants from gaining rights. Without that, no filter can be
    set."""
    zero = ctypes.c_ulong(0)
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.prctl(_NO_NEW_PRIVILEGES, ctypes.c_ulong(1), zero, zero, zero) == 0)


def _set_filter(instructions: list[bytes]) -> bool:
    libc, zero = ctypes.CDLL(None, use_errno=True), ctypes.c_ulong(0)
    program = b"".join(instructions)
    held = ctypes.create_string_buffer(program, len(program))
    whole = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(held))
    return bool(libc.prctl(_SET_SECCOMP, ctypes.c_ulong(_FILTER), whole, zero, zero) == 0)


def _write_filter(machine: int, column: int) -> list[bytes]:
    """The filter's instructions. Jumps go forward: to the test of an argument, or to one of the two
    ends."""
    refused = sorted(int(call[1 + column]) for call in _CALLS if call[1 + column] != "-")
    tests = [(_NOT_BELOW, _OTHER_TABLE), *((_EQUAL, number) for number in refused)]
    looks = [(_LOOKED_AT[name][column], *look) for name, look in _LOOKS.items()]
    looks = [look for look in looks if look[0]]
    first_look = len(tests) + len(looks) + 1  # after the end for calls that no test names
    refuse = first_look + sum(1 + len(wanted) for *_, wanted in looks)
    out = [_pack(kind, value, refuse - place - 1) for place, (kind, value) in enumerate(tests)]
    begin = first_look
    for number, _, wanted in looks:
        out.append(_pack(_EQUAL, number, begin - len(out) - 1))
        begin += 1 + len(wanted)
    out.append(_pack(_END, _ALLOW))
    for _, argument, wanted in looks:
        out.append(_pack(_LOAD, argument))
        for left, (kind, value) in enumerate(reversed(wanted), 1 - len(wanted)):
            out.append(_pack(kind, value, refuse - len(out) - 1, 0 if left else refuse - len(out)))
    head = [_pack(_LOAD, _MACHINE), _pack(_EQUAL, machine, 1, 0), _pack(_END, _REFUSE)]
    return [*head, _pack(_LOAD, _NUMBER), *out, _pack(_END, _REFUSE), _pack(_END, _ALLOW)]


def _pack(kind: int, value: int, if_so: int = 0, if_not: int = 0) -> bytes:
    return struct.pack("<HBBI", kind, if_so, if_not, value)
