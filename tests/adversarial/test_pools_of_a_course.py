"""A network that writes its own problems, for fifty windows, and its trainer is killed in between:
an auditor and an implementation in another language derive every pool from the steps' rows alone.

The trainer, its chain, store and steps, what fetches a step and the sandbox are real. What miners
say is made up here, about the problems that are due at their places: no model of this size proposes
anything. So nobody judges their files, and the trainer's own groups say what they are told.
"""

import json
import shutil
import subprocess
from dataclasses import replace
from functools import partialmethod
from hashlib import sha256
from itertools import count
from pathlib import Path
from random import Random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from assay.artifacts.checkpoints import folder as checkpoint_folder
from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.checkpoints.publish import publish_checkpoint
from assay.artifacts.steps import file as step_file
from assay.artifacts.steps import groups as step_groups
from assay.artifacts.steps import plan as step_plan
from assay.artifacts.steps.config import StepChoice
from assay.artifacts.steps.file import WAITING, ConsumedGroup
from assay.artifacts.steps.folder import StepFolder, read_step, read_step_groups
from assay.artifacts.steps.pool import DrawnBy, compute_step_pool
from assay.artifacts.steps.store import fetch_step
from assay.audit.provenance.reexecution import reexecute
from assay.environments.base import ask
from assay.environments.dealing import deal_level
from assay.environments.mixture import PartProblem
from assay.environments.pieces.growth import read_pool
from assay.environments.pieces.pool import list_first_pieces
from assay.environments.pieces.propose import Kind, ProposeTask, write_proposal
from assay.environments.rewards import compute_reward
from assay.network import files
from assay.neurons.trainer import lessons
from assay.protocol.commitment import Commitment, Tag, encode_commitment
from assay.protocol.manifest import POOL_FILE, start_levels
from assay.protocol.seeds import compute_problem_seed
from assay.protocol.submission import LOGPROB_BITS
from assay.protocol.window import Phase, compute_block
from assay.sandbox.guest import INTERPRETER
from assay.subnet.presets import parse_environment
from assay.training import Group, sharding
from tests.absent import has_sandbox
from tests.adversarial.conftest import make_world
from tests.adversarial.trainer_bench import LEARNING, Bench, Calls, Killed
from tests.small_genesis import make_small_genesis, open_small_genesis

SECOND = Path(__file__).parents[1] / "vectors" / "second" / "pools_of_steps.js"
NODE = shutil.which("node")
WINDOWS = 50
DELAYED_WINDOWS, ASKED = 12, 500
MOST = 64  # proposals that the pool keeps
ENVIRONMENT = f"mix,deduce=1,propose=4,propose.units=90,propose.pool={MOST}"
ALL_LEVELS = *range(1_001, 1_009), 2_001
LEVELS, LONGEST, SHORT = (1_001, 2_001), 140, 1_200
NAMES, WRONG = ("whole", "killed"), "no"
MINERS, GROUPS, ROLLOUTS = ("alice", "bob"), 3, 3
#: Fifty steps at the bench's rate can lead so far from the start that no checkpoint is usable.
SLOW = replace(LEARNING, learning_rate=1e-4)
#: Two of a window's accepted groups are left over, for the next steps to replay.
EXTERNAL = len(MINERS) * GROUPS - 2
REPLAYING = StepChoice(
    replay_share=0.4, replay_staleness=2, external_groups=EXTERNAL, local_groups=1
)
#: Digests of the first pool's pieces.
FIRST = {piece.digest for piece in list_first_pieces()}
#: The trainer's calls at which it is killed, in a window each: which one of its name.
KILLS = (
    ("compute_step_pool", 1),
    ("write_table", 1),
    ("keep_record", 1),
    ("save_file", 1),
    ("put", 2),
    ("set_commitment", 1),
    ("get_commitments", 1),
    ("replace", 1),
    ("save_file", 2),
    ("beacon", 2),
    ("rename", 1),
    ("put", 20),
)

#: The same in steps that learn from proposals late, one each.
DELAYED_KILLS = "compute_step_pool", "write_table", "keep_record"

if not has_sandbox() or NODE is None:
    pytest.skip("no sandbox (assay sandbox prepare) or no node", allow_module_level=True)


class NamedCalls(Calls):
    """Kills at the next call of a name, or a later one."""

    def __init__(self):
        super().__init__()
        self.victim, self.left = None, 0

    def __call__(self, name):
        if name == self.victim and not self.dead:
            self.left -= 1
            if self.left == 0:
                self.due = len(self.names) + 1
        super().__call__(name)

    def aim(self, name, which):
        self.victim, self.left = name, which


