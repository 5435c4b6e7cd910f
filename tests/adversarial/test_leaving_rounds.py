"""A trainer whose own merge is uploaded and cannot be announced, while another publishes a lie."""

import pytest
import torch

from assay.protocol.commitment import Commitment, Tag, encode_commitment
from assay.rounds import compute_line
from assay.rounds.course import Published, RoundEvent
from assay.rounds.places import RoundPlaces
from tests.adversarial.round_bench import RoundBench


@pytest.fixture
def entered(monkeypatch):
    """The states that trainers left, and by which events."""
    found, enter = [], RoundPlaces.enter

    def note(places, event, place, outer=None):
        before = places.place
        made = enter(places, event, place, outer)
        if before is not None and event is not None:
            found.append((type(before.stage), event))
        return made

    monkeypatch.setattr(RoundPlaces, "enter", note)
    return found


@pytest.fixture
def bench(tmp_path):
    """After the deadline of the first round: the third is away, and has named its child."""
    torch.set_num_threads(1)
    bench = RoundBench(tmp_path)
    first = bench.get_round(0)
    bench.run_to(first.deadline - 1)
    bench.run_to(first.deadline, without=("third",))
    yield bench
    bench.close()


def get_stage(bench, name):
    return type(bench.trainers[name].rounds.place.stage)


def publish_in_turn(bench):
    """The first one in line that is here makes its merge, and then can no longer reach the chain.
    Returns its name."""
    first = bench.get_round(0)
    names = {hotkey: name for name, hotkey in bench.hotkeys.items()}
    line = compute_line(first, bench.chain.get_block(first.deadline).hash)
    place = next(n for n, hotkey in enumerate(line) if names[hotkey] != "third")
    name = names[line[place]]
    bench.run_to(first.get_turn(place) - 1, without=("third",))
    bench.world.mint()
    while get_stage(bench, name) is not Published:
        assert bench.trainers[name].step()
    return name


def rest(bench, name):
    for _ in range(200):
        if not bench.trainers[name].step():
            return
    raise AssertionError(f"{name} never rests")


@pytest.mark.slow
def test_a_lie_while_its_own_merge_cannot_be_announced(bench, entered):
    published = publish_in_turn(bench)
    first = bench.get_round(0)
    line = compute_line(first, bench.chain.get_block(first.deadline).hash)
    place = line.index(bench.hotkeys[published]) + 1
    while bench.chain.get_head() < first.get_turn(place):
        bench.world.mint()
    names = {hotkey: name for name, hotkey in bench.hotkeys.items()}
    lie = Commitment(Tag.CHECKPOINT, first.end, 0, b"\7" * 32, bench.locate(names[line[place]]))
    bench.chain.set_commitment(line[place], encode_commitment(lie))
    bench.world.mint()
    rest(bench, published)
    assert (Published, RoundEvent.FALSE) in entered
    assert any("differs from the round's result" in said for said in bench.said[published])
