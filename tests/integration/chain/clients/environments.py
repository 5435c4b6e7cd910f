"""The folders of other people's clients: `make clients` installs these, unmodified, and names their
folder in CLIENTS_FOLDER."""

import os
from pathlib import Path

import pytest

_NAMED = os.environ.get("CLIENTS_FOLDER")  # noqa: TID251 - as the Makefile names it
_FOLDER = Path(_NAMED).absolute() if _NAMED else None


def find_client(path: str) -> Path:
    """A file of a client; skips the test and says why where the client is not installed."""
    if _FOLDER is None:
        pytest.skip(f"no CLIENTS_FOLDER, so no {path}: `make clients` installs the clients")
    if not (_FOLDER / path).exists():
        pytest.skip(f"no {_FOLDER / path}: `make clients` installs the clients")
    return _FOLDER / path
