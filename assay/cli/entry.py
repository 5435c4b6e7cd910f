"""The entry point: small, so that Ctrl-C works alike from the first moment."""

import os
import sys
from io import StringIO, TextIOWrapper

from assay.cli.interrupts import catch_interrupts, importing


def main() -> None:
    """Run the command line."""
    if sys.stdin is None:  # the parent process has closed it
        sys.stdin = StringIO()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # not each encoding has what people's files say
            stream.reconfigure(errors="backslashreplace")
    try:
        with catch_interrupts():
            with importing():
                from assay.cli.app import app
            plain = os.environ.get("NO_COLOR")  # noqa: TID251 - everybody's variable
            app(prog_name="assay", color=False if plain else None)
    except KeyboardInterrupt:
        print("assay: stopped", file=sys.stderr)
        sys.exit(130)
