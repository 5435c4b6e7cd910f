"""Miners that would stop a validator, or void everybody's window."""

from contextlib import closing
from dataclasses import replace
from threading import Event

import pytest

from assay.artifacts.store_objects import make_mirror_name
from assay.artifacts.submissions import judge as submission_judge
from assay.artifacts.submissions.judging_threads import JudgingThreads
from assay.artifacts.submissions.pack import pack_parts
from assay.artifacts.submissions.read_ahead import ReadAhead, fetch
from assay.artifacts.submissions.reader import KnownMirror, ReadRequest
from assay.inference.placing.devices import MemoryLackError
from assay.judge.pack import encode_pack
from assay.network.store.folder import open_folder
from assay.neurons.validator import submission_queue
from assay.protocol.reason import Reason, Refusal
from assay.protocol.ss58 import encode_ss58
from assay.protocol.submission import get_opening_bytes
from assay.protocol.window import Phase, compute_block
from assay.sandbox import WorkerError
from assay.verification import JudgeResult, Ledger, Refused
from tests.adversarial.conftest import GROUPS
from tests.adversarial.watched import Watched
from tests.inference.workers.pooled import wait_until


def test_honest_windows_are_settled_and_written(fresh_world):
    watched = Watched(fresh_world)
    watched.run_to_settlement(2)
    world = fresh_world
    uids = {name: world.chain.get_members(0)[world.hotkeys[name]].uid for name in ("alice", "bob")}
    for settlement in watched.settlements:
        assert settlement.abstained == ()
        assert set(settlement.weights) == set(uids.values())
    world.mint()
    on_chain = world.chain.get_weights(world.chain.get_head())[world.hotkeys["validator"]]
    assert on_chain == watched.settlements[-1].weights


def test_the_ledger_runs_from_one_settlement_to_the_next(fresh_world, monkeypatch):
    """A cheat that spreads its steering over windows meets the evidence of the earlier ones."""
    honest, entered = submission_judge.judge_and_carry, {}

    def judge(submission, checkpoint, ledger, **options):
        judged = honest(submission, checkpoint, ledger, **options)
        window = submission.context.window
        entered[window, submission.hotkey] = ledger.rollouts, judged.ledger.rollouts
        return judged

    monkeypatch.setattr(submission_judge, "judge_and_carry", judge)
    watched = Watched(fresh_world)
    watched.run_to_settlement(2)
    work, alice = fresh_world.parameters.work, fresh_world.hotkeys["alice"]
    each = work.audited_rollouts
    lengths = [len(settlement.windows) for settlement in watched.settlements]
    assert max(lengths) > 1
    for settlement in watched.settlements:
        for number, window in enumerate(settlement.windows):
            assert entered[window, alice] == (number * each, (number + 1) * each)


def break_judge_for(monkeypatch, hotkeys):
    honest = submission_judge.judge_and_carry

    def judge(submission, *arguments, **options):
        if submission.hotkey in hotkeys:
            raise RuntimeError("a defect that this file's bytes reach")
        return honest(submission, *arguments, **options)

    monkeypatch.setattr(submission_judge, "judge_and_carry", judge)


def test_bytes_that_break_the_judge_cost_their_own_window_only(fresh_world, monkeypatch):
    world = fresh_world
    break_judge_for(monkeypatch, {world.hotkeys["alice"]})
    watched = Watched(world)
    watched.run_to_settlement(1)
    verdicts = watched.audit(0).verdicts
    assert verdicts[world.hotkeys["alice"]].reason is Reason.INTERNAL
    assert verdicts[world.hotkeys["bob"]].reason is Reason.ACCEPTED
    bob = world.chain.get_members(0)[world.hotkeys["bob"]].uid
    assert set(watched.settlements[0].weights) == {bob}


def lack_memory_for(monkeypatch, hotkeys):
    honest, asked = submission_judge.judge_and_carry, []

    def judge(submission, *arguments, **options):
        if submission.hotkey in hotkeys:
            asked.append(submission.hotkey)
            raise MemoryLackError("the longest of its rollouts does not fit")
        return honest(submission, *arguments, **options)

    monkeypatch.setattr(submission_judge, "judge_and_carry", judge)
    return asked


