"""Three trainers of which none lies, or one in each way that everybody can see: the honest ones
derive the same bytes. Lies that only a repeated step shows are tested with the audit."""

import math
from dataclasses import replace

import pytest
import torch

from assay.artifacts.store_objects import make_child_name, make_step_name
from assay.network.store.folder import open_folder
from assay.protocol.commitment import Tag, parse_commitment
from assay.protocol.hashing import ZERO_DIGEST
from assay.rounds.child_store import put_record
from assay.rounds.child_verdict import judge_child
from assay.rounds.merging import find_children, merge_round
from assay.rounds.outer_records import ROUND_VERSION, ChildFinding, MergeRecord
from assay.rounds.outer_step import compute_outer_root, measure_square, weigh_children
from tests.adversarial.forged_children import remake_last, show, with_masters
from tests.adversarial.round_bench import NAMES, WINDOWS, RoundBench

LIAR, HONEST = "third", ("trainer", "second")
#: Folders of a store with what leads to a child.
SHOWN = ("children", "pieces", "steps")


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """Round 0 at its deadline: three genuine children are on chain and shown, nobody has merged."""
    torch.set_num_threads(1)
    made = RoundBench(tmp_path_factory.mktemp("rounds"), last=1)
    made.run_to(made.get_round(0).deadline - 1)
    made.shown_before = {name: made.stores[made.locate(name)].list() for name in NAMES}
    made.run_to(made.get_round(0).deadline)
    yield made
    made.close()


def open_merging(bench, name, said=None):
    """A round as an honest trainer has it. `said` replaces the commitment in the liar's slot."""
    keeper = bench.trainers[name].rounds
    merging = keeper.open_merge(keeper.place, bench.get_round(0))
    if said is not None:
        merging.commitments = {**merging.commitments, bench.hotkeys[LIAR]: said}
    return merging


def gather(bench, merging, order=NAMES, stores=None):
    known = stores or bench.stores
    asked = [known[bench.locate(name)] for name in order]
    merging.gather(dict.fromkeys(merging.commitments, asked), 60.0)
    return merging


@pytest.fixture(scope="module")
def genuine(bench):
    """The children by name, as an honest trainer reads them."""
    found = gather(bench, open_merging(bench, HONEST[0])).gathered
    return {name: found[bench.hotkeys[name]] for name in NAMES}


def judge(bench, genuine, said, copied=None):
    """The honest trainers' judgment, which is the same bytes whether the liar's store is asked
    first or last. The other children's known results are not read again. They are all taken but
    the one that was copied."""
    merges = []
    for name, order in zip(HONEST, (NAMES, NAMES[::-1]), strict=True):
        merging = open_merging(bench, name, said)
        known = [genuine[honest] for honest in order if honest in HONEST]
        merging.gathered = {one.hotkey: one for one in known}
        merges.append(gather(bench, merging, order).merge())
    assert len({(m.children, m.after, m.tensors) for m in merges}) == 1
    findings = {child.hotkey: child.finding for child in merges[0].children}
    left_out = {name for name in HONEST if findings[bench.hotkeys[name]] is not ChildFinding.TAKEN}
    assert left_out == (set() if copied is None else {copied})
    return findings[bench.hotkeys[LIAR]], merges[0]


def test_genuine_children_are_taken_by_all(bench, genuine):
    for one in genuine.values():
        assert one.judgment[0] is ChildFinding.TAKEN, one.judgment
    finding, merge = judge(bench, genuine, None)
    assert finding is ChildFinding.TAKEN
    in_order = sorted(genuine.values(), key=lambda one: one.hotkey)
    children = [one.files.masters for one in in_order]
    keeper = bench.trainers[LIAR].rounds
    theta = keeper.open_merge(keeper.place, bench.get_round(0)).facts.outer.masters
    shares = [f / 2**24 for f in weigh_children(theta, children)]
    assert any(shares)  # a child that agrees with nobody counts for nothing
    for name, tensor in merge.outer.masters.items():  # about where their differences lead
        mean = sum(
            s * (child[name] - theta[name]) for s, child in zip(shares, children, strict=True)
        )
        expected = theta[name] + 0.7 * (mean + 0.9 * mean)
        assert torch.allclose(tensor, expected, rtol=1e-4, atol=1e-8)


