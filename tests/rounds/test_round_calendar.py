"""Calendar, line, shares, and which checkpoint is in force while rounds come and go."""

from collections import Counter
from dataclasses import replace
from hashlib import sha256

import pytest

from assay.artifacts.announced_parameters import AnnouncedParameters, list_changes
from assay.network.chain.errors import ForgottenError
from assay.protocol.amendment import ParameterHistory, find_amendment_fault
from assay.protocol.beacon import QUICKNET
from assay.protocol.commitment import Commitment, Tag, encode_commitment
from assay.protocol.encoding import EncodingError, decode, encode
from assay.protocol.parameters import Parameters, Setting, Start, find_parameters_fault
from assay.protocol.ss58 import encode_ss58
from assay.protocol.window import Block
from assay.rounds import compute_line, compute_share, find_round, get_checkpoint_digest
from assay.rounds.calendar import find_last_round, list_trainers
from assay.rounds.child_verdict import is_fresh
from assay.rounds.choice import RoundsError
from assay.rounds.in_force import NOTHING, get_in_force_at
from assay.subnet.presets import change_parameters
from tests.rounds.round_rules import RULES, TRAINERS, make_round_parameters

PARAMETERS = make_round_parameters(QUICKNET)
GENESIS = PARAMETERS.identity.genesis_checkpoint
ANCHOR = PARAMETERS.identity.trainer
SECOND = find_round(PARAMETERS, RULES.windows)


def digest(name: str) -> bytes:
    return sha256(name.encode()).digest()


class Slots:
    """A chain's slots by block: payloads stay from a block on."""

    def __init__(self):
        self.said = []

    def say(self, block, hotkey, tag, number, named):
        self.said.append((block, hotkey, encode_commitment(Commitment(tag, number, 0, named, ""))))

    def get_commitments(self, number):
        said = sorted(self.said, key=lambda one: one[0])
        return {hotkey: payload for block, hotkey, payload in said if block <= number}

    def get_commitment_blocks(self, number):
        said = sorted(self.said, key=lambda one: one[0])
        return {hotkey: block for block, hotkey, _ in said if block <= number}

    def get_members(self, number):
        raise AssertionError("nobody asks")

    def get_block(self, number):
        return Block(number, digest(f"block {number}"), number)


def test_parameters_without_rounds_are_written_as_ever():
    plain = make_round_parameters(QUICKNET, None)
    assert "rounds" not in plain.to_json()
    assert encode(PARAMETERS).startswith(encode(plain))
    for parameters in (plain, PARAMETERS):
        assert decode(Parameters, encode(parameters)) == parameters
        assert Parameters.from_json(parameters.to_json()) == parameters
    with pytest.raises(EncodingError, match="rounds"):
        Parameters.from_json(plain.to_json() | {"rounds": None})
    with pytest.raises(EncodingError):
        decode(Parameters, encode(PARAMETERS)[:-1])


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"trainers": ()}, "no trainer"),
        ({"trainers": TRAINERS[::-1]}, "in order"),
        ({"trainers": TRAINERS[:1] * 2}, "in order"),
        ({"windows": 0}, "no window"),
        ({"rate": 0}, "rate or norm_bound is 0"),
        ({"child_blocks": 0}, "turn_blocks is 0"),
        ({"reveal_blocks": 0}, "turn_blocks is 0"),
        ({"turn_blocks": 0}, "turn_blocks is 0"),
        ({"momentum": 10**6}, "momentum"),
        ({"norm_bound": (1 << 30) + 1}, "norm_bound"),
        ({"child_blocks": 33}, "child_blocks, reveal_blocks and turns exceed"),
        ({"child_blocks": 32}, None),
        ({"reveal_blocks": 30}, "child_blocks, reveal_blocks and turns exceed"),
        ({"kept": 64}, "do not fit together"),
        ({"kept": 64, "chunk": 4096, "bits": 9}, "do not fit together"),
        ({"bits": 2}, "do not fit together"),
        ({"feedback": 1}, "do not fit together"),
        ({"bits": 16, "feedback": 1}, None),
        ({"kept": 64, "chunk": 4096, "bits": 2, "feedback": 950_000}, None),
        ({}, None),
    ],
)
def test_rounds_that_nobody_could_keep(changes, fault):
    found = find_parameters_fault(replace(PARAMETERS, rounds=replace(RULES, **changes)))
    assert (found is None) == (fault is None)
    assert fault is None or fault in found


