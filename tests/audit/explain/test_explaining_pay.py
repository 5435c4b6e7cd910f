"""Zero pay explained: settlements zeroed, windows abstained from, validators that nobody counts.

Chain, calendar and records are real; a file's value follows from its window (`mortal.py`).
"""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from assay.artifacts.mining_history import MinedWindow, MiningHistory
from assay.artifacts.records.reader import parse_statistics
from assay.audit.explain.explanation import explain
from assay.audit.explain.from_folder import gather_from_folder
from assay.audit.explain.from_network import WindowQuery, gather_from_network
from assay.audit.explain.published_verdicts import find_words, open_published
from assay.audit.explain.reproduction import ExplainError
from assay.inference.folder import CheckpointError
from assay.network.chain.errors import ForgottenError
from assay.network.store.base import StoreError
from assay.neurons.validator import weights_outbox
from assay.protocol.amendment import ParameterHistory
from assay.protocol.commitment import Commitment, Tag, encode_commitment
from assay.protocol.parameters import MAIN_WORK
from assay.protocol.reason import Reason
from assay.protocol.record import make_statistics_name
from assay.protocol.ss58 import encode_ss58
from assay.protocol.window import Phase, compute_block
from tests.adversarial.mortal import HOTKEYS, LOCATOR, TIMING, Mortal

ALICE, BOB, CAROL = (HOTKEYS[name] for name in ("alice", "bob", "carol"))
VALIDATOR = HOTKEYS["validator"]


@pytest.fixture
def mortal(tmp_path, monkeypatch):
    monkeypatch.setattr(weights_outbox, "DOUBT_BLOCKS", 2)
    mortal = Mortal(tmp_path / "validator", monkeypatch)
    mortal.play(40)
    return mortal


class Stores:
    """Those that may be read."""

    def __init__(self, **by_locator):
        self._stores = by_locator

    def open(self, locator):
        if locator not in self._stores:
            raise StoreError(f"{locator!r} may not be read here")
        return self._stores[locator]


class NoOutlines:
    """No store has the checkpoint: this world has none."""

    def get(self, digest):
        raise CheckpointError("no store has it")


def open_session(mortal, stores, chain=None):
    return SimpleNamespace(
        chain=chain or mortal.real,
        beacons=mortal.beacons,
        history=ParameterHistory(mortal.parameters),
        stores=stores,
    )


def ask(mortal, hotkey, window, chain=None, **options):
    stores = Stores(**{LOCATOR: mortal.store})
    session = open_session(mortal, stores, chain)
    given = {"model": None, "validator": None, "records": None} | options
    given.setdefault("folder", mortal.folder.parent / "miner")
    facts, _ = gather_from_network(session, NoOutlines(), WindowQuery(hotkey, window, **given))
    return explain(facts)


def has(lines, *words):
    return any(all(word in line for word in words) for line in lines)


def test_the_settlement_is_followed_from_score_to_pay(mortal):
    explanation = ask(mortal, ALICE, 3)
    assert explanation.accepted
    assert explanation.who == f"validator {encode_ss58(VALIDATOR)}"
    settled = explanation.facts.settled
    audits = mortal.validator.judged_windows
    scores = {
        w.window: 3 * audits[w.window].verdicts[ALICE].groups[0].value // 2 for w in settled.windows
    }
    assert {w.window: w.score for w in settled.windows} == scores
    assert settled.score == sum(scores.values())
    assert has(explanation.pay, f"{settled.score:,}", "of all seats")
    assert explanation.to_json()["settlement"]["share"] == round(settled.score / settled.total, 6)


def test_cheating_in_another_window_zeroes_this_one_and_is_named(mortal):
    (settled,) = (s for s in mortal.validator.settlements if 2 in s.windows)
    window = next(w for w in settled.windows if w != 2)
    explanation = ask(mortal, CAROL, window)
    assert explanation.accepted  # this very window was fine
    assert explanation.facts.settled.score == 0
    assert has(explanation.pay, "zeroed", "window 2 (SKETCH_MISMATCH)")


def test_two_withheld_windows_zero_the_rest_and_are_named(mortal):
    mortal.play(20)  # to a settlement that holds two of them
    for settlement in mortal.validator.settlements:
        withheld = [w for w in settlement.windows if w % 3 == 0]
        fine = [w for w in settlement.windows if w % 3]
        if not fine:
            continue
        explanation = ask(mortal, BOB, fine[0])
        named = [f"window {w} (NOT_REVEALED)" for w in withheld]
        assert has(explanation.pay, "zeroed", *named) is (len(withheld) > 1)
    assert any(sum(w % 3 == 0 for w in s.windows) > 1 for s in mortal.validator.settlements)