def test_a_file_that_takes_all_memory_costs_its_own_window_only(fresh_world, monkeypatch):
    """It is tried again at later blocks, since memory may lack for a moment only."""
    world = fresh_world
    alice, bob = (world.hotkeys[name] for name in ("alice", "bob"))
    asked = lack_memory_for(monkeypatch, {alice})
    watched = Watched(world)
    watched.run_to_settlement(1)
    judged = watched.audit(0)
    assert judged.verdicts[alice].reason is Reason.INTERNAL
    assert judged.verdicts[bob].reason is Reason.ACCEPTED
    assert judged.explain_abstention() is None
    assert len(asked) > 1
    bob_uid = world.chain.get_members(0)[bob].uid
    assert set(watched.settlements[0].weights) == {bob_uid}
    assert not watched.settlements[0].abstained


def test_memory_that_suffices_for_no_file_is_our_own_lack(fresh_world, monkeypatch):
    world = fresh_world
    lack_memory_for(monkeypatch, {world.hotkeys["alice"], world.hotkeys["bob"]})
    watched = Watched(world)
    while 0 not in watched.validator.judged_windows or not watched.audit(0).closed:
        world.mint()
        while watched.validator.step():
            pass
    assert not watched.audit(0).counts
    assert "does not fit" in watched.audit(0).explain_abstention()


class HeldThreads(JudgingThreads):
    """Counts one hotkey's job as not running, so that the validator's steps end."""

    def __init__(self, hotkey):
        super().__init__(2)
        self.hotkey = hotkey

    @property
    def running(self):
        return {judgment.job.hotkey for judgment in self._judgments if not judgment.is_done}

    def wait(self, seconds):
        return super().wait(seconds) and bool(self.running - {self.hotkey})


@pytest.mark.parametrize("is_done", [True, False])
def test_only_a_file_that_is_still_judged_at_the_end_costs_its_miner_the_window(
    fresh_world, monkeypatch, is_done
):
    """The chain's node shows VERDICT_END some blocks late. The files begun after the long one are
    done, and nobody has taken up their results yet."""
    world, timing = fresh_world, fresh_world.parameters.timing
    long, short = sorted(world.hotkeys[name] for name in ("alice", "bob"))
    honest, held = submission_judge.judge_and_carry, Event()

    def judge(submission, *arguments, **options):
        if submission.hotkey == long:
            assert held.wait(600)
        return honest(submission, *arguments, **options)

    monkeypatch.setattr(submission_judge, "judge_and_carry", judge)
    threads = HeldThreads(long)
    with closing(ReadAhead(world.sources, threads=1)) as ahead:
        watched = Watched(world, ahead=ahead, threads=threads)
        while world.chain.get_head() < compute_block(timing, 0, Phase.FETCH_END):
            world.mint()
            while watched.validator.step():
                pass
            wait_until(lambda: not ahead.counts[0])
        wait_until(lambda: threads.running == {long})
        assert not watched.audit(0).verdicts.keys() & {long, short}
        if is_done:
            held.set()
            wait_until(lambda: not threads.running)
        while world.chain.get_head() < compute_block(timing, 0, Phase.VERDICT_END) + 2:
            world.chain.mint()
        while not watched.audit(0).closed:
            watched.validator.step()
        held.set()
        wait_until(lambda: not threads.running)
    judged = watched.audit(0)
    assert judged.verdicts[short].reason is Reason.ACCEPTED
    assert judged.verdicts[long].reason is (Reason.ACCEPTED if is_done else Reason.INTERNAL)
    assert judged.counts


