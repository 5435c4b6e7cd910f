"""What a call through the SDK fails with, sorted by whose word it is: the node's, or nobody's."""

from assay.network.chain.chain_target import name_node
from assay.network.chain.errors import ChainError, WrongChainError
from assay.network.text import hide

#: What decoding an answer raises that is not what was asked for.
NONSENSE = (ValueError, LookupError, TypeError, AttributeError)


class UnfitError(ChainError):
    """A node should not be used now: another one may serve. Never leaves the connection."""


class StillError(UnfitError):
    """A node's finalized head does not move."""


def get_faults() -> tuple[type[Exception], ...]:
    """What the SDK raises of its own, and what breaks beneath it. The SDK is loaded late."""
    from bittensor import BittensorError
    from bittensor._transport.errors import SubstrateRequestException

    return (BittensorError, SubstrateRequestException, OSError, TimeoutError)


def is_refusal(error: Exception) -> bool:
    """Whether a node has understood and said no, so that another would say the same."""
    from bittensor import RpcConnectionError

    broken = (RpcConnectionError, OSError, TimeoutError, UnfitError, *NONSENSE)
    return not isinstance(error, broken)


def is_vague(error: BaseException) -> bool:
    """Whether a sending failed by something else than a refusal.

    The SDK makes anything that goes wrong after an extrinsic was handed over, a block that cannot
    be read among it, into the error that it also refuses with; only its cause tells them apart.
    """
    from bittensor import BittensorError
    from bittensor._transport.errors import SubstrateRequestException

    known = BittensorError | SubstrateRequestException
    return error.__cause__ is not None and not isinstance(error.__cause__, known)


def is_forgotten(error: BaseException) -> bool:
    """Whether a node has said that it no longer keeps the state; the SDK wraps its own words."""
    from bittensor._transport.errors import StateDiscardedError

    return isinstance(error, StateDiscardedError) or isinstance(
        error.__cause__, StateDiscardedError
    )


def describe(error: BaseException) -> str:
    """An error in one line, without what may be a key in an endpoint: nodes repeat what they are
    asked."""
    return hide(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)


def describe_failure(error: BaseException) -> str:
    """What a node has done, to follow its name."""
    if isinstance(error, UnfitError):
        return str(error)
    if isinstance(error, NONSENSE):
        return f"answers nonsense: {describe(error)}"
    return f"does not answer: {describe(error)}"


def make_wrong_genesis(endpoint: str, found: bytes, expected: bytes) -> WrongChainError:
    """A node has shown another genesis hash than the one expected."""
    return WrongChainError(
        f"{name_node(endpoint)} is of the chain with genesis hash {found.hex()}, not "
        f"{expected.hex()}: name a node of the right chain"
    )