@pytest.fixture
def calls(monkeypatch):
    calls = NamedCalls()
    for owner, name in (
        (files.os, "replace"),
        (Path, "rename"),
        (sharding, "save_file"),
        (checkpoint_folder, "save_file"),
        (step_file.pq, "write_table"),
        (StepFolder, "keep_record"),
        (step_plan, "compute_step_pool"),
    ):
        monkeypatch.setattr(owner, name, counted(getattr(owner, name), name, calls))
    monkeypatch.setattr(lessons.WindowReading, "judge", take_unjudged)
    monkeypatch.setattr(step_groups, "generate_groups", say)
    return calls


def counted(original, name, calls):
    def call(*arguments, **options):
        calls(name)
        return original(*arguments, **options)

    return call


class Course(Bench):
    """A trainer in a network of its own, whose chain grows while it has nothing to do."""

    choice = REPLAYING

    def __init__(self, folder, genesis, calls):
        world = make_world(folder / "world", (), genesis=genesis)
        work = replace(world.parameters.work, group_size=ROLLOUTS, max_tokens=LONGEST)
        environment = parse_environment(ENVIRONMENT)
        parameters = replace(world.parameters, work=work, environment=environment)
        super().__init__(replace(world, parameters=parameters), folder, calls)
        self.awaited = 0  # window to which miners commit next

    def start(self, **changes):
        settings = {
            "learning": SLOW,
            "choice": self.choice,
            "last_window": None,
            "steps": StepFolder(self.folder / "steps", spare=3),
            "publish_states": True,
        }
        super().start(**(settings | changes))

    def play(self, window):
        """Until every window before this one is learned from, and the chain has its checkpoint."""
        timing = self.world.parameters.timing
        last = compute_block(timing, window, Phase.VERDICT_END)
        while self.trainer.window is None or self.trainer.window < window or self.is_silent():
            if not self.trainer.step() and not self.trainer.step():
                self.mint(timing)
                assert self.chain.head < last, self.trainer.trouble

    def is_silent(self):
        return self.trainer.course.announcement is not None

    def mint(self, timing):
        world = self.world
        self.chain.head = world.chain.mint().number
        if compute_block(timing, self.awaited, Phase.COMMIT) == self.chain.head + 2:
            for name in MINERS:
                hotkey = world.hotkeys[name]
                root = sha256(hotkey + bytes([self.awaited])).digest()
                told = Commitment(Tag.MINER, self.awaited, GROUPS, root, "test:store")
                world.chain.set_commitment(hotkey, encode_commitment(told))
            self.awaited += 1


class DelayedCourse(Course):
    """The same, but it learns from proposals later."""

    choice = replace(REPLAYING, proposal_tries=1)


def take_unjudged(reading, hotkey, checkpoint, sources, asks=False):
    """In place of a file's groups those that `make_groups` makes."""
    context = reading.context
    proof = context.commitments[hotkey].root
    place = context.parameters, context.window, context.challenge_seed, hotkey, proof
    reading.groups += make_groups(*place, checkpoint, asks)


def make_groups(parameters, window, challenge_seed, hotkey, proof, checkpoint, asks):
    """A miner's groups: one about a piece, with `asks` about a proposal if one of the first
    problems is; the others propose."""
    environment = checkpoint.open_environment(parameters.environment)
    encode, levels = checkpoint.tokenizer.encode, checkpoint.manifest.levels
    found, asking = [], 0
    for index in count():
        seed = compute_problem_seed(challenge_seed, hotkey, index)
        level = deal_level(environment, challenge_seed, hotkey, index, levels)
        problem = environment.make_problem(seed, [level])
        assert isinstance(problem.answer, PartProblem)
        task = problem.answer.problem.answer
        is_proposing = isinstance(task, ProposeTask)
        if asks and index < ASKED and not is_proposing and task.piece.digest in FIRST:
            continue
        if len(problem.prompt) > SHORT or (not is_proposing and asking):
            continue
        asking += not is_proposing
        if is_proposing and len(found) - asking == GROUPS - 1:
            continue
        random = Random(seed)
        texts = [
            propose(random, task) if is_proposing else environment.solve(problem)[0]
            for _ in range(ROLLOUTS)
        ]
        texts[1] = WRONG
        end, longest = checkpoint.manifest.end_tokens[0], parameters.work.max_tokens
        texts = [text if len(encode(ask(text))) < longest else WRONG for text in texts]
        completions = [[*encode(ask(text)), end] for text in texts]
        rewards = [
            compute_reward(environment.score(problem, text), len(row), parameters.rewards, longest)
            for text, row in zip(texts, completions, strict=True)
        ]
        logprobs, replies = [[-1.0] * len(row) for row in completions], [[] for _ in texts]
        prompt = list(encode(problem.conversation))
        group = Group(prompt, completions, rewards, logprobs, replies)
        place = checkpoint.digest, proof, seed, (level,)
        found.append(ConsumedGroup(group, window, hotkey, index, *place))
        if len(found) == GROUPS:
            return found
    raise AssertionError("counts for ever")


