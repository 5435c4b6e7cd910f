"""Problems whose answers are programs, and their scoring: `code:SHA256`.

A program runs in CPython in a sandbox that counts its instructions (`assay.sandbox.guest`), and
sees only its input (`case_runs`). Its output is compared outside (`outputs`). No clock decides: the
same program gets the same verdict on every machine, slow or busy. Start with `code_file`, which is
the environment.
"""

NAME = "code"
