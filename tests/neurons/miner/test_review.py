"""A miner's view of its own windows: accepted, refused, lost, paid."""

import json
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from assay.artifacts.mining_history import (
    HistoryError,
    MinedWindow,
    MiningHistory,
    OwnVerdict,
    describe_history,
)
from assay.artifacts.submissions.judge import judge_hotkey
from assay.cli.program_view import render_history
from assay.inference.folder import CheckpointError
from assay.lab.gauntlet.content_attacks import RandomSketch
from assay.network.chain.errors import ChainError
from assay.neurons.miner import review as module
from assay.neurons.miner.miner import Miner, MinerConfig
from assay.neurons.miner.review import MinerReview
from assay.neurons.program.neuron import JudgeSources
from assay.protocol.amendment import ParameterHistory
from assay.protocol.commitment import make_object_name
from assay.protocol.reason import Reason
from assay.protocol.ss58 import encode_ss58
from assay.protocol.window import Phase, compute_block
from assay.session.window_reader import find_settlement, get_challenge, get_context
from assay.verification import Ledger, Seat
from tests.neurons.miner_bench import ALICE, HOTKEYS, LOCATOR, NETUID

VALIDATOR = HOTKEYS["validator"]


@pytest.fixture
def start():
    """A miner and its review on a subnet, and how a loop drives them."""

    def begin(subnet, kind):
        miner = subnet.start(kind)
        stores = {LOCATOR: subnet.store}
        sources = JudgeSources(subnet.chain, subnet.beacons, subnet.checkpoints, stores)
        parameters, say = ParameterHistory(subnet.parameters), subnet.lines.append
        review = MinerReview(ALICE, parameters, sources, subnet.history, say, say)

        def run_to(block):
            while subnet.chain.get_head() < block:
                subnet.chain.mint()
                while miner.step() or review.step():
                    pass

        return review, run_to

    return begin


def get_block(subnet, window, phase):
    return compute_block(subnet.parameters.timing, window, phase)


def show(rows):
    text = StringIO()
    Console(width=200, file=text).print(render_history(rows))
    return text.getvalue()


def test_an_accepted_window_with_what_it_was_paid(make_subnet, quick_miner, start):
    subnet = make_subnet()
    review, run_to = start(subnet, quick_miner)
    run_to(get_block(subnet, 0, Phase.AUDIT) + 6)
    settlement = find_settlement(subnet.chain, subnet.parameters, 0)
    (row, *_) = describe_history(subnet.history)
    assert row["groups"] == {"done": 4, "wanted": 4}
    assert row["upload"]["name"] == make_object_name(encode_ss58(ALICE), 0)
    assert row["upload"]["bytes"] == len(subnet.get_file(0))
    assert row["commitment"]["stood"] is True
    assert row["verdict"]["accepted"]
    assert row["verdict"]["settlement"] == settlement
    assert row["verdict"]["score"] > 0
    assert row["payment"] is None
    run_to(settlement)
    subnet.chain.set_weights(VALIDATOR, {1: 65_535, 3: 13_107})
    subnet.chain.pay({ALICE: (6_000, 123_456_789)})
    run_to(settlement + subnet.parameters.timing.tempo)
    assert describe_history(subnet.history)[0]["payment"] is None
    run_to(settlement + subnet.parameters.timing.tempo + 1)
    (row, *_) = describe_history(subnet.history)
    assert row["payment"] == {
        "settlement": settlement,
        "block": settlement + subnet.parameters.timing.tempo + 1,
        "uid": 3,
        "weights": [{"validator": encode_ss58(VALIDATOR), "weight": 13_107, "share": 0.166667}],
        "incentive": 6_000,
        "emission_rao_alpha": 123_456_789,
        "note": None,
    }
    assert review.trouble is None
    text = show(json.loads(json.dumps(describe_history(subnet.history))))
    assert "ACCEPTED" in text
    assert "0.1235" in text


