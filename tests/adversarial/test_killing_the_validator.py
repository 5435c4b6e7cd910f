"""kill -9, power cuts, full disks: nothing is judged into a ledger twice, and nothing is lost.

Kills are simulated here, over many settlements; `tests/killing` kills the program itself.
"""

import random
import sqlite3
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.artifacts.database import Database, JournalError
from assay.artifacts.submissions.judge import judge_hotkey
from assay.network.chain.errors import ChainError, WrongChainError
from assay.neurons.validator import submission_queue as module
from assay.neurons.validator.journal import Journal, WindowProgress
from assay.neurons.validator.validator import Validator
from assay.neurons.validator.weights_outbox import list_rows
from assay.protocol.amendment import ParameterHistory
from assay.protocol.beacon import Beacon
from assay.protocol.reason import Reason, Refusal
from assay.protocol.window import Block, compute_window
from assay.session.chain_delivery import DeliveryState
from assay.session.window_reader import Challenge
from assay.verification import (
    Accepted,
    GroupValue,
    Ledger,
    Refused,
    Seat,
    Statistics,
    VerdictRecord,
)
from tests.adversarial.mortal import (
    HOTKEYS,
    NETUID,
    Killed,
    Mortal,
    is_write,
    make_parameters,
    require_kills_change_nothing,
)
from tests.adversarial.watched import Watched

#: Two settlements, of which the second follows windows that were open at the first.
BLOCKS = 28
#: A third of the points in each run of the tests, all of them in `make kill`.
THIRDS = [0, *(pytest.param(share, marks=pytest.mark.kill) for share in (1, 2))]


def play(folder, monkeypatch, kills=()):
    mortal = Mortal(folder, monkeypatch, kills)
    mortal.play(BLOCKS)
    return mortal


def test_an_undisturbed_run_has_something_to_lose(tmp_path, monkeypatch, short_doubt):
    mortal = play(tmp_path, monkeypatch)
    published, rows, sent, standing = mortal.describe()
    assert [state for _, state, _ in rows] == [DeliveryState.CONFIRMED] * 2
    assert len(sent) == 2
    assert sent[0] != sent[1] == standing == rows[0][2]
    files = {name: record for name, record in published.items() if isinstance(record, dict)}
    reasons = {v["reason"] for r in files.values() for v in r.get("verdicts", ())}
    assert reasons == {"ACCEPTED", "NO_COMMITMENT", "NOT_REVEALED", "SKETCH_MISMATCH"}
    assert sum("settlement" in name for name in files) == 2
    assert sum(name.startswith("settlement") for name in set(published) - set(files)) == 2
    assert len(mortal.judged) > len(set(mortal.judged))  # Bob is asked again


@pytest.mark.slow
@pytest.mark.parametrize("share", THIRDS)
def test_killed_before_and_after_every_write(tmp_path, monkeypatch, short_doubt, share):
    """Between two writes all kills are alike: disk and chain have the same content."""
    require_kills_change_nothing(
        partial(play, monkeypatch=monkeypatch),
        tmp_path,
        lambda points: [n for n, name in enumerate(points) if n % 3 == share and is_write(name)],
    )


def test_killed_while_weights_are_sent(tmp_path, monkeypatch, short_doubt):
    """Before the call, in it, and before its answer is noted."""
    require_kills_change_nothing(
        partial(play, monkeypatch=monkeypatch),
        tmp_path,
        lambda points: [n for n, name in enumerate(points) if "set_weights" in name],
    )


@pytest.mark.parametrize(
    "seed", [*range(8), *(pytest.param(s, marks=pytest.mark.kill) for s in range(8, 40))]
)
def test_killed_again_and_again(tmp_path, monkeypatch, short_doubt, seed):
    draw = random.Random(seed)
    expected = play(tmp_path / "whole", monkeypatch)
    mortal = play(tmp_path / "parts", monkeypatch, [draw.randrange(150) for _ in range(40)])
    assert mortal.fate.killed > 10
    assert mortal.describe() == expected.describe()


