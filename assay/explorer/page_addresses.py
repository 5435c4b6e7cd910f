"""Every address of a page: the view that answers it, its template, its tables, its type."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from assay.explorer.documents import miners as miner_documents
from assay.explorer.documents import overview as overview_documents
from assay.explorer.documents import settlements as settlement_documents
from assay.explorer.documents import training as training_documents
from assay.explorer.documents import validators as validator_documents
from assay.explorer.documents import windows as window_documents
from assay.explorer.views.attacks import view_gauntlet
from assay.explorer.views.common import View
from assay.explorer.views.course import view_training
from assay.explorer.views.finding import view_search
from assay.explorer.views.ledger_entries import view_ledger
from assay.explorer.views.merged_rounds import view_rounds
from assay.explorer.views.miners import view_miner, view_miners
from assay.explorer.views.overview import view_overview
from assay.explorer.views.rollouts import view_rollout
from assay.explorer.views.settlements import view_settlement, view_weights
from assay.explorer.views.validators import view_validators
from assay.explorer.views.windows import view_member, view_window, view_windows

MakeView = Callable[..., View]
_PARTS = ("page", "size")


@dataclass(frozen=True, slots=True)
class PageAddress:
    """The handler of one address.

    Attributes:
        document: type of the view's document, a TypedDict.
        tables: name → where its rows are in the document, keys with a dot between them.
        parameters: what the view reads of the address's query.
    """

    view: MakeView
    template: str
    document: Any
    tables: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    parameters: tuple[str, ...] = ()

    @property
    def waits(self) -> bool:
        """Whether an answer may take seconds: it holds up no other page."""
        return self.view is view_rollout


_WEIGHTS = {"weights": "weights.rows"}
#: Braces hold a number, or `hotkey`.
PAGES: dict[str, PageAddress] = {
    "/": PageAddress(
        view_overview,
        "overview.html",
        overview_documents.OverviewDocument,
        {"windows": "windows", "open": "live.windows", **_WEIGHTS},
    ),
    "/miners": PageAddress(
        view_miners,
        "miners.html",
        miner_documents.MinersDocument,
        {"miners": "miners"},
        ("q", "sort", *_PARTS),
    ),
    "/miner/{hotkey}": PageAddress(
        view_miner,
        "miner.html",
        miner_documents.MinerDocument,
        {"windows": "rows", "settlements": "settlements", "reasons": "reasons"},
        _PARTS,
    ),
    "/windows": PageAddress(
        view_windows,
        "windows.html",
        window_documents.WindowsDocument,
        {"windows": "windows"},
        _PARTS,
    ),
    "/window/{window}": PageAddress(
        view_window,
        "window.html",
        window_documents.WindowDocument,
        {"miners": "members", "moments": "timeline.moments"},
        _PARTS,
    ),
    "/window/{window}/{hotkey}": PageAddress(
        view_member, "member.html", window_documents.MemberDocument, {"groups": "audited"}
    ),
    "/window/{window}/{hotkey}/{group}/{rollout}": PageAddress(
        view_rollout,
        "rollout.html",
        window_documents.RolloutDocument,
        {"tokens": "reading.rows", "reward": "reading.parts"},
        _PARTS,
    ),
    "/weights": PageAddress(
        view_weights,
        "weights.html",
        settlement_documents.WeightsDocument,
        {**_WEIGHTS, "settlements": "settlements"},
        _PARTS,
    ),
    "/settlement/{epoch}": PageAddress(
        view_settlement,
        "settlement.html",
        settlement_documents.SettlementDocument,
        {**_WEIGHTS, "windows": "windows"},
    ),
    "/ledger": PageAddress(
        view_ledger,
        "ledger.html",
        settlement_documents.LedgerDocument,
        {"entries": "entries"},
        _PARTS,
    ),
    "/training": PageAddress(
        view_training,
        "training.html",
        training_documents.TrainingDocument,
        {
            "checkpoints": "checkpoints",
            "held-out": "tried",
            "rewards": "rewards",
            "scores": "scores",
            "runs": "runs",
        },
    ),
    "/rounds": PageAddress(
        view_rounds,
        "rounds.html",
        training_documents.RoundsDocument,
        {name: name for name in ("rounds", "children", "trainers", "repeated")},
        _PARTS,
    ),
    "/validators": PageAddress(
        view_validators,
        "validators.html",
        validator_documents.ValidatorsDocument,
        {
            "validators": "comparison.validators",
            "verdicts": "verdicts",
            "seats": "seats",
            "windows": "comparison.judged",
            "settlements": "comparison.settled",
        },
    ),
    "/gauntlet": PageAddress(
        view_gauntlet, "gauntlet.html", training_documents.GauntletDocument, {"strategies": "rows"}
    ),
    "/search": PageAddress(
        view_search, "search.html", training_documents.SearchDocument, {}, ("q",)
    ),
}
