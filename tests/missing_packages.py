"""Optional packages as if they were not installed."""

from importlib.metadata import PackageNotFoundError, version

import pytest

from assay.network import extras


def hide_packages(monkeypatch: pytest.MonkeyPatch, *hidden: str) -> None:
    """Let no setting find these packages, whether or not they are here."""

    def find(package: str) -> str:
        if package in hidden:
            raise PackageNotFoundError(package)
        return version(package)

    monkeypatch.setattr(extras, "version", find)