def test_a_folder_alone_tells_the_same(mortal):
    for hotkey in (ALICE, BOB, CAROL):
        by_chain = ask(mortal, hotkey, 2)
        facts, _ = gather_from_folder(mortal.folder, hotkey, 2, None, None)
        by_folder = explain(facts)
        assert by_folder.reason is by_chain.reason
        assert by_folder.facts.settled == by_chain.facts.settled


def test_before_the_record_is_out_the_block_that_settles_is_named(mortal):
    newest = max(w for w, audit in mortal.validator.judged_windows.items() if audit.verdicts)
    explanation = ask(mortal, ALICE, newest)
    assert explanation.facts.statements == ()
    end, head = compute_block(TIMING, newest, Phase.VERDICT_END), mortal.real.get_head()
    assert head < end
    assert has(explanation.pay, f"window {newest} is still open until block {end}", f"block {head}")
    block = explanation.facts.settles_at
    assert has(explanation.pay, f"epoch block {block}")
    facts, _ = gather_from_folder(mortal.folder, ALICE, newest - 1, None, None)
    if not facts.settled:
        assert has(explain(facts).notes, "has not published its record")


class Permits:
    """The same chain, on which everybody may set weights, or nobody."""

    def __init__(self, chain, permit):
        self._chain = chain
        self._permit = permit

    def __getattr__(self, name):
        return getattr(self._chain, name)

    def get_metagraph(self, number):
        rows = self._chain.get_metagraph(number)
        return [replace(row, permit=self._permit) for row in rows]


def test_a_validator_without_permit_counts_for_nobody(mortal):
    for permit in (True, False):
        explanation = ask(mortal, ALICE, 3, Permits(mortal.real, permit))
        assert has(explanation.pay, "no validator permit") is not permit


def test_an_abstained_window_is_said_to_count_for_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr(weights_outbox, "DOUBT_BLOCKS", 2)
    mortal = Mortal(tmp_path / "validator", monkeypatch)
    mortal.play(8)
    mortal.database.close()
    for _ in range(22):
        mortal.real.mint()
    mortal.restart()
    mortal.play(30)
    skipped = 4  # while it was away
    explanation = ask(mortal, ALICE, skipped)
    assert has(explanation.pay, "abstained", f"window {skipped}")


# --- chain


def test_a_non_member_sees_both_blocks(mortal):
    stranger = b"\x01" * 32
    explanation = ask(mortal, stranger, 2)
    assert explanation.reason is Reason.NOT_REGISTERED
    first, last = (compute_block(TIMING, 2, phase) for phase in (Phase.CHALLENGE, Phase.COMMIT))
    for block in (first, last):
        assert has(explanation.notes, f"at block {block} the hotkey held no uid")


class Owned:
    """The same chain, on which one coldkey owns all but the validator's hotkey."""

    def __init__(self, chain, coldkey):
        self._chain, self._coldkey = chain, coldkey

    def __getattr__(self, name):
        return getattr(self._chain, name)

    def get_metagraph(self, number):
        rows = self._chain.get_metagraph(number)
        return [r if r.hotkey == VALIDATOR else replace(r, coldkey=self._coldkey) for r in rows]


def test_a_coldkey_is_told_from_a_stranger_and_its_hotkeys_are_named(mortal):
    coldkey = b"\x02" * 32
    words = "the address is a member's coldkey, not a hotkey"
    explanation = ask(mortal, coldkey, 2, Owned(mortal.real, coldkey))
    assert explanation.reason is Reason.NOT_REGISTERED
    for hotkey, owned in ((ALICE, True), (BOB, True), (VALIDATOR, False)):
        assert has(explanation.seen, words, encode_ss58(hotkey)) is owned
    assert not has(ask(mortal, b"\x01" * 32, 2, Owned(mortal.real, coldkey)).seen, words)
    # an address that is also a hotkey was asked about as one
    assert not has(ask(mortal, ALICE, 2, Owned(mortal.real, ALICE)).seen, words)


def test_a_late_miner_sees_the_slots_content_by_block(tmp_path, monkeypatch):
    mortal = Mortal(tmp_path / "validator", monkeypatch)
    window, block = 2, compute_block(TIMING, 2, Phase.COMMIT)
    payload = encode_commitment(Commitment(Tag.MINER, window, 2, bytes(32), "https://a.example"))
    mortal.play(block)
    mortal.real.set_commitment(ALICE, payload)  # stands in the next block
    mortal.play(3)
    folder = tmp_path / "miner"
    with MiningHistory(
        folder / "history.sqlite", mortal.real.genesis_hash, mortal.real.netuid, ALICE
    ) as history:
        history.write_mined(MinedWindow(window, 6, bytes(32), 4, 2, sent_at=block))
    explanation = ask(mortal, ALICE, window, folder=folder)
    assert explanation.reason is Reason.NO_COMMITMENT
    assert has(explanation.notes, f"at block {block} its slot of commitments was empty")
    assert has(explanation.notes, f"block {block + 1}", "too late")
    assert has(explanation.notes, "own history", f"sent at block {block}")


