"""A sandbox for a native parser: an untrusted Parquet file is parsed in a child process that may
die.

Native code reads Parquet, and a crafted file may crash, stall or bloat it (349 bytes can decode to
300 million values). So one child does it, in a sandbox. Its answer is not trusted either: the
caller checks it against a root.
"""

from collections.abc import Callable
from typing import NoReturn

import pyarrow as pa

from assay.sandbox import Budget, Lost, Sandbox, child
from assay.sandbox.child import DETAIL_MAX, clean

#: First byte of an answer.
_OK, _FAULT = 0, 1


class ParquetWorker(Sandbox):
    """A sandbox whose child parses."""

    def parse(self, request: bytes, reply_max: int, budget: Budget) -> bytes:
        """The child's answer to one request, at most `reply_max` bytes. Its cost is taken from
        `budget`.

        Raises:
            ValueError: the file is at fault: it is malformed, two children are lost over it, or its
                budget is spent, which no honest file does.
            WorkerError: no child can be started, or the worker is closed.
        """
        reply = self.ask(request, 1 + max(reply_max, 4 * DETAIL_MAX), budget)
        if isinstance(reply, Lost):
            if reply.spent:
                raise ValueError("the file takes too much CPU time to read")
            raise ValueError(f"the Parquet parser gave up on this file: {reply.cause}")
        if reply[0] == _OK:
            return reply[1:]
        if reply[0] == _FAULT:
            raise ValueError(clean(reply[1:].decode(errors="replace")))
        raise ValueError(
            f"the Parquet parser gave up on this file: it answered with status {reply[0]}"
        )


class FileFault(Exception):
    """A file's fault, as a sentence. For the child."""


def serve(answer: Callable[[bytes], bytes], memory: int = child.MEMORY_BYTES) -> NoReturn:
    """Run the child: answer requests until its standard input closes.

    `answer` returns the reply, or raises FileFault or pyarrow's errors for a malformed file.
    Anything else, above all lack of memory, ends the process, and the parent draws its conclusion.

    Args:
        memory: most bytes of address space that it may add.
    """
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    pa.set_memory_pool(pa.system_memory_pool())  # the others reserve address space ahead
    broken = (pa.ArrowException, OSError, ValueError, NotImplementedError)

    def reply(request: bytes) -> bytes:
        try:
            return bytes([_OK]) + answer(request)
        except MemoryError:  # pyarrow's own is also an ArrowException
            raise
        except FileFault as fault:
            text = str(fault)
        except broken as error:
            text = f"the file cannot be read as Parquet: {error}"
        return bytes([_FAULT]) + clean(text).encode(errors="replace")

    child.serve(reply, memory)
