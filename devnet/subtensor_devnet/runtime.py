"""The runtime of a call: state, events, the current block; and the table of calls.

A pallet is a module under `pallets/` that enters its calls in the table. A call gets the runtime,
its origin and its arguments, changes state, and raises a `DispatchError` where the chain refuses:
the dispatcher undoes all changes until then.
"""

from collections.abc import Callable, Mapping
from typing import Any

from subtensor_devnet.errors import DispatchError, MalformedError
from subtensor_devnet.scale_codec import RuntimeCall, ScaleCodec
from subtensor_devnet.state import DevnetState

MODULE = "SubtensorModule"
#: The account of all zeros: subtensor's "nobody".
NOBODY = "5C4hrfjw9DjXZTzV3MwzrrAr9P1MJhSrvWGWqi1eSuyUpnhM"

#: The caller: an account, or None for root.
Origin = str | None
#: A call's arguments by name.
Arguments = Mapping[str, Any]


class DevnetRuntime:
    """State while one block is made.

    Attributes:
        number: the block being made.
        secret: 32 bytes from which its author's keys follow.
        now_ms: its timestamp, Unix time.
        phase: index of the extrinsic being applied; None before them all.
        events: what was deposited, in order.
        shielded: extrinsics that were opened and are to follow the one being applied.
    """

    def __init__(
        self, codec: ScaleCodec, state: DevnetState, number: int, now_ms: int, secret: bytes
    ) -> None:
        self.codec = codec
        self.state = state
        self.number = number
        self.now_ms = now_ms
        self.secret = secret
        self.phase: int | None = None
        self.events: list[dict[str, Any]] = []
        self.shielded: list[bytes] = []

    def get(self, item: str, *keys: Any) -> Any:
        """A value of SubtensorModule."""
        return self.state.get(MODULE, item, *keys)

    def has(self, item: str, *keys: Any) -> bool:
        """Whether a value of SubtensorModule is stored."""
        return self.state.has(MODULE, item, *keys)

    def put(self, item: str, *keys_and_value: Any) -> None:
        """Writes a value of SubtensorModule."""
        self.state.put(MODULE, item, *keys_and_value)

    def add(self, item: str, *keys_and_amount: Any) -> int:
        """Adds to a number of SubtensorModule, which does not go below 0."""
        return self.state.add(MODULE, item, *keys_and_amount)

    def remove(self, item: str, *keys: Any) -> None:
        """Removes a value of SubtensorModule."""
        self.state.remove(MODULE, item, *keys)

    def put_at(self, item: str, key: int, index: int, value: Any) -> None:
        """Replaces one element of a list; a list that is too short is filled with zeros."""
        values = list(self.get(item, key))
        zero = type(value)()
        values += [zero] * (index + 1 - len(values))
        values[index] = value
        self.put(item, key, values)

    def deposit(self, pallet: str, name: str, fields: Any) -> None:
        """Adds an event. `fields` by name, or a tuple; a single unnamed field is given alone."""
        self.events.append(self.codec.make_event(self.phase, pallet, name, fields))

    def dispatch(self, origin: Origin, call: RuntimeCall) -> None:
        """Runs a call; one that fails, with `DispatchError`, leaves neither change nor event."""
        run = CALLS.get((call.pallet, call.name))
        if run is None:  # what the runtime has and this network has not
            raise DispatchError("System", "CallFiltered")
        mark, events, shielded = self.state.mark(), len(self.events), len(self.shielded)
        try:
            run(self, origin, call.arguments)
        except (DispatchError, MalformedError) as error:
            self.state.undo(mark)
            del self.events[events:]
            del self.shielded[shielded:]
            if isinstance(error, MalformedError):  # a number that has no room in storage
                raise DispatchError(None, "Arithmetic.Overflow") from error
            raise


Run = Callable[[DevnetRuntime, Origin, Arguments], None]
SignedRun = Callable[[DevnetRuntime, str, Arguments], None]
RootRun = Callable[[DevnetRuntime, Arguments], None]


CALLS: dict[tuple[str, str], Run] = {}
#: Calls for which their signer pays no fee.
FREE: set[tuple[str, str]] = set()


def call(pallet: str, *names: str, pays: bool = True) -> Callable[[Run], Run]:
    """Enters a function in the table of calls."""

    def enter(run: Run) -> Run:
        for name in names:
            CALLS[pallet, name] = run
            if not pays:
                FREE.add((pallet, name))
        return run

    return enter


def signed_call(pallet: str, *names: str, pays: bool = True) -> Callable[[SignedRun], SignedRun]:
    """The same of a function that gets its signer for an origin; root is refused."""

    def enter(run: SignedRun) -> SignedRun:
        call(pallet, *names, pays=pays)(lambda r, origin, a: run(r, require_signed(origin), a))
        return run

    return enter


def root_call(pallet: str, *names: str) -> Callable[[RootRun], RootRun]:
    """The same of a function without an origin; everybody but root is refused."""

    def enter(run: RootRun) -> RootRun:
        def check(runtime: DevnetRuntime, origin: Origin, arguments: Arguments) -> None:
            require_root(origin)
            run(runtime, arguments)

        call(pallet, *names)(check)
        return run

    return enter


def require_signed(origin: Origin) -> str:
    """The signer; root is refused."""
    if origin is None:
        raise DispatchError(None, "BadOrigin")
    return origin


def require_root(origin: Origin) -> None:
    """Refuses everybody but root."""
    if origin is not None:
        raise DispatchError(None, "BadOrigin")


def ensure(condition: bool, error: str, pallet: str = MODULE) -> None:
    """Raises a pallet's error unless a condition holds."""
    if not condition:
        raise DispatchError(pallet, error)
