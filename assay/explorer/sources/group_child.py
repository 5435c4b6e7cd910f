"""The child that reads a group of a miner's file and, where the checkpoint is at hand, measures it.

It does not know any ledger, nor whether the validator could read the file in time. Margins are this
machine's reference; two machines differ by less than the cap.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from assay.artifacts.submissions.file import SubmissionFile
from assay.artifacts.submissions.reading import read_submission
from assay.audit.explain.rejudging import find_model, measure_rollouts, open_model, play_again
from assay.audit.sources import FetchedOutlines
from assay.environments.base import Problem
from assay.environments.dealing import make_miner_problem
from assay.environments.rewards import compute_reward
from assay.explorer.documents.windows import (
    GroupFacts,
    PromptMessage,
    ReadingLack,
    TokenRow,
    TurnRow,
)
from assay.explorer.page_reader import BoundedCache
from assay.explorer.ports import GroupReading, RolloutReading
from assay.explorer.sources.groups import PARTS
from assay.explorer.sources.progress import note_progress
from assay.inference.checkpoint import Checkpoint, Outline
from assay.inference.folder import CheckpointError
from assay.network.store.base import ObjectSource, StoreError
from assay.network.store.folder import open_folder
from assay.protocol.commitment import make_object_name
from assay.protocol.context import Context, context_from_json
from assay.protocol.encoding import EncodingError
from assay.protocol.episode import split_turns
from assay.protocol.parameters import ARGUMENTS, FRACTION_BITS
from assay.protocol.reason import Refusal
from assay.protocol.selection import select_committed, select_positions, select_rollouts
from assay.protocol.ss58 import encode_ss58
from assay.protocol.submission import LOGPROB_BITS, Rollout, decode_ids, decode_proof
from assay.sandbox import WorkerError
from assay.session.resources import open_stores
from assay.settings.loading import ConfigError
from assay.settings.sections import StoreSettings
from assay.verification import Measurement, find_commitment, plan_groups
from assay.verification.bounds import MARGIN_MAX
from assay.verification.episodes import Episode
from assay.verification.read_plan import ReadGroup
from assay.verification.rollout_statistics import RolloutStatistics, compute_rollout_statistics

#: Most checkpoints in memory.
_MODELS_MAX = 2
#: The checkpoint, or at least its tokenizer; and why it is not measured.
OpenedModel = tuple[Outline | None, Checkpoint | None, str | None]
_NATS, _LOGITS = float(1 << LOGPROB_BITS), float(1 << FRACTION_BITS)


class GroupReader:
    def __init__(self) -> None:
        torch.set_num_threads(1)
        self._models: BoundedCache[bytes, OpenedModel] = BoundedCache(_MODELS_MAX)
        self._message: str | None = None  # for the operator: it may name folders and endpoints

    def answer(self, request: bytes) -> bytes:
        order = json.loads(request)
        context = context_from_json(order["context"])
        try:
            group = self._read(order, context, bytes.fromhex(order["hotkey"]), order["group"])
        except (StoreError, CheckpointError, ConfigError, WorkerError) as error:
            self._message = str(error)
            group = _refuse(
                "it cannot be read just now: its store or the checkpoint does not answer"
            )
        document: dict[str, Any] = {"kind": "unavailable", "value": group, "message": self._message}
        if isinstance(group, GroupReading):
            document |= {"kind": "group", "value": asdict(group)}
        self._message = None
        return json.dumps(document).encode()

    def _read(
        self, order: dict[str, Any], context: Context, hotkey: bytes, group: int
    ) -> GroupReading | ReadingLack:
        tell = partial(note_progress, order["progress"], of=PARTS)
        tell(1, what="the miner’s file")
        read = self._read_group(order, context, hotkey, group)
        if not isinstance(read, ReadGroup):
            return read
        try:
            rollouts = [_decode(read, number) for number in read.audited]
        except EncodingError as error:
            return _refuse(f"the group cannot be read: it {error}")
        tell(2, what="the checkpoint")
        outline, checkpoint, note = self._open_model(order, context)
        if outline is None:
            return _refuse(
                note or "the window's checkpoint is not at hand, and with it its tokenizer"
            )
        try:
            environment = outline.open_environment(context.parameters.environment)
        except ValueError as error:  # such as with a file that is not here
            self._message = str(error)
            return _refuse("its problems cannot be made here: their environment does not open")
        tell(3, what="the problem, and what was answered")
        levels = outline.manifest.levels
        problem = make_miner_problem(environment, context.challenge_seed, hotkey, group, levels)
        vocabulary = len(outline.tokenizer.drawable)
        if any(int(rollout.tokens.max()) >= vocabulary for rollout in rollouts):
            checkpoint, note = (
                None,
                "The model was not run here: the file holds ids that it does not have.",
            )
        episodes = [
            _play(context, outline, problem, rollout.tokens[rollout.tokens < vocabulary].tolist())
            for rollout in rollouts
        ]
        measured: list[Measurement | None] = [None] * len(rollouts)
        if checkpoint is not None:
            tell(4, what=f"{len(rollouts)} rollouts through the model")
            numbered = dict(enumerate(rollouts))
            measured = [
                *measure_rollouts(
                    context, checkpoint, hotkey, group, problem.conversation, numbered, episodes
                )
            ]
        parameters = context.parameters
        cap = MARGIN_MAX.compute(context.parameters.tests)
        audited = _list_audited(context, hotkey, read)
        readings = []
        for number, (rollout, episode, measurement) in enumerate(
            zip(rollouts, episodes, measured, strict=True)
        ):
            known = rollout.tokens[rollout.tokens < vocabulary].tolist()
            parts = episode.state.score()
            count = len(rollout.tokens)
            # where ids are left out, its turns and their places are nobody's
            is_episode = parameters.work.turns > 1 and len(known) == count
            positions = select_positions(context.audit_seed, hotkey, group, number, count)
            statistics = None
            if measurement is not None and checkpoint is not None:
                statistics = compute_rollout_statistics(
                    rollout, measurement, positions, checkpoint.calibration, context.parameters
                )
            compared = positions if number in audited else ()
            readings.append(
                RolloutReading(
                    number=number,
                    tokens=_describe_tokens(
                        rollout, measurement, statistics, compared, outline, cap
                    ),
                    completion=outline.tokenizer.decode(known),
                    reward=compute_reward(
                        parts, count, parameters.rewards, parameters.work.max_tokens
                    ),
                    parts=asdict(parts),
                    turns=_list_turns(known, episode, measurement, outline) if is_episode else [],
                    end=episode.end if is_episode else None,
                    ended_at=episode.own if is_episode and episode.end else None,
                    **_summarise(statistics),
                )
            )
        facts = GroupFacts(
            prompt=problem.prompt,
            messages=[
                PromptMessage(role=one.role, content=one.content)
                for one in problem.conversation.messages
            ],
            arguments=problem.manner.get(ARGUMENTS) or "",
            level=problem.level,
            measured=checkpoint is not None,
            note=note,
        )
        return GroupReading(facts, audited, readings)

    def _read_group(
        self, order: dict[str, Any], context: Context, hotkey: bytes, group: int
    ) -> ReadGroup | ReadingLack:
        """All of a group, compared with the root."""
        committed = find_commitment(context, hotkey)
        if isinstance(committed, Refusal):
            return _refuse(f"the audit reads no such file: {committed.detail}")
        source = open_file(order, context.window, hotkey, committed.locator)
        if source is None:
            return _refuse("the miner's file is not at hand: its store is not one read from here")
        submission = read_submission(plan_groups(context, hotkey, [group]), SubmissionFile(source))
        if submission.refusal is not None:
            part = "miner's file" if submission.opening is None else "group"
            return _refuse(f"the {part} cannot be read: {submission.refusal.detail}")
        return submission.groups[0]

    def _open_model(self, order: dict[str, Any], context: Context) -> OpenedModel:
        model = self._models.get(context.checkpoint)
        if model is None:
            model = self._load(order, context)
            self._models.put(context.checkpoint, model)
        return model

    def _load(self, order: dict[str, Any], context: Context) -> OpenedModel:
        short = context.checkpoint.hex()[:16]
        folder = None if order["models"] is None else Path(order["models"])
        place = None if folder is None else find_model(folder, None, context)
        outline, faults = open_model(place, context)
        if isinstance(outline, Checkpoint):
            return outline, outline, None
        cause = f"checkpoint {short}… is not at hand"
        if faults and place is not None and place != folder:
            self._message = faults[0]
            cause = f"checkpoint {short}… does not open"
        why = (
            f"The model was not run here: {cause}. Tokens, claimed log-probabilities and the "
            "reward come from the miner’s file; logit gaps and distances take a forward pass"
        )
        why += ", for which --model names a folder of checkpoints." if folder is None else "."
        if outline is None:
            stores = [open_folder(Path(folder)) for folder in order["stores"]]
            try:
                outline = FetchedOutlines(Path(order["scratch"]), lambda: stores).get(
                    context.checkpoint
                )
            except CheckpointError as error:
                self._message = str(error)
                why = f"without the tokenizer of checkpoint {short}… nothing can be read"
                return None, None, why
        return outline, None, why


def open_file(
    order: dict[str, Any], window: int, hotkey: bytes, locator: str
) -> ObjectSource | None:
    """A miner's file, from a folder of the order's or its own store. None: it is in no store that
    is read from here. Raises StoreError."""
    name = make_object_name(encode_ss58(hotkey), window)
    for folder in map(Path, order["stores"]):
        if (folder / name).is_file():
            return open_folder(folder).open(name)
    store = open_stores(StoreSettings(**order["settings"])).get(locator)
    return None if store is None else store.open(name)


def _play(context: Context, outline: Outline, problem: Problem, tokens: Sequence[int]) -> Episode:
    """The episode of a rollout's tokens, of which there may be none left to decode."""
    return play_again(context, outline, problem, tokens or outline.manifest.end_tokens[:1])


