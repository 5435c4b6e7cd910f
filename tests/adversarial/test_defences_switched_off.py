"""Each defence taken out once: its attack must then pass, else the defence defends nothing."""

from dataclasses import replace
from functools import partial
from hashlib import sha256

import numpy as np
import pytest

from assay.artifacts.submissions import judge as submission_judge
from assay.artifacts.submissions.judge import judge_with_checkpoint
from assay.artifacts.submissions.reader import open_submission
from assay.environments import dealing
from assay.lab.gauntlet.attack_setup import MemorySubmission
from assay.lab.gauntlet.chain_attacks import OverwritesTheCommitment
from assay.lab.gauntlet.measuring import SETTLEMENT_WINDOWS
from assay.lab.gauntlet.strategy import Strategy, prefill
from assay.lab.gauntlet.table import CHOOSING, NOT_WORKING
from assay.neurons.miner.miner import Miner, MinerConfig
from assay.protocol.amendment import ParameterHistory
from assay.protocol.hashing import DIGEST_BYTES, Domain, hash_fields
from assay.protocol.parameters import SMALL_MODEL_TESTS
from assay.protocol.reason import Reason, Refusal
from assay.protocol.seeds import (
    compute_block_seed,
    compute_problem_seed,
    compute_projection_seed,
    compute_rollout_seed,
)
from assay.protocol.selection import select_groups, select_rollouts, select_sampled
from assay.protocol.submission import HEADER_BYTES
from assay.protocol.window import compute_round
from assay.session import window_reader
from assay.session.window_reader import get_context
from assay.verification import Ledger, case, examination, read_plan, trial
from assay.verification.logprobs import LogprobResult
from assay.verification.sampling import SamplingResult, judge_sampling
from assay.verification.sketch import SketchResult
from tests.adversarial.test_not_doing_the_work import find_parts
from tests.lab.gauntlet.steering import count_bearable
from tests.verification.bets import count_bets

KINDS = {kind.title: kind for kind in CHOOSING + NOT_WORKING}


def judge(lab, made, reader=MemorySubmission, **options):
    """The reason why a file of these groups, read through `reader`, is refused, or None."""
    data, context = lab.commit(made)
    hotkey, options = lab.hotkeys["attacker"], {"forward": lab.forward, **options}
    return judge_with_checkpoint(reader(data), hotkey, context, lab.judged, **options).reason


def judge_groups(lab, groups):
    """The findings on each of the groups alone."""
    reasons = {judge(lab, groups, groups=[index]) for index in range(len(groups))}
    lab.forward.forget()
    return reasons


def make(lab, title, count=2):
    miner = lab.make_miner(KINDS[title], count)
    return miner.generate(lab.work, range(count))


def pass_sampling(margins, gini, calibration, tests, temperature):
    return SamplingResult(0, 0.0, None, np.zeros(count_bets(tests)))


@pytest.mark.parametrize(
    "title",
    [
        "best of 3",
        "reject and resample",
        "other seed",
        "temperature .9",
        "temperature .7",
        "greedy",
        "top-k 5",
        "top-p .95",
        "int4 weights",
        "smaller model",
        "sibling checkpoint",
        "foreign model",
        "prefill only",
        "altered prompt",
        "splice of 1",
        "splice of 8",
        "splice of 16",
        "splice of 32",
        "ended early",
        "skipped end token",
        "copied from another hotkey",
        "replayed from another window",
        "token crafted at the cap",
    ],
)
def test_without_the_sampling_test(title, lab, monkeypatch):
    """Sketches and log-probabilities are genuine: nothing else sees whose tokens these are."""
    groups = make(lab, title)
    assert judge_groups(lab, groups) == {Reason.SAMPLING_MISMATCH}
    monkeypatch.setattr(trial, "judge_sampling", pass_sampling)
    assert judge_groups(lab, groups) == {Reason.ACCEPTED}


@pytest.mark.parametrize(
    "title", ["constant sketch", "zero sketch", "random sketch", "shuffled sketch", "copied sketch"]
)
def test_without_the_sketch_test(title, lab, monkeypatch):
    groups = make(lab, title)
    assert judge_groups(lab, groups) == {Reason.SKETCH_MISMATCH}
    monkeypatch.setattr(trial, "judge_sketch", lambda *_: SketchResult(0.0, None))
    assert judge_groups(lab, groups) == {Reason.ACCEPTED}


