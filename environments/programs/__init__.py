"""Problems whose answers are programs, and the way those programs are scored: `code:SHA256`.

A program runs in WebAssembly that counts its own instructions (`metering`), in a MicroPython that
sees its input and nothing else (`interpreter`), and what it writes is compared outside (`outputs`).
No clock is ever asked: the same program gets the same verdict on every machine, slow or busy.
Start with `code_file`, which is the environment.
"""

from assay.environments.programs.code_file import CodeFile

__all__ = ["CodeFile"]
