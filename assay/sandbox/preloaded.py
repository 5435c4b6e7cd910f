"""Children that start at once: a process that has done their imports forks them.

Importing torch and transformers costs seconds of CPU time. A `PreloadedPython` pays them once, in a
clean process of its own (`assay.sandbox.preloaded_process`), and each child is a fork of that. It
is a child of the program that asked for it nevertheless: Linux gives an orphan to its nearest
ancestor that adopts orphans, so the process forks twice and the program adopts the child. Waiting,
signals, exit codes, process groups and /proc are those of any other child.

A fork keeps what imports have read and made: the environment, limits, cores, the hash seed. A child
that is to differ in any of these starts cold, like all of them wherever forking does not work. For
our own code only: what strangers wrote gets a process that nothing was loaded into before.
"""

import ctypes
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any
from weakref import WeakSet

from assay.sandbox.preloaded_process import FORKED, MESSAGE_MAX, READY, serve_forks
from assay.sandbox.secret_variables import is_secret

#: Seconds for the imports, and for a fork. Generous: without it, children start cold.
_IMPORT_S, _FORK_S = 120.0, 30.0
#: Linux's prctl: whether this process adopts orphans among its descendants.
_PR_SET_CHILD_SUBREAPER, _PR_GET_CHILD_SUBREAPER = 36, 37
#: Beginnings of the environment variables that Python, the C library and imported packages read
#: when they are loaded. The process gets no others, so that it holds nobody's secrets.
_READ_BY_IMPORTS = (
    "PYTHON", "LD_", "MALLOC_", "GLIBC_", "PATH", "HOME", "XDG_", "TMP", "TEMP", "LANG", "LC_",
    "TZ", "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "GOTO_", "BLIS_", "NUMBA_", "NUMEXPR_",
    "NPY_", "ATEN_", "DNNL_", "ONEDNN_", "TORCH", "PYTORCH_", "TRITON_", "CUDA_", "CUBLAS_",
    "NVIDIA_", "HIP_", "ROCR_", "HF_", "HUGGINGFACE_", "TRANSFORMERS_", "SAFETENSORS_",
    "TOKENIZERS_", "RAYON_", "ARROW_", "JE_", "MPL",
    "BT_CHAIN_ENDPOINT", "BT_EVM_ENDPOINT",
)  # fmt: skip
#: Of these, what is read later: by a process of a team when it joins, by cuBLAS with the first GPU.
_READ_LATER = ("TORCHELASTIC_", "TORCH_NCCL_", "CUBLAS_WORKSPACE_CONFIG")
#: Lines of /proc/thread-self/status that a child inherits.
_INHERITED = frozenset(
    {"Umask", "Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "SigBlk"}
    | {"SigIgn", "NoNewPrivs", "Seccomp", "Cpus_allowed", "Mems_allowed"}
)
_LIMITS = [number for name, number in sorted(vars(resource).items()) if name.startswith("RLIMIT_")]
#: The arguments of `subprocess.Popen._execute_child` after the command, those that are pipes' ends,
#: and the values of those that ask for nothing.
_PIPES = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
_OPTIONS = (
    *("executable", "preexec_fn", "close_fds", "pass_fds", "cwd", "env", "startupinfo"),
    *("creationflags", "shell", *_PIPES, "restore_signals", "gid", "gids", "uid", "umask"),
    *("start_new_session", "process_group"),
)
_EXECUTED: dict[str, object] = {
    "executable": None,
    "preexec_fn": None,
    "close_fds": True,
    "pass_fds": (),
    "shell": False,
    "restore_signals": True,
    "gid": None,
    "gids": None,
    "uid": None,
    "umask": -1,
}
#: The adoption of orphans concerns the whole program.
_adopting = threading.Lock()
#: The processes that several parts of the program share, by their modules.
_shared: list[tuple[frozenset[str], "PreloadedPython"]] = []
_sharing = threading.Lock()


_every: "WeakSet[PreloadedPython]" = WeakSet()


class _RefusedError(Exception):
    """No child was forked. The message says why."""


class _Fork:
    """A child that was forked here, as `subprocess.Popen` has one that was executed."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> None:
        with suppress(ChildProcessError):  # somebody else has waited for it
            os.waitpid(self.pid, 0)


def _leave_streams() -> None:
    """As the process has them: no input, no output, and no Ctrl-C in a terminal."""
    os.setpgid(0, 0)
    with open(os.devnull, "r+b", buffering=0) as nothing:
        for stream in (0, 1):
            os.dup2(nothing.fileno(), stream)


class PreloadedPython:
    """A process with imported modules, of which children are forks. Safe to share between threads.

    The process starts with the first child, and ends with this program, however that ends. A fork
    of this program starts a process of its own.

    Attributes:
        refusal: why the last child that started cold was no fork; empty: none has.

    Args:
        modules: imported in this order. They must start no thread that outlives a fork, nor open a
            file, a connection or a GPU: otherwise all children start cold.
    """

    def __init__(self, modules: Sequence[str]) -> None:
        self._modules = tuple(modules)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | _Fork | None = None
        self._connection: socket.socket | None = None
        self._surroundings: list[object] = []
        self._obstacle = ""
        self.refusal = ""
        _every.add(self)

    @property
    def pid(self) -> int | None:
        """The number of the process; None: it is not running."""
        return None if self._process is None else self._process.pid

    def popen(
        self, code: str, arguments: Sequence[str] = (), **options: Any
    ) -> "subprocess.Popen[Any]":
        """`subprocess.Popen` of `python -P -c code arguments`, with its options and its errors."""
        return _ForkedPopen(self, _make_command(code, arguments), **options)

    def close(self) -> None:
        """End the process. Its children go on, and the next child starts it anew."""
        with self._lock:
            self._end()

    def leave(self) -> None:
        """In a fork: leave the process to the program that started it. No other thread is here,
        whatever it held."""
        self._lock = threading.Lock()
        self._obstacle = self.refusal = ""
        connection, self._connection = self._connection, None
        process, self._process = self._process, None
        if connection is not None:
            connection.close()
        if process is not None:
            process.returncode = 0  # as if it were reaped: it is another process's child

    def fork(
        self,
        arguments: Sequence[str],
        streams: Sequence[int],
        folder: str,
        environment: Mapping[str, str],
        group: int | None,
    ) -> int:
        """Fork a child of this program and return its number.

        Args:
            arguments: the code and its arguments.
            streams: the descriptors of its three standard streams.
            group: the process group that it joins, 0 for a new one; None: a new session.

        Raises:
            OSError: no child was forked; a cold start may do.
        """
        surroundings = _describe_surroundings(environment)
        request = [list(arguments), folder, dict(environment), group]
        data = json.dumps(request).encode()
        for stream in streams:
            os.fstat(stream)  # one may be closed
        with self._lock:
            try:
                return self._fork(data, streams, surroundings)
            except _RefusedError as error:
                self.refusal = str(error)
                raise OSError(self.refusal) from None
            except OSError as error:
                self.refusal = str(error)
                self._end()
                raise

    def _fork(self, request: bytes, streams: Sequence[int], surroundings: list[object]) -> int:
        if self._obstacle:
            raise _RefusedError(self._obstacle)
        if self._connection is None:
            self._start(surroundings)
        assert self._connection is not None
        if surroundings != self._surroundings:
            raise _RefusedError("it would differ from the process that forks it")
        with _adopt_orphans():
            socket.send_fds(self._connection, [request], streams)
            reply = self._receive(_FORK_S)
        if not reply.startswith(FORKED):
            raise _RefusedError(reply.decode(errors="replace"))
        return int(reply.removeprefix(FORKED))

    def _start(self, surroundings: list[object]) -> None:
        self._surroundings = surroundings
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        code = (
            "from assay.sandbox.preloaded_process import serve_forks\n"
            f"exec(serve_forks({theirs.fileno()}, {self._modules!r}))"
        )
        with theirs:
            self._process = subprocess.Popen(
                _make_command(code, ()),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=_get_import_environment(os.environ),  # noqa: TID251 - what imports read of it
                process_group=0,  # Ctrl-C in a terminal is not for it
            )
        self._await_imports()

    def start_as_fork(self) -> None:
        """Import the modules here, and let a fork of this program be the process. It is as clean
        as this program still is: with one thread, and nothing open but its standard streams.

        Raises:
            OSError: the process cannot be forked, or must not fork.
        """
        for module in self._modules:
            import_module(module)
        connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid == 0:
            connection.close()
            _leave_streams()
            code = serve_forks(theirs.detach(), self._modules)
            exec(code, vars(sys.modules["__main__"]))  # this is the child, as in `_start`
            sys.exit()
        theirs.close()
        self._surroundings = _describe_surroundings(os.environ)  # noqa: TID251 - a child's is whole
        self._connection, self._process = connection, _Fork(pid)
        self._await_imports()

    def _await_imports(self) -> None:
        reply = self._receive(_IMPORT_S)
        if reply != READY:
            self._obstacle = reply.decode(errors="replace")
            raise ChildProcessError(self._obstacle)

    def _receive(self, seconds: float) -> bytes:
        assert self._connection is not None
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        if not poll.poll(seconds * 1_000):
            raise TimeoutError(f"no answer within {seconds:g} s")
        reply = self._connection.recv(MESSAGE_MAX)
        if not reply:
            raise ConnectionError("it died")
        return reply

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._connection = self._process = None


def start_python(
    code: str, arguments: Sequence[str] = (), **options: Any
) -> "subprocess.Popen[Any]":
    """Like `PreloadedPython.popen`, but the child starts cold."""
    return subprocess.Popen(_make_command(code, arguments), **options)


def _make_command(code: str, arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-P", "-c", code, *arguments]


def share_preloaded(*modules: str) -> PreloadedPython:
    """This program's process with these modules, the first that was asked for; it may have more."""
    with _sharing:
        for shared, preloaded in _shared:
            if shared.issuperset(modules):
                return preloaded
        _shared.append((frozenset(modules), PreloadedPython(modules)))
        return _shared[-1][1]


def _leave_processes() -> None:
    global _adopting, _sharing
    _adopting, _sharing = threading.Lock(), threading.Lock()
    for preloaded in list(_every):
        preloaded.leave()


# A fork begins anew, whatever other threads held.
os.register_at_fork(after_in_child=_leave_processes)


class _ForkedPopen(subprocess.Popen[Any]):
    """A child that is a fork where that can be, and is executed otherwise."""

    def __init__(self, preloaded: PreloadedPython, command: Sequence[str], **options: Any) -> None:
        self._preloaded = preloaded
        super().__init__(command, **options)

    def _execute_child(self, command: Sequence[str], *options: Any) -> None:
        """Replaces that of `subprocess.Popen`, which has no documented place for it. Its arguments
        are the same in Python 3.11 and 3.12."""
        asked = dict(zip(_OPTIONS, options, strict=True))
        pipes = [asked[name] for name in _PIPES]
        folder, environment = asked["cwd"], asked["env"]
        sys.audit("subprocess.Popen", command[0], command, folder, environment)
        if environment is None:
            environment = os.environ  # noqa: TID251 - a child's is whole
        group = os.getpgrp() if asked["process_group"] == -1 else asked["process_group"]
        try:
            if any(asked[name] != value for name, value in _EXECUTED.items()):
                raise OSError("only an executed child can have this")
            self.pid = self._preloaded.fork(
                [os.fsdecode(word) for word in command[3:]],
                [
                    standard if end == -1 else end
                    for standard, end in enumerate(pipes[n] for n in (0, 3, 5))
                ],
                os.path.abspath("." if folder is None else os.fsdecode(folder)),
                {os.fsdecode(name): os.fsdecode(value) for name, value in environment.items()},
                None if asked["start_new_session"] else group,
            )
        except OSError:
            super()._execute_child(command, *options)  # type: ignore[misc] # private, so not typed
            return
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined] # the same


def _describe_surroundings(environment: Mapping[str, str]) -> list[object]:
    """What a child has from the process that forks it, and must be as if it had none."""
    with open("/proc/thread-self/status") as status:
        lines = [line for line in status if line.partition(":")[0] in _INHERITED]
    return [
        _get_import_environment(environment),
        lines,
        [resource.getrlimit(limit) for limit in _LIMITS],
        os.getpriority(os.PRIO_PROCESS, 0),
        os.getsid(0),
        os.getpid(),
    ]


def _get_import_environment(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(_READ_BY_IMPORTS)
        and not name.startswith(_READ_LATER)
        and not is_secret(name, value)
    }


@contextmanager
def _adopt_orphans() -> Iterator[None]:
    """Let this program adopt orphans for a moment. Raises OSError: it cannot."""
    libc, before = ctypes.CDLL(None, use_errno=True), ctypes.c_int()
    with _adopting:
        if libc.prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(before), 0, 0, 0):
            raise OSError(ctypes.get_errno(), "this system lets no process adopt orphans")
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        try:
            yield
        finally:
            libc.prctl(_PR_SET_CHILD_SUBREAPER, before.value, 0, 0, 0)
