"""What was read of a chain and of its beacons, as a file: kept while it is read, answered later."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from assay.artifacts.ports import BeaconSource
from assay.audit.ports import LedgerView, PublicChain
from assay.network.beacon import BeaconSourceError
from assay.network.chain import ChainError, ForgottenError
from assay.network.chain.block_bodies import BlockBody
from assay.protocol import Beacon, Block, Member
from assay.protocol.encoding import EncodingError, Json, read_hex

T = TypeVar("T")
#: What stands for state that the nodes had forgotten.
_FORGOTTEN = "forgotten"


@dataclass(slots=True)
class Facts:
    """Answers of a chain, by method and block, as JSON has them; and of a source of beacons.

    Attributes:
        answers: method → block number → answer.
        beacons: round → signature and previous signature, hex; None: was not out.
        ledger: epoch → digest of the entry that the EVM's ledger holds, hex; None: was not asked.
    """

    genesis_hash: bytes
    netuid: int
    head: int
    answers: dict[str, dict[int, Json]] = field(default_factory=dict)
    beacons: dict[int, Json] = field(default_factory=dict)
    ledger: dict[int, Json] | None = None

    def to_json(self) -> dict[str, Json]:
        """The file's content."""
        return {
            "genesis_hash": self.genesis_hash.hex(),
            "netuid": self.netuid,
            "head": self.head,
            "answers": {
                name: {str(number): answer for number, answer in sorted(found.items())}
                for name, found in sorted(self.answers.items())
            },
            "beacons": {str(number): beacon for number, beacon in sorted(self.beacons.items())},
            "ledger": None
            if self.ledger is None
            else {str(epoch): digest for epoch, digest in sorted(self.ledger.items())},
        }

    @staticmethod
    def from_json(value: Json) -> "Facts":
        """The same back.

        Raises:
            EncodingError: it is no such file.
        """
        try:
            answers = {
                name: {int(number): answer for number, answer in found.items()}
                for name, found in value["answers"].items()
            }
            beacons = {int(number): beacon for number, beacon in value["beacons"].items()}
            ledger = value["ledger"]
            if ledger is not None:
                ledger = {int(epoch): digest for epoch, digest in ledger.items()}
            genesis = read_hex(value["genesis_hash"])
            return Facts(
                genesis, int(value["netuid"]), int(value["head"]), answers, beacons, ledger
            )
        except (TypeError, ValueError, ArithmeticError, KeyError, AttributeError) as error:
            raise EncodingError(f"holds no facts of a chain: {error!r}") from None


class RecordingChain:
    """A `PublicChain` that notes every answer of another, and asks it for none twice."""

    def __init__(self, chain: PublicChain, facts: Facts) -> None:
        self._chain = chain
        self._facts = facts
        self.genesis_hash = chain.genesis_hash
        self.netuid = chain.netuid

    def get_head(self) -> int:
        """The head when the record began: a bundle is of one moment."""
        return self._facts.head

    def get_block(self, number: int) -> Block:
        """See `PublicChain`."""
        return self._note("block", number, self._chain.get_block)

    def get_body(self, number: int) -> BlockBody:
        """See `PublicChain`."""
        return self._note("body", number, self._chain.get_body)

    def get_owner(self, number: int) -> bytes:
        """See `PublicChain`."""
        return self._note("owner", number, self._chain.get_owner)

    def get_members(self, number: int) -> Mapping[bytes, Member]:
        """See `PublicChain`."""
        return self._note("members", number, self._chain.get_members)

    def get_commitments(self, number: int) -> Mapping[bytes, bytes]:
        """See `PublicChain`."""
        return self._note("commitments", number, self._chain.get_commitments)

    def get_weights(self, number: int) -> Mapping[bytes, Mapping[int, int]]:
        """See `PublicChain`."""
        return self._note("weights", number, self._chain.get_weights)

    def is_epoch(self, number: int) -> bool:
        """See `PublicChain`."""
        return self._note("epoch", number, self._chain.is_epoch)

    def _note(self, name: str, number: int, read: Callable[[int], T]) -> T:
        answers = self._facts.answers.setdefault(name, {})
        if answers.get(number, _FORGOTTEN) != _FORGOTTEN:
            known: T = _recall(self._facts, name, number)
            return known
        try:
            answer = read(number)
        except ForgottenError:
            answers[number] = _FORGOTTEN
            raise
        answers[number] = _WRITERS[name](answer)
        return answer


class RecordingBeacons:
    """A `BeaconSource` that notes every answer of another."""

    def __init__(self, beacons: BeaconSource, facts: Facts) -> None:
        self._beacons = beacons
        self._facts = facts

    def get(self, number: int) -> Beacon | None:
        """See `BeaconSource`."""
        beacon = self._beacons.get(number)
        self._facts.beacons[number] = (
            None if beacon is None else [beacon.signature.hex(), beacon.previous_signature.hex()]
        )
        return beacon


class RecordingLedger:
    """A `LedgerView` that notes every answer of another, for one validator."""

    def __init__(self, ledger: LedgerView, facts: Facts) -> None:
        self._ledger = ledger
        self._answers = facts.ledger = facts.ledger or {}

    def get_digest(self, hotkey: bytes, epoch: int) -> bytes:
        """See `LedgerView`."""
        digest = self._ledger.get_digest(hotkey, epoch)
        self._answers[epoch] = digest.hex()
        return digest


