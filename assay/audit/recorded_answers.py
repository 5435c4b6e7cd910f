"""Answers of a chain and of beacons as a file: stored while they are read, replayed later."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from assay.artifacts.ports import BeaconSource
from assay.audit.ports import ScoreLedgerReader
from assay.network.beacon import BeaconSourceError
from assay.network.chain import ChainError, ForgottenError
from assay.network.chain.block_bodies import BlockBody
from assay.network.chain.ports import BlockReader
from assay.protocol import Beacon, Block, Member
from assay.protocol.encoding import EncodingError, Json, read_hex

#: Noted for state that the nodes had forgotten.
_FORGOTTEN = "forgotten"
#: Errors of malformed JSON from strangers.
_BROKEN = (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, EncodingError)


@dataclass(slots=True)
class RecordedAnswers:
    """Answers of a chain, by method and block, as JSON; and of a source of beacons."""

    genesis_hash: bytes
    netuid: int
    head: int
    #: method → block number → answer
    answers: dict[str, dict[int, Json]] = field(default_factory=dict)
    #: round → signature and previous signature, hex; None: it was not out
    beacons: dict[int, Json] = field(default_factory=dict)
    #: epoch → digest of the entry in the contract, hex; None: it was not asked
    ledger: dict[int, Json] | None = None

    def to_json(self) -> dict[str, Json]:
        """The file's content."""
        return {
            "genesis_hash": self.genesis_hash.hex(),
            "netuid": self.netuid,
            "head": self.head,
            "answers": {name: _name_numbers(found) for name, found in sorted(self.answers.items())},
            "beacons": _name_numbers(self.beacons),
            "ledger": None if self.ledger is None else _name_numbers(self.ledger),
        }

    @staticmethod
    def from_json(value: Json) -> "RecordedAnswers":
        """The answers of a JSON document. Raises an EncodingError if it is not such a file."""
        try:
            ledger = value["ledger"]
            return RecordedAnswers(
                genesis_hash=read_hex(value["genesis_hash"]),
                netuid=int(value["netuid"]),
                head=int(value["head"]),
                answers={n: _read_numbers(found) for n, found in value["answers"].items()},
                beacons=_read_numbers(value["beacons"]),
                ledger=None if ledger is None else _read_numbers(ledger),
            )
        except _BROKEN as error:
            raise EncodingError(f"holds no facts of a chain: {error!r}") from None


def _name_numbers(found: Mapping[int, Json]) -> dict[str, Json]:
    return {str(number): answer for number, answer in sorted(found.items())}


def _read_numbers(found: Mapping[str, Json]) -> dict[int, Json]:
    return {int(number): answer for number, answer in found.items()}


def _make_method(name: str) -> Any:
    """A method of `BlockReader` that gets its answer for a block from `RecordedChain.answer`."""
    return lambda self, number: self.answer(name, number)


class RecordedChain:
    """A `BlockReader` over recorded answers, as of the moment when the record began.

    Args:
        source: asked for answers that are not recorded, which then are; None: every method raises a
            ChainError if the answer is not recorded, or is malformed.
    """

    def __init__(self, recorded: RecordedAnswers, source: BlockReader | None = None) -> None:
        self._recorded = recorded
        self._source = source
        self._read: dict[tuple[str, int], Any] = {}
        self.genesis_hash = recorded.genesis_hash
        self.netuid = recorded.netuid

    def get_head(self) -> int:
        """The head when the record began."""
        return self._recorded.head

    get_block = _make_method("block")
    get_body = _make_method("body")
    get_owner = _make_method("owner")
    get_members = _make_method("members")
    get_commitments = _make_method("commitments")
    get_weights = _make_method("weights")
    is_epoch = _make_method("epoch")

    def answer(self, name: str, number: int) -> Any:
        """The answer of the method of this name, without its `get_` or `is_`, at a block."""
        if (name, number) not in self._read:
            answers = self._recorded.answers.setdefault(name, {})
            if self._source is not None and answers.get(number, _FORGOTTEN) == _FORGOTTEN:
                read = getattr(self._source, "is_epoch" if name == "epoch" else f"get_{name}")
                try:
                    answers[number] = _CODECS[name].write(read(number))
                except ForgottenError:
                    answers[number] = _FORGOTTEN
                    raise
            self._read[name, number] = self._recall(name, number, answers.get(number))
        return self._read[name, number]

    def _recall(self, name: str, number: int, answer: Json) -> Any:
        if answer is None:
            raise ChainError(
                f"the bundle does not say what block {number}'s {name} were: it was made for other "
                "windows, or by another version"
            )
        if answer == _FORGOTTEN:
            raise ForgottenError(f"block {number}'s {name} were forgotten when it was made")
        try:
            return _CODECS[name].read(number, answer)
        except _BROKEN as error:
            raise ChainError(f"the bundle's {name} of block {number}: {error!r}") from None


