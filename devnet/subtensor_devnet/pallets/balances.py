"""System accounts and TAO: who has how much, transfers, fees."""

from typing import Any

from subtensor_devnet.errors import DispatchError
from subtensor_devnet.runtime import FREE, MODULE, Arguments, DevnetRuntime, root_call, signed_call
from subtensor_devnet.scale_codec import RuntimeCall
from subtensor_devnet.state import DevnetState, StateView

#: An account with less than this is no account, rao.
EXISTENTIAL_DEPOSIT = 500
#: What a transfer's weight cost on the localnet that the metadata is of; here the weight of every
#: call that pays. To it comes 1 rao a byte.
WEIGHT_FEE = 166_105
_WEIGHT = {"ref_time": 332_208_000, "proof_size": 7_791}


def get_free(state: StateView, account: str) -> int:
    """An account's free balance, rao."""
    return int(state.get("System", "Account", account)["data"]["free"])


def get_nonce(state: StateView, account: str) -> int:
    """The number of extrinsics that an account has signed."""
    return int(state.get("System", "Account", account)["nonce"])


def use_nonce(state: DevnetState, account: str) -> None:
    """Counts one extrinsic more."""
    value = state.get("System", "Account", account)
    state.put("System", "Account", account, value | {"nonce": value["nonce"] + 1})


def set_free(state: DevnetState, account: str, amount: int) -> None:
    """Gives an account exactly so much."""
    value = state.get("System", "Account", account)
    data = value["data"] | {"free": amount}
    state.put("System", "Account", account, value | {"data": data, "providers": int(amount > 0)})


def mint(runtime: DevnetRuntime, account: str, amount: int) -> None:
    """New TAO, rao."""
    give(runtime, account, amount)
    _add_issuance(runtime, amount)


def burn(runtime: DevnetRuntime, account: str, amount: int) -> None:
    """Destroys an account's TAO, which it must have."""
    take(runtime, account, amount)
    _add_issuance(runtime, -amount)


def take(runtime: DevnetRuntime, account: str, amount: int) -> None:
    """Takes rao off an account, which must have it, to stand somewhere else."""
    free = get_free(runtime.state, account)
    if free < amount:
        raise DispatchError(None, "Token.FundsUnavailable")
    set_free(runtime.state, account, free - amount)


def give(runtime: DevnetRuntime, account: str, amount: int) -> None:
    """Gives an account rao that was taken elsewhere."""
    set_free(runtime.state, account, get_free(runtime.state, account) + amount)


def compute_fee(call: RuntimeCall, length: int) -> int:
    """The fee of a call's signer, rao. `length` is the extrinsic's, bytes."""
    return WEIGHT_FEE + length if (call.pallet, call.name) not in FREE else 0


def make_dispatch_info(call: RuntimeCall) -> dict[str, Any]:
    """A call's weight as events and quotes have it."""
    pays = "No" if (call.pallet, call.name) in FREE else "Yes"
    return {"weight": _WEIGHT, "class": "Normal", "pays_fee": pays}


def charge_fee(runtime: DevnetRuntime, account: str, fee: int, tip: int) -> None:
    """Takes fee and tip, which nobody gets here."""
    if fee + tip:
        burn(runtime, account, fee + tip)
        runtime.deposit("Balances", "Withdraw", {"who": account, "amount": fee + tip})


def _add_issuance(runtime: DevnetRuntime, amount: int) -> None:
    runtime.state.add("Balances", "TotalIssuance", amount)
    runtime.state.add(MODULE, "TotalIssuance", amount)


def _transfer(runtime: DevnetRuntime, source: str, target: Any, amount: int, *, keep: bool) -> None:
    if not isinstance(target, str):  # an index, or an address of another kind
        raise DispatchError(None, "CannotLookup")
    left = get_free(runtime.state, source) - amount
    if left < 0:
        raise DispatchError(None, "Token.FundsUnavailable")
    if keep and left < EXISTENTIAL_DEPOSIT:
        raise DispatchError(None, "Token.NotExpendable")
    if get_free(runtime.state, target) + amount < EXISTENTIAL_DEPOSIT:
        raise DispatchError(None, "Token.BelowMinimum")
    take(runtime, source, amount)
    if left < EXISTENTIAL_DEPOSIT:  # dust
        burn(runtime, source, left)
    give(runtime, target, amount)
    runtime.deposit("Balances", "Transfer", {"from": source, "to": target, "amount": amount})


def _enter_transfer(name: str, *, keep: bool) -> None:
    """Enters a transfer that leaves the sender an account, or may end it."""

    @signed_call("Balances", name)
    def run(runtime: DevnetRuntime, source: str, arguments: Arguments) -> None:
        _transfer(runtime, source, arguments["dest"], arguments["value"], keep=keep)


_enter_transfer("transfer_keep_alive", keep=True)
_enter_transfer("transfer_allow_death", keep=False)


@signed_call("Balances", "transfer_all")
def transfer_all(runtime: DevnetRuntime, source: str, arguments: Arguments) -> None:
    """A transfer of everything."""
    keep = bool(arguments["keep_alive"])
    amount = get_free(runtime.state, source) - EXISTENTIAL_DEPOSIT * keep
    _transfer(runtime, source, arguments["dest"], max(0, amount), keep=keep)


@root_call("Balances", "force_set_balance")
def force_set_balance(runtime: DevnetRuntime, arguments: Arguments) -> None:
    """Root gives an account exactly so much."""
    account, amount = arguments["who"], int(arguments["new_free"])
    _add_issuance(runtime, amount - get_free(runtime.state, account))
    set_free(runtime.state, account, amount)
    runtime.deposit("Balances", "BalanceSet", {"who": account, "free": amount})