def test_nothing_is_judged_twice_but_what_was_cut_off(tmp_path, monkeypatch, short_doubt):
    """A restart costs the submission at hand, and no other."""
    expected = play(tmp_path / "whole", monkeypatch)
    points = [n for n, name in enumerate(expected.fate.points) if name == "after judge"]
    mortal = play(tmp_path / "killed", monkeypatch, [points[20]])
    assert len(mortal.judged) == len(expected.judged) + 1


def test_a_full_disk_loses_no_verdict(tmp_path, monkeypatch, short_doubt):
    """The validator does not act on verdicts that it cannot write: the step fails, and is repeated
    later."""
    expected = play(tmp_path / "whole", monkeypatch)
    mortal = Mortal(tmp_path / "full", monkeypatch)
    failures, commit, said = [0], mortal.database.commit, set()

    def fail():
        failures[0] += 1
        if failures[0] % 5 == 0:
            raise sqlite3.OperationalError("database or disk is full")
        commit()

    monkeypatch.setattr(mortal.database, "commit", fail)
    for _ in range(BLOCKS):
        mortal.real.mint()
        while True:
            try:
                if not mortal.validator.step():
                    break
            except JournalError as error:
                said.add(str(error).partition(": ")[2])
    assert failures[0] > 50
    assert said == {"database or disk is full; free some space, or fix the folder"}
    assert mortal.describe() == expected.describe()


# --- away for a while


def test_the_validator_abstains_from_unfetched_files(tmp_path, monkeypatch):
    """Dead from one FETCH_END beyond the next: the windows in between count for nobody."""
    mortal = Mortal(tmp_path, monkeypatch)
    mortal.play(13)
    mortal.database.close()
    for _ in range(8):
        mortal.real.mint()
    mortal.restart()
    mortal.play(25)
    published, rows, sent, _ = mortal.describe()
    assert all(state is DeliveryState.CONFIRMED for _, state, _ in rows)
    assert len(sent) == len(rows)
    settlements = [r for name, r in published.items() if "verdicts/settlement" in name]
    counted = [w for s in settlements for w in s["windows"]]
    abstained = [w for s in settlements for w in s["abstained"]]
    assert len(counted) == len(set(counted))
    assert not set(counted) & set(abstained)
    assert abstained
    files = [record for record in published.values() if isinstance(record, dict)]
    incomplete = {r["window"] for r in files if r.get("complete") is False}
    assert set(abstained) == incomplete


def test_away_until_the_nodes_have_forgotten(tmp_path, monkeypatch):
    """Epochs that nobody can name settle nothing, and the validator continues with later ones."""
    mortal = Mortal(tmp_path, monkeypatch)
    mortal.play(20)
    mortal.database.close()
    before = len(list_rows(Database(tmp_path / "validator.sqlite", read_only=True), 99))
    for _ in range(400):
        mortal.real.mint()
    mortal.restart()
    mortal.play(30)
    rows = list_rows(mortal.database, 99)
    assert mortal.validator.trouble is None
    assert len(rows) > before
    assert rows[0].state is DeliveryState.CONFIRMED
    assert rows[0].epoch > 420
    assert min(mortal.validator.judged_windows) > 20


def test_a_node_that_is_away_ends_nothing(tmp_path, monkeypatch, short_doubt):
    expected = play(tmp_path / "whole", monkeypatch)
    mortal = Mortal(tmp_path / "away", monkeypatch)
    draw, troubles = random.Random(1), set()

    def fail(name):
        if name.startswith("before") and not is_write(name) and draw.random() < 0.03:
            raise ChainError("the node does not answer")

    mortal.fate.hook = fail
    for _ in range(BLOCKS):
        mortal.real.mint()
        for _ in range(100):  # a loop looks again and again before the next block
            mortal.validator.step()
            trouble = mortal.validator.trouble
            troubles.add(trouble and trouble.text)
    said = "the node does not answer"
    assert {None, said} <= troubles <= {None, said, f"the record is not announced: {said}"}
    assert mortal.describe() == expected.describe()


def test_a_node_of_another_chain_ends_the_program(tmp_path, monkeypatch):
    mortal = Mortal(tmp_path, monkeypatch)
    mortal.play(3)

    def get_head():
        raise WrongChainError("the node is of another chain")

    monkeypatch.setattr(mortal.real, "get_head", get_head)
    with pytest.raises(WrongChainError):
        mortal.validator.step()


# --- written data