def test_a_file_that_breaks_the_judge_once_gets_a_fresh_reader(fresh_world, monkeypatch):
    world, readers = fresh_world, []
    honest = submission_judge.judge_and_carry

    def judge(submission, *arguments, **options):
        readers.append((submission.hotkey, submission))
        if len(readers) == 1:
            raise MemoryError("what an earlier file has left behind")
        return honest(submission, *arguments, **options)

    monkeypatch.setattr(submission_judge, "judge_and_carry", judge)
    watched = Watched(world)
    watched.run_to_settlement(1)
    (first, broken), (second, fresh), *_ = readers
    assert first == second
    assert broken is not fresh
    assert Reason.INTERNAL not in {v.reason for v in watched.audit(0).verdicts.values()}


def test_a_judge_broken_for_several_abstains_for_all(fresh_world, monkeypatch):
    world = fresh_world
    break_judge_for(monkeypatch, {world.hotkeys["alice"], world.hotkeys["bob"]})
    watched = Watched(world)
    while 0 not in watched.validator.judged_windows or not watched.audit(0).closed:
        world.mint()
        while watched.validator.step():
            pass
    assert not watched.audit(0).counts


def test_showing_the_file_only_after_it_was_due(fresh_world):
    """A validator that looks late must not see more than one that looked in time."""
    world = fresh_world
    store = world.folder / "store"
    hidden = world.folder / "hidden"
    world.mint(compute_block(world.parameters.timing, 0, Phase.AUDIT))
    (file,) = store.rglob(f"{encode_ss58(world.hotkeys['alice'])}/window-0.rollouts")
    file.rename(hidden)
    punctual, late = Watched(world), Watched(world)
    fetch_end = compute_block(world.parameters.timing, 0, Phase.FETCH_END)
    while world.chain.get_head() <= fetch_end:
        world.mint()
        while punctual.validator.step():
            pass
    hidden.rename(file)
    for watched in (punctual, late):
        watched.run_to_settlement_of(0)
    assert punctual.audit(0).verdicts[world.hotkeys["alice"]].reason is Reason.NOT_REVEALED
    assert late.audit(0).verdicts == {}  # it abstains: it cannot know what was there in time
    assert not late.audit(0).counts


def test_a_file_shown_late_but_in_time_is_judged(fresh_world):
    """Asked for in vain at first: it is asked for again at each block."""
    world = fresh_world
    timing, alice = world.parameters.timing, world.hotkeys["alice"]
    world.mint(compute_block(timing, 0, Phase.AUDIT))
    (file,) = (world.folder / "store").rglob(f"{encode_ss58(alice)}/window-0.rollouts")
    hidden = file.rename(world.folder / "hidden")
    watched = Watched(world)
    while world.chain.get_head() < compute_block(timing, 0, Phase.FETCH_END) - 1:
        world.mint()
        while watched.validator.step():
            pass
    assert alice in watched.audit(0).withheld
    hidden.rename(file)
    watched.run_to_settlement(1)
    assert watched.audit(0).verdicts[alice].reason is Reason.ACCEPTED


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("header", Reason.WRONG_HEADER),
        ("group", Reason.ROOT_MISMATCH),
        ("another file", Reason.WRONG_HEADER),
    ],
)
def test_a_store_that_shows_one_validator_a_broken_file_first_splits_no_verdicts(
    fresh_world, tmp_path, place, reason
):
    """Before the other validator has mirrored the true one: both find it, and both accept."""
    world, timing = fresh_world, fresh_world.parameters.timing
    alice, bob = world.hotkeys["alice"], world.hotkeys["bob"]
    world.mint(compute_block(timing, 0, Phase.AUDIT))
    folder = world.folder / "store"
    (true,) = folder.rglob(f"{encode_ss58(alice)}/window-0.rollouts")
    (other,) = folder.rglob(f"{encode_ss58(bob)}/window-0.rollouts")
    data = true.read_bytes()
    at = {"header": 10, "group": get_opening_bytes(GROUPS) + 10}.get(place)
    broken = other.read_bytes() if at is None else data[:at] + b"\0~\0~" + data[at + 4 :]
    lying, mirror = open_folder(tmp_path / "lying"), open_folder(tmp_path / "mirror")
    (locator,) = world.sources.stores
    lying.put(true.relative_to(folder).as_posix(), broken)
    lying.put(other.relative_to(folder).as_posix(), other.read_bytes())
    shown_broken = replace(
        world.sources, stores={locator: lying}, mirrors=lambda root: [KnownMirror(mirror)]
    )
    first, second = Watched(replace(world, sources=shown_broken)), Watched(world)

    def step_both_to(block):
        while world.chain.get_head() < block:
            world.mint()
            for watched in (first, second):
                while watched.validator.step():
                    pass

    step_both_to(compute_block(timing, 0, Phase.FETCH_END) - 2)
    assert first.audit(0).withheld[alice].reason is reason
    assert first.audit(0).verdicts[bob].reason is Reason.ACCEPTED
    context = second.audit(0).context
    for samples in (False, True):
        looking = ReadRequest(samples)
        parts = {}
        fetch(submission_judge.open_submission(context, alice, world.sources, looking), parts=parts)
        name = make_mirror_name(0, context.commitments[alice].root, samples=samples)
        mirror.put(name, encode_pack(pack_parts(alice, parts)))
    step_both_to(compute_block(timing, 0, Phase.VERDICT_END))
    for watched in (first, second):
        assert watched.audit(0).verdicts[alice].reason is Reason.ACCEPTED


