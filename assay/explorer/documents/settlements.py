"""Documents of the pages about settlements and the ledger."""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from assay.explorer.documents.shared import (
    AuditedDocument,
    Block,
    CommandDocument,
    Count,
    Epoch,
    Hex,
    ListPart,
    Milliseconds,
    OtherRecords,
    SettledWeights,
    TroubleKind,
    Window,
)


class SettlementSummary(TypedDict):
    epoch: Epoch
    previous_epoch: Count
    digest: Hex
    first: Window | None
    last: Window | None
    counted: Count
    total: Count
    miners: Count
    weighed: Count
    idle: Annotated[
        int, Field(description="settlements in a row, up to this one, without any score", ge=0)
    ]
    score_root: Hex


class WeightsDocument(AuditedDocument):
    """The newest settlement's weights, and all settlements."""

    weights: SettledWeights | None
    settlements: list[SettlementSummary]
    paging: ListPart


class SettledWindow(TypedDict):
    window: Window
    outcome: str
    link: str
    accepted: Count
    refused: Count
    score: Count


class SettlementDocument(AuditedDocument):
    """One settlement: its windows and its weights."""

    settlement: SettlementSummary
    windows: list[SettledWindow]
    weights: SettledWeights
    others: OtherRecords | None


class EvmReading(TypedDict):
    """How far the ledger's events were read."""

    node: str
    head: Block | None
    first: Block | None
    trouble: TroubleKind | None
    since_ms: Milliseconds | None


class EntryFields(TypedDict):
    """An entry's five values."""

    score_root: Hex
    record_digest: Hex
    checkpoint: Hex
    audit_round: Count
    weights_digest: Hex


class DifferingField(TypedDict):
    name: str
    posted: str | int
    recorded: str | int


class PostProgress(TypedDict):
    state: str
    trouble: TroubleKind | None


class LedgerEntryRow(TypedDict):
    """A settlement's entry on the ledger beside its record."""

    epoch: Epoch
    state: Annotated[
        str, Field(description="equal, different, missing, unrecorded, waiting, none or unread")
    ]
    recorded: EntryFields | None
    digest: Hex | None
    sound: bool | None
    posted: EntryFields | None
    differing: list[DifferingField]
    transaction: Hex | None
    block: Block | None
    on_top: Count | None
    deep: bool | None
    said: PostProgress | None


class LedgerDocument(CommandDocument):
    """The ledger on the EVM, settlement by settlement."""

    contract: str | None
    link: str | None
    netuid: Count
    validator: Hex
    evm: EvmReading | None
    posting: bool
    counts: dict[str, int]
    entries: list[LedgerEntryRow]
    paging: ListPart