def test_no_group_is_learned_from_twice_and_none_is_lost(bench, genuine):
    taken = [
        (one.window, one.hotkey, one.index)
        for child in genuine.values()
        for step in child.files.steps
        for one in step.groups
    ]
    groups = 2 * 2 * 5  # windows, miners, groups of each
    assert len(taken) == len(set(taken)) == groups


def make_lies(bench, genuine):
    child = genuine[LIAR].files
    theta = open_merging(bench, LIAR).facts.outer.masters
    masters, record = child.masters, child.record
    first = next(iter(masters))
    poisoned = {n: torch.full_like(t, torch.nan) if n == first else t for n, t in masters.items()}
    far = {n: t + 10.0 for n, t in masters.items()}
    short = {n: t for n, t in masters.items() if n != first}
    last = child.steps[-1].record
    return {
        "garbage": (child, [b"junk"], ChildFinding.MISFIT),
        "another model": (with_masters(child, short), None, ChildFinding.MISFIT),
        "other masters than it says": (
            replace(child, masters={n: t * 2 for n, t in masters.items()}),
            None,
            ChildFinding.MISFIT,
        ),
        "another round": (
            replace(child, record=replace(record, end=record.end + 2)),
            None,
            ChildFinding.MISFIT,
        ),
        "another's name": (
            replace(child, record=replace(record, hotkey=bench.hotkeys["second"])),
            None,
            ChildFinding.MISFIT,
        ),
        "a stale parent": (
            replace(child, record=replace(record, before=b"\1" * 32)),
            None,
            ChildFinding.STALE,
        ),
        "steps that do not follow": (
            remake_last(child, number=child.steps[-1].record.number + 1),
            None,
            ChildFinding.BROKEN,
        ),
        "weights that no step made": (
            replace(with_masters(child, {n: t * 2 for n, t in masters.items()}), steps=child.steps),
            None,
            ChildFinding.BROKEN,
        ),
        "a window of another round": (remake_last(child, window=7), None, ChildFinding.WITHHELD),
        "not finite": (with_masters(child, poisoned), None, ChildFinding.ENDLESS),
        "too far": (with_masters(child, far), None, ChildFinding.LARGE),
        "nothing learned": (with_masters(child, theta), None, ChildFinding.ABSENT),
        "more steps than windows": (
            replace(child, record=replace(record, steps=record.steps * (WINDOWS + 1))),
            None,
            ChildFinding.MISFIT,
        ),
        "sources that it has not": (
            remake_last(child, sources=last.sources[:0]),
            None,
            ChildFinding.STRANGE,
        ),
    }


LIES = (
    "garbage",
    "another model",
    "other masters than it says",
    "another round",
    "another's name",
    "a stale parent",
    "steps that do not follow",
    "weights that no step made",
    "a window of another round",
    "not finite",
    "too far",
    "nothing learned",
    "more steps than windows",
    "sources that it has not",
)


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_child_is_left_out_by_all(bench, genuine, honest_after, lie):
    child, pieces, expected = make_lies(bench, genuine)[lie]
    steps = genuine[LIAR].files.steps
    if lie == "weights that no step made":
        child = replace(
            child,
            record=replace(
                child.record,
                steps=tuple(step.record.digest for step in steps),
                optimiser=genuine[LIAR].files.record.optimiser,
            ),
        )
    said = show(bench, LIAR, child, steps, pieces)
    finding, merge = judge(bench, genuine, said)
    assert finding is expected
    assert honest_after == merge.after


@pytest.fixture(scope="module")
def honest_after(bench, genuine):
    """The state after the merge of the honest children alone."""
    return merge_honest(bench, genuine).after