def test_rounds_have_no_proposals():
    settings = (Setting("deduce", 1), Setting("propose", 1))
    environment = replace(PARAMETERS.environment, name="mix", settings=settings, prompts=())
    proposing = replace(PARAMETERS, environment=environment)
    assert "propose" in (find_parameters_fault(proposing) or "")
    assert find_parameters_fault(replace(proposing, rounds=None)) is None


def test_rounds_come_and_go_with_amendments():
    plain = make_round_parameters(QUICKNET, None)
    notice = plain.timing.notice_windows
    first = -(-notice // RULES.windows) * RULES.windows

    def follow(old, new, window):
        return replace(new, start=Start(old.digest, window))

    begun = follow(plain, PARAMETERS, first)
    assert find_parameters_fault(begun) is None
    assert find_amendment_fault(plain, begun) is None
    assert list_changes(plain, begun)["rounds.windows"] == (None, RULES.windows)
    told = AnnouncedParameters(begun, plain, True).describe()
    assert f"rounds.windows (none) → {RULES.windows}, rounds.staleness" in told  # in their order
    assert f"(none) → {', '.join(map(encode_ss58, RULES.trainers))}" in told
    fewer = replace(PARAMETERS, rounds=replace(RULES, trainers=TRAINERS[1:]))
    later = follow(begun, fewer, first + 2 * RULES.windows)
    assert find_amendment_fault(begun, later) is None
    history = ParameterHistory(plain)
    assert list_trainers(history) == [ANCHOR]
    assert list_trainers(history, begun)[0] == ANCHOR  # announced: they may start and wait
    assert sorted(list_trainers(history, begun)) == sorted(TRAINERS)
    within = follow(begun, plain, first + 2 * RULES.windows + 1)
    assert "within a round" in find_amendment_fault(begun, within)
    assert "within a round" in find_parameters_fault(follow(plain, PARAMETERS, first + 1))


def test_an_owners_settings_of_rounds():
    plain = make_round_parameters(QUICKNET, None)
    addresses = [encode_ss58(trainer) for trainer in reversed(TRAINERS)]
    begun = change_parameters(plain, {"rounds": {"trainers": addresses, "child_blocks": 4}})
    assert begun.rounds.trainers == TRAINERS
    fewer = change_parameters(begun, {"rounds": {"trainers": addresses[:1]}})
    assert fewer.rounds == replace(begun.rounds, trainers=TRAINERS[-1:])
    assert change_parameters(begun, {"rounds": {"trainers": []}}) == plain
    assert change_parameters(begun, {"identity": {"burn_share": 1}}).rounds == begun.rounds
    for wrong in ({"trainers": ["5x"]}, {"trainers": "5x"}, 3):
        with pytest.raises(RoundsError):
            change_parameters(plain, {"rounds": wrong})


def test_every_group_is_one_trainers():
    """Each trainer has a third of 6,000 groups: five standard deviations are 183."""
    seed = digest("audit")
    drawn = Counter(
        compute_share(TRAINERS, seed, digest(f"miner {miner}"), index)
        for miner in range(60)
        for index in range(100)
    )
    assert set(drawn) == set(TRAINERS)
    assert all(abs(count - 2_000) < 183 for count in drawn.values())


def test_the_line_is_drawn_by_the_deadlines_block():
    lines = {compute_line(SECOND, digest(str(i))) for i in range(200)}
    assert len(lines) == 6  # one order is missed with probability 6 · (5/6)^200
    assert all(sorted(line) == list(TRAINERS) for line in lines)


def test_rounds_follow_each_other():
    length = PARAMETERS.timing.window_blocks * RULES.windows
    first = find_round(PARAMETERS, 0)
    assert (first.windows, first.end, first.deadline) == (range(4), 4, length + 20)
    assert find_last_round(PARAMETERS, first.deadline - 1) is None
    for number in range(5):
        last = find_last_round(PARAMETERS, first.deadline + number * length)
        assert last.number == number
    assert find_last_round(make_round_parameters(QUICKNET, None), 10**6) is None


def test_the_first_in_line_whose_turn_has_come_is_in_force():
    """The identity's trainer learns nothing here, and says nothing."""
    slots = Slots()
    identity = replace(PARAMETERS.identity, trainer=digest("owner's"))
    parameters = replace(PARAMETERS, identity=identity)
    first = find_round(parameters, 0)
    line = compute_line(first, slots.get_block(first.deadline).hash)

    def get(block):
        return get_in_force_at(slots, parameters, block).digest

    assert get(0) == get(first.deadline + 99) == GENESIS
    slots.say(0, line[2], Tag.CHECKPOINT, first.end, digest("third"))
    assert get(first.deadline) == GENESIS  # children are shown now
    assert first.get_turn(0) == first.deadline + RULES.reveal_blocks
    assert get(first.get_turn(2) - 1) == GENESIS
    assert get(first.get_turn(2)) == digest("third")
    slots.say(first.get_turn(1), line[1], Tag.CHECKPOINT, first.end, digest("second"))
    assert get(first.get_turn(2)) == digest("second")
    slots.say(first.deadline, line[0], Tag.CHECKPOINT, first.end + 1, digest("other number"))
    slots.say(first.deadline, digest("stranger"), Tag.CHECKPOINT, first.end, digest("strange"))
    assert get(first.get_turn(1)) == digest("second")


def test_a_late_checkpoint_does_not_replace_the_next_trainers():
    """The first in line publishes after the second, from whose checkpoint trainers continue. It
    counts only if nobody was in time. What a slot holds after its turn does not matter either."""
    slots, of = Slots(), SECOND
    line = compute_line(of, slots.get_block(of.deadline).hash)

    def get(block):
        return get_in_force_at(slots, PARAMETERS, block).digest

    slots.say(of.get_turn(1), line[0], Tag.CHECKPOINT, of.end, digest("late"))
    assert get(of.turns_end - 1) == GENESIS
    assert get(of.turns_end) == digest("late")
    slots.say(of.get_turn(2) - 1, line[1], Tag.CHECKPOINT, of.end, digest("in time"))
    slots.say(of.get_turn(2), line[1], Tag.RECORD, 0, digest("junk"))
    for block in (of.get_turn(2) - 1, of.get_turn(2), of.turns_end, of.turns_end + 9):
        assert get(block) == digest("in time")


class Forgetful(Slots):
    """Nodes that remember nothing before a block."""

    first = 0

    def get_commitments(self, number):
        if number < self.first:
            raise ForgottenError("pruned")
        return super().get_commitments(number)


def test_a_program_whose_nodes_forgot_a_turn_finds_what_the_others_did_or_nothing():
    """A slot that was not written since is what it was. A trainer that replaces its checkpoint
    after its turn cannot make new programs take another one than those that saw the turn's end."""
    slots, of = Forgetful(), SECOND
    line = compute_line(of, slots.get_block(of.deadline).hash)
    slots.say(of.opening + 1, line[0], Tag.CHILD, of.end, digest("child"))
    slots.say(of.get_turn(1), line[1], Tag.CHECKPOINT, of.end, digest("second"))
    block = of.turns_end + 9

    def get(first):
        slots.first = first
        return get_in_force_at(slots, PARAMETERS, block).digest

    assert get(block) == get(0) == digest("second")
    slots.say(of.turns_end + 1, line[2], Tag.CHECKPOINT, of.end, digest("third"))  # out of turn
    assert get(block) == get(0) == digest("second")
    slots.say(of.turns_end + 2, line[1], Tag.CHECKPOINT, of.end, digest("another"))
    assert get(0) == digest("second")
    with pytest.raises(ForgottenError):
        get(block)
    slots.say(of.turns_end + 3, line[2], Tag.RECORD, 0, digest("junk"))  # no other names one now
    with pytest.raises(ForgottenError):
        get(block)


def test_children_in_the_slots_leave_the_checkpoint_in_force():
    """From the opening on, slots name children. Until the next checkpoint is published, the slots'
    earlier content counts, whatever a liar writes into a slot meanwhile."""
    slots = Slots()
    first, second = find_round(PARAMETERS, 0), SECOND
    line = compute_line(first, slots.get_block(first.deadline).hash)
    slots.say(first.deadline + 1, line[0], Tag.CHECKPOINT, first.end, digest("P1"))  # too soon
    for trainer in TRAINERS:
        slots.say(second.opening + 2, trainer, Tag.CHILD, second.end, digest("child"))
    slots.say(second.opening + 3, line[1], Tag.CHECKPOINT, first.end, digest("lie"))
    assert get_in_force_at(slots, PARAMETERS, first.get_turn(0) - 1).digest == GENESIS
    for block in range(first.get_turn(0), second.deadline + 5):
        assert get_in_force_at(slots, PARAMETERS, block).digest == digest("P1"), block
    again = compute_line(second, slots.get_block(second.deadline).hash)
    slots.say(second.deadline + 5, again[0], Tag.CHECKPOINT, second.end, digest("P2"))
    assert get_in_force_at(slots, PARAMETERS, second.deadline + 5).digest == digest("P2")
    assert get_in_force_at(slots, PARAMETERS, second.deadline + 4).digest == digest("P1")


def test_nobody_publishes_and_the_parent_stays():
    slots = Slots()
    slots.say(1, ANCHOR, Tag.CHECKPOINT, 3, digest("before"))
    slots.say(SECOND.opening + 1, ANCHOR, Tag.CHILD, SECOND.end, digest("child"))
    for block in (2, SECOND.opening, SECOND.deadline, SECOND.turns_end, SECOND.turns_end + 9):
        assert get_in_force_at(slots, PARAMETERS, block).digest == digest("before")
    slots.say(SECOND.turns_end, ANCHOR, Tag.RECORD, 0, digest("junk"))
    assert get_in_force_at(slots, PARAMETERS, SECOND.turns_end) == NOTHING


def test_the_identitys_trainer_cannot_be_ahead_of_its_turn():
    slots = Slots()
    slots.say(1, ANCHOR, Tag.CHECKPOINT, 4, digest("too soon"))
    assert get_in_force_at(slots, PARAMETERS, 2) == NOTHING
    slots.say(3, ANCHOR, Tag.CHECKPOINT, 3, digest("of before the rounds"))
    assert get_in_force_at(slots, PARAMETERS, 3).digest == digest("of before the rounds")


def test_without_rounds_a_child_is_no_checkpoint():
    slots = Slots()
    slots.say(0, ANCHOR, Tag.CHILD, 4, digest("child"))
    plain = make_round_parameters(QUICKNET, None)
    assert get_checkpoint_digest(slots, plain, 9) == bytes(32)


@pytest.mark.parametrize(
    ("staleness", "oldest"), [(0, 8), (1, 4), (2, 0)]
)  # rounds of four windows, and a parent that ended the second
def test_the_oldest_checkpoint_whose_groups_are_learned_from(staleness, oldest):
    of = find_round(make_round_parameters(QUICKNET, replace(RULES, staleness=staleness)), 8)
    assert [number for number in (0, 4, 8) if is_fresh(of, 8, number)] == [
        number for number in (0, 4, 8) if number >= oldest
    ]