FLOATS = st.floats(allow_nan=False)
RECORDS = st.builds(
    VerdictRecord,
    window=st.just(3),
    hotkey=st.binary(min_size=32, max_size=32),
    reason=st.sampled_from(Reason),
    detail=st.text(st.characters(codec="utf-8")),
    committed_groups=st.integers(0, 2**32 - 1),
    group=st.none() | st.integers(0, 2**32 - 1),
    rollout=st.none() | st.integers(0, 99),
    token=st.none() | st.integers(0, 99),
    statistics=st.builds(Statistics, st.integers(0, 2**60), FLOATS, FLOATS, FLOATS, FLOATS),
    groups=st.lists(
        st.builds(
            GroupValue,
            st.integers(0, 99),
            st.integers(0, 2**70),
            st.lists(st.integers(0, 10**6), max_size=4).map(tuple),
            st.lists(st.integers(0, 10**6), max_size=4).map(tuple),
            st.lists(st.integers(0, 99), max_size=4).map(tuple),
        ),
        max_size=3,
    ).map(tuple),
    tokens=st.integers(0, 2**40),
    witness=st.binary(max_size=8),
    unbound=st.booleans(),
    provisional=st.booleans(),
)


@given(record=RECORDS, asked_at=st.integers(0, 2**40), seconds=st.floats(0, 1e9))
def test_a_verdict_comes_back_as_it_was(record, asked_at, seconds):
    verdict = record.to_verdict()
    database, parameters = Database(), make_parameters()
    journal = Journal(
        database, HOTKEYS["alice"], ParameterHistory(parameters), WindowProgress(0, 0)
    )
    challenge = Challenge(3, Block(9, bytes(32), 1), Beacon(7, bytes(48)), bytes(32), parameters)
    ledger = Ledger(2, (0.1, float("-inf")))
    account = (24, Seat(1, 0))
    journal.open_window(challenge, challenge.window + 1)
    journal.put_verdict(verdict, asked_at, seconds, account, ledger)
    audit = journal.load_judged_windows()[3]
    assert audit.challenge == challenge
    kept = audit.withheld if verdict.is_withheld else audit.verdicts
    kept = audit.provisional if verdict.provisional else kept
    assert kept == {verdict.hotkey: verdict}
    # the samples of a provisional one were not requested
    assert audit.asked_at == ({} if verdict.provisional else {verdict.hotkey: asked_at})
    assert audit.seconds == {verdict.hotkey: seconds}
    assert journal.load_ledgers() == {account: ledger}
    database.close()


def test_the_audits_finding_stays_beside_the_samples_finding():
    """After a restart nothing is judged into the ledger again. A file that was withheld before
    counts as shown once it is."""
    database, parameters = Database(), make_parameters()
    journal = Journal(
        database, HOTKEYS["alice"], ParameterHistory(parameters), WindowProgress(0, 0)
    )
    challenge = Challenge(3, Block(9, bytes(32), 1), Beacon(7, bytes(48)), bytes(32), parameters)
    journal.open_window(challenge, 4)
    account, ledger = (24, Seat(1, 0)), Ledger(2, (0.1,))
    accepted = Accepted(window=3, hotkey=HOTKEYS["bob"], detail="", provisional=True)
    refused = accepted.conclude(Refusal(Reason.ROOT_MISMATCH, "", unbound=True))

    def keep(verdict, asked_at):
        journal.put_verdict(verdict, asked_at, 0.5, account, ledger)
        return journal.load_judged_windows()[3]

    def describe(judged):
        kept = judged.withheld, judged.provisional, judged.verdicts, judged.asked_at
        return [list(found.values()) for found in kept]

    assert describe(keep(refused, 9)) == [[refused], [], [], [9]]
    assert describe(keep(accepted, 10)) == [[], [accepted], [], []]
    assert describe(keep(refused, 11)) == [[refused], [accepted], [], [11]]
    judged = keep(refused, 12)
    assert describe(judged) == [[refused], [accepted], [], [12]]
    judged.close_fetching()
    assert judged.verdicts == {HOTKEYS["bob"]: refused}
    final = replace(accepted, provisional=False)
    assert describe(keep(final, 13)) == [[], [accepted], [final], [13]]
    journal.settle(24, 4)
    assert journal.load_judged_windows() == {}
    assert database.execute("SELECT count(*) FROM provisional_verdicts") == [(0,)]
    database.close()


