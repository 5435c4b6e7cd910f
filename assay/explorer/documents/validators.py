"""Several validators beside each other."""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from assay.explorer.documents.shared import (
    Block,
    CommandDocument,
    Count,
    Epoch,
    Hotkey,
    Share,
    TroubleKind,
    Verdict,
    Window,
)


class ShownEpoch(TypedDict):
    """A validator's weights on chain at a block. Distances: the share of all weight that would have
    to move."""

    block: Block
    distance_to_own: Share | None
    distance_to_others: Share | None
    nearest: Hotkey | None
    nearest_epoch: Epoch | None
    settlements_behind: Count


class ComparedValidatorRow(TypedDict):
    """Evidence that a validator judges, or that it copies."""

    validator: Hotkey
    record: Annotated[bool, Field(description="whether it publishes a record that was read")]
    fault: str | None
    matched: Annotated[bool | None, Field(description="whether an audit found nothing wrong")]
    verdicts_witnessed: Count
    verdicts_unwitnessed: Count
    epochs: list[ShownEpoch]
    stale_epochs: Count
    stopped: bool
    suspicion: Annotated[str | None, Field(description="why it seems to copy")]


class SharedWitnesses(TypedDict):
    """Two validators whose records have the same witness: one of them copied."""

    validators: list[Hotkey]
    groups: Count


class ValidatorOutcome(TypedDict):
    validator: Hotkey
    outcome: str


class SaidVerdict(TypedDict):
    """One validator's verdict; a validator without the member in its record is not listed."""

    validator: Hotkey
    reason: Verdict | None
    score: Count


class DifferingVerdictRow(TypedDict):
    hotkey: Hotkey
    uid: Count
    said: list[SaidVerdict]


class ComparedWindowRow(TypedDict):
    """A window that several validators recorded, and the miners that they judged differently."""

    window: Window
    outcomes: list[ValidatorOutcome]
    members: Count
    differing: list[DifferingVerdictRow]


class ValidatorTotal(TypedDict):
    validator: Hotkey
    score: Count


class SaidSeat(TypedDict):
    validator: Hotkey
    score: Count
    weight: Count


class DifferingSeatRow(TypedDict):
    uid: Count
    hotkey: Annotated[Hotkey | None, Field(description="null: no record has a score of this uid")]
    said: list[SaidSeat]


class ComparedSettlementRow(TypedDict):
    """A settlement that several validators recorded, and where the records differ."""

    epoch: Epoch
    totals: list[ValidatorTotal]
    seats: Count
    differing: list[DifferingSeatRow]


class ComparisonReport(TypedDict):
    """The output of `assay audit compare --json`."""

    windows: Annotated[list[Window], Field(description="the first and the last", max_length=2)]
    model: Annotated[bool, Field(description="whether forward passes were run for witnesses")]
    validators: list[ComparedValidatorRow]
    shared_witnesses: list[SharedWitnesses]
    settlements_forgotten: Annotated[
        int, Field(description="settlements whose weights the nodes have forgotten", ge=0)
    ]
    judged: list[ComparedWindowRow]
    settled: list[ComparedSettlementRow]


class ListedVerdict(DifferingVerdictRow):
    window: Window
    name: str | None


class ListedSeat(DifferingSeatRow):
    epoch: Epoch
    name: str | None


class ValidatorsDocument(CommandDocument):
    """Several validators of the subnet beside each other, as `assay audit compare` found them."""

    known: bool
    trouble: TroubleKind | None
    comparison: ComparisonReport | None
    verdicts: Annotated[list[ListedVerdict], Field(description="all that differ, by window")]
    seats: Annotated[list[ListedSeat], Field(description="all that differ, by settlement")]
    verdict_count: Annotated[int, Field(description="verdicts that differ; 1,000 are listed", ge=0)]
    seat_count: Annotated[int, Field(description="seats that differ; 1,000 are listed", ge=0)]