def test_a_file_that_stays_broken_is_refused_for_what_it_is(fresh_world):
    """The refusal comes after MIRROR_END, also after a restart. Faults of bound bytes are refused
    at once."""
    world, timing = fresh_world, fresh_world.parameters.timing
    alice = world.hotkeys["alice"]
    world.mint(compute_block(timing, 0, Phase.AUDIT))
    (file,) = (world.folder / "store").rglob(f"{encode_ss58(alice)}/window-0.rollouts")
    data = bytearray(file.read_bytes())
    data[get_opening_bytes(GROUPS)] ^= 1
    file.write_bytes(data)
    watched = Watched(world)
    while world.chain.get_head() < compute_block(timing, 0, Phase.MIRROR_END):
        world.mint()
        while watched.validator.step():
            pass
    kept = watched.validator.journal.load_judged_windows()[0]
    for audit in (kept, watched.audit(0)):
        assert alice not in audit.verdicts
        assert audit.withheld[alice].fault.unbound
    watched.run_to_settlement_of(0)
    assert watched.audit(0).verdicts[alice].reason is Reason.ROOT_MISMATCH
    assert watched.audit(0).complete


def test_a_worker_that_fails_is_not_the_miners_fault(fresh_world, monkeypatch):
    """We lack something: no verdict until it works, and no crash."""
    world = fresh_world
    honest = submission_judge.open_submission

    timing = world.parameters.timing

    def open_submission(*arguments):
        if world.chain.get_head() < compute_block(timing, 0, Phase.FETCH_END) - 1:
            raise WorkerError("no process can be started: free some memory")
        return honest(*arguments)

    monkeypatch.setattr(submission_judge, "open_submission", open_submission)
    watched = Watched(world)
    watched.run_to_settlement(1)
    assert watched.audit(0).missing == "no process can be started: free some memory"
    assert watched.audit(0).verdicts[world.hotkeys["alice"]].reason is Reason.ACCEPTED


def test_a_link_out_of_the_store_costs_its_owner_only(fresh_world):
    """A store that cannot be read for one miner is that miner's: nobody else waits for it."""
    world = fresh_world
    world.mint(compute_block(world.parameters.timing, 0, Phase.AUDIT))
    bob = encode_ss58(world.hotkeys["bob"])
    (file,) = (world.folder / "store").rglob(f"{bob}/window-0.rollouts")
    file.unlink()
    file.symlink_to("/etc/passwd")
    watched = Watched(world)
    watched.run_to_settlement(1)
    verdicts = watched.audit(0).verdicts
    assert verdicts[world.hotkeys["bob"]].reason is Reason.NOT_REVEALED
    assert verdicts[world.hotkeys["alice"]].reason is Reason.ACCEPTED
    assert 0 in watched.settlements[0].windows


