"""On-policy distillation of a model: a teacher rates each token that the model draws itself.

Its folder is a preparation's (`assay.subnet.preparation`), whose plan has the teacher's digests.
The model draws at temperature 1, with its weights as they would be published, one answer to each
problem. No challenge ever asks these problems, and nobody is paid for the answers.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from assay.environments.base import Problem
from assay.inference.folder import digest_tokenizer
from assay.inference.placement import Placement
from assay.inference.sampled_episodes import sample_episodes
from assay.protocol.hashing import Domain, hash_fields
from assay.settings.loading import ConfigError
from assay.subnet.adoption.adopt import adopt_once
from assay.subnet.preparation import PreparationFolder, PreparationRequest, holding
from assay.subnet.waiting import Report
from assay.training import LearnConfig, Learner
from assay.training.examples import Lessons, NoExampleError
from assay.training.imitation import Example
from assay.training.objectives import Distillation
from assay.training.preparation import Curriculum

#: 1 in 1 / 1,024: the estimate of the divergence is of draws at this temperature.
_TEMPERATURE = 1_024
#: Problems in a row that are kept for trials, until the course is given up.
_PATIENCE = 2_000
#: The learning rate without a choice: of all weights, and of LoRA's factors.
RATE, FACTORS_RATE = 1e-5, 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillationRequest(PreparationRequest):
    """What is asked for. `teacher`: a model, as `model` is."""

    teacher: Path


def run_distillation(
    request: DistillationRequest, learning: LearnConfig, placement: Placement, report: Report
) -> dict[str, Any]:
    """Make the model: see `PreparationFolder` and its `run`."""
    with holding(request.folder, _Distillation.what):
        return _Distillation(request, learning, placement, report).run()


class _Distillation(PreparationFolder):
    what: ClassVar[str] = "distillation"
    state: ClassVar[str] = "distill.json"

    def __init__(
        self,
        request: DistillationRequest,
        learning: LearnConfig,
        placement: Placement,
        report: Report,
    ) -> None:
        super().__init__(request, learning, placement, report)
        teacher = self._teacher = adopt_once(request.teacher, self._folder, report)
        if digest_tokenizer(teacher) != digest_tokenizer(self._start):
            raise ConfigError(
                f"{request.teacher} has another tokenizer than {request.model}: a teacher can only "
                "rate the tokens of its own; take one whose tokenizer files are the same"
            )
        # the learner's reference is the teacher, whatever the weight
        self._learning = replace(self._learning, from_genesis=True, kl_weight=1.0)
        work = self._rules.work
        self._lessons = Lessons(
            self._environment,
            request.recipe.levels,
            self._tokenizer,
            self._ends,
            work.max_tokens,
            work,
            frozenset(problem.conversation for problem, _ in self._trial),
        )

    def _describe_choices(self) -> dict[str, Any]:
        assert self._teacher is not None
        return {"teacher": self._identify(self._teacher)}

    def _open(self) -> Callable[[Learner], Curriculum[Example]]:
        held = self._request.held

        def make(learner: Learner) -> Curriculum[Example]:
            return Curriculum(
                learner,
                Distillation(),
                lambda first, count: self._draw(learner, "distillation", first, count),
                lambda: self._draw(learner, "held distillation", 0, held)[0],
                form=None,
            )

        return make

    def _draw(
        self, learner: Learner, name: str, first: int, count: int
    ) -> tuple[list[Example], int]:
        """The model's own answers to `count` problems of a list, from number `first` on, and the
        number behind the last."""
        lessons, seed, number = self._lessons, self._learning.seed, first
        draws = hash_fields(Domain.HELD_OUT, name.encode(), seed.to_bytes(4, "big"))
        asked = list[tuple[Problem, tuple[int, ...], bytes]]()
        while len(asked) < count:
            problem = lessons.make_problem(name, seed, number)
            if problem.conversation not in lessons.avoided:
                prompt = tuple(lessons.tokenizer.encode(problem.conversation))
                drawn = hash_fields(Domain.HELD_OUT, draws, number.to_bytes(8, "big"))
                asked.append((problem, prompt, drawn))
            number += 1
            if number - first > _PATIENCE + count:
                raise NoExampleError(
                    "too few problems are not kept for trials: use fewer --problems"
                )
        if not asked:
            return [], number
        drafter = self._make_drafter(self._load_student(learner), _TEMPERATURE)
        played = sample_episodes(
            drafter, lessons.tokenizer, lessons.environment, asked, lessons.work
        )
        examples = []
        for one in played:
            replies = [reply for reply in one.episode.replies if reply.at < len(one.tokens)]
            examples.append(Example(list(one.prompt), list(one.tokens), replies))
        return examples, number
