"""Direct preference optimisation of a model, before a network pays or beside it.

Its folder is a preparation's (`assay.subnet.preparation`), with `reference.json`: by how much the
model that it began with preferred the chosen answer of each pair, read once, so that no second
model is in memory. Nobody is paid by what it learns from.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from assay.environments.problem_file import compute_file_digest
from assay.inference.placement import Placement
from assay.network.files import write_json
from assay.protocol.encoding import EncodingError, read_json
from assay.settings.loading import ConfigError
from assay.subnet.preparation import PreparationFolder, PreparationRequest, holding
from assay.subnet.waiting import Report
from assay.training import LearnConfig, Learner
from assay.training.examples import NoExampleError
from assay.training.imitation import Example
from assay.training.objectives import Preference
from assay.training.preferences import Pair, list_answers
from assay.training.preparation import Curriculum
from assay.training.rows.reader import READER, read_pairs

_REFERENCE = "reference.json"
#: Pairs whose answers are read together.
_READ_AT_ONCE = 64
#: The learning rate without a choice: of all weights, and of LoRA's factors.
RATE, FACTORS_RATE = 1e-6, 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferenceRequest(PreparationRequest):
    """What is asked for.

    Attributes:
        source: a file of pairs, which `read_pairs` describes.
        beta: how dear the way from the reference is, see `assay.training.preferences`.
    """

    source: Path
    beta: float = 0.1


def run_preferences(
    request: PreferenceRequest, learning: LearnConfig, placement: Placement, report: Report
) -> dict[str, Any]:
    """Make the model: see `PreparationFolder` and its `run`."""
    with holding(request.folder, _Preferences.what):
        return _Preferences(request, learning, placement, report).run()


class _Preferences(PreparationFolder):
    what: ClassVar[str] = "preference training"
    state: ClassVar[str] = "dpo.json"

    def __init__(
        self,
        request: PreferenceRequest,
        learning: LearnConfig,
        placement: Placement,
        report: Report,
    ) -> None:
        super().__init__(request, learning, placement, report)
        self._asked = request

    def _describe_choices(self) -> dict[str, Any]:
        digest = compute_file_digest(self._asked.source)
        return {"pairs": digest, "beta": self._asked.beta, "reader": READER}

    def _open(self) -> Callable[[Learner], Curriculum[Pair]]:
        found = self._read_file(self._asked.source, read_pairs)
        encode = self._tokenizer.encode
        tried = {tuple(encode(problem.conversation)) for problem, _ in self._trial}
        pairs = [pair for pair in found if tuple(pair.chosen.prompt) not in tried]
        if len(pairs) < len(found):
            self._report(f"{len(found) - len(pairs):,} pairs left out: their problems are tried")
        if not pairs:
            raise NoExampleError("all pairs are of problems of the trials: use fewer --problems")
        return lambda learner: self._compare(learner, pairs)

    def _list_shown(self, count: int) -> list[tuple[int | None, Mapping[str, Example]]]:
        found = self._read_file(self._asked.source, read_pairs)
        assert self._reading is not None
        both = zip(self._reading.origins, found, strict=True)
        return [
            (number, {"chosen": pair.chosen, "rejected": pair.rejected})
            for number, pair in islice(both, count)
        ]

    def _compare(self, learner: Learner, found: Sequence[Pair]) -> Curriculum[Pair]:
        pairs, held = self._hold_back(self._take_reference(learner, found))
        objective = Preference(self._asked.beta)
        return Curriculum(learner, objective, pairs.read, lambda: held, form=0.0)

    def _take_reference(self, learner: Learner, found: Sequence[Pair]) -> list[Pair]:
        """The pairs with the preference of the model that the course began with."""
        path = self._folder / _REFERENCE
        if learner.step == 0:
            gaps = list[float]()
            for start in range(0, len(found), _READ_AT_ONCE):
                sums = learner.sum_logprobs(list_answers(found[start : start + _READ_AT_ONCE]))
                gaps += [a - b for a, b in zip(sums[::2], sums[1::2], strict=True)]
                done = min(len(found), start + _READ_AT_ONCE)
                self._report(f"the model's own preferences: {done:,} of {len(found):,} pairs")
            write_json(path, gaps)
        else:
            gaps = self._read_reference(path, len(found))
        return [replace(pair, reference=gap) for pair, gap in zip(found, gaps, strict=True)]

    def _read_reference(self, path: Path, count: int) -> list[float]:
        try:
            gaps = read_json(path.read_bytes())
        except (OSError, EncodingError) as error:
            raise ConfigError(
                f"{path} cannot be read ({error}): name another folder with --out"
            ) from None
        if not isinstance(gaps, list) or len(gaps) != count:
            raise ConfigError(f"{path} is damaged: name another folder with --out")
        return [float(gap) for gap in gaps]