def merge_honest(bench, genuine, names=HONEST):
    """The merge of these children alone."""
    children = sorted((genuine[name] for name in names), key=lambda one: one.hotkey)
    return merge_round(open_merging(bench, HONEST[0]).facts, children)


def test_nothing_is_shown_before_the_deadline(bench, genuine):
    """Neither the child nor the steps and states that lead to it: there is nothing to copy when
    children are named. Afterwards all of it is there."""
    for name in NAMES:
        before, record = bench.shown_before[name], genuine[name].files.record
        assert not [one for one in before if one.partition("/")[0] in SHOWN], name
        after = bench.stores[bench.locate(name)].list()
        states = {make_step_name(step, "before.safetensors") for step in record.steps}
        assert {make_child_name(genuine[name].digest), *states} <= set(after)


def test_the_name_of_anothers_child_is_of_no_use(bench, genuine):
    """A thief can only copy what is on chain before the deadline. The record that it names is the
    victim's."""
    slots = bench.chain.get_commitments(bench.chain.get_head())
    said = parse_commitment(slots[bench.hotkeys["second"]])
    assert judge(bench, genuine, said)[0] is ChildFinding.MISFIT


def test_of_equal_children_none_counts(bench, genuine):
    """Somebody knew the other's weights before they were shown, and nobody can tell who."""
    child = with_masters(genuine[LIAR].files, genuine["second"].files.masters)
    said = show(bench, LIAR, child, genuine[LIAR].files.steps)
    finding, merge = judge(bench, genuine, said, copied="second")
    assert finding is ChildFinding.DOUBLED
    assert merge.after == merge_honest(bench, genuine, HONEST[:1]).after


def make_agreeing(genuine, theta):
    """The honest children as if each had also gone half of the other's way. Those of two steps of a
    tiny model have no more in common than noise has."""
    files = {name: genuine[name].files for name in HONEST}
    agreeing = {}
    for name, other in zip(HONEST, HONEST[::-1], strict=True):
        masters = {
            n: tensor + (files[other].masters[n] - theta[n]) / 2
            for n, tensor in files[name].masters.items()
        }
        agreeing[name] = replace(genuine[name], files=with_masters(files[name], masters))
    return agreeing


def measure_distance(one, other):
    return math.sqrt(measure_square(one, other)) / 2**30


@pytest.mark.parametrize("length", [1.0, 100.0])
@pytest.mark.parametrize("kind", ["noise", "back"])
def test_a_child_that_leads_elsewhere_decides_nothing(bench, genuine, kind, length):
    """Noise, or the way back from where the honest ones lead, short or long. In a plain mean it
    would be the longer part of the merged difference."""
    theta = open_merging(bench, LIAR).facts.outer.masters
    genuine = {**genuine, **make_agreeing(genuine, theta)}
    child, other = genuine[LIAR].files, genuine["second"].files
    random = torch.Generator().manual_seed(1)
    way = {
        name: torch.randn(tensor.shape, generator=random)
        if kind == "noise"
        else tensor - other.masters[name]
        for name, tensor in theta.items()
    }
    usual = measure_distance(other.masters, theta)
    whole = math.sqrt(sum(float(tensor.double().square().sum()) for tensor in way.values()))
    scale = min(length * usual, 99.0) / whole
    bad = with_masters(child, {name: theta[name] + way[name] * scale for name in theta})
    finding, merge = judge(bench, genuine, show(bench, LIAR, bad, child.steps))
    honest = merge_honest(bench, genuine)
    moved = measure_distance(honest.outer.masters, theta)
    assert finding is ChildFinding.TAKEN
    assert measure_distance(merge.outer.masters, honest.outer.masters) < moved / 3


def test_anothers_groups(bench, genuine):
    """A copy of an honest child under the liar's own hotkey: its groups are another's to learn
    from."""
    child = genuine["second"].files
    record = replace(child.record, hotkey=bench.hotkeys[LIAR])
    steps = child.steps
    locator = bench.locate(LIAR)
    said = show(bench, "second", replace(child, record=record), steps)
    put_record(bench.stores[locator], record)
    assert judge(bench, genuine, replace(said, locator=locator))[0] is ChildFinding.STRANGE


