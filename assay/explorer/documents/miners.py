"""Documents of the pages about miners."""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from assay.explorer.documents.curves import Curve
from assay.explorer.documents.shared import (
    AuditedDocument,
    Block,
    Count,
    CountedReason,
    Epoch,
    Hex,
    Hotkey,
    ListPart,
    Roles,
    Share,
    Verdict,
    VerdictStrip,
    Window,
)


class MinerCounts(TypedDict):
    """A miner over all windows that are known."""

    hotkey: Hotkey
    name: str | None
    roles: Roles
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
    """A verdict that a miner was given, and the newest window with it."""

    newest: Window
    detail: Annotated[
        str, Field(description="of the newest; the validator's word: nothing commits to it")
    ]


class MinerWindow(TypedDict):
    window: Window
    uid: Count
    groups: Count
    reason: Verdict | None
    score: Count
    speed: Annotated[float | None, Field(description="accepted tokens a second, estimated")]


class MinerSettlement(TypedDict):
    """A miner's share of a settlement, and the chain's payment if it is known."""

    epoch: Epoch
    uid: Count
    score: Count
    weight: Count
    share: Share | None
    paid: Share | None
    alpha: Annotated[float | None, Field(description="that the chain's epoch at that block paid")]
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


class MinerEarnings(TypedDict):
    """What a miner earns, by the record; and by the chain, if one is named and has answered."""

    rank: Annotated[Count | None, Field(description="by weight in the newest settlement, from 1")]
    ranked: Annotated[Count, Field(description="hotkeys with a weight there")]
    share: Annotated[Share | None, Field(description="of the newest settlement's score")]
    settlements: Annotated[Count, Field(description="that gave it a weight")]
    of: Annotated[Count, Field(description="known settlements that gave anybody one")]
    paid: Annotated[
        Share | None, Field(description="of the miners' pay, by the newest pay that is known")
    ]
    paid_at: Annotated[Block | None, Field(description="block at which the chain paid that")]
    alpha_day: Annotated[
        float | None, Field(description="a day's, by the epochs that were read of the newest day")
    ]
    alpha: Annotated[float | None, Field(description="of all epochs that were read")]
    tao_day: Annotated[float | None, Field(description="what that is worth by the pool's reserves")]
    tao: float | None
    epochs: Annotated[Count, Field(description="epochs of the chain that were read")]
    since: Annotated[Block | None, Field(description="the first of them")]
    speed: Annotated[
        float | None,
        Field(description="accepted tokens a second in its newest accepted window, estimated"),
    ]


class NextWindow(TypedDict):
    """What the next window takes. Blocks and times are null where no block is known."""

    window: Window | None
    block: Annotated[Block | None, Field(description="at which it begins")]
    begins_in: Annotated[Count | None, Field(description="blocks")]
    begins_in_seconds: float | None
    commit_by: Annotated[Block | None, Field(description="at which commitments are read")]
    seconds: Annotated[float, Field(description="from its challenge to that")]
    checkpoint: Annotated[Hex | None, Field(description="in force in the newest window known")]
    number: Annotated[Count | None, Field(description="that checkpoint's")]
    groups: Annotated[Count, Field(description="at most")]
    group_size: Count
    max_tokens: Annotated[Count, Field(description="of a completion")]
    submitted: Annotated[Count | None, Field(description="groups of its newest accepted file")]
    full_speed: Annotated[
        float | None,
        Field(description="tokens a second, if it filled all groups with files of its length"),
    ]


class MinerDocument(AuditedDocument, MinerCounts):
    """One miner: what it earns, whether it is paid, its verdicts, settlements and windows."""

    earnings: MinerEarnings
    following: Annotated[
        NextWindow | None, Field(description="null: the run has ended, or it does not mine")
    ]
    strip: VerdictStrip
    curves: list[Curve]
    reasons: list[MinerReason]
    rows: list[MinerWindow]
    pay: MinerPay
    settlements: list[MinerSettlement]
    paging: ListPart
