"""Answers of a chain and of beacons as a file: stored while they are read, replayed later."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from assay.artifacts.ports import BeaconSource
from assay.audit.ports import ScoreLedgerReader
from assay.network.beacon import BeaconSourceError
from assay.network.chain.block_bodies import BlockBody
from assay.network.chain.errors import ChainError, ForgottenError
from assay.network.chain.forms import HOTKEY, MEMBERS, ROW, SLOTS, STAMP, WRITTEN, BlockStamp
from assay.network.chain.ports import BlockReader
from assay.protocol.beacon import SIGNATURE, Beacon
from assay.protocol.context import Member
from assay.protocol.encoding import (
    U16,
    U64,
    Codec,
    Digest,
    EncodingError,
    FixedBytes,
    Flag,
    Json,
    Maybe,
    Numeral,
    Record,
    Row,
    Table,
    get_fields,
)
from assay.protocol.window import Block

_T = TypeVar("_T")
_NUMBER = Numeral(8)


@dataclass(frozen=True)
class _OrForgotten(Maybe):
    """An answer; None where the nodes had forgotten the state."""

    def to_json(self, value: Any) -> Json:
        return "forgotten" if value is None else self.item.to_json(value)

    def from_json(self, value: Json) -> Any:
        return None if value == "forgotten" else self.item.from_json(value)


@dataclass(frozen=True)
class _Tables(Record):
    """A record of tables. JSON leaves out the empty ones."""

    def to_json(self, value: Any) -> Json:
        return {name: table for name, table in super().to_json(value).items() if table}

    def from_json(self, value: Json) -> Any:
        if not isinstance(value, Mapping):
            raise EncodingError("is not an object")
        return super().from_json({name: {} for name, _ in get_fields(self.of)} | {**value})


@dataclass(frozen=True, slots=True)
class _Body:
    hash: Digest
    timestamp_ms: U64
    commitments: Annotated[Mapping[bytes, bytes], SLOTS]


@dataclass(frozen=True, slots=True)
class _Signatures:
    signature: Annotated[bytes, SIGNATURE]
    previous: Annotated[bytes, SIGNATURE]


def _by_block(answer: Codec) -> Table:
    return Table(_NUMBER, _OrForgotten(answer))


@dataclass(slots=True)
class ChainAnswers:
    """Answers of a chain: method, without its `get_` or `is_` → block → answer."""

    block: Annotated[dict[int, BlockStamp | None], _by_block(STAMP)]
    body: Annotated[dict[int, _Body | None], _by_block(Row(_Body))]
    commitments: Annotated[dict[int, Mapping[bytes, bytes] | None], _by_block(SLOTS)]
    commitment_blocks: Annotated[dict[int, Mapping[bytes, int] | None], _by_block(WRITTEN)]
    epoch: Annotated[dict[int, bool | None], _by_block(Flag())]
    members: Annotated[dict[int, Mapping[bytes, Member] | None], _by_block(MEMBERS)]
    owner: Annotated[dict[int, bytes | None], _by_block(HOTKEY)]
    weights: Annotated[
        dict[int, Mapping[bytes, Mapping[int, int]] | None], _by_block(Table(HOTKEY, ROW))
    ]


def _make_answers() -> ChainAnswers:
    return ChainAnswers({}, {}, {}, {}, {}, {}, {}, {})


@dataclass(slots=True)
class RecordedAnswers:
    """Answers of a chain, of a source of beacons, and of a contract."""

    genesis_hash: Digest
    netuid: U16
    head: U64
    answers: Annotated[ChainAnswers, _Tables(ChainAnswers)] = field(default_factory=_make_answers)
    #: by round; None: it was not out
    beacons: Annotated[dict[int, _Signatures | None], Table(_NUMBER, Maybe(Row(_Signatures)))] = (
        field(default_factory=dict)
    )
    #: epoch → digest of the entry in the contract; None: it was not asked
    ledger: Annotated[dict[int, bytes] | None, Maybe(Table(_NUMBER, FixedBytes(32)))] = None


class RecordedChain:
    """A `BlockReader` over recorded answers, as of the moment when the record began.

    Args:
        source: asked for answers that are not recorded, which then are; None: every method raises a
            ChainError if the answer is not recorded.
    """

    def __init__(self, recorded: RecordedAnswers, source: BlockReader | None = None) -> None:
        self._recorded = recorded
        self._source = source
        self.genesis_hash = recorded.genesis_hash
        self.netuid = recorded.netuid

    def get_head(self) -> int:
        """The head when the record began."""
        return self._recorded.head

    def get_block(self, number: int) -> Block:
        """See `BlockReader`, as for all methods below."""

        def read(chain: BlockReader) -> BlockStamp:
            block = chain.get_block(number)
            return BlockStamp(block.hash, block.timestamp_ms)

        return self._ask("block", number, read).at(number)

    def get_body(self, number: int) -> BlockBody:
        def read(chain: BlockReader) -> _Body:
            body = chain.get_body(number)
            return _Body(body.block.hash, body.block.timestamp_ms, body.commitments)

        body = self._ask("body", number, read)
        return BlockBody(Block(number, body.hash, body.timestamp_ms), body.commitments)

    def get_owner(self, number: int) -> bytes:
        return self._ask("owner", number, lambda chain: chain.get_owner(number))

    def get_members(self, number: int) -> Mapping[bytes, Member]:
        return self._ask("members", number, lambda chain: chain.get_members(number))

    def get_commitments(self, number: int) -> Mapping[bytes, bytes]:
        return self._ask("commitments", number, lambda chain: chain.get_commitments(number))

    def get_commitment_blocks(self, number: int) -> Mapping[bytes, int]:
        return self._ask(
            "commitment_blocks", number, lambda chain: chain.get_commitment_blocks(number)
        )

    def get_weights(self, number: int) -> Mapping[bytes, Mapping[int, int]]:
        return self._ask("weights", number, lambda chain: chain.get_weights(number))

    def is_epoch(self, number: int) -> bool:
        return self._ask("epoch", number, lambda chain: chain.is_epoch(number))

    def _ask(self, name: str, number: int, read: Callable[[BlockReader], _T]) -> _T:
        """The recorded answer of the method of this name at a block."""
        answers: dict[int, _T | None] = getattr(self._recorded.answers, name)
        if self._source is not None and answers.get(number) is None:
            try:
                answers[number] = read(self._source)
            except ForgottenError:
                answers[number] = None
                raise
        if number not in answers:
            raise ChainError(
                f"the bundle does not say what block {number}'s {name} were: it was made for other "
                "windows, or by another version"
            )
        answer = answers[number]
        if answer is None:
            raise ForgottenError(f"block {number}'s {name} were forgotten when it was made")
        return answer


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
            self._beacons[number] = (
                None if beacon is None else _Signatures(beacon.signature, beacon.previous_signature)
            )
            return beacon
        if number not in self._beacons:
            raise BeaconSourceError(f"the bundle does not hold beacon round {number}")
        known = self._beacons[number]
        return None if known is None else Beacon(number, known.signature, known.previous)


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
            self._digests[epoch] = digest
            return digest
        if epoch not in self._digests:
            raise ChainError(f"the bundle does not say what the ledger held of epoch {epoch}")
        return self._digests[epoch]
