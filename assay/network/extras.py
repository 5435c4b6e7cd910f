"""Optional packages, which extras of this distribution install."""

from importlib.metadata import PackageNotFoundError, version

from assay.protocol.errors import OperatorError


class MissingExtraError(OperatorError):
    """A setting needs a package that is not installed. The message names the extra that has it."""


def find_missing(what: str, package: str, extra: str, exact: str = "") -> str | None:
    """Why a package cannot be used here, and what to install; None: it can be.

    Args:
        what: needs it.
        exact: the only version that will do; empty: any.
    """
    try:
        found = version(package)
    except PackageNotFoundError:
        found = "not here"
    else:
        if exact in ("", found):
            return None
    wanted = f"{package} {exact}, which is {found}" if exact else package
    return f"{what} needs {wanted}: install the extra `{extra}` (pip install 'assay[{extra}]')"


def require_package(what: str, package: str, extra: str, exact: str = "") -> None:
    """Raise MissingExtraError where a package cannot be used here: see `find_missing`."""
    if (missing := find_missing(what, package, extra, exact)) is not None:
        raise MissingExtraError(missing)
