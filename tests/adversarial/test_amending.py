"""Parameters change under validators that work, are killed, or cannot read the new ones.

Chain, calendar, beacons, journal, records and outbox are real; see `tests.adversarial.mortal`.
"""

import random
from dataclasses import replace
from functools import partial
from typing import ClassVar

import pytest

from assay.artifacts.discovery import publish_parameters
from assay.artifacts.store_objects import make_parameters_name
from assay.network.store.folder import open_folder
from assay.neurons.validator.weights_outbox import list_rows
from assay.protocol.amendment import compute_decision_block, find_amendment_fault
from assay.protocol.commitment import Commitment, Tag, encode_commitment
from assay.protocol.parameters import MILLION
from assay.protocol.record import decode_settlement_record, decode_window_record
from assay.protocol.window import Phase, compute_block, compute_window
from assay.session.parameter_follower import ParameterFollower
from tests.adversarial.mortal import (
    HOTKEYS,
    LOCATOR,
    TIMING,
    Mortal,
    is_write,
    require_kills_change_nothing,
)
from tests.amended_parameters import amend

#: The first window of the amendment, which is the first of the third settlement.
FIRST = 5
BLOCKS = 53
NEW_TIMING = replace(
    TIMING, audit_offset=5, sample_offset=6, fetch_end=7, mirror_end=8, verdict_end=10
)


def change(before, window=FIRST, share=MILLION // 4):
    """Later moments, and a share that is burned."""
    identity = replace(before.identity, burn_share=share)
    return amend(before, window, identity=identity, timing=NEW_TIMING)


class Amended(Mortal):
    """A subnet whose owner makes the play's announcements, and a validator that follows."""

    #: block → the content of the owner's slot from the next block on
    said: ClassVar = {0: lambda first: first, 3: change}

    def __init__(self, folder, monkeypatch, kills=(), *, away=False):
        self.rules = open_folder(folder / "owner")
        self.away = away
        self.followed = None
        super().__init__(folder, monkeypatch, kills)

    def say(self, parameters):
        window = parameters.start.window
        slot = Commitment(Tag.PARAMETERS, window, 0, parameters.digest, LOCATOR)
        self.real.set_commitment(HOTKEYS["owner"], encode_commitment(slot))
        if not (self.away and window):
            publish_parameters(self.rules, parameters)

    def make_history(self):
        if not self.real.get_head():
            self.say(self.parameters)
            self.real.mint()
        self.followed = ParameterFollower(self.chain, lambda locator: self.rules, self.folder / "r")
        return self.followed.history

    def work(self):
        saying = self.said.get(self.real.get_head())
        if saying is not None:
            self.say(saying(self.parameters))
        super().work()

    def step(self):
        """Look once a window, as a program does."""
        self.fate("look")
        self.followed.look()
        return self.validator.step()

    def read_records(self):
        store = self.folder / "record"
        windows = [decode_window_record(p.read_bytes()) for p in store.rglob("window-*.record")]
        found = [
            decode_settlement_record(p.read_bytes()) for p in store.rglob("settlement-*.record")
        ]
        return (
            {record.window: record for record in windows},
            sorted(found, key=lambda record: record.epoch),
        )


def play(folder, monkeypatch, kills=(), **options):
    play = Amended(folder, monkeypatch, kills, **options)
    play.play(BLOCKS)
    return play


def test_windows_on_both_sides_are_judged_by_their_own_and_none_is_left_out(
    tmp_path, monkeypatch, short_doubt
):
    mortal = play(tmp_path, monkeypatch)
    first, amended = mortal.history.all
    assert find_amendment_fault(first, amended) is None
    windows, settlements = mortal.read_records()
    assert sorted(windows) == list(range(max(windows) + 1))
    for number, record in windows.items():
        assert record.outcome.name == "COUNTED"
        assert record.parameters == (amended if number >= FIRST else first).digest
        block = compute_block(record_timing(number), number, Phase.AUDIT)
        assert record.audit.timestamp_ms == mortal.real.get_block(block).timestamp_ms
    covered = [[c.window for c in record.windows] for record in settlements]
    assert [window for some in covered for window in some] == sorted(windows)
    _, before, after, *_ = settlements
    assert (covered[1][-1], covered[2][0]) == (FIRST - 1, FIRST)
    assert (before.parameters, after.parameters) == (first.digest, amended.digest)

    def get_burned(record):
        """The owner's share of all weights."""
        weights = {weight.uid: weight.weight for weight in record.weights}
        return weights.get(first.identity.owner_uid, 0) / sum(weights.values())

    assert get_burned(before) == 0
    assert get_burned(after) == pytest.approx(0.25, abs=1e-4)


def record_timing(window):
    return NEW_TIMING if window >= FIRST else TIMING


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "step"), [(0, 96), *(pytest.param(n, 12, marks=pytest.mark.kill) for n in range(12))]
)
def test_killed_before_and_after_every_write(tmp_path, monkeypatch, short_doubt, first, step):
    require_kills_change_nothing(
        partial(play, monkeypatch=monkeypatch),
        tmp_path,
        lambda points: [n for n, name in enumerate(points) if is_write(name)][first::step],
    )


