"""The development chain's errors as a command shows them: it has errors of its own."""

from collections.abc import Iterator
from contextlib import contextmanager

from assay.network.chain.errors import ChainError
from subtensor_devnet import DevnetError


@contextmanager
def report_devnet_errors() -> Iterator[None]:
    """Raise the development chain's errors as ChainErrors. Also a decorator."""
    try:
        yield
    except DevnetError as error:
        raise ChainError(str(error)) from error
