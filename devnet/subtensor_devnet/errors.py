"""A node's refusals, which are answers to a client, and the failures of the network itself."""

from typing import Any


class DevnetError(Exception):
    """The network cannot start or go on, or is misused. The message says why and what to do."""


class MalformedError(Exception):
    """Bytes that are no extrinsic, call or key of this runtime."""


class DispatchError(Exception):
    """A call that failed: its changes are undone, its fee is kept.

    Attributes:
        pallet, name: an error of a pallet; `pallet` is None for the runtime's own errors, whose
            `name` is then "BadOrigin" or such as "Token.FundsUnavailable".
    """

    def __init__(self, pallet: str | None, name: str) -> None:
        super().__init__(f"{pallet}.{name}" if pallet else name)
        self.pallet = pallet
        self.name = name


class InvalidTransactionError(Exception):
    """An extrinsic that no block may hold; the words are a real node's."""


class RpcError(Exception):
    """An answer that is an error; `code` is JSON-RPC's, or substrate's."""

    def __init__(self, code: int, message: str, data: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data

    def encode(self) -> dict[str, Any]:
        """The `error` member of an answer."""
        error: dict[str, Any] = {"code": self.code, "message": str(self)}
        return error if self.data is None else error | {"data": self.data}


def make_invalid_transaction_error(reason: str) -> RpcError:
    """A node's answer to an extrinsic that it does not take."""
    return RpcError(1010, "Invalid Transaction", reason)
