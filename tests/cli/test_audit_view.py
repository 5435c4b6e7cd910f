"""What `assay audit` prints of a report: the result first, remarks last."""

import pytest

from assay.audit.findings import ABSTAINED, Aspect, AuditReport, Findings
from assay.cli.audit_view import show_report


def make_report(*windows: Findings, is_local: bool = True) -> AuditReport:
    return AuditReport(bytes(32), windows, (), has_model=False, is_local=is_local)


def show(capsys: pytest.CaptureFixture[str], report: AuditReport) -> list[str]:
    show_report(report, as_json=False)
    return capsys.readouterr().out.splitlines()


def make_window(number: int, *notes: str) -> Findings:
    return Findings(number, notes=list(notes))


def test_the_result_is_first_and_a_remark_of_several_windows_is_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    windows = make_window(5, ABSTAINED), make_window(6, ABSTAINED, "odd")
    first, _, *states, head, normal, odd = show(capsys, make_report(*windows))
    assert first == "Everything matches public data."
    assert [state.split("  ")[:2] for state in states] == [
        ["window 5", "matches"],
        ["window 6", "matches"],
    ]
    assert head == "Remarks"
    assert normal == f"  window 5, 6: {ABSTAINED} (normal for a demo)"
    assert odd == "  window 6: odd"


def test_nothing_is_normal_where_nobody_makes_the_beacons_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    *_, last = show(capsys, make_report(make_window(5, ABSTAINED), is_local=False))
    assert last == f"  window 5: {ABSTAINED}"


def test_the_result_names_what_does_not_match(capsys: pytest.CaptureFixture[str]) -> None:
    good, false, unknown = (make_window(number) for number in (5, 6, 7))
    false.differ(Aspect.VALUES, "group 2 is worth 288")
    unknown.miss(Aspect.FILES, "no store has it")
    first, *_ = show(capsys, make_report(good, false, unknown))
    assert first == "This record contradicts public data: window 6."
    first, *rest = show(capsys, make_report(good, unknown))
    assert first == "Nothing differs, but not everything could be checked: window 7."
    assert rest[-1] == "  files not checked: no store has it"