def test_groups_that_are_too_old(bench, genuine):
    """A window that the round may not learn from, since an older checkpoint drew its rollouts."""
    facts = open_merging(bench, HONEST[0]).facts
    child, hotkey = genuine[LIAR].files, bench.hotkeys[LIAR]
    last = child.steps[-1].record.window
    fresh = {window: context for window, context in facts.contexts.items() if window != last}
    assert judge_child(child, hotkey, facts)[0] is ChildFinding.TAKEN
    finding, why = judge_child(child, hotkey, replace(facts, contexts=fresh))
    assert finding is ChildFinding.STRANGE
    assert f"window {last}" in why


def test_a_step_is_withheld(bench, genuine):
    store = bench.stores[bench.locate(LIAR)]
    name = make_step_name(genuine[LIAR].files.record.steps[-1], "step.parquet")
    data = store.get(name, 1 << 24)
    store.delete(name)
    try:
        assert judge(bench, genuine, None)[0] is ChildFinding.WITHHELD
    finally:
        store.put(name, data)


def test_a_slot_that_names_something_else(bench):
    """Late, of another round, or no child at all: the slot's content at the deadline counts."""
    round_, slots = bench.get_round(0), dict(bench.chain.get_commitments(bench.chain.get_head()))
    liar = bench.hotkeys[LIAR]
    for payload in (b"", b"junk", slots[liar].replace(b"ASK1", b"ASC1"), slots[liar][:20]):
        assert find_children(round_, {**slots, liar: payload})[liar] is None
    late = bytearray(slots[liar])
    late[11] += 1
    assert find_children(round_, {**slots, liar: bytes(late)})[liar] is None
    before = bench.chain.get_commitments(round_.opening)
    assert set(find_children(round_, before).values()) == {None}


def test_the_one_of_two_children_in_the_slot_counts(bench, genuine):
    """A trainer shows each reader the other child: both readers take the one that the chain names
    at the deadline."""
    child = genuine[LIAR].files
    far = with_masters(child, {n: t + 10.0 for n, t in child.masters.items()})
    said = show(bench, LIAR, far, child.steps)
    first = find_children(bench.get_round(0), bench.chain.get_commitments(bench.chain.get_head()))
    assert first[bench.hotkeys[LIAR]].digest not in (said.digest, ZERO_DIGEST)
    assert judge(bench, genuine, said)[0] is ChildFinding.LARGE
    assert judge(bench, genuine, None)[0] is ChildFinding.TAKEN


def make_record(bench, merging, merge, name):
    facts = merging.facts
    return MergeRecord(
        ROUND_VERSION,
        "assay test",
        facts.of.parameters.digest,
        facts.of.end,
        merging.parent,
        merge.children,
        facts.before,
        merge.after,
        merge.tensors,
        bench.hotkeys[name],
    )


def find_fault(merging, record, **changes):
    manifest = replace(
        merging.facts.parent,
        tensors=record.tensors,
        parent=record.parent,
        step=record.digest,
        number=record.end,
    )
    return merging.find_fault(replace(manifest, **changes), record)