def test_without_the_logprob_test(lab, monkeypatch):
    groups = make(lab, "fabricated logprobs")
    assert judge_groups(lab, groups) == {Reason.LOGPROB_MISMATCH}
    monkeypatch.setattr(trial, "judge_logprobs", lambda *_: LogprobResult(0.0, None))
    assert judge_groups(lab, groups) == {Reason.ACCEPTED}


def test_without_the_termination_rule(lab, monkeypatch):
    """Half a completion is genuine token for token."""
    groups = make(lab, "truncated")
    assert judge_groups(lab, groups) == {Reason.WRONG_TERMINATION}
    monkeypatch.setattr(examination, "_find_structural_faults", lambda *_: iter(()))
    assert judge_groups(lab, groups) == {Reason.ACCEPTED}


def end_one_token_early(lab):
    """An honest group, except that one rollout ends one token before the drawn end."""
    request = lab.make_miner(Strategy, 1).make_request(lab.work, 0)
    rows = [rollout.tokens.tolist() for rollout in lab.get_honest("attacker", 1)[0]]
    end = lab.checkpoint.manifest.end_tokens[0]
    ended = next(r for r, row in enumerate(rows) if row[-1] == end)
    rows[ended] = [*rows[ended][:-2], end]
    return [prefill(lab.work, request, rows)]


def test_without_the_cap(lab, monkeypatch):
    """One wrong token late in a rollout is less evidence than the martingale asks for."""
    groups = end_one_token_early(lab)
    assert judge_groups(lab, groups) == {Reason.SAMPLING_MISMATCH}
    monkeypatch.setattr(
        trial,
        "judge_sampling",
        lambda margins, gini, calibration, tests, temperature: judge_sampling(
            margins, gini, calibration, replace(tests, margin_cap=1 << 60), temperature
        ),
    )
    assert judge_groups(lab, groups) == {Reason.ACCEPTED}


def steer(lab, tokens):
    """Margins of a rollout steered at that many ties within the cap, and its Gini impurity."""
    miner = lab.make_miner(Strategy, 1)
    request = miner.make_request(lab.work, 0)
    group = lab.get_honest("attacker", 1)[0]
    measured = lab.measure_tokens(request, [rollout.tokens for rollout in group])
    m = max(measured, key=lambda one: len(one.margins))
    margins = m.margins.copy()
    margins[5 : 5 + 3 * tokens : 3] = SMALL_MODEL_TESTS.margin_cap // 2
    return margins, m.gini


def test_without_the_martingale(lab):
    """Ties within the cap, steered one after the other."""
    margins, gini = steer(lab, 3)
    calibration = lab.checkpoint.calibration
    judged = judge_sampling(margins, gini, calibration, SMALL_MODEL_TESTS, 1_024)
    assert judged.token is not None
    no_stakes = replace(SMALL_MODEL_TESTS, mean_stakes=(0,), level_stakes=(0,))
    assert judge_sampling(margins, gini, calibration, no_stakes, 1_024).token is None


def test_without_the_ledger(lab, monkeypatch):
    """One steered tie a rollout, in every rollout of a settlement."""
    calibration = lab.checkpoint.calibration
    bets = [
        judge_sampling(*steer(lab, tokens), calibration, SMALL_MODEL_TESTS, 1_024).log_bets
        for tokens in (1, 0)
    ]
    rollouts = lab.parameters.work.audited_rollouts * SETTLEMENT_WINDOWS
    assert count_bearable(lab, bets[:1], bets[1], rollouts) < 16
    monkeypatch.setattr(Ledger, "is_crossed", lambda *_: False)
    assert count_bearable(lab, bets[:1], bets[1], rollouts) == rollouts


def test_without_a_round_fixed_by_the_block(lab):
    """Work for the beacon of another round, in a context that lets a miner name it."""
    groups = make(lab, "grinding the beacon")
    assert judge_groups(lab, groups) == {Reason.SKETCH_MISMATCH}
    context, parameters = lab.context, lab.parameters
    number = compute_round(
        parameters.timing, parameters.beacon, context.challenge_block.timestamp_ms
    )
    lab.context = replace(context, challenge=lab.beacons.get(number + 1))
    try:
        assert judge_groups(lab, groups) == {Reason.ACCEPTED}
    finally:
        lab.context = context


