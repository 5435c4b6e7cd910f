"""Every strategy of the gauntlet against the real judge, on the shipped model."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from assay.cli.app import app
from assay.lab.gauntlet.attack_setup import AttackSetup
from assay.lab.gauntlet.bench_models import SHIPPED
from assay.lab.gauntlet.chain_attacks import RestsOnItsPay
from assay.lab.gauntlet.chain_setup import ChainAttackSetup, play_resting
from assay.lab.gauntlet.measuring import (
    choose,
    compute_income,
    compute_stopping_gain,
    make_row,
    make_stopping_row,
    run_family,
)
from assay.lab.gauntlet.sampling_attacks import Honest
from assay.lab.gauntlet.table import CALENDAR, CHOOSING, LEGAL, NOT_WORKING, STRATEGIES
from assay.protocol.reason import Reason
from assay.verification import examination
from tests.adversarial.conftest import make_lab
from tests.lab.gauntlet.steering import bound_gain, find_best_share, measure_steering

#: Strategies whose rollouts are almost always the honest ones: a few groups may show nothing.
#: How often bf16 draws another token is the processor's: some draw none in these groups.
SELDOM = {
    *("steering ties within the cap", "steering ties below .05", "one optimiser step stale"),
    "bf16 without verification",
}
#: Strategy → the reason for its refusal, if it is not sampling.
REASONS = {
    "grinding the beacon": Reason.SKETCH_MISMATCH,
    "truncated": Reason.WRONG_TERMINATION,
    "fabricated logprobs": Reason.LOGPROB_MISMATCH,
    "constant sketch": Reason.SKETCH_MISMATCH,
    "zero sketch": Reason.SKETCH_MISMATCH,
    "random sketch": Reason.SKETCH_MISMATCH,
    "shuffled sketch": Reason.SKETCH_MISMATCH,
    "copied sketch": Reason.SKETCH_MISMATCH,
    "honest for a quarter": Reason.SKETCH_MISMATCH,
    "honest for half": Reason.SKETCH_MISMATCH,
    "withheld after the audit round": Reason.SKETCH_MISMATCH,
    "unparsable after the audit round": Reason.SKETCH_MISMATCH,
}
#: Other sizes of a rule, or models of a kind, of which the hardest to tell from honest work stays.
AGAIN = {
    *("temperature .9", "temperature .7", "top-p .95", "splice of 8", "splice of 16"),
    *("splice of 32", "int4 weights", "foreign model"),
}
#: Refused for more than one reason, whichever comes first: a padded rollout may be too large.
MIXED = {"junk groups appended", "padded"}


@pytest.fixture(scope="module")
def measured(lab: AttackSetup):
    """Rows of a strategy, measured once."""
    known = {}

    def get(kind):
        if kind not in known:
            known[kind] = lab.measure(kind)
        return known[kind]

    return get


def name(kind):
    return kind.title


def mark(kinds):
    """Those of `AGAIN` are left to `make nightly`."""
    return [
        pytest.param(kind, marks=[pytest.mark.nightly] * (kind.title in AGAIN)) for kind in kinds
    ]


@pytest.mark.parametrize("kind", LEGAL, ids=name)
def test_legal(kind, measured):
    """With any drafter, the completion after the reference's corrections is the honest sample,
    token for token."""
    rows = measured(kind)
    assert not any(row.faults for row in rows)
    assert not any(rollout.differs for row in rows for rollout in row.rollouts)
    assert all(row.value > 0 and row.cost > 0 for row in rows)


@pytest.mark.parametrize("kind", mark(CHOOSING + NOT_WORKING), ids=name)
def test_illegal(kind, measured):
    """A rollout is refused exactly if it is not the honest one, except for ties within the cap,
    which any draft has now and then."""
    rows = measured(kind)
    for row in rows:
        for rollout in row.rollouts:
            assert (rollout.fault is not None) == (rollout.differs and not rollout.is_tie)
        assert row.fault is None or any(rollout.differs for rollout in row.rollouts)
    refused = {fault for row in rows for fault in row.faults}
    if kind.title not in SELDOM | MIXED:
        assert refused == {REASONS.get(kind.title, Reason.SAMPLING_MISMATCH)}


@pytest.mark.parametrize("is_all", [False, pytest.param(True, marks=pytest.mark.nightly)])
def test_no_illegal_strategy_earns_more_than_a_legal_one(measured, lab, is_all):
    """Without `is_all`, those that the tests above have measured: the best legal one earns no more
    than it would among all."""
    work = lab.parameters.work
    left = set() if is_all else {*AGAIN, *(kind.title for kind in LEGAL[2:])}
    possible = [k for k in STRATEGIES if not k.needs_turns and k.title not in left]
    incomes = {kind: compute_income(measured(kind), kind, work) for kind in possible}
    legal = [incomes[kind] for kind in LEGAL if kind in incomes]
    best = max(legal, key=lambda income: income.mean)
    for kind in possible:
        row = make_row(SHIPPED, kind, measured(kind), incomes[kind], best)
        assert not row.is_broken, row
    half = next(kind for kind in possible if kind.title == "honest for half")
    assert incomes[half].mean == 0  # caught in every settlement


@pytest.fixture(scope="module")
def steering(lab):
    return measure_steering(lab)


def test_steering_gains_nothing_to_speak_of(steering):
    assert steering.bearable < 16  # a settlement has 96 audited rollouts
    assert steering.advantage_bound < 1e-3
    assert steering.advantage < 1e-3


def test_steering_would_pay_without_a_ledger_and_with_a_wide_cap(lab, steering):
    """The attack that cap and ledger stop: ties below .05 logits, any number of them borne."""
    wide = steering.ties_per_settlement * 0.05 / 2e-4
    gain = bound_gain(lab.parameters.work)
    share, advantage = find_best_share(wide, gain, steering.audited_share, 96, 12 * 48)
    assert share > 0.9
    assert advantage > 5e-3


def accept_everything(monkeypatch):
    """A judge that is blind: whatever is measured passes."""
    monkeypatch.setattr(AttackSetup, "find_fault", lambda *_: (None, False))
    monkeypatch.setattr(examination, "_find_structural_faults", lambda *_: iter(()))


def test_with_a_blind_judge_saving_work_pays_and_the_table_says_so(tmp_path, monkeypatch):
    lab = make_lab(tmp_path, 12)  # a third more is earned: three errors must be less
    accept_everything(monkeypatch)
    saving = {"int4 weights", "smaller model", "honest for half", "prefill only"}
    kinds = [kind for kind in STRATEGIES if kind.title in saving or kind in LEGAL]
    rows = run_family(lab, kinds, lambda line: None)
    assert {row.attack for row in rows if row.pays} >= saving
    assert all(row.is_broken for row in rows if row.pays)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory):
    """All calendar strategies on one chain with one validator, a settlement of two windows."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("calendar")
    lab = ChainAttackSetup(folder, CALENDAR, windows=2, groups=18)  # of which 16 are audited
    return {outcome.kind.title: outcome for outcome in lab.play()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("title", "reasons"),
    [
        ("withheld after the audit round", {Reason.NOT_REVEALED, Reason.ACCEPTED}),
        ("unparsable after the audit round", {Reason.MALFORMED, Reason.ACCEPTED}),
        ("only audited groups uploaded", {Reason.ROOT_MISMATCH, Reason.ACCEPTED}),
        ("commitment overwritten", {Reason.ROOT_MISMATCH}),
        ("registered after the challenge", {Reason.NOT_REGISTERED}),
        ("hotkey swapped after the challenge", {Reason.NOT_REGISTERED}),
        ("hotkey swapped after being caught", {Reason.SKETCH_MISMATCH, Reason.ACCEPTED}),
    ],
)
def test_on_chain(title, reasons, outcomes):
    outcome, honest = outcomes[title], outcomes[Honest.title]
    assert set(outcome.reasons) <= reasons
    assert set(outcome.reasons) != {Reason.ACCEPTED}
    assert set(honest.reasons) == {Reason.ACCEPTED}
    assert honest.settled > 0
    assert outcome.settled / outcome.cost < honest.settled / honest.cost


