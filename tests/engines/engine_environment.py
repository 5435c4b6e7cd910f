"""The environment of a real inference engine, which `make engine` makes."""

import os

#: Its Python; None: there is none.
ENGINE_PYTHON = os.environ.get("ENGINE_PYTHON")  # noqa: TID251 - as the Makefile names it
NO_ENGINE = "no ENGINE_PYTHON: `make nightly` makes one"