def bind(monkeypatch, *, hotkey=None, challenge=None):
    """A judge whose seeds know no hotkey, or no window, of their own."""

    def change(function):
        return lambda seed, key, *rest: function(challenge or seed, hotkey or key, *rest)

    monkeypatch.setattr(trial, "compute_rollout_seed", change(compute_rollout_seed))
    monkeypatch.setattr(dealing, "compute_problem_seed", change(compute_problem_seed))
    monkeypatch.setattr(dealing, "compute_block_seed", change(compute_block_seed))
    if challenge is not None:
        monkeypatch.setattr(
            case, "compute_projection_seed", lambda _: compute_projection_seed(challenge)
        )


def test_without_the_hotkey_in_the_seeds(lab, monkeypatch):
    """Another miner's groups, as they are."""
    groups = lab.get_honest("victim", 1)[:2]
    assert Reason.ACCEPTED not in judge_groups(lab, groups)
    bind(monkeypatch, hotkey=lab.hotkeys["victim"])
    assert judge_groups(lab, groups) == {Reason.ACCEPTED}


def test_without_the_window_in_the_seeds(lab, monkeypatch):
    """Last window's groups, as they are."""
    groups = lab.get_honest("attacker", 0)[:2]
    assert Reason.ACCEPTED not in judge_groups(lab, groups)
    bind(monkeypatch, challenge=lab.open_work(0).challenge.seed)
    assert judge_groups(lab, groups) == {Reason.ACCEPTED}


def find_audited(lab, groups, seed=None):
    """Rollouts that an audit puts through the model."""
    seed, hotkey = seed or lab.context.audit_seed, lab.hotkeys["attacker"]
    chosen = select_groups(seed, hotkey, len(groups), lab.parameters.work)
    lengths = [[len(rollout.tokens) for rollout in group] for group in groups]
    return {
        (group.index, rollout)
        for group in chosen
        for rollout in select_rollouts(
            seed, hotkey, group, lengths[group.index], lab.parameters.work
        )
    }


class Holes(MemorySubmission):
    """A file of which only some parts are ever shown."""

    def __init__(self, data, shown):
        super().__init__(data)
        self.shown = shown

    def read(self, part):
        if part not in self.shown:
            return Refusal(Reason.NOT_REVEALED, "nothing there", unbound=True)
        return super().read(part)


class Noting(MemorySubmission):
    """A file that notes which of its parts are read."""

    def __init__(self, data, read):
        super().__init__(data)
        self.noted = read

    def read(self, part):
        self.noted.add(part)
        return super().read(part)


def read_no_samples(monkeypatch):
    monkeypatch.setattr(submission_judge, "read_samples", lambda *_: None)


def test_without_sampled_rollouts(lab, monkeypatch):
    """Nothing but what goes through the model, or is valued, is ever uploaded."""
    groups, audited = lab.get_honest("attacker", 1), set()
    with monkeypatch.context() as patched:
        read_no_samples(patched)
        judge(lab, groups, partial(Noting, read=audited))
    holes = partial(Holes, shown=audited)
    assert judge(lab, groups, holes) is Reason.NOT_REVEALED
    read_no_samples(monkeypatch)
    assert judge(lab, groups, holes) is Reason.ACCEPTED


@pytest.mark.parametrize(
    ("check", "place"),
    [("is_opening_committed", 0), ("is_head_committed", 1), ("is_record_committed", 3)],
)
def test_without_what_binds_a_part_to_the_root(check, place, lab, monkeypatch):
    """The bytes differ from the committed ones: in the header, beside a group, in a rollout that is
    only fetched."""
    groups = lab.get_honest("attacker", 1)
    audited = find_audited(lab, groups)
    sampled = select_sampled(lab.context, lab.hotkeys["attacker"], len(groups))
    fetched = next(rollout for rollout in sampled if rollout not in audited)

    def change(data):
        served, index_digest = bytearray(data), HEADER_BYTES - 2 * DIGEST_BYTES
        served[[index_digest, *find_parts(data, len(groups), *fetched)][place]] ^= 1
        return MemorySubmission(bytes(served))

    assert judge(lab, groups, change) is Reason.ROOT_MISMATCH
    monkeypatch.setattr(read_plan, check, lambda *_: True)
    assert judge(lab, groups, change) is Reason.ACCEPTED