def test_a_context_comes_back_with_the_hashes_that_its_record_names(world):
    database = Database()
    journal = Journal(
        database, HOTKEYS["alice"], ParameterHistory(world.parameters), WindowProgress(0, 0)
    )
    context = world.contexts[1]
    block, beacon = context.challenge_block, context.challenge
    challenge = Challenge(1, block, beacon, context.checkpoint, world.parameters)
    journal.open_window(challenge, 2)
    zeros = replace(context.sample_block, hash=bytes(32), timestamp_ms=0)
    early = replace(context, sample=None, sample_block=zeros)
    for known in (early, context):
        journal.put_context(known)
        assert journal.load_judged_windows()[1].context == known
    assert bytes(32) not in (context.audit_block.hash, context.sample_block.hash)
    database.close()


# --- whose journal


def test_another_hotkeys_or_subnets_journal_is_refused(tmp_path, monkeypatch):
    mortal = Mortal(tmp_path, monkeypatch)
    parameters = mortal.parameters
    others = [
        replace(parameters, identity=replace(parameters.identity, **change))
        for change in ({"netuid": NETUID + 1}, {"genesis_hash": bytes(32)})
    ]
    for hotkey, rules in (
        (HOTKEYS["alice"], parameters),
        *((HOTKEYS["validator"], rules) for rules in others),
    ):
        with pytest.raises(JournalError, match="use another folder"):
            Journal(mortal.database, hotkey, ParameterHistory(rules), WindowProgress(0, 0))


def test_a_journal_that_names_no_subnet_goes_on_under_its_parameters_alone():
    """Earlier programs wrote such journals, which do not name the subnet that the weights were
    for."""
    database, parameters = Database(), make_parameters()
    Journal(database, HOTKEYS["alice"], ParameterHistory(parameters), WindowProgress(0, 7))
    database.execute("DELETE FROM subnet")
    others = replace(parameters, work=replace(parameters.work, audited_rollouts=5))
    with pytest.raises(JournalError, match="use another folder"):
        Journal(database, HOTKEYS["alice"], ParameterHistory(others), WindowProgress(0, 9))
    Journal(database, HOTKEYS["alice"], ParameterHistory(parameters), WindowProgress(0, 0))
    journal = Journal(database, HOTKEYS["alice"], ParameterHistory(others), WindowProgress(2, 9))
    assert journal.load_progress() == WindowProgress(2, 9)
    database.close()


def test_an_epochs_ledgers_are_forgotten_when_it_is_settled():
    """Kept, they would fill the file; carried over, they would count in another epoch."""
    database, parameters = Database(), make_parameters()
    journal = Journal(
        database, HOTKEYS["alice"], ParameterHistory(parameters), WindowProgress(0, 0)
    )
    verdict = Refused(window=3, hotkey=HOTKEYS["bob"], fault=Refusal(Reason.NO_COMMITMENT, ""))
    for epoch in (24, 36):
        journal.put_verdict(verdict, 9, 0.0, (epoch, Seat(1, 0)), Ledger(2, (0.1,)))
    journal.settle(24, 4)
    assert list(journal.load_ledgers()) == [(36, Seat(1, 0))]
    database.close()


# --- other parameters


@pytest.mark.parametrize("lag", [0, 30])
def test_other_parameters_lose_no_weights_that_are_due(tmp_path, monkeypatch, caplog, lag):
    """Started again in the same folder, it joins the new network, and still sends what the old one
    settled. A node that lags behind at this moment settles no epoch twice."""
    mortal = Mortal(tmp_path, monkeypatch)
    mortal.play(20)
    mortal.fate.hook = fail_at("before set_weights", ChainError("no permit"))
    while not any(row.state is DeliveryState.DUE for row in list_rows(mortal.database, 9)):
        mortal.play(1)
    (due, *_) = list_rows(mortal.database, 9)
    assert mortal.validator.judged_windows
    mortal.fate.hook = lambda name: None
    timing = replace(mortal.parameters.timing, window_blocks=4)
    mortal.parameters = replace(mortal.parameters, timing=timing)
    mortal.options["start"] = max(1, mortal.real.get_head() - lag)
    mortal.restart()
    validator, window = mortal.validator, compute_window(timing, mortal.real.get_head() - lag)
    assert "starting afresh" in caplog.text
    assert not validator.judged_windows
    assert not validator.ledgers
    assert validator.next_window == max(0, window) + 1
    assert validator.last_epoch == max(due.epoch, mortal.options["start"])
    mortal.play(40)
    rows = {row.epoch: row for row in list_rows(mortal.database, 99)}
    assert rows[due.epoch].state is DeliveryState.CONFIRMED
    assert rows[due.epoch].weights == due.weights
    assert max(rows) > due.epoch
    mortal.restart()  # and once joined it goes on
    assert caplog.text.count("starting afresh") == 1
    assert mortal.validator.last_epoch == max(rows)