def propose(random, task):
    """A text that proposes what is asked for, valid or not."""
    one, other = random.randrange(2, 60), random.randrange(2, 60)
    if random.random() < 0.05:
        return write_proposal("def f(a):\n    while a:\n        a = a + [1]", "[1]")
    if task.kind is Kind.INPUT:
        return write_proposal(None, random.choice([f"[{one}, {other}]", f"{one}", f"'x{one}y'"]))
    if task.kind is Kind.PAIRS:  # the same but for one input
        head, _, body = task.piece.function.partition("\n")
        names = head.partition("(")[2].partition(")")[0]
        odd = f"    if [{names}] == [{one}]:\n        return {other}"
        return write_proposal(f"{head}\n{odd}\n{body}", None)
    return write_proposal(write_function(random, one, other), f"[{other}, 3, {one}]")


def write_function(random, one, other):
    first, last = random.choice("+-*%"), random.choice("+-*%")
    source = random.choice(["a", "a[1:]", "a[::-1]", "sorted(a)", "a + a", f"a + [{other}]"])
    outer = random.choice(["[{}]", "sum([{}])", "sorted([{}])[:2]", "[[{}], len(a)]"])
    return "def f(a):\n    return " + outer.format(f"b {first} {one} {last} 7 for b in {source}")


def say(requests, drafter, reference, *_):
    """In place of what the trainer's model would draw: functions, mostly valid where one is asked
    for."""
    del drafter, reference
    return [[say_one(seed) for seed in request.seeds] for request in requests]


def say_one(seed):
    random, genesis = Random(seed), open_small_genesis()
    function = write_function(random, random.randrange(2, 60), 3)
    text = ask(write_proposal(function, "[1, 2, 3]"))
    tokens = np.array([*genesis.tokenizer.encode(text), genesis.manifest.end_tokens[0]], np.uint32)
    return SimpleNamespace(tokens=tokens, logprobs=np.full(len(tokens), 1 << LOGPROB_BITS))


def read_named(course):
    """The pool's SHA-256 and bytes in each checkpoint's manifest; None: it names none."""
    models = CheckpointFolder(course.folder / "models")
    manifests = [models.get(digest).manifest for digest in course.published]
    named = [[one for one in made.files if one.name == POOL_FILE] for made in manifests]
    return [(one[0].sha256.hex(), one[0].size) if one else None for one in named]


def audit(course, folder):
    """Fetch each step from the trainer's store and repeat it: its rows, and the pool that follows
    from them."""
    world, audited = course.world, []
    publish_checkpoint(course.store, world.checkpoint.folder, world.checkpoint.digest)
    for digest in course.published:
        step = read_step(fetch_step([course.store], digest, folder))
        models, taken = CheckpointFolder(folder / "models"), read_step_groups(step)
        found = reexecute(step, models)
        assert (found.equal, found.tensor) == (True, None), found.detail
        audited.append((step, taken, derive(course, step, taken[::-1], folder)))
    return audited


def derive(course, step, taken, folder):
    """The pool's file after a step that consumed these groups, in any order."""
    models, record = CheckpointFolder(folder / "models"), step.record
    parent = models.get_outline(record.parent)
    drawn = DrawnBy(course.world.parameters, parent, models)
    return compute_step_pool(taken, record.window, drawn)