@pytest.mark.slow
def test_the_zero_follows_the_seat(outcomes):
    """Caught, renamed, honest ever after: the settlement is still lost."""
    assert outcomes["hotkey swapped after being caught"].settled == 0


@pytest.mark.parametrize("kinds", [(Honest, RestsOnItsPay), (RestsOnItsPay,)], ids=["", "alone"])
def test_resting_on_the_weights_of_the_last_pay(tmp_path, kinds):
    """It is paid no longer than until somebody earns, or as often as the parameters allow."""
    torch.set_num_threads(1)
    row = play_resting(tmp_path, kinds, "here")
    assert row.reasons == {"ACCEPTED": 1, "MALFORMED": 6}
    assert 0 < row.income_per_compute < 1
    assert not row.is_broken


def test_the_table_is_the_same_twice(lab):
    kinds = (*LEGAL[:1], *choose("greedy")[-1:])
    first, second = (run_family(lab, kinds, lambda line: None) for _ in range(2))
    assert first == second


def test_stopping_before_dear_problems(lab, measured):
    """Honest groups of unequal length: the gain of many hotkeys that leave out costly ones."""
    row = make_stopping_row(SHIPPED, measured(Honest))
    assert not row.pays
    costs = [float(group.tokens) for group in measured(Honest)]
    flat = [1.0] * len(costs)
    assert compute_stopping_gain(costs, flat, unpaid=0.0) > 0.1  # and a free submission


@pytest.mark.slow
def test_the_command(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app,
        [
            "gauntlet",
            "--fast",
            "--only",
            "greedy",
            "--groups",
            "4",
            "--json",
            "--models",
            str(tmp_path / "none"),
            "--out",
            str(tmp_path),
        ],
    )
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document == json.loads((tmp_path / "gauntlet.json").read_text())
    assert "greedy" in [row["attack"] for row in document["rows"]]
    assert document["windows"] == 200
    assert document["honest"]["legal"]
    keys = {
        "attack",
        "legal",
        "detected_per_rollout",
        "detected_per_group",
        "tokens_to_9999",
        "income_per_compute",
        "reasons",
    }
    assert all(keys <= row.keys() for row in document["rows"])


def test_a_name_that_no_strategy_has(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["gauntlet", "--fast", "--only", "no such attack"])
    assert result.exit_code == 2
    assert "no strategy" in result.stderr
