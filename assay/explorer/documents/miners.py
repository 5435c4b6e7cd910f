"""Documents of the pages about miners."""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from assay.explorer.documents.curves import Curve
from assay.explorer.documents.shared import (
    AuditedDocument,
    Count,
    CountedReason,
    Epoch,
    Hotkey,
    ListPart,
    Share,
    Verdict,
    VerdictStrip,
    Window,
)


class MinerCounts(TypedDict):
    """A miner over all windows that are known."""

    hotkey: Hotkey
    name: str | None
    uid: Count
    windows: Count
    committed: Count
    accepted: Count
    refused: Count
    score: Count
    seen: Annotated[int, Field(description="the newest window it was a member of")]
    reason: Verdict | None
    accepted_share: Share | None


class ListedMiner(MinerCounts):
    """The same with the newest settlement."""

    settled: Count
    share: Share | None
    weight: Count
    strip: VerdictStrip


class MinersDocument(AuditedDocument):
    """Everybody who was ever a member; `q` searches, `sort` sorts."""

    sort: str
    sorts: list[str]
    search: str
    epoch: Epoch | None
    strip_windows: Count
    miners: list[ListedMiner]
    paging: ListPart


class ReasonAdvice(TypedDict):
    """A verdict's meaning; a refusal's usual causes, what to do, and its cost."""

    rule: str | None
    causes: list[str]
    remedies: list[str]
    costs: str | None


class MinerReason(ReasonAdvice, CountedReason):
    """A verdict that a miner was given."""


class MinerWindow(TypedDict):
    window: Window
    uid: Count
    groups: Count
    reason: Verdict | None
    score: Count


class MinerSettlement(TypedDict):
    """A miner's share of a settlement, and the chain's payment if it is known."""

    epoch: Epoch
    uid: Count
    score: Count
    weight: Count
    share: Share | None
    paid: Share | None
    why: list[str]


class PayStep(TypedDict):
    """One step from a uid to pay."""

    name: str
    state: Annotated[str, Field(description="good, bad, warn, or none: not known here")]
    said: list[str]


class MinerPay(TypedDict):
    """Whether the newest settlement pays a miner, and if not, the reason."""

    paid: bool | None
    epoch: Epoch | None
    because: str
    steps: list[PayStep]
    command: str | None


class MinerDocument(AuditedDocument, MinerCounts):
    """One miner: whether it is paid, its verdicts, settlements and windows."""

    strip: VerdictStrip
    curves: list[Curve]
    reasons: list[MinerReason]
    rows: list[MinerWindow]
    pay: MinerPay
    settlements: list[MinerSettlement]
    paging: ListPart