def _list_turns(
    tokens: Sequence[int], episode: Episode, measurement: Measurement | None, outline: Outline
) -> list[TurnRow]:
    """The turns of an episode."""
    decode = outline.tokenizer.decode
    replies = {reply.at: reply.ids for reply in episode.replies}
    is_end = np.isin(tokens, outline.manifest.end_tokens)
    return [
        TurnRow(
            number=number,
            first=begin,
            tokens=end - begin,
            text=decode(tokens[begin:end]),
            reply=decode(replies[end]) if end in replies else None,
            reply_tokens=len(replies.get(end, ())),
            off=None
            if measurement is None
            else int(np.count_nonzero(measurement.margins[begin:end])),
        )
        for number, (begin, end) in enumerate(split_turns(is_end))
    ]


def _refuse(why: str) -> ReadingLack:
    return ReadingLack(why=why, passing=False)


def _decode(read: ReadGroup, number: int) -> Rollout:
    tokens = decode_ids(read.ids[number], read.head, number)
    proof = decode_proof(read.proofs[number], read.head, number)
    return Rollout(tokens, proof.logprobs, proof.sketch)


def _list_audited(context: Context, hotkey: bytes, read: ReadGroup) -> Sequence[int]:
    """Which rollouts of a group the audit draws, ascending."""
    groups = context.commitments[hotkey].groups
    for group in select_committed(context, hotkey, groups):
        if group.index == read.chosen.index:
            work = context.parameters.work
            return select_rollouts(context.audit_seed, hotkey, group, read.head.lengths, work)
    return ()


