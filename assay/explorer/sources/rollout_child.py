"""The child that reads rollouts for the index: groups that steps consumed, and those of miners'
files that an audit drew, which it plays and scores again. It never runs a model.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.steps.file import ConsumedGroup, open_step_parser
from assay.artifacts.steps.folder import Step, StepError, read_step, read_step_groups
from assay.artifacts.submissions.file import SubmissionFile
from assay.artifacts.submissions.reading import read_submission
from assay.audit.explain.rejudging import play_again
from assay.audit.provenance.course import find_published_step
from assay.audit.provenance.proposals import StepPlace
from assay.audit.sources import FetchedOutlines
from assay.environments.base import PART_LEVELS
from assay.environments.dealing import make_miner_problem
from assay.environments.mixture import NAME as MIXTURE
from assay.environments.mixture import divide
from assay.environments.rewards import compute_reward
from assay.environments.tools.calls import CallFault, CallForm, read_call
from assay.environments.tools.tool import Tool
from assay.environments.tools.tool_environment import TOOLS, find_tool
from assay.explorer.sources.group_child import open_file
from assay.explorer.sources.rollout_texts import GROUP_MAX, PART_ROLLOUTS, TextBudget, write_talk
from assay.explorer.sources.rollouts import encode_answer
from assay.inference.checkpoint import Outline
from assay.inference.folder import CheckpointError
from assay.network.store.base import StoreError
from assay.network.store.folder import open_folder
from assay.protocol.context import Context, context_from_json
from assay.protocol.encoding import EncodingError
from assay.protocol.episode import Reply
from assay.protocol.errors import OperatorError
from assay.protocol.parameters import EnvironmentChoice, Parameters
from assay.protocol.reason import Refusal
from assay.protocol.ss58 import encode_ss58
from assay.protocol.submission import LOGPROB_BITS, decode_ids, decode_proof
from assay.settings.learning import read_config
from assay.training import compute_advantages
from assay.verification import find_commitment, plan_groups
from assay.verification.read_plan import ReadGroup

_NATS = float(1 << LOGPROB_BITS)
#: Numbers are below this, as in the index.
_NUMBER_MAX = 1 << 62
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class OpenedStep:
    """A step and what it takes to read it."""

    path: str
    step: Step
    parameters: Parameters
    outline: Outline
    groups: Sequence[ConsumedGroup]
    scaled: bool


class RolloutReader:
    """Answers requests. The step that was read last stays in memory, and a tokenizer for each
    network: all its checkpoints have the first one's."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self._parser = open_step_parser()  # it ends with this process
        self._step: OpenedStep | None = None
        self._outlines: dict[bytes, Outline] = {}

    def answer(self, request: bytes) -> bytes:
        """What a request of `Rollouts` asks for."""
        order = json.loads(request)
        kinds = {"list": self._list, "step": self._read_step, "audited": self._read_audited}
        try:
            return kinds[order["kind"]](order)
        except CheckpointError as error:
            return encode_answer("no checkpoint is at hand whose tokenizer reads it", str(error))
        except (OperatorError, StoreError, OSError, ValueError) as error:
            self._step = None
            return encode_answer(
                "it cannot be read: its files are incomplete or damaged", str(error)
            )

    # --- steps

    def _list(self, order: dict[str, Any]) -> bytes:
        """Names and paths of the steps of a course, the newest first: without those that were put
        aside."""
        folder, steps = Path(order["trainer"]) / "steps", list[tuple[str, Step]]()
        fault = None
        for name in order["names"]:
            try:
                steps.append((name, read_step(folder / name)))
            except StepError as error:  # it is being written, or damaged
                fault = str(error)
        for digest in order["published"]:
            with suppress(StepError):
                step = find_published_step(list(map(Path, order["stores"])), bytes.fromhex(digest))
                if step is not None and step.path.with_suffix(".parquet").is_file():
                    steps.append((digest, step))
        parents = {step.record.parent for _, step in steps}
        followed = {step.record.number for _, step in steps if step.child in parents}
        kept = [
            (name, str(step.path))
            for name, step in steps
            if step.child in parents or step.record.number not in followed
        ]
        return encode_answer(None, fault, files=kept[::-1])

    def _read_step(self, order: dict[str, Any]) -> bytes:
        """The groups of a step from one on."""
        opened, first = self._step, order["first"]
        if opened is None or opened.path != order["path"]:
            opened = self._step = self._open_step(order)
        budget, groups, count, number = TextBudget(), list[Row](), 0, first
        while number < len(opened.groups) and count < PART_ROLLOUTS and budget.left > 0:
            one = opened.groups[number]
            groups.append(_describe_consumed(opened, one, budget))
            count += len(one.group.rewards)
            number += 1
        if number >= len(opened.groups):
            self._step = None
        return encode_answer(
            None, groups=groups, next=number if number < len(opened.groups) else None
        )

    def _open_step(self, order: dict[str, Any]) -> OpenedStep:
        path, scratch = Path(order["path"]), Path(order["scratch"])
        trainer = Path(order["trainer"])
        stores = [open_folder(Path(store)) for store in order["stores"]]
        step = read_step(path)
        rules = [open_folder(trainer / "steps" / "rules"), *stores]
        models = [Path(order["models"])] if order["models"] else []
        places = [StepPlace(models, rules) for models in (trainer / "models", *models)]
        places.append(StepPlace(scratch / "steps", rules, stores))
        parameters = places[0].get_parameters(step)
        genesis, record = parameters.identity.genesis_checkpoint, step.record
        outline = self._outlines.get(genesis) or _find_outline(
            places, (step.child, record.parent, genesis)
        )
        self._outlines[genesis] = outline
        scaled = False
        with suppress(OperatorError):  # older programs' settings
            scaled = read_config(record).learning.scaled
        groups = read_step_groups(step, self._parser)
        return OpenedStep(order["path"], step, parameters, outline, groups, scaled)

    # --- audited groups

    def _read_audited(self, order: dict[str, Any]) -> bytes:
        """Groups of a miner's file, as far as they can be read."""
        context, hotkey = context_from_json(order["context"]), bytes.fromhex(order["hotkey"])
        committed = find_commitment(context, hotkey)
        if isinstance(committed, Refusal):
            return encode_answer("the audit reads no such file")
        source = open_file(order, context.window, hotkey, committed.locator)
        if source is None:
            return encode_answer("the miner's file is in no store that is read from here")
        wanted = [group for group in order["groups"] if group < committed.groups]
        plan = plan_groups(context, hotkey, wanted, leave_out=len(wanted))
        submission = read_submission(plan, SubmissionFile(source))
        if submission.refusal is not None:
            return encode_answer("the miner's file cannot be read", submission.refusal.detail)
        outline, budget, groups = self._open_outline(order, context), TextBudget(), list[Row]()
        for read in submission.groups:
            with suppress(EncodingError, ValueError):
                groups.append(_describe_audited(context, hotkey, read, outline, budget))
        return encode_answer(None, groups=groups, next=None)

    def _open_outline(self, order: dict[str, Any], context: Context) -> Outline:
        """That of the window's checkpoint: its problems may be its own."""
        outline = self._outlines.get(context.checkpoint)
        if outline is None:
            stores = [open_folder(Path(store)) for store in order["stores"]]
            fetched = FetchedOutlines(Path(order["scratch"]) / "windows", lambda: stores)
            try:
                models = Path(order["models"] or order["trainer"])
                outline = CheckpointFolder(models).get_outline(context.checkpoint)
            except CheckpointError:
                outline = fetched.get(context.checkpoint)
            self._outlines[context.checkpoint] = outline
            while len(self._outlines) > 4:
                self._outlines.pop(next(iter(self._outlines)))
        return outline


