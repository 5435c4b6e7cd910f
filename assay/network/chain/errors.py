"""The errors between us and a chain, each with a remedy, and the errors of nodes."""

import os
import re

from assay.network.text import hide, name_host
from assay.protocol.errors import OperatorError, TroubleKind

#: Errors that decoding a wrong answer raises.
NONSENSE = (ValueError, LookupError, TypeError, AttributeError)
#: Words of the SDK and of asyncio that say nothing to a person.
_NOISE = re.compile(r"^could not connect to any endpoint: |Multiple exceptions: |TimeoutError:? ?$")
_REFUSED = re.compile(r"\[Errno (\d+)\] Connect call failed \([^)]*\)")
_NUMBER = re.compile(r"\[Errno -?\d+\] ")


class ChainError(OperatorError):
    """The chain refused a call or cannot answer. The message says why and what to do."""

    trouble_kind = TroubleKind.CHAIN


class WrongChainError(ChainError):
    """The node is of another chain than the requested one. Nothing of its answers is used."""


class ForgottenError(ChainError):
    """State of a block that the nodes have forgotten: only an archive node still has it."""


class UnknownOutcomeError(ChainError):
    """An extrinsic was sent and its result is unknown: read it back before sending again."""


class TooSoonError(ChainError):
    """The chain's rate limit forbids the call before block `allowed_at`. Nothing was sent."""

    def __init__(self, message: str, allowed_at: int) -> None:
        super().__init__(message)
        self.allowed_at = allowed_at


class UnfitError(ChainError):
    """A node that should not be used now, though another may work. Never leaves the connection."""


class StillError(UnfitError):
    """A node's finalized head does not move, or stays far behind the clock."""


def describe(error: BaseException) -> str:
    """An error in one line, without possible keys of an endpoint: nodes repeat requests in their
    errors."""
    return hide(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)


def describe_failure(error: BaseException) -> str:
    """A node's fault, as text to follow its name in a sentence."""
    if isinstance(error, UnfitError):
        return str(error)
    if isinstance(error, NONSENSE):
        return f"answers nonsense: {describe(error)}"
    text = _NOISE.sub("", hide(str(error)))
    text = _REFUSED.sub(lambda match: os.strerror(int(match[1])).lower(), text)
    if not text and not isinstance(error, TimeoutError) and not str(error):
        text = type(error).__name__
    return f"does not answer: {_NUMBER.sub('', text)}" if text else "does not answer in time"


def make_wrong_genesis(endpoint: str, served: bytes, expected: bytes) -> WrongChainError:
    """The error for a node with another genesis hash than the expected one."""
    return WrongChainError(
        f"{name_host(endpoint)} serves the chain with genesis hash {served.hex()}, not "
        f"{expected.hex()}: name a node of the right chain"
    )
