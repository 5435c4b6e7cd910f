"""The form in which an answer must be written: where the question itself shows another spelling of
its answer, repeating that spelling is no answer.

`What is 144/12?` pays for 12 and not for `144/12`, and not for `288/24` either: such a question
needs the right answer's normal form. Elsewhere every spelling of the value is right.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

from assay.environments.math_answer import MathAnswer, read_math
from assay.environments.math_question import Question
from assay.environments.math_terms import UnknownError
from assay.environments.math_tokens import split_answer


@dataclass(frozen=True, slots=True)
class RequiredForm:
    """What the spelling of an answer must be like.

    Attributes:
        unreduced: most parts that may be left unreduced: as many as the right answer has.
        banned: notations of the question's spellings that are not the right answer's.
        tokens: the right answer's, in any order, where its value alone is in the question: a power
            or a product was asked for.
    """

    unreduced: int
    banned: frozenset[str] = frozenset()
    tokens: tuple[str, ...] | None = None

    def allows(self, answer: MathAnswer, text: str) -> bool:
        """Whether an answer, which `text` spells, has this form."""
        if answer.unreduced > self.unreduced or answer.notations & self.banned:
            return False
        return self.tokens is None or _sort_tokens(text) == self.tokens


@lru_cache(1 << 10)
def find_required_form(question: Question, text: str, right: MathAnswer) -> RequiredForm | None:
    """The form that answers to a question need; None: any.

    Args:
        text: spells the right answer.
    """
    banned, leaves_more, is_value_shown = set[str](), question.asks_simplest, False
    for expression in question.iterate_expressions(with_numbers=right.undone > 0):
        shown = read_math(expression, question)
        if shown is None or not right.agrees_with(replace(shown, undivided=0)):
            continue
        banned |= shown.notations - right.notations
        leaves_more |= shown.unreduced > right.unreduced
        is_value_shown |= shown.undone < right.undone
    if not (banned or leaves_more or is_value_shown):
        return None
    tokens = _sort_tokens(text) if is_value_shown else None
    return RequiredForm(right.unreduced, frozenset(banned), tokens)


def _sort_tokens(text: str) -> tuple[str, ...]:
    try:
        return tuple(sorted(split_answer(text)))
    except UnknownError:
        return ()