class RecordedBeacons:
    """A `BeaconSource` over recorded answers. `source` is asked first, and its answers are
    recorded; None: rounds that are not recorded are unknown."""

    def __init__(self, recorded: RecordedAnswers, source: BeaconSource | None = None) -> None:
        self._beacons = recorded.beacons
        self._source = source

    def get(self, number: int) -> Beacon | None:
        """See `BeaconSource`. Raises a BeaconSourceError if that round is not recorded."""
        if self._source is not None:
            beacon = self._source.get(number)
            signatures = beacon and [beacon.signature.hex(), beacon.previous_signature.hex()]
            self._beacons[number] = signatures
            return beacon
        try:
            found = self._beacons[number]
            return None if found is None else Beacon(number, read_hex(found[0]), read_hex(found[1]))
        except KeyError:
            raise BeaconSourceError(f"the bundle does not hold beacon round {number}") from None
        except (TypeError, LookupError, EncodingError) as error:
            raise BeaconSourceError(f"the bundle's beacon {number}: {error}") from None


class RecordedScoreLedger:
    """A `ScoreLedgerReader` over the recorded answers of one validator. `source` is asked first,
    and its answers are recorded; None: entries that are not recorded are unknown."""

    def __init__(self, recorded: RecordedAnswers, source: ScoreLedgerReader | None = None) -> None:
        self._digests = recorded.ledger = {} if recorded.ledger is None else recorded.ledger
        self._source = source

    def get_digest(self, hotkey: bytes, epoch: int) -> bytes:
        """See `ScoreLedgerReader`. Raises a ChainError if that settlement's is not recorded."""
        if self._source is not None:
            digest = self._source.get_digest(hotkey, epoch)
            self._digests[epoch] = digest.hex()
            return digest
        try:
            return read_hex(self._digests[epoch])
        except KeyError:
            raise ChainError(
                f"the bundle does not say what the ledger held of epoch {epoch}"
            ) from None
        except EncodingError as error:
            raise ChainError(f"the bundle's ledger at epoch {epoch}: {error}") from None


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


@dataclass(frozen=True, slots=True)
class _Codec:
    """An answer as JSON, and back by the block's number."""

    write: Callable[[Any], Json]
    read: Callable[[int, Json], Any]


#: Method of a `BlockReader`, without its `get_` or `is_` → its codec.
_CODECS = {
    "block": _Codec(lambda block: [block.hash.hex(), block.timestamp_ms], _read_block),
    "body": _Codec(
        lambda b: [b.block.hash.hex(), b.block.timestamp_ms, _write_slots(b.commitments)],
        lambda number, a: BlockBody(_read_block(number, a), _read_slots(a[2])),
    ),
    "owner": _Codec(bytes.hex, lambda _, a: _read_hotkey(a)),
    "members": _Codec(
        lambda found: {h.hex(): [m.uid, m.registered_at] for h, m in sorted(found.items())},
        lambda _, a: {_read_hotkey(h): Member(int(u), int(since)) for h, (u, since) in a.items()},
    ),
    "commitments": _Codec(_write_slots, lambda _, a: _read_slots(a)),
    "weights": _Codec(
        lambda rows: {
            hotkey.hex(): {str(uid): weight for uid, weight in row.items()}
            for hotkey, row in sorted(rows.items())
        },
        lambda _, a: {
            _read_hotkey(hotkey): {int(uid): int(weight) for uid, weight in row.items()}
            for hotkey, row in a.items()
        },
    ),
    "epoch": _Codec(bool, lambda _, a: bool(a)),
}
