"""What can go wrong between us and the EVM, and a contract's refusals in words."""

from assay.network.chain.errors import ChainError
from assay.network.text import hide


class EvmError(ChainError):
    """The EVM's node cannot answer, or nothing can be sent for now: one printable line that says
    why and what to do, whatever a node or a contract wrote into it."""

    def __init__(self, message: str) -> None:
        super().__init__("".join(c if c.isprintable() else "?" for c in hide(message)))


class SilentError(EvmError):
    """The node gave no answer, or none that makes sense. It may have done what it was asked."""


class RevertedError(EvmError):
    """A contract refuses a call: nothing was written. `name` is its error's, such as NotThePoster;
    "" where it gives none that we know."""

    def __init__(self, message: str, name: str = "") -> None:
        super().__init__(message)
        self.name = name