def derive_elsewhere(course, audited, path):
    """The pools' rows and SHA-256s by the second implementation. It is given no pool."""
    world = course.world
    steps = [
        {
            "window": step.record.window,
            "parent": step.record.parent.hex(),
            "child": step.child.hex(),
            "groups": [
                {
                    "window": one.window,
                    "hotkey": one.hotkey.hex(),
                    "index": one.index,
                    "checkpoint": one.checkpoint.hex(),
                    "problem_seed": one.problem_seed.hex(),
                    "levels": list(one.levels),
                    "prompt": one.group.prompt,
                    "completions": one.group.completions,
                }
                for one in reversed(taken)
            ],
        }
        for step, taken, _ in audited
    ]
    document = {
        "image": INTERPRETER.image_digest,
        "environment": {one.name: one.value for one in world.parameters.environment.settings},
        "trainer": course.hotkey.hex(),
        "end_tokens": list(world.checkpoint.manifest.end_tokens),
        "genesis": world.checkpoint.digest.hex(),
        "steps": steps,
    }
    path.write_text(json.dumps(document))
    command = [NODE, SECOND, path, world.checkpoint.folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return [line.split(" ") for line in done.stdout.splitlines()]


def list_late(course):
    """The windows of steps that learn from proposals of earlier ones."""
    steps = map(read_step, sorted((course.folder / "steps").glob("step-*.json")))
    return [
        step.record.window
        for step in steps
        if any(one.delay not in (None, WAITING) for one in read_step_groups(step))
    ]


def count_replays(course, step, taken):
    """What a step has consumed, if replayed groups were of its window."""
    return [replace(one, window=step.record.window) for one in taken]


def count_own(course, step, taken):
    """What a step has consumed, if a miner had drawn the trainer's own groups."""
    miner = course.world.hotkeys[MINERS[0]]
    return [replace(one, hotkey=miner) if one.hotkey == course.hotkey else one for one in taken]


def kill(course, calls, call, windows):
    """Kill the trainer at its call in these windows, and start it again."""
    course.play(windows.start)
    calls.aim(*call)
    with pytest.raises(Killed):
        course.play(windows.stop)
    course.start()


def test_everybody_derives_the_same_pools_of_fifty_windows(tmp_path, calls):
    torch.set_num_threads(1)
    make_small_genesis(tmp_path / "genesis", max_tokens=LONGEST, levels=start_levels(LEVELS))
    whole, killed = (Course(tmp_path / name, tmp_path / "genesis", calls) for name in NAMES)
    whole.play(WINDOWS)
    for number, (name, which) in enumerate(KILLS):
        begin = 1 + number * (WINDOWS - 1) // len(KILLS)
        kill(killed, calls, (name, which), range(begin, begin + 2))
    killed.play(WINDOWS)
    for course in (whole, killed):
        course.close()
    named = read_named(killed)
    assert len({name for name in named if name}) == len(named) == WINDOWS
    assert named == read_named(whole)
    assert killed.published == whole.published

    folder = tmp_path / "auditor"
    audited = audit(killed, folder)
    pools = [pool for _, _, pool in audited]
    assert [(sha256(pool).hexdigest(), len(pool)) for pool in pools] == named
    rows = [read_pool(pool) for pool in pools]
    elsewhere = derive_elsewhere(killed, audited, tmp_path / "steps.json")
    assert elsewhere == [
        [str(len(pieces)), digest] for pieces, (digest, _) in zip(rows, named, strict=True)
    ]

    # what the rules leave out is there
    assert len(rows[-1]) == MOST < len({piece.digest for pieces in rows for piece in pieces})
    for change in (count_replays, count_own):
        others = (
            (derive(killed, step, change(killed, step, taken), folder), pool)
            for step, taken, pool in audited
        )
        assert any(other != pool for other, pool in others)


def test_a_killed_trainer_learns_late_from_the_same_proposals(tmp_path, calls, monkeypatch):
    """It is killed within steps that do so. An auditor repeats all steps, with those before them
    beside."""
    monkeypatch.setattr(lessons.WindowReading, "judge", partialmethod(take_unjudged, asks=True))
    torch.set_num_threads(1)
    make_small_genesis(tmp_path / "genesis", max_tokens=LONGEST, levels=start_levels(ALL_LEVELS))
    whole, killed = (DelayedCourse(tmp_path / name, tmp_path / "genesis", calls) for name in NAMES)
    whole.play(DELAYED_WINDOWS)
    late = list_late(whole)
    assert len(late) >= len(DELAYED_KILLS)
    for name, begin in zip(DELAYED_KILLS, late, strict=False):
        kill(killed, calls, (name, 1), range(begin, begin + 1))
    killed.play(DELAYED_WINDOWS)
    for course in (whole, killed):
        course.close()
    assert list_late(killed) == late
    assert killed.published == whole.published
    audit(killed, tmp_path / "auditor")
