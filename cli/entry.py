"""Where the command starts: small, so that Ctrl-C is answered alike from the first moment."""

import sys
from io import StringIO

from assay.cli.interrupts import catch_interrupts


def main() -> None:
    """Runs the command line."""
    if sys.stdin is None:  # whoever starts us has closed it
        sys.stdin = StringIO()
    try:
        with catch_interrupts():
            from assay.cli.app import app

            app(prog_name="assay")
    except KeyboardInterrupt:
        print("assay: stopped", file=sys.stderr)
        sys.exit(130)
