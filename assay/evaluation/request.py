"""What an evaluation is asked for, and its files of problems. Light: PyTorch is not loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from assay.evaluation.conventions import SuiteRow
from assay.evaluation.environment_suite import read_environment_suite
from assay.evaluation.suite import EvaluationError, Suite, put_words, read_shots, read_suite
from assay.protocol.parameters import Prompts

#: Most tokens of a completion, unless others are named.
MAX_TOKENS = 1_024
#: Fewer that a context leaves are not taken unasked.
LEAST_TOKENS = 64


@dataclass(frozen=True, slots=True)
class EvaluationRules:
    """How completions are asked for.

    Attributes:
        samples: completions of each problem.
        temperature: 1024 · T; 0: the most probable token each time.
        max_tokens: of a completion; 0: `MAX_TOKENS`, or as many as the context holds.
        seed: u64, of all draws.
        shots: examples before each problem.
        bos: prompts begin with the tokenizer's bos_token, as by an environment's setting.
        plain: prompts are plain text, though the model has a chat template.
    """

    samples: int
    temperature: int
    max_tokens: int
    seed: int
    shots: Sequence[SuiteRow] = ()
    bos: bool = False
    plain: bool = False


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """A model, what it is asked, and how.

    Attributes:
        model: a folder of a model or of a checkpoint, or a GGUF file.
        suites, trained: files of problems that are asked, and that are left out.
        environments: that are asked, too, each for `problems` of its held-out ones.
        rules: without examples, which are the first `shots` rows of `shots_from`.
        words: an owner's, by the family of the suite that they are for.
        columns: part of a row → its column, where the names of columns do not show it.
        engine: its address; None: this program draws.
        out: folder for completions and results; a stopped evaluation continues there.
    """

    model: Path
    suites: Sequence[Path]
    rules: EvaluationRules
    shots: int = 0
    shots_from: Path | None = None
    words: Mapping[str, Prompts] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    trained: Sequence[Path] = ()
    engine: str | None = None
    out: Path = Path("assay-eval")
    environments: Sequence[str] = ()
    problems: int = 1


def read_suites(request: EvaluationRequest) -> tuple[list[Suite], EvaluationRules]:
    """Read what is named: suites of files in this order, then those of environments, and the rules
    with examples.

    Raises:
        EvaluationError: the request contradicts itself, or a file has no suite.
        ProblemFileError: a file cannot be read at all.
    """
    files, columns, shots = request.suites, request.columns, list[SuiteRow]()
    if not files and not request.environments:
        raise EvaluationError("what is asked? name files with --suite, or an --environment")
    if len({file.resolve() for file in files}) < len(files):
        raise EvaluationError("--suite names a file twice: name each once")
    if (request.shots > 0) != (request.shots_from is not None):
        raise EvaluationError("--shots N takes the first N rows of --shots-from FILE: give both")
    if request.shots_from is not None:
        shots = read_shots(request.shots_from, request.shots, columns)
    suites = [read_suite(file, request.trained, columns) for file in files]
    suites = put_words(suites, request.words)
    suites += [read_environment_suite(name, request.problems) for name in request.environments]
    return suites, replace(request.rules, shots=shots)
