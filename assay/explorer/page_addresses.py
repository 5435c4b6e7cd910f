"""Every address of a page: the view that answers it, its template and its tables."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, get_type_hints

from assay.explorer.views.attacks import view_gauntlet
from assay.explorer.views.checks import view_checks
from assay.explorer.views.course import view_training
from assay.explorer.views.evaluations import view_evaluations
from assay.explorer.views.finding import view_search
from assay.explorer.views.ledger_entries import view_ledger
from assay.explorer.views.merged_rounds import view_rounds
from assay.explorer.views.miners import view_miner, view_miners
from assay.explorer.views.overview import view_overview
from assay.explorer.views.proposals import view_proposals
from assay.explorer.views.rollout_list import FILTERS, view_rollout_group, view_rollouts
from assay.explorer.views.rollouts import view_rollout
from assay.explorer.views.settlements import view_settlement, view_weights
from assay.explorer.views.validators import view_validators
from assay.explorer.views.watching import view_watch
from assay.explorer.views.windows import view_member, view_window, view_windows

_PARTS = ("page", "size")


@dataclass(frozen=True, slots=True)
class PageAddress:
    """The handler of one address.

    Attributes:
        view: function of a `PageReader`, a `Query` and the numbers in the address.
        tables: name → the place of its rows in the document, keys with a dot between them.
        parameters: names that the view reads from the address's query.
    """

    view: Callable[..., Mapping[str, Any]]
    template: str
    tables: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    parameters: tuple[str, ...] = ()

    @property
    def document(self) -> Any:
        """The type of the view's document, a TypedDict: that of its return annotation."""
        return get_type_hints(self.view)["return"]

    @property
    def waits(self) -> bool:
        """Whether an answer may take seconds, and must not delay other pages."""
        return self.view in (view_rollout, view_watch, view_proposals, view_rollouts)


_WEIGHTS = {"weights": "weights.rows"}
#: Braces hold a number, or `hotkey`.
PAGES: dict[str, PageAddress] = {
    "/": PageAddress(
        view_overview,
        "overview.html",
        {"windows": "windows", "open": "live.windows", **_WEIGHTS, "paid": "screen.paid"},
    ),
    "/miners": PageAddress(
        view_miners, "miners.html", {"miners": "miners"}, ("q", "sort", *_PARTS)
    ),
    "/miner/{hotkey}": PageAddress(
        view_miner,
        "miner.html",
        {"windows": "rows", "settlements": "settlements", "reasons": "reasons"},
        _PARTS,
    ),
    "/windows": PageAddress(view_windows, "windows.html", {"windows": "windows"}, _PARTS),
    "/window/{window}": PageAddress(
        view_window, "window.html", {"miners": "members", "moments": "timeline.moments"}, _PARTS
    ),
    "/window/{window}/{hotkey}": PageAddress(view_member, "member.html", {"groups": "audited"}),
    "/window/{window}/{hotkey}/{group}/{rollout}": PageAddress(
        view_rollout, "rollout.html", {"tokens": "reading.rows", "reward": "reading.parts"}, _PARTS
    ),
    "/weights": PageAddress(
        view_weights, "weights.html", {**_WEIGHTS, "settlements": "settlements"}, _PARTS
    ),
    "/settlement/{epoch}": PageAddress(
        view_settlement, "settlement.html", {**_WEIGHTS, "windows": "windows"}
    ),
    "/ledger": PageAddress(view_ledger, "ledger.html", {"entries": "entries"}, _PARTS),
    "/training": PageAddress(
        view_training,
        "training.html",
        {
            "checkpoints": "checkpoints",
            "ends": "gate.ends",
            "measured": "gate.measured",
            "held-out": "tried",
            "levels": "levels",
            "rewards": "rewards",
            "scores": "scores",
            "runs": "runs",
        },
    ),
    "/watch": PageAddress(view_watch, "watch.html", {"rules": "rules", "windows": "rows"}),
    "/proposals": PageAddress(
        view_proposals,
        "proposals.html",
        {"proposals": "rows", "steps": "steps"},
        ("checkpoint", *_PARTS),
    ),
    "/rollouts": PageAddress(
        view_rollouts, "rollouts.html", {"rollouts": "rows"}, (*FILTERS, "sort", *_PARTS)
    ),
    "/rollouts/{window}/{hotkey}/{group}": PageAddress(
        view_rollout_group, "rollout_group.html", {"rollouts": "rows"}, ("q", "sort", *_PARTS)
    ),
    "/rounds": PageAddress(
        view_rounds,
        "rounds.html",
        {name: name for name in ("rounds", "children", "trainers", "repeated")},
        _PARTS,
    ),
    "/validators": PageAddress(
        view_validators,
        "validators.html",
        {
            "validators": "comparison.validators",
            "verdicts": "verdicts",
            "seats": "seats",
            "windows": "comparison.judged",
            "settlements": "comparison.settled",
        },
    ),
    "/check": PageAddress(view_checks, "check.html", {"checks": "checks"}),
    "/gauntlet": PageAddress(view_gauntlet, "gauntlet.html", {"strategies": "rows"}),
    "/evaluations": PageAddress(
        view_evaluations, "evaluations.html", {"figures": "rows", "histograms": "histograms"}
    ),
    "/search": PageAddress(view_search, "search.html", {}, ("q",)),
}
