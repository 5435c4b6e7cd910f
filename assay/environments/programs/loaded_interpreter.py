"""The interpreter, compiled when this module is imported: once, in the process whose forks are the
children of `interpreter`. A fork starts at once, and shares the code's memory."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

from assay.environments.programs.interpreter import RUN_COST, Interpreter, make_module
from assay.protocol.parameters import MILLION
from assay.sandbox import child

#: Bytes of a thread's stack: more than `SLOTS` need in any engine. Tuning.
_THREAD_STACK = 16 << 20
#: Bytes of address space beyond what the imports take, for one memory. Tuning.
_MEMORY_BYTES = 2 << 30


INTERPRETER = Interpreter(make_module())
# At the first copy the engine writes an image of the memory, which a sandboxed child may not.
INTERPRETER.run("", b"", RUN_COST + MILLION)


def serve_programs() -> NoReturn:
    """Run the child. A request is 4 bytes and JSON of that length, then the input; an answer is a
    line with the end and the instructions, then the output."""
    threading.stack_size(_THREAD_STACK)
    runner = ThreadPoolExecutor(1)

    def answer(request: bytes) -> bytes:
        size = 4 + int.from_bytes(request[:4], "big")
        program, instructions = json.loads(request[4:size])
        run = runner.submit(INTERPRETER.run, program, request[size:], instructions).result()
        return f"{run.end} {run.instructions}\n".encode() + run.output

    child.serve(answer, _MEMORY_BYTES)