def fail_at(point, error):
    def hook(name):
        if name == point:
            raise error

    return hook


def test_a_damaged_or_foreign_file_says_which(tmp_path):
    file = tmp_path / "validator.sqlite"
    file.write_bytes(b"SQLite format 3\x00" + bytes(200))
    with pytest.raises(JournalError, match=r"validator\.sqlite"):
        Database(file)
    file.unlink()
    with pytest.raises(JournalError, match="no validator has run"):
        Database(file, read_only=True)
    foreign = sqlite3.connect(file)
    foreign.execute("PRAGMA user_version = 7")
    foreign.close()
    with pytest.raises(JournalError, match="version 7"):
        Database(file)


def test_memory_stays_bounded(tmp_path, monkeypatch):
    mortal = Mortal(tmp_path, monkeypatch, remember=4)
    sizes = []
    for _ in range(12):
        mortal.play(12)
        tables = [
            mortal.database.execute(f"SELECT count(*) FROM {table}")[0][0]
            for table in ("windows", "verdicts", "ledgers")
        ]
        sampled = mortal.database.execute("SELECT count(*) FROM provisional_verdicts")
        assert sampled[0][0] < tables[1]
        validator = mortal.validator
        sizes.append((len(validator.judged_windows), len(validator.settlements), *tables))
    assert sizes[2:] == sizes[2:3] * 10, sizes
    assert len(mortal.validator.settlements) <= 2


# --- the real judge


def test_with_real_files_and_the_real_judge(fresh_world, tmp_path, monkeypatch):
    """Killed after every third submission that was judged and before it was noted."""
    world = fresh_world
    undisturbed = Watched(world)
    judged = [0]
    published = {}
    databases = []

    def start():
        databases.append(Database(tmp_path / "validator.sqlite"))
        return Validator(
            world.hotkeys["owner"],
            ParameterHistory(world.parameters),
            world.sources,
            databases[-1],
            lambda context: None,
            lambda audit: published.update({audit.challenge.window: audit}),
            lambda settlement: published.update({settlement.epoch: settlement}),
        )

    def judge(*arguments, **options):
        answer = judge_hotkey(*arguments, **options)
        judged[0] += 1
        if judged[0] % 3 == 0:
            raise Killed
        return answer

    validator = start()
    while not undisturbed.settlements:
        world.mint()
        while undisturbed.validator.step():
            pass
        busy = True
        with monkeypatch.context() as patch:
            patch.setattr(module, "judge_hotkey", judge)
            while busy:
                try:
                    busy = validator.step()
                except Killed:
                    databases[-1].close()
                    validator = start()
    assert judged[0] > 8
    for settlement in undisturbed.settlements:
        assert published[settlement.epoch] == settlement
        for window in settlement.windows:
            ours, whole = published[window], undisturbed.audit(window)
            assert forget_witnesses(ours) == forget_witnesses(whole)
            for hotkey, verdict in ours.verdicts.items():  # two validators, two projections
                assert len(verdict.witness) == len(whole.verdicts[hotkey].witness)
                assert (verdict.witness == b"") != verdict.accepted
            assert ours.context == whole.context
            assert {v.reason for v in ours.verdicts.values()} >= {Reason.ACCEPTED}
    assert validator.ledgers == undisturbed.validator.ledgers


def forget_witnesses(audit):
    return {hotkey: replace(verdict, witness=b"") for hotkey, verdict in audit.verdicts.items()}