@pytest.mark.parametrize(
    "seed", [*range(2), *(pytest.param(s, marks=pytest.mark.kill) for s in range(2, 12))]
)
def test_killed_again_and_again(tmp_path, monkeypatch, short_doubt, seed):
    draw = random.Random(seed)
    expected = play(tmp_path / "whole", monkeypatch)
    mortal = play(tmp_path / "parts", monkeypatch, [draw.randrange(200) for _ in range(60)])
    assert mortal.fate.killed > 10
    assert mortal.describe() == expected.describe()


def test_unreadable_parameters_stop_the_program_after_the_windows_before_them(
    tmp_path, monkeypatch, short_doubt
):
    """Every window before it is judged and settled, and its weights are on chain. No window after
    it is begun, and the validator's record abstains from none."""
    whole = play(tmp_path / "whole", monkeypatch)
    mortal = play(tmp_path / "away", monkeypatch, away=True)
    assert mortal.history.end == FIRST
    assert max(window for window, _ in mortal.judged) == FIRST - 1
    windows, settlements = mortal.read_records()
    assert sorted(windows) == list(range(FIRST))
    assert [row.state.name for row in list_rows(mortal.database, 9)] == ["CONFIRMED"] * 2
    assert mortal.chain.sent == whole.chain.sent[:2]
    assert len(settlements) == 2
    # once they can be fetched, the program continues with that block's window
    mortal.rules.put(
        make_parameters_name(change(mortal.parameters).digest),
        (
            tmp_path / "whole/owner" / make_parameters_name(change(mortal.parameters).digest)
        ).read_bytes(),
    )
    mortal.play(12)
    assert mortal.history.end is None
    assert max(window for window, _ in mortal.judged) > compute_window(TIMING, BLOCKS)


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ({0: lambda p: p, 3: change, 5: lambda p: change(p, share=1)}, [0, 1]),
        ({0: lambda p: p, 3: change, 5: lambda p: p}, [0]),
        ({0: lambda p: p, compute_block(TIMING, FIRST - 2, Phase.CHALLENGE): change}, [0]),
        (
            {
                0: lambda p: p,
                3: change,
                compute_block(TIMING, FIRST - 2, Phase.CHALLENGE): lambda p: p,
            },
            [0, MILLION // 4],
        ),
        (
            {0: lambda p: p, 3: change, 14: lambda p: change(change(p), FIRST + 4, share=7)},
            [0, MILLION // 4, 7],
        ),
    ],
    ids=["announced twice", "withdrawn", "too late", "withdrawn too late", "one after the other"],
)
@pytest.mark.parametrize("kills", [(), range(40, 90, 7)], ids=["", "killed"])
def test_all_programs_come_to_the_same(tmp_path, monkeypatch, short_doubt, said, names, kills):
    """Whenever they look; `names` are the shares burned under what holds one after the other."""
    monkeypatch.setattr(Amended, "said", said)
    mortal = play(tmp_path, monkeypatch, list(kills))
    assert [p.identity.burn_share for p in mortal.history.all] == names
    windows, _ = mortal.read_records()
    for number, record in windows.items():
        assert record.parameters == mortal.history.get(number).digest
    assert sorted(windows) == list(range(max(windows) + 1))
    assert max(windows) > FIRST + 4
    last = compute_decision_block(mortal.parameters, FIRST)
    assert last == compute_block(TIMING, FIRST - 2, Phase.CHALLENGE)