class Forgetful:
    """A node that has no state any more."""

    def __init__(self, chain):
        self._chain = chain

    def __getattr__(self, name):
        return getattr(self._chain, name)

    def get_members(self, number):
        if number < self._chain.get_head() - 3:
            raise ForgottenError("the node no longer has it")
        return self._chain.get_members(number)


def test_an_old_window_is_told_from_a_record_or_needs_an_archive(mortal):
    chain = Forgetful(mortal.real)
    explanation = ask(mortal, ALICE, 2, chain)
    assert explanation.reason is ask(mortal, ALICE, 2).reason
    assert has(explanation.notes, "the nodes have forgotten window 2", "word")
    with pytest.raises(ExplainError, match="archive endpoint"):
        ask(mortal, ALICE, 2, chain, validator=BOB)


def test_a_window_that_is_not_over_names_its_blocks(mortal):
    head = mortal.real.get_head()
    window = head // TIMING.window_blocks
    with pytest.raises(ExplainError, match=f"window {window} is still open until.*block {head}"):
        ask(mortal, ALICE, window)
    with pytest.raises(ExplainError, match="has not begun"):
        ask(mortal, ALICE, window + 9)


def test_a_record_that_may_not_be_read_is_said_to_be_so(mortal):
    session = open_session(mortal, Stores())
    asked = WindowQuery(ALICE, 2, mortal.folder.parent / "miner", None, None, None)
    facts, _ = gather_from_network(session, NoOutlines(), asked)
    assert has(facts.notes, "is not read", LOCATOR)
    explanation = ask(mortal, ALICE, 2, records=mortal.store)
    assert explanation.facts.statements


# --- a validator's statistics are a stranger's JSON


@pytest.mark.parametrize(
    "data",
    [
        None,
        b"",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'{"verdicts": 3}',
        b'{"verdicts": [3]}',
        b'{"verdicts": [{"hotkey": "ADDRESS"}]}',
        b'{"verdicts": [{"hotkey": "ADDRESS", "reason": "ACCEPTED", "detail": "x"}]}',
        b'{"verdicts": [{"hotkey": "ADDRESS", "reason": "SKETCH_MISMATCH", "detail": "x", '
        b'"statistics": 7}]}',
        b'{"verdicts": [{"hotkey": "ADDRESS", "reason": "SKETCH_MISMATCH", "detail": "x", '
        b'"statistics": {"margin_max": 1' + b"0" * 400 + b"}}]}",
    ],
)
def test_broken_statistics_are_left_out(data):
    data = data and data.replace(b"ADDRESS", encode_ss58(ALICE).encode())
    verdicts = parse_statistics(data or b"{}", MAIN_WORK)
    assert find_words(verdicts, ALICE, Reason.SKETCH_MISMATCH) == {}


def test_a_strangers_sentence_sends_nothing_to_the_terminal(mortal):
    name = make_statistics_name(encode_ss58(VALIDATOR), 2)
    document = json.loads(mortal.store.get(name, 1 << 20))
    for verdict in document["verdicts"]:
        verdict["detail"] = "\x1b[2Jgone\r" + "x" * 9_999
        verdict["statistics"]["margin_max"] = float("nan")
        verdict["token"] = "7; rm"
    (mortal.folder / "record" / name).write_text(json.dumps(document))
    records = open_published(mortal.store, VALIDATOR, ParameterHistory(mortal.parameters), 2)
    statement = records.get_verdict(CAROL, 2)
    assert statement.reason is Reason.SKETCH_MISMATCH
    assert statement.detail.startswith("[2Jgone")
    assert len(statement.detail) <= 400
    assert "margin_max" not in statement.statistics
    assert statement.token is None


def test_statistics_that_lack_what_a_reason_hangs_on(mortal):
    """Figures of other names, and figures beyond all measure."""
    name = make_statistics_name(encode_ss58(VALIDATOR), 3)
    document = json.loads(mortal.store.get(name, 1 << 20))
    for statistics in ({"other": 1.0}, {"margin_max": 1.0}, {"log_capital": 10**400}):
        for verdict in document["verdicts"]:
            verdict["statistics"] = statistics
        (mortal.folder / "record" / name).write_text(json.dumps(document))
        assert ask(mortal, ALICE, 3).accepted
