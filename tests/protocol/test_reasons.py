"""Every reason of a refusal is held by what keeps one in consensus, or a table says why not.

`tests/verification/test_judge.py` demands a file that the judge refuses for it, and
`tests/adversarial/test_explaining.py` an explanation.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from assay.judge.provable import BY_CHAIN, BY_MODEL
from assay.protocol.reason import CHEATING, WITHHELD, Reason
from tests.tree import ROOT

VECTORS = ROOT / "tests" / "vectors"
SPECIFICATION = (ROOT / "docs" / "specification.md").read_text()
_OWN = "it is no fault of a file: a validator says it of itself"
_READ = "whole files stand in no vector: test_file_attacks has them"
#: Reason → why no vector's check gives it.
UNVECTORED = {
    Reason.NOT_REGISTERED: "the chain alone decides: the context's members",
    Reason.INTERNAL: _OWN,
    **dict.fromkeys(WITHHELD, _READ),
}
#: Reason → why no settlement of the vectors has it.
UNSETTLED = {Reason.INTERNAL: "it costs what a window without a verdict costs, or a window alone"}
#: Reason → why the second implementation does not name it.
UNIMPLEMENTED = {Reason.NOT_REGISTERED: "it judges the members of a window"}
#: Reason → why its explanation has no figure.
UNMEASURED = {
    Reason.NOT_REGISTERED: "a hotkey has a uid or none",
    Reason.NO_COMMITMENT: "there is a commitment or none",
    Reason.ROOT_MISMATCH: "two digests differ, or they do not",
    Reason.INTERNAL: _OWN,
}


def demand(reason: Reason, is_there: bool, excuses: dict[Reason, str], what: str) -> None:
    if reason in excuses:
        assert not is_there, f"{reason} has {what}: remove the reason for having none"
    else:
        assert is_there, f"{reason} has no {what}: add it, or why not to this file's table"


def find_reasons(value: Any) -> Iterator[str]:
    """The reasons that objects of a vector have as results."""
    if isinstance(value, dict):
        if isinstance(value.get("reason"), str):
            yield value["reason"]
        value = list(value.values())
    for inner in value if isinstance(value, list) else ():
        yield from find_reasons(inner)


def read_reasons(*but: str) -> set[str]:
    files = [file for file in sorted(VECTORS.glob("*.json")) if file.stem not in but]
    return {one for file in files for one in find_reasons(json.loads(file.read_bytes()))}


CHECKED = read_reasons("settlement")
SETTLED = set(find_reasons(json.loads((VECTORS / "settlement.json").read_bytes())))
MEASURES = (ROOT / "assay" / "audit" / "explain" / "measures.py").read_text()
SECOND = "".join(file.read_text() for file in sorted((VECTORS / "second").glob("*.js")))
PROSE = re.sub(r"<!-- reasons -->.*?<!-- /reasons -->", "", SPECIFICATION, flags=re.S)


@pytest.mark.parametrize("reason", Reason)
def test_a_vector_s_check_gives_it(reason: Reason) -> None:
    demand(reason, reason in CHECKED, UNVECTORED, "vector of its check in tests/vectors")


@pytest.mark.parametrize("reason", Reason)
def test_a_settlement_of_the_vectors_has_it(reason: Reason) -> None:
    demand(reason, reason in SETTLED, UNSETTLED, "settlement in tests/vectors/worth.py")


@pytest.mark.parametrize("reason", Reason)
def test_the_second_implementation_gives_it(reason: Reason) -> None:
    """Its result, not only its cost: that is a pattern of several reasons."""
    given = re.search(rf"'{reason}'|\b{reason}: \(", SECOND) is not None
    demand(reason, given, UNIMPLEMENTED, "check in tests/vectors/second")


@pytest.mark.parametrize("reason", Reason)
def test_the_specification_says_when_it_is_given(reason: Reason) -> None:
    """Beside its table of reasons, which `make pages` writes."""
    _, _, section = PROSE.partition("\n## 8. The audit\n")
    checks, _, _ = section.partition("\n## 9. ")
    is_said = re.search(rf"\b{reason}\b", checks) is not None
    demand(reason, is_said, {Reason.ACCEPTED: "no check fails"}, "place in section 8's checks")


@pytest.mark.parametrize("reason", Reason)
def test_its_explanation_has_figures(reason: Reason) -> None:
    named = re.search(rf"\bReason\.{reason.name}\b", MEASURES)
    demand(reason, named is not None, UNMEASURED, "case in assay/audit/explain/measures.py")


@pytest.mark.parametrize(
    ("named", "of"), [(CHEATING, "sets"), (WITHHELD, "makes")], ids=["cheating", "withheld"]
)
def test_costs_are_of_reasons_in_a_row_as_the_specification_says(
    named: frozenset[Reason], of: str
) -> None:
    """Whoever adds one at another place of the order gives it another cost in that text."""
    order = [reason for reason in Reason if reason in named]
    first = list(Reason).index(order[0])
    assert list(Reason)[first : first + len(order)] == order
    assert f"reason from {order[0]} to {order[-1]} {of}" in " ".join(SPECIFICATION.split())


def test_who_decides_a_reason_is_said_of_each_cheat() -> None:
    """`tests/verification` measures whether a model ran."""
    assert BY_MODEL <= CHEATING
    assert not BY_CHAIN & (CHEATING | WITHHELD)
    assert BY_CHAIN | CHEATING | WITHHELD | {Reason.ACCEPTED, Reason.INTERNAL} == set(Reason)


@pytest.mark.parametrize("table", [UNVECTORED, UNSETTLED, UNIMPLEMENTED, UNMEASURED])
def test_no_reason_is_excused_that_is_no_more(table: dict[Reason, str]) -> None:
    assert table.keys() <= set(Reason)