def test_a_window_of_episodes_is_accepted(make_subnet, start):
    """Mined, packed and judged: no reply is in the file, and the judge derives them again."""
    subnet = make_subnet(MinerConfig(4, 4))
    subnet.play()
    _, run_to = start(subnet, Miner)
    run_to(get_block(subnet, 0, Phase.AUDIT) + 6)
    (row, *_) = describe_history(subnet.history)
    verdict = row["verdict"]
    assert verdict["accepted"]
    assert verdict["score"] > 0


def test_its_verdicts_and_ledger_are_the_validators(make_subnet, quick_miner, start):
    """Over a whole settlement: the same judge, on the same bytes, with the same evidence so far."""
    subnet = make_subnet()
    _, run_to = start(subnet, quick_miner)
    run_to(get_block(subnet, 2, Phase.AUDIT) + 6)
    stores = {LOCATOR: subnet.store}
    sources = JudgeSources(subnet.chain, subnet.beacons, subnet.checkpoints, stores)
    ledgers = {}
    checkpoint = subnet.checkpoints.get(subnet.parameters.identity.genesis_checkpoint)
    for window in range(3):
        challenge = get_challenge(subnet.chain, subnet.beacons, subnet.parameters, window)
        context = get_context(subnet.chain, subnet.beacons, subnet.parameters, challenge)
        settlement = find_settlement(subnet.chain, subnet.parameters, window)
        judged = judge_hotkey(
            context, ALICE, checkpoint, sources, ledgers.get(settlement, Ledger())
        )
        verdict, ledgers[settlement] = judged.verdict, judged.ledger
        (own,) = subnet.history.get_verdicts(window)
        assert (own.reason, own.detail, own.tokens) == (
            verdict.reason,
            verdict.detail,
            verdict.tokens,
        )
        assert dict(own.statistics) == verdict.to_record().to_json(0)["statistics"]
    for settlement, ledger in ledgers.items():
        assert subnet.history.get_ledger(settlement, Seat(3, 0)) == ledger
    assert len(ledgers) == 2


def test_the_ledger_is_carried_over_a_restart(make_subnet, quick_miner, start, monkeypatch):
    subnet, entered = make_subnet(), []
    honest = module.judge_hotkey

    def judge(context, hotkey, checkpoint, sources, ledger):
        entered.append(ledger.rollouts)
        return honest(context, hotkey, checkpoint, sources, ledger)

    monkeypatch.setattr(module, "judge_hotkey", judge)
    for window in range(4):
        _, run_to = start(subnet, quick_miner)  # a fresh program for each
        run_to(get_block(subnet, window, Phase.AUDIT) + 6)
    each = subnet.parameters.work.audited_rollouts
    assert entered == [0, each, 0, each]  # epochs end with blocks 48 and 73


def test_a_cheat_sees_its_own_refusal(make_subnet, start):
    subnet = make_subnet()
    _, run_to = start(subnet, RandomSketch)
    run_to(get_block(subnet, 0, Phase.AUDIT) + 6)
    (row, *_) = describe_history(subnet.history)
    verdict = row["verdict"]
    assert verdict["reason"] == "SKETCH_MISMATCH"
    assert verdict["costs"] == "the whole settlement"
    assert verdict["score"] == 0
    assert {"group", "rollout"} <= verdict.keys()
    assert any("SKETCH_MISMATCH" in line for line in subnet.lines)
    text = show([row])
    assert f"group {verdict['group']}, rollout {verdict['rollout']}" in text


def test_a_window_without_commitment_is_told_apart(make_subnet, quick_miner, start, monkeypatch):
    subnet = make_subnet()

    def refuse(hotkey, payload):
        raise ChainError("no space left in this epoch")

    monkeypatch.setattr(subnet.chain, "set_commitment", refuse)
    _, run_to = start(subnet, quick_miner)
    run_to(get_block(subnet, 0, Phase.AUDIT) + 6)
    (row, *_) = describe_history(subnet.history)
    assert row["verdict"]["reason"] == "NO_COMMITMENT"
    assert row["commitment"]["sent_at"] is None
    assert "no space left in this epoch" in row["note"]
    assert "no space left" in show([row])


