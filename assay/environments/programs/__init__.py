"""Problems whose answers are programs, and their scoring: `code:SHA256`.

A program runs in WebAssembly that counts its own instructions (`metering`), in a MicroPython that
sees only the program's input (`interpreter`). Its output is compared outside (`outputs`). No clock
decides: the same program gets the same verdict on every machine, slow or busy. Start with
`code_file`, which is the environment.
"""

from assay.environments.programs.code_file import CodeFile

__all__ = ["CodeFile"]
