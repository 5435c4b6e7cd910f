"""The tests that `make test` leaves to `make nightly`. The table of docs/testing.md is the list."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "testing.md"
_ROW = re.compile(r"^\| `((?:devnet/)?tests/[^`]+)` \| ([^|]+) \| [^|]+ \|$", re.M)
_KEPT = re.compile(r"none|the first(?: (\d+))?|one of each `(\w+)`|all but `(\w+)`")


def read_nightly() -> dict[str, str]:
    """File, or file::test → which of its cases stay in `make test`."""
    rows = _ROW.findall(PAGE.read_text())
    nightly = dict(rows)
    assert nightly, f"{PAGE} has no table"
    assert len(nightly) == len(rows), f"{PAGE} names a test twice"
    for test, kept in rows:
        assert _KEPT.fullmatch(kept), f"{test}: {kept}"
    return nightly


def mark_nightly(items: list[pytest.Item], nightly: Mapping[str, str]) -> None:
    """Add the marker `nightly` to the tests that the table does not keep."""
    seen: dict[str, list[object]] = {}
    for item in items:
        test = item.nodeid.partition("[")[0]
        kept = nightly.get(test) or nightly.get(test.partition("::")[0])
        if kept is not None and not _is_kept(item, kept, seen.setdefault(test, [])):
            item.add_marker(pytest.mark.nightly)


def _is_kept(item: pytest.Item, kept: str, seen: list[object]) -> bool:
    """Whether this case stays; `seen` are those of its test that did."""
    found = _KEPT.fullmatch(kept)
    assert found is not None
    most, name, word = found.groups()
    if any(marker.name in ("nightly", "kill", "faults") for marker in item.iter_markers()):
        return True  # it has a time of its own
    if kept == "none":
        return False
    if word is not None:
        return word not in item.nodeid.partition("[")[2]
    value = item.callspec.params[name] if name else None  # type: ignore[attr-defined]
    if seen.count(value) >= int(most or 1):
        return False
    seen.append(value)
    return True
