"""What can go wrong between us and a chain, each with what to do."""

from assay.protocol.errors import OperatorError


class ChainError(OperatorError):
    """The chain refused a call or cannot answer: says why and what to do."""


class WrongChainError(ChainError):
    """The node speaks for another chain than the one asked for. Nothing of it is used."""


class DisputedError(ChainError):
    """Nodes contradict each other, as many on one side as on the other: neither is followed."""


class ForgottenError(ChainError):
    """State of a block that the nodes asked have forgotten: only an archive node still has it."""


class UnknownOutcomeError(ChainError):
    """An extrinsic was sent and nobody said what became of it: read back before sending again."""


class TooSoonError(ChainError):
    """The chain's rate limit forbids the call for now. Nothing was sent.

    Attributes:
        allowed_at: first block in which it may stand.
    """

    def __init__(self, message: str, allowed_at: int) -> None:
        super().__init__(message)
        self.allowed_at = allowed_at