def test_a_hotkey_without_a_seat_sees_that(make_subnet, quick_miner, start):
    subnet = make_subnet()
    _, run_to = start(subnet, quick_miner)
    run_to(6)
    subnet.chain.swap(ALICE, bytes(32))
    run_to(get_block(subnet, 0, Phase.AUDIT) + 6)
    assert describe_history(subnet.history)[0]["verdict"]["reason"] == "NOT_REGISTERED"
    settlement = find_settlement(subnet.chain, subnet.parameters, 0)
    run_to(settlement + subnet.parameters.timing.tempo + 1)
    payment = describe_history(subnet.history)[0]["payment"]
    assert payment["uid"] is None
    assert "no longer had a uid" in payment["note"]


def test_a_slot_that_somebody_overwrote(make_subnet, quick_miner, start):
    """Two programs with one hotkey: the other's commitment is what counts."""
    subnet = make_subnet()
    _, run_to = start(subnet, quick_miner)
    run_to(12)
    own = subnet.get_slot()
    subnet.chain.set_commitment(ALICE, own[:16] + bytes(32) + own[48:])
    run_to(get_block(subnet, 0, Phase.AUDIT) + 6)
    (row, *_) = describe_history(subnet.history)
    assert row["commitment"]["stood"] is False
    assert row["verdict"]["reason"] == "ROOT_MISMATCH"
    assert "was not on chain" in show([row])


def test_a_file_that_went_away_is_seen_while_it_can_be_mended(make_subnet, quick_miner, start):
    subnet = make_subnet()
    _, run_to = start(subnet, quick_miner)
    file = subnet.folder / "store" / make_object_name(encode_ss58(ALICE), 0)
    run_to(get_block(subnet, 0, Phase.AUDIT))
    data = file.read_bytes()
    file.unlink()
    run_to(get_block(subnet, 0, Phase.FETCH_END) - 2)
    (own,) = subnet.history.get_verdicts(0)
    assert (own.reason, own.final) == (Reason.NOT_REVEALED, False)
    assert len([line for line in subnet.lines if "NOT_REVEALED" in line]) == 1
    assert "NOT_REVEALED so far" in show(describe_history(subnet.history)[:1])
    file.write_bytes(data)
    run_to(get_block(subnet, 0, Phase.FETCH_END))
    (own,) = subnet.history.get_verdicts(0)
    assert (own.reason, own.final) == (Reason.ACCEPTED, True)


def test_a_file_deleted_from_the_store(make_subnet, quick_miner, start):
    subnet = make_subnet()
    _, run_to = start(subnet, quick_miner)
    run_to(get_block(subnet, 0, Phase.AUDIT))
    (subnet.folder / "store" / make_object_name(encode_ss58(ALICE), 0)).unlink()
    for phase, final in ((Phase.MIRROR_END, False), (Phase.VERDICT_END, True)):
        run_to(get_block(subnet, 0, phase))
        verdict = describe_history(subnet.history)[0]["verdict"]
        assert (verdict["reason"], verdict["final"]) == ("NOT_REVEALED", final)
    assert "second" in verdict["costs"]


def test_a_checkpoint_that_is_gone_leaves_the_verdict_open(
    make_subnet, quick_miner, start, monkeypatch
):
    subnet = make_subnet()
    review, run_to = start(subnet, quick_miner)

    def look(*_):
        raise CheckpointError("not here")

    monkeypatch.setattr(module, "open_checkpoint", look)
    run_to(get_block(subnet, 0, Phase.VERDICT_END) - 1)
    assert subnet.history.get_verdicts(0) == []
    assert review.trouble.text == "not here"
    run_to(get_block(subnet, 0, Phase.VERDICT_END))
    (own,) = subnet.history.get_verdicts(0)
    assert (own.reason, own.final, own.detail) == (None, True, "not here")


