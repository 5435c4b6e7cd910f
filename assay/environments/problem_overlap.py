"""Which problems of a file another file has too: whatever the shape of either, and said where it is
not known.

Texts are compared without blanks and without the case of their letters. Two spellings of one
problem are two problems here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from assay.environments.base import BLANKS
from assay.environments.foreign.archive import read_first_name
from assay.environments.problem_file import LONG_ROW_MAX, read_object, read_problem_file, read_table
from assay.environments.problem_table import list_asked, list_names

_BLANKS = dict.fromkeys(map(ord, BLANKS))
#: Rows that a message names.
_NAMED = 5


@dataclass(frozen=True, slots=True)
class AskedTexts:
    """What a file asks.

    Attributes:
        texts: of its rows, as they are compared.
        gap: why these may not be all that it asks; None: they are.
    """

    texts: frozenset[str]
    gap: str | None = None

    def holds(self, problem: str) -> bool:
        return _normalize(problem) in self.texts


def read_asked(file: Path, column: str | None = None) -> AskedTexts:
    """What a file of problems asks.

    Args:
        column: may hold its problems, beside the columns that are known for them.

    Raises:
        ProblemFileError: the file cannot be read.
    """
    if read_first_name(file) is not None:
        return AskedTexts(frozenset(), "it is an archive, whose program makes the problems")
    texts, silent, names = set[str](), list[int](), dict[str, None]()
    for number, line in enumerate(read_table(read_problem_file(file), file)[1], 1):
        try:
            row = read_object(line, "math", LONG_ROW_MAX)
        except ValueError:
            row = {}
        names |= dict.fromkeys(row)
        asked = list_asked(row, column)
        texts.update(map(_normalize, asked))
        if not asked:
            silent.append(number)
    return AskedTexts(frozenset(texts), _name_gap(bool(texts), silent, names))


def _name_gap(has_texts: bool, silent: list[int], names: Iterable[str]) -> str | None:
    if not has_texts:
        return (
            f"none of its columns {list_names(names)} is known for the problem: name it with "
            "--column problem=NAME, or rename it"
        )
    if not silent:
        return None
    first = ", ".join(map(str, silent[:_NAMED])) + ", …" * (len(silent) > _NAMED)
    return f"{len(silent):,} of its rows show no problem (row {first})"


def _normalize(problem: str) -> str:
    """A problem without blanks and without the case of its letters."""
    return problem.translate(_BLANKS).lower()