def test_an_audit_that_is_known_before_the_commitment(lab):
    """Genuine where the audit will look, made up elsewhere: passes, if only one knew."""
    genuine = lab.get_honest("attacker", 1)
    audited = find_audited(lab, genuine)
    fakes = [
        [
            rollout if (g, r) in audited else replace(rollout, sketch=rollout.sketch[::-1])
            for r, rollout in enumerate(group)
        ]
        for g, group in enumerate(genuine)
    ]
    assert judge(lab, fakes) is Reason.ACCEPTED
    hit = 0
    for attempt in range(64):  # the seed comes after the commitment: each is as likely
        seed = hash_fields(Domain.AUDIT, attempt.to_bytes(4, "big"))
        hit += not find_audited(lab, fakes, seed) <= audited
    assert hit >= 60


def test_an_audit_drawn_from_the_root(lab):
    """A root can be ground until the audit misses; a seed without it cannot."""
    work, count, faked = lab.parameters.work, 48, {1, 2, 3, 4, 5, 6}
    seed, hotkey = lab.context.audit_seed, lab.hotkeys["attacker"]

    def is_missed(audit_seed):
        chosen = select_groups(audit_seed, hotkey, count, work)
        return not faked & {group.index for group in chosen}

    roots = (sha256(attempt.to_bytes(2, "big")).digest() for attempt in range(1 << 12))
    assert any(is_missed(hash_fields(Domain.AUDIT, seed, root)) for root in roots)
    assert len({is_missed(seed) for _ in range(2)}) == 1


def add_miner(world, name, kind=Miner):
    world.hotkeys[name] = sha256(name.encode()).digest()
    model = world.miners["alice"]
    config = MinerConfig(8, 8)
    miner = kind(
        name,
        world.hotkeys[name],
        ParameterHistory(world.parameters),
        model.dependencies,
        config,
        print,
    )
    world.miners = {name: miner}
    return miner


def judge_window(world, context, hotkey):
    submission = open_submission(context, hotkey, world.sources)
    return judge_with_checkpoint(submission, hotkey, context, world.checkpoint).reason


def test_without_a_uid_at_the_first_block(fresh_world, monkeypatch):
    """Registered when the challenge was known, in time for the commitment."""
    world = fresh_world
    world.chain.mint()
    miner = add_miner(world, "late")
    world.chain.register(miner.hotkey)
    context = world.open_context(0)
    assert judge_window(world, context, miner.hotkey) is Reason.NOT_REGISTERED
    monkeypatch.setattr(
        window_reader, "get_steady_members", lambda chain, first, last: chain.get_members(last)
    )
    challenge = window_reader.get_challenge(world.chain, world.beacons, world.parameters, 0)
    context = get_context(world.chain, world.beacons, world.parameters, challenge)
    assert judge_window(world, context, miner.hotkey) is Reason.ACCEPTED


def test_without_a_block_at_which_the_commitment_counts(fresh_world, monkeypatch):
    """The miner commits to copies, makes the audited rollouts later, and commits again."""
    world = fresh_world
    miner = add_miner(world, "bob", OverwritesTheCommitment)
    context = world.open_context(0)
    miner.act(world.chain.get_head())
    world.chain.mint()
    assert judge_window(world, context, miner.hotkey) is Reason.ROOT_MISMATCH
    monkeypatch.setattr(window_reader, "get_window_commitments", get_newest_commitments)
    context = get_context(
        world.chain,
        world.beacons,
        world.parameters,
        window_reader.get_challenge(world.chain, world.beacons, world.parameters, 0),
    )
    assert judge_window(world, context, miner.hotkey) is Reason.ACCEPTED


read_commitments = window_reader.get_window_commitments


def get_newest_commitments(chain, window, block):
    return read_commitments(chain, window, chain.get_head())