def test_a_checkpoint_that_is_away_for_a_moment_costs_no_verdict(
    make_subnet, quick_miner, start, monkeypatch
):
    """The miner comes back when the verdicts are already final."""
    subnet = make_subnet()
    _, run_to = start(subnet, quick_miner)
    run_to(8)
    while subnet.chain.get_head() < get_block(subnet, 0, Phase.VERDICT_END):
        subnet.chain.mint()
    honest, heads = module.open_checkpoint, set()

    def look(*arguments):
        heads.add(subnet.chain.get_head())
        if len(heads) < 3:
            raise CheckpointError("not here")
        return honest(*arguments)

    monkeypatch.setattr(module, "open_checkpoint", look)
    review, run_to = start(subnet, quick_miner)
    run_to(subnet.chain.get_head() + 5)
    (own,) = subnet.history.get_verdicts(0)
    assert (own.reason, own.final) == (Reason.ACCEPTED, True)
    assert review.trouble is None


def test_a_miner_that_was_away_too_long_does_not_ask_for_ever(make_subnet, quick_miner, start):
    """Plain nodes forget: windows older than their state stay open, newer ones are judged."""
    subnet = make_subnet()
    review, run_to = start(subnet, quick_miner)
    run_to(8)
    for _ in range(300):
        subnet.chain.mint()
    _, run_to = start(subnet, quick_miner)
    run_to(subnet.chain.get_head() + 40)
    first, second = subnet.history.get_verdicts()[:2]
    assert (first.window, first.reason) == (0, None)
    assert "state" in first.detail
    assert second.reason is Reason.ACCEPTED
    assert review.trouble is None


def test_review_waits_for_the_miner(make_subnet, start, monkeypatch):
    """No group is judged while groups of an open window are still to be made."""
    subnet, events = make_subnet(), []

    class Noting(Miner):
        def step(self):
            more = super().step()
            if more:
                events.append("mined")
            return more

    _, run_to = start(subnet, Noting)
    judge = module.judge_hotkey
    monkeypatch.setattr(module, "judge_hotkey", lambda *a: (events.append("judged"), judge(*a))[1])
    run_to(get_block(subnet, 1, Phase.AUDIT) + 6)
    opened = events.index("judged")
    assert events[:opened].count("mined") >= 3  # the window was opened, and both halves made
    assert subnet.history.get_verdicts(0)


def test_a_history_is_one_hotkeys_on_one_subnet(tmp_path):
    file = tmp_path / "history.sqlite"
    MiningHistory(file, bytes(32), NETUID, ALICE).close()
    for identity in ((bytes(32), NETUID, VALIDATOR), (bytes(32), 1, ALICE), (ALICE, NETUID, ALICE)):
        with pytest.raises(HistoryError, match="folder of its own"):
            MiningHistory(file, *identity)


def test_a_damaged_history_says_which_file(tmp_path):
    file = tmp_path / "history.sqlite"
    file.write_bytes(b"SQLite format 3\x00" + bytes(200))
    with pytest.raises(HistoryError, match=r"history\.sqlite"):
        MiningHistory(file, bytes(32), NETUID, ALICE)


def test_rows_come_back_as_they_were_written(tmp_path):
    with MiningHistory(tmp_path / "history.sqlite", bytes(32), NETUID, ALICE) as history:
        mined = MinedWindow(7, 84, bytes(32), 16, 3, "a/b", 9, b"\x01" * 32, 90, "slow")
        history.write_mined(MinedWindow(7, 84, bytes(32), 16))
        history.write_mined(replace(mined, opened_at=88))
        assert history.get_mined() == [mined]
        verdict = OwnVerdict(
            7, 120, 99, True, True, Reason.SAMPLING_MISMATCH, "why", 0, 5, 1, 2, 3, {"x": 0.1}
        )
        ledger = Ledger(2, (-1.5, float("-inf"), 0.1 + 0.2))
        history.write_verdict(verdict, Seat(3, 1), ledger)
        assert history.get_verdicts() == [verdict]
        assert history.get_ledger(120, Seat(3, 1)) == ledger
        assert history.get_ledger(120, Seat(3, 2)) == Ledger()
        assert history.get_unpaid() == [120]
