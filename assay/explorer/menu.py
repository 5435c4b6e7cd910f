"""The menu: five places, and within each the pages that have data now.

A page without data has its address nevertheless, and says there what would fill it.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from assay.explorer.index import IndexDamagedError
from assay.explorer.page_reader import PageReader
from assay.explorer.views.common import list_step_digests
from assay.explorer.views.merged_rounds import list_rounds
from assay.explorer.views.proposals import proposes
from assay.explorer.views.rollout_list import has_rollouts

#: Seconds for which it is known which pages have data.
_KNOWN_S = 2.0
_Test = Callable[[PageReader], bool]


@dataclass(frozen=True, slots=True)
class MenuPage:
    """A page of a place. under: the beginnings of further addresses that belong to it. has_data:
    None: it always has some."""

    name: str
    path: str
    under: tuple[str, ...] = ()
    has_data: _Test | None = None


def _has_course(reader: PageReader) -> bool:
    training = reader.sources.read_training()
    return bool(training and training.steps) or bool(list_step_digests(reader))


def _has_rounds(reader: PageReader) -> bool:
    named = any(parameters.rounds is not None for parameters in reader.subject.history.all)
    return named or bool(list_rounds(reader))


def _has_evaluations(reader: PageReader) -> bool:
    return bool(reader.sources.read_evaluations())


def _has_comparison(reader: PageReader) -> bool:
    return reader.sources.read_comparison() is not None


def _has_ledger(reader: PageReader) -> bool:
    return reader.sources.contract is not None or bool(reader.sources.list_posts())


def _has_gauntlet(reader: PageReader) -> bool:
    return reader.sources.read_gauntlet() is not None


#: Name of a place → its pages; the first one's address is the place's.
PLACES: dict[str, tuple[MenuPage, ...]] = {
    "Overview": (MenuPage("Overview", "/"),),
    "Training": (
        MenuPage("Curves", "/training"),
        MenuPage("Watch", "/watch", has_data=_has_course),
        MenuPage("Rollouts", "/rollouts", ("/rollouts/",), has_data=has_rollouts),
        MenuPage("Proposals", "/proposals", has_data=proposes),
        MenuPage("Evaluations", "/evaluations", has_data=_has_evaluations),
        MenuPage("Rounds", "/rounds", has_data=_has_rounds),
    ),
    "Miners": (MenuPage("Miners", "/miners", ("/miner/",)),),
    "Windows": (
        MenuPage("Windows", "/windows", ("/window/",)),
        MenuPage("Settlements and weights", "/weights", ("/settlement/",)),
    ),
    "Check": (
        MenuPage("Audit", "/check"),
        MenuPage("Validators", "/validators", has_data=_has_comparison),
        MenuPage("Ledger", "/ledger", has_data=_has_ledger),
        MenuPage("Gauntlet", "/gauntlet", has_data=_has_gauntlet),
    ),
}


class Menu:
    """Which pages have data. Thread-safe."""

    def __init__(self, reader: PageReader) -> None:
        self._reader = reader
        self._lock = threading.Lock()
        self._known: tuple[float, frozenset[str]] | None = None

    def describe(self, path: str) -> list[dict[str, Any]]:
        """The places, as `base.html` shows them on the page of an address."""
        filled = self._find_filled()
        return [
            _describe_place(
                name, [p for p in pages if p.path in filled or p.path == path], pages[0], path
            )
            for name, pages in PLACES.items()
        ]

    def _find_filled(self) -> frozenset[str]:
        with self._lock:
            if self._known is not None and time.monotonic() < self._known[0]:
                return self._known[1]
            pages = [page for place in PLACES.values() for page in place]
            filled = frozenset(page.path for page in pages if self._is_filled(page))
            self._known = time.monotonic() + _KNOWN_S, filled
            return filled

    def _is_filled(self, page: MenuPage) -> bool:
        try:
            return page.has_data is None or page.has_data(self._reader)
        except IndexDamagedError:  # it is being made anew
            return False


def _describe_place(name: str, pages: list[MenuPage], first: MenuPage, path: str) -> dict[str, Any]:
    listed = [
        {"name": page.name, "path": page.path, "current": _find_current(page, path)}
        for page in pages
    ]
    is_here = any(page["current"] for page in listed)
    current = listed[0]["current"] if first.path == path else "true" if is_here else None
    return {"name": name, "path": first.path, "current": current, "pages": listed}


def _find_current(page: MenuPage, path: str) -> str | None:
    """The value of `aria-current` of a page's link on the page of an address."""
    if page.path == path:
        return "page"
    return "true" if path.startswith(page.under) and page.under else None