def test_a_store_shows_different_children_to_different_readers(bench, genuine, tmp_path):
    """One honest trainer sees the liar's child, the other does not. The one that measures says in
    its record what it merged, and keeps it. The other derives the same, whichever of them
    measures."""
    hidden = {**bench.stores, bench.locate(LIAR): open_folder(tmp_path)}
    one, other = (genuine[name].files.masters for name in HONEST)
    leaning = {n: (3 * one[n] + other[n]) / 4 for n in one}  # agrees with both, so that it counts
    child = with_masters(genuine[LIAR].files, leaning)
    said = show(bench, LIAR, child, genuine[LIAR].files.steps)
    seeing = gather(bench, open_merging(bench, "trainer", said))
    blind = gather(bench, open_merging(bench, "second", said), stores=hidden)
    with_it, without = seeing.merge(), blind.merge()
    assert with_it.after != without.after
    assert blind.gathered[bench.hotkeys[LIAR]].judgment[0] is ChildFinding.WITHHELD
    # the reader without the child measures
    record = make_record(bench, blind, without, "second")
    fault, merge = find_fault(seeing, record)
    assert fault is None
    assert merge.after == without.after
    (line,) = seeing.list_left_out(merge)
    assert "withheld: the trainer that published the merge could not read it, and this" in line
    # the reader with the child measures, and keeps it
    record = make_record(bench, seeing, with_it, "trainer")
    fault, _ = find_fault(blind, record)
    assert "taken" in fault
    gather(bench, blind)
    fault, merge = find_fault(blind, record)
    assert fault is None
    assert merge.after == with_it.after


def test_a_measurer_cannot_leave_out_the_others(bench):
    """It says that it could not fetch them. Of three it may lack one, but not two. Then its own
    child would be merged as it is: nothing would be left to measure it by."""
    honest = gather(bench, open_merging(bench, "second"))
    others = [bench.hotkeys[name] for name in HONEST]
    for withheld in (others[:1], others[1:], others):
        merge = honest.merge(frozenset(withheld))
        taken = [child for child in merge.children if child.finding is ChildFinding.TAKEN]
        assert len(taken) == 3 - len(withheld)
        fault, _ = find_fault(honest, make_record(bench, honest, merge, LIAR))
        if len(withheld) == 1:
            assert fault is None
        else:
            assert "2 of the 3 worker updates named on chain are withheld" in fault
    # nor the only other one, of two that are named; an absent child cannot be withheld
    honest.commitments = {**honest.commitments, others[0]: None}
    del honest.gathered[others[0]]
    merge = gather(bench, honest).merge(frozenset(others[1:]))
    record = make_record(bench, honest, merge, LIAR)
    assert "1 of the 2 worker updates" in find_fault(honest, record)[0]
    both = honest.merge(frozenset(others))
    fault, _ = find_fault(honest, make_record(bench, honest, both, LIAR))
    assert "it says withheld of" in fault
    assert "which is absent" in fault


def test_values_that_a_measurer_cannot_make_up(bench):
    honest = gather(bench, open_merging(bench, "second"))
    merge = honest.merge()
    record = make_record(bench, honest, merge, LIAR)
    assert find_fault(honest, record)[0] is None
    left = [replace(c, finding=ChildFinding.LARGE) for c in merge.children]
    for changes, fault in (
        ({"outer_after": bytes(32)}, "state after"),
        ({"outer_before": bytes(32)}, "state before"),
        ({"parent": bytes(32)}, "parent"),
        ({"end": record.end + 2}, "number"),
        ({"tensors": bytes(32)}, "tensors"),
        ({"children": tuple(left)}, "it says large"),
        ({"children": merge.children[1:]}, "it says nothing"),
        ({"parameters": bytes(32)}, "parameters"),
    ):
        assert fault in find_fault(honest, replace(record, **changes))[0]
    assert "step" in find_fault(honest, record, step=bytes(32))[0]


def test_a_round_without_a_child(bench):
    """The parent's weights stay, under the round's number, and the record says why."""
    merging = open_merging(bench, "trainer")
    merging.commitments = dict.fromkeys(merging.commitments)
    merge = gather(bench, merging).merge()
    assert {child.finding for child in merge.children} == {ChildFinding.ABSENT}
    assert {child.child for child in merge.children} == {ZERO_DIGEST}
    assert merge.after == merging.facts.before == compute_outer_root(merge.outer)
    assert merge.tensors == merging.facts.parent.tensors


def test_no_child_stands_before_the_opening(bench):
    """Until then slots name checkpoints."""
    slots = bench.chain.get_commitments(bench.get_round(0).opening)
    tags = {parse_commitment(slots[h]).tag for h in bench.hotkeys.values() if h in slots}
    assert Tag.CHILD not in tags