def _describe_tokens(
    rollout: Rollout,
    measurement: Measurement | None,
    statistics: RolloutStatistics | None,
    compared: Sequence[int],
    outline: Outline,
    cap: float,
) -> list[TokenRow]:
    """compared: positions whose log-probabilities the audit compares; cap: of a margin, logits."""
    rows = []
    for t, token in enumerate(rollout.tokens.tolist()):
        margin = None if measurement is None else int(measurement.margins[t]) / _LOGITS
        rows.append(
            TokenRow(
                number=t,
                id=token,
                text=_name(token, outline),
                state=_find_state(margin, cap),
                margin=margin,
                drawn=None if measurement is None else int(measurement.best[t]),
                logprob=int(rollout.logprobs[t]) / _NATS,
                measured=None if measurement is None else int(measurement.logprobs[t]) / _NATS,
                distance=None if statistics is None else float(statistics.distances[t]),
                audited=t in compared,
            )
        )
    return rows


def _find_state(margin: float | None, cap: float) -> str:
    if margin is None:
        return "unmeasured"
    if not margin:
        return "drawn"
    return "off" if MARGIN_MAX.is_exceeded(margin, cap) else "near"


def _name(token: int, outline: Outline) -> str:
    if token in outline.manifest.end_tokens:
        return "⟨end⟩"
    if token >= len(outline.tokenizer.drawable):
        return f"⟨id {token}⟩"
    return outline.tokenizer.decode([token]) or f"⟨id {token}⟩"


def _summarise(statistics: RolloutStatistics | None) -> dict[str, float]:
    if statistics is None:
        return {}
    return {
        "log_capital": statistics.log_capital,
        "sketch_mean": statistics.sketch_mean,
        "sketch_block": statistics.block[2],
        "logprob_rms": statistics.logprob_rms,
    }
