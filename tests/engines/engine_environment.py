"""The environment of a real inference engine, which `make engine` makes."""

import os
from pathlib import Path

#: Its Python; None: there is none.
_NAMED = os.environ.get("ENGINE_PYTHON")  # noqa: TID251 - as the Makefile names it
#: Absolute: programs under test run in folders of their own. Not resolved: a link to a Python is
#: what makes its environment.
ENGINE_PYTHON = str(Path(_NAMED).absolute()) if _NAMED else None
NO_ENGINE = "no ENGINE_PYTHON: `make nightly` makes one"
