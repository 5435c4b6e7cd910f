"""Whether the answers in a gate's file are their models' own: one forward pass tells.

Each answer is a keyed draw of its problem's seed, as a miner's rollout is of its own. It is tested
as one, but without sketches and log-probabilities, which the file has none of. Specification,
sections 5 and 7.1.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from assay.artifacts.gates.file import GateAnswers, GateModel, list_rows
from assay.environments.base import Environment
from assay.inference.checkpoint import Checkpoint
from assay.protocol.gate import CHECKED_PAIRS, compute_checked_seed
from assay.protocol.manifest import Calibration
from assay.protocol.parameters import GATE_PART, Parameters
from assay.protocol.prf import Stream
from assay.protocol.reason import Reason, Refusal
from assay.protocol.seeds import compute_projection_seed
from assay.training.gate_answers import GateProblem, GateProblems
from assay.training.held_out import BATCH
from assay.verification import Forward, Measurement, UnheardError, make_projection
from assay.verification.appeal import APPEALS_MAX, is_margin_beyond_rounding
from assay.verification.episodes import (
    Episode,
    Place,
    Tokens,
    begin_episode,
    find_length_fault,
    make_episode_rules,
    replay,
)
from assay.verification.examination import find_stop_fault, find_token_fault
from assay.verification.trial import try_sampling


@dataclass(frozen=True, slots=True)
class Forged:
    """An answer that its model has not drawn: the problem's number, the model, and the fault, whose
    `group` and `rollout` are these two, with a sentence."""

    problem: int
    model: GateModel
    fault: Refusal


def draw_checked_problems(answers: bytes, validator: bytes, problems: int) -> list[int]:
    """The problems whose answers a validator checks, ascending.

    Args:
        answers: SHA-256 of the file.
        validator: its hotkey.
        problems: that the gate asks; of fewer than are checked all.
    """
    stream = Stream(compute_checked_seed(answers, validator))
    return sorted(stream.sample(problems, min(CHECKED_PAIRS, problems)))


def find_forged(
    models: Mapping[GateModel, Checkpoint],
    environment: Environment,
    parameters: Parameters,
    problems: GateProblems,
    answers: GateAnswers,
    chosen: Collection[int] | None = None,
) -> list[Forged]:
    """The answers that are not their model's keyed draws, by problem and then by model.

    Args:
        models: those at hand; answers of others are not looked at.
        problems: all of them.
        answers: as `read_answers` has them.
        chosen: numbers of problems; None: all.
    """
    rows = [
        (number, model)
        for number, model in list_rows(len(problems))
        if model in models and (chosen is None or number in chosen)
    ]
    found: dict[Place, Refusal] = {}
    for model, checkpoint in models.items():
        given = {
            number: answers.get(model)[number // (GATE_PART if model is GateModel.FIRST else 1)]
            for number, of in rows
            if of is model
        }
        check = _Check(checkpoint, environment, parameters, problems, model)
        numbers = list(given)
        for start in range(0, len(numbers), BATCH):
            batch = {number: given[number] for number in numbers[start : start + BATCH]}
            found |= {(number, model): fault for number, fault in check.run(batch).items()}
    return [Forged(*row, found[row]) for row in rows if row in found]


@dataclass(slots=True)
class _Asked:
    """An answer whose ids show no fault, as the forward pass reads it."""

    prompt: Sequence[int]
    tokens: Tokens
    episode: Episode


class _Check:
    """The check of one model's answers."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        environment: Environment,
        parameters: Parameters,
        problems: Sequence[GateProblem],
        model: GateModel,
    ) -> None:
        self._checkpoint = checkpoint
        self._environment = environment
        self._parameters = parameters
        self._problems = problems
        self._model = model
        self._rules = make_episode_rules(parameters.work, checkpoint.manifest)
        self._appeals_left = APPEALS_MAX

    @property
    def _calibration(self) -> Calibration:
        return self._checkpoint.calibration

    def run(self, answers: Mapping[int, Tokens]) -> dict[int, Refusal]:
        """The faults by the problem's number."""
        faults, asked = dict[int, Refusal](), dict[int, _Asked]()
        for number, tokens in answers.items():
            read = self._read(number, tokens)
            if isinstance(read, Refusal):
                faults[number] = read
            elif read is not None:
                asked[number] = read
        temperature = self._parameters.work.temperature
        measured = self._measure(self._checkpoint.get_forward(temperature), asked)
        for number, measurement in measured.items():
            fault = self._try(number, measurement)
            if fault is not None and not self._is_cleared(number, asked[number], measurement):
                faults[number] = fault
        return faults

    def _read(self, number: int, tokens: Tokens) -> _Asked | Refusal | None:
        """An answer to be measured; its fault, if its ids alone show one; None: there is no
        problem, and no answer."""
        problem, place = self._problems[number].problem, (number, int(self._model))
        if not problem.is_made or not len(tokens):
            if problem.is_made == bool(len(tokens)):
                return None
            detail = "there is no such problem, but an answer to it"
            detail = "the problem has no answer" if problem.is_made else detail
            return Refusal(Reason.WRONG_TERMINATION, detail, *place)
        checkpoint = self._checkpoint
        fault = find_token_fault(place, tokens, checkpoint.tokenizer.drawable)
        fault = fault or find_stop_fault(
            place, tokens, checkpoint.manifest, self._parameters.work.turns
        )
        if fault is not None:
            return fault
        prompt = checkpoint.tokenizer.encode(problem.conversation)
        begun = begin_episode(self._environment, problem, len(prompt))
        played = replay(begun, tokens.tolist(), self._rules, checkpoint.tokenizer)
        return find_length_fault(played, len(tokens), *place) or _Asked(prompt, tokens, played)

    def _measure(self, forward: Forward, asked: Mapping[int, _Asked]) -> dict[int, Measurement]:
        if not asked:
            return {}
        # a sketch is none of the tests: any projection will do
        projection = make_projection(compute_projection_seed(bytes(32)), self._checkpoint.manifest)
        measured = forward.measure(
            [one.prompt for one in asked.values()],
            [one.tokens for one in asked.values()],
            [self._problems[number].seed for number in asked],
            projection,
            [one.episode.replies for one in asked.values()] if self._rules.turns > 1 else None,
        )
        return dict(zip(asked, measured, strict=True))

    def _try(self, number: int, measurement: Measurement) -> Refusal | None:
        place = number, int(self._model)
        return try_sampling(place, measurement, self._calibration, self._parameters).fault

    def _is_cleared(self, number: int, asked: _Asked, measurement: Measurement) -> bool:
        """Whether a second opinion clears an answer that failed, as a miner's rollout is heard."""
        if is_margin_beyond_rounding(measurement, self._parameters.tests) or not self._appeals_left:
            return False
        self._appeals_left -= 1
        appeal = self._checkpoint.get_appeal(self._parameters.work.temperature)
        try:
            again = self._measure(appeal, {number: asked})[number]
        except UnheardError:
            return False
        return self._try(number, again) is None