def _find_outline(places: Sequence[StepPlace], digests: Sequence[bytes]) -> Outline:
    failure: CheckpointError | None = None
    for place in places:
        for digest in digests:
            try:
                return place.get_outline(digest)
            except CheckpointError as error:
                failure = error
    raise failure or CheckpointError("no checkpoint is named")


@cache
def _find_part(choice: EnvironmentChoice, level: int) -> tuple[str, Tool | None, CallForm]:
    """The environment that asked a problem of a level: its name, and its tool and how that is
    called."""
    name, params = choice.name, {one.name: one.value for one in choice.settings}
    with suppress(ValueError, LookupError):
        if name == MIXTURE:
            parts = divide(params)[1]
            name = list(parts)[level // PART_LEVELS - 1]
            params = parts[name]
        found = find_tool(name, params)
        if found is not None:
            return name, TOOLS[found[0]], found[1]
    return name, None, CallForm.LINE


def _describe_talk(
    tokens: Sequence[int],
    replies: Sequence[Reply],
    outline: Outline,
    asked: tuple[str, Tool | None, CallForm],
    budget: TextBudget,
) -> Row:
    """What was said: the text, the tool if a turn with a reply calls it, and why it ended."""
    decode, ends = outline.tokenizer.decode, outline.manifest.end_tokens
    bounds = pairwise([0, *(reply.at for reply in replies), len(tokens)])
    turns = [decode(tokens[begin:end]) for begin, end in bounds]
    _, tool, form = asked
    calls = [read_call(turn, form, tool) for turn in turns[:-1]] if tool is not None else []
    called = any(call is not None and not isinstance(call, CallFault) for call in calls)
    return {
        "end": "stop" if tokens[-1] in ends else "length",
        "tools": [tool.name] if tool is not None and called else [],
        "text": budget.take(write_talk(turns, [decode(reply.ids) for reply in replies])),
    }


def _describe_consumed(opened: OpenedStep, one: ConsumedGroup, budget: TextBudget) -> Row:
    group, outline = one.group, opened.outline
    level = one.levels[0] if len(one.levels) == 1 else None
    asked = _find_part(opened.parameters.environment, level or 0)
    advantages = list[float | None]([None] * len(group.rewards))
    lesson = one.lesson
    found = None if lesson is None else compute_advantages(lesson.rewards, scaled=opened.scaled)
    for place, advantage in zip(one.counting, found or (), strict=False):
        advantages[place] = advantage
    rollouts = []
    for number, (tokens, replies, logprobs) in enumerate(
        zip(
            group.completions[:GROUP_MAX],
            group.replies[:GROUP_MAX],
            group.behaviour_logprobs[:GROUP_MAX],
            strict=True,
        )
    ):
        rollouts.append(
            {
                "number": number,
                "reward": group.rewards[number],
                "advantage": advantages[number],
                "tokens": len(tokens),
                "surprise": -sum(logprobs) / len(logprobs),
                **_describe_talk(tokens, replies, outline, asked, budget),
            }
        )
    return {
        "window": min(one.window, _NUMBER_MAX),
        "hotkey": encode_ss58(one.hotkey),
        "number": one.index,
        "level": level,
        "environment": asked[0],
        "step": min(opened.step.record.number, _NUMBER_MAX),
        "prompt": budget.take(outline.tokenizer.spell(group.prompt)),
        "rollouts": rollouts,
    }


def _describe_audited(
    context: Context, hotkey: bytes, read: ReadGroup, outline: Outline, budget: TextBudget
) -> Row:
    """Raises EncodingError, ValueError: it cannot be read, or its problem cannot be made here."""
    parameters, index = context.parameters, read.chosen.index
    environment = outline.open_environment(parameters.environment)
    levels = outline.manifest.levels
    problem = make_miner_problem(environment, context.challenge_seed, hotkey, index, levels)
    asked = _find_part(parameters.environment, problem.level)
    rollouts = list[Row]()
    for number, tokens, logprobs in _decode(read):
        if max(tokens) >= len(outline.tokenizer.drawable):
            raise ValueError("it has ids that the model does not have")
        episode = play_again(context, outline, problem, tokens)
        replies = [reply for reply in episode.replies if reply.at < len(tokens)]
        max_tokens, parts = parameters.work.max_tokens, episode.state.score()
        rollouts.append(
            {
                "number": number,
                "reward": compute_reward(parts, len(tokens), parameters.rewards, max_tokens),
                "advantage": None,
                "tokens": len(tokens),
                "surprise": sum(logprobs) / len(logprobs) / _NATS,
                **_describe_talk(tokens, replies, outline, asked, budget),
            }
        )
    found = compute_advantages([one["reward"] for one in rollouts])
    for one, advantage in zip(rollouts, found or (), strict=False):
        one["advantage"] = advantage
    return {
        "window": context.window,
        "hotkey": encode_ss58(hotkey),
        "number": index,
        "level": problem.level,
        "environment": asked[0],
        "step": None,
        "prompt": budget.take(outline.tokenizer.write(problem.conversation)),
        "rollouts": rollouts,
    }


def _decode(read: ReadGroup) -> Iterator[tuple[int, list[int], list[int]]]:
    """Number, token ids and log-probabilities of a group's rollouts."""
    for number in read.audited:
        tokens = decode_ids(read.ids[number], read.head, number)
        proof = decode_proof(read.proofs[number], read.head, number)
        yield number, tokens.tolist(), proof.logprobs.tolist()
