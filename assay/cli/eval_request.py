"""What `assay eval` is asked for: checked and read before PyTorch is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.cli.env_look import read_columns
from assay.evaluation.conventions import SuiteRow
from assay.evaluation.suite import Suite, put_words, read_shots, read_suite
from assay.protocol.parameters import Prompts
from assay.settings.loading import ConfigError
from assay.subnet.presets import read_changes
from assay.subnet.prompt_tables import read_family_prompts


@dataclass(frozen=True, slots=True)
class ReadSuites:
    """Suites in the order in which they were named, and examples."""

    suites: Sequence[Suite]
    shots: Sequence[SuiteRow] = ()


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """An evaluation that was asked for.

    Attributes:
        temperature: T. bos, plain: see `EvaluationRules`.
        engine: its address; None: this program draws.
    """

    model: Path
    read: ReadSuites
    samples: int
    temperature: float
    max_tokens: int
    seed: int
    bos: bool
    plain: bool
    engine: str | None
    out: Path


def read_words(file: Path | None) -> dict[str, Prompts]:
    """An owner's words, by the family that they are for. Raises ConfigError, which names the
    file."""
    if file is None:
        return {}
    changes = read_changes(file)
    try:
        return read_family_prompts(changes)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None


def read_suites(
    files: Sequence[Path],
    columns: Sequence[str],
    trained: Sequence[Path],
    shots: int,
    shots_from: Path | None,
    prompts: Path | None,
) -> ReadSuites:
    """Read the files that are named.

    Args:
        prompts: file with an owner's words, by the family of the suite that they are for.

    Raises:
        ConfigError: options contradict each other.
        OperatorError: a file has no suite.
    """
    if len({file.resolve() for file in files}) < len(files):
        raise ConfigError("--suite names a file twice: name each once")
    if (shots > 0) != (shots_from is not None):
        raise ConfigError("--shots N takes the first N rows of --shots-from FILE: give both")
    chosen = read_columns(columns)
    examples = [] if shots_from is None else read_shots(shots_from, shots, chosen)
    words = read_words(prompts)
    suites = [read_suite(file, trained, chosen) for file in files]
    return ReadSuites(put_words(suites, words), examples)