def test_coming_back_after_the_nodes_have_forgotten(fresh_world):
    """Windows whose state is gone are skipped, not stumbled over for ever."""
    world = fresh_world
    world.miners.clear()
    world.mint(300)
    watched = Watched(world)
    while watched.validator.step():
        pass
    assert min(watched.validator.judged_windows) > 0
    assert max(watched.validator.judged_windows) >= 23


def test_two_hotkeys_with_one_broken_file_do_not_void_the_window(fresh_world, monkeypatch):
    world = fresh_world
    sybils = {world.hotkeys["owner"], world.hotkeys["bob"]}
    break_judge_for(monkeypatch, sybils)
    watched = Watched(world)
    watched.run_to_settlement(1)
    alice = world.chain.get_members(0)[world.hotkeys["alice"]].uid
    assert set(watched.settlements[0].weights) == {alice}


def test_weights_are_persisted_before_they_are_sent(fresh_world):
    world = fresh_world
    sent = []

    class Noting(Watched):
        def take_settlement(self, settlement):
            sent.append(dict(world.chain.pending.weights))
            super().take_settlement(settlement)

    watched = Noting(world)
    watched.run_to_settlement(1)
    assert sent == [{}]
    assert world.hotkeys["validator"] in world.chain.pending.weights


def test_a_fault_that_only_one_implementation_finds_costs_a_miner_nothing(world):
    """Every audited rollout is honest; the first pass sees a margin in one, plain fp32 does not."""
    context, hotkey = world.contexts[1], world.hotkeys["alice"]
    reference = world.checkpoint.get_reference(1_024)

    class Noisy:
        def measure(self, *arguments):
            measured = reference.measure(*arguments)
            margins = measured[2].margins.copy()
            margins[-1] = world.parameters.tests.margin_cap + 1
            return [*measured[:2], replace(measured[2], margins=margins), *measured[3:]]

    submission = submission_judge.open_submission(context, hotkey, world.sources)
    groups = (0, 1)  # a rollout of each: both appeals
    verdict = submission_judge.judge_with_checkpoint(
        submission, hotkey, context, world.checkpoint, groups=groups, forward=Noisy()
    )
    assert verdict.reason is Reason.ACCEPTED, verdict.detail


def test_absent_miners_do_not_keep_the_others_waiting(fresh_world, monkeypatch):
    """Each look for a file takes a block; two hotkeys of the lowest order never show theirs."""
    world, timing = fresh_world, fresh_world.parameters.timing
    world.mint(compute_block(timing, 0, Phase.AUDIT))
    members = set(world.hotkeys.values())
    absent = set(sorted(members)[:2])
    honest, asked = submission_judge.judge_hotkey, []

    def judge_hotkey(context, hotkey, *arguments, **options):
        asked.append(hotkey)
        world.chain.mint()
        if hotkey in absent:
            fault = Refusal(Reason.NOT_REVEALED, "not yet")
            verdict = Refused(window=context.window, hotkey=hotkey, fault=fault)
            return JudgeResult(verdict, Ledger())
        return honest(context, hotkey, *arguments, **options)

    monkeypatch.setattr(submission_queue, "judge_hotkey", judge_hotkey)
    watched = Watched(world)
    while world.chain.get_head() < compute_block(timing, 0, Phase.MIRROR_END):
        if not watched.validator.step():
            world.mint()
    assert set(asked[: len(members)]) == members
    assert len(asked) > len(members)  # and the absent are asked again


def test_a_uid_that_changed_hands_is_not_paid_for_what_was_done_before(fresh_world, monkeypatch):
    world = fresh_world
    alice = world.hotkeys["alice"]
    watched = Watched(world)
    members = world.chain.get_members

    def get_members(number):
        held = dict(members(number))
        if world.chain.is_epoch(number):
            held[alice] = replace(held[alice], registered_at=number)
        return held

    monkeypatch.setattr(world.chain, "get_members", get_members)
    watched.run_to_settlement(1)
    uid = members(0)[alice].uid
    scores = {seat.uid: score for seat, score in watched.settlements[0].scores.items()}
    assert scores[uid] > 0
    assert uid not in watched.settlements[0].weights