class RecordedChain:
    """A `PublicChain` out of facts.

    Every method raises a ChainError where they hold no such answer, or nonsense.
    """

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._read: dict[tuple[str, int], Any] = {}
        self.genesis_hash = facts.genesis_hash
        self.netuid = facts.netuid

    def get_head(self) -> int:
        """The head when they were noted."""
        return self._facts.head

    def get_block(self, number: int) -> Block:
        """See `PublicChain`."""
        return self._answer("block", number)

    def get_body(self, number: int) -> BlockBody:
        """See `PublicChain`."""
        return self._answer("body", number)

    def get_owner(self, number: int) -> bytes:
        """See `PublicChain`."""
        return self._answer("owner", number)

    def get_members(self, number: int) -> Mapping[bytes, Member]:
        """See `PublicChain`."""
        return self._answer("members", number)

    def get_commitments(self, number: int) -> Mapping[bytes, bytes]:
        """See `PublicChain`."""
        return self._answer("commitments", number)

    def get_weights(self, number: int) -> Mapping[bytes, Mapping[int, int]]:
        """See `PublicChain`."""
        return self._answer("weights", number)

    def is_epoch(self, number: int) -> bool:
        """See `PublicChain`."""
        return self._answer("epoch", number)

    def _answer(self, name: str, number: int) -> Any:
        if (name, number) not in self._read:
            self._read[name, number] = _recall(self._facts, name, number)
        return self._read[name, number]


class RecordedBeacons:
    """A `BeaconSource` out of facts."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def get(self, number: int) -> Beacon | None:
        """See `BeaconSource`.

        Raises:
            BeaconSourceError: they do not hold that round.
        """
        try:
            found = self._facts.beacons[number]
            return None if found is None else Beacon(number, read_hex(found[0]), read_hex(found[1]))
        except KeyError:
            raise BeaconSourceError(f"the bundle does not hold beacon round {number}") from None
        except (TypeError, LookupError, EncodingError) as error:
            raise BeaconSourceError(f"the bundle's beacon {number}: {error}") from None


class RecordedLedger:
    """A `LedgerView` out of facts."""

    def __init__(self, answers: Mapping[int, Json]) -> None:
        self._answers = answers

    def get_digest(self, hotkey: bytes, epoch: int) -> bytes:
        """See `LedgerView`.

        Raises:
            ChainError: they do not hold that settlement's.
        """
        try:
            return read_hex(self._answers[epoch])
        except KeyError:
            raise ChainError(
                f"the bundle does not say what the ledger held of epoch {epoch}"
            ) from None
        except EncodingError as error:
            raise ChainError(f"the bundle's ledger at epoch {epoch}: {error}") from None


def _recall(facts: Facts, name: str, number: int) -> Any:
    answer = facts.answers.get(name, {}).get(number)
    if answer is None:
        raise ChainError(
            f"the bundle does not say what block {number}'s {name} were: it was made for other "
            "windows, or by another version"
        )
    if answer == _FORGOTTEN:
        raise ForgottenError(f"block {number}'s {name} were forgotten when it was made")
    try:
        return _READERS[name](number, answer)
    except (
        TypeError,
        ValueError,
        ArithmeticError,
        LookupError,
        AttributeError,
        EncodingError,
    ) as error:
        raise ChainError(f"the bundle's {name} of block {number}: {error!r}") from None


def _write_slots(slots: Mapping[bytes, bytes]) -> Json:
    return {hotkey.hex(): payload.hex() for hotkey, payload in sorted(slots.items())}


def _read_slots(answer: Json) -> dict[bytes, bytes]:
    return {_read_hotkey(hotkey): read_hex(payload) for hotkey, payload in answer.items()}


def _read_hotkey(text: Json) -> bytes:
    hotkey = read_hex(text)
    if len(hotkey) != 32:
        raise ValueError(f"a hotkey has 32 bytes, not {len(hotkey)}")
    return hotkey


def _read_block(number: int, answer: Json) -> Block:
    return Block(number, read_hex(answer[0]), int(answer[1]))


#: Method → its answer as JSON.
_WRITERS: dict[str, Callable[[Any], Json]] = {
    "block": lambda block: [block.hash.hex(), block.timestamp_ms],
    "body": lambda body: [
        body.block.hash.hex(),
        body.block.timestamp_ms,
        _write_slots(body.commitments),
    ],
    "owner": bytes.hex,
    "members": lambda members: {
        hotkey.hex(): [m.uid, m.registered_at] for hotkey, m in sorted(members.items())
    },
    "commitments": _write_slots,
    "weights": lambda rows: {
        hotkey.hex(): {str(uid): weight for uid, weight in row.items()}
        for hotkey, row in sorted(rows.items())
    },
    "epoch": bool,
}
#: Method → its answer out of JSON, by the block's number.
_READERS: dict[str, Callable[[int, Json], Any]] = {
    "block": _read_block,
    "body": lambda number, a: BlockBody(_read_block(number, a), _read_slots(a[2])),
    "owner": lambda _, a: _read_hotkey(a),
    "members": lambda _, a: {
        _read_hotkey(hotkey): Member(int(uid), int(since)) for hotkey, (uid, since) in a.items()
    },
    "commitments": lambda _, a: _read_slots(a),
    "weights": lambda _, a: {
        _read_hotkey(hotkey): {int(uid): int(weight) for uid, weight in row.items()}
        for hotkey, row in a.items()
    },
    "epoch": lambda _, a: bool(a),
}
