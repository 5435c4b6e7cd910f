"""A cage for a native parser: a stranger's Parquet is parsed in a child process that may die.

It is read by native code that a crafted file may crash, stall or bloat (349 bytes can decode to 300
million values). So one child does it, in a cage. Its answer is not trusted either: the caller
checks it against a root.
"""

from collections.abc import Callable
from typing import NoReturn

import pyarrow as pa

from assay.cage import Budget, Cage, Lost, child
from assay.cage.child import DETAIL_MAX, clean

#: First byte of an answer.
_OK, _FAULT = 0, 1


class ParquetWorker(Cage):
    """A cage whose child parses."""

    def parse(self, request: bytes, reply_max: int, budget: Budget) -> bytes:
        """The child's answer to one request, at most `reply_max` bytes; its cost is taken from
        `budget`.

        Raises:
            ValueError: the file is at fault: it is none, two children are lost over it, or its
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
    """The child's whole life: answers requests until its standard input closes.

    `answer` returns the reply, or raises FileFault or what pyarrow raises at a broken file.
    Anything else, running out of memory above all, ends the process, and the parent concludes.

    Args:
        memory: bytes of address space that it may add.
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
