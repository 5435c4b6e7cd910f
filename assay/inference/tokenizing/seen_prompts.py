"""What a model sees of problems, and what is probably wrong with it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from assay.environments.base import Conversation, Problem
from assay.gate.tokenizer import FolderTokenizer
from assay.inference.context_length import find_context_fault

#: A prompt without the BOS of its tokenizer; a setting without effect.
BOS_LACKS = (
    "the prompt does not begin with the bos_token, which the tokenizer puts before every text"
)
BOS_IDLE = "bos=1 has no effect: the tokenizer has no bos_token"
#: A tool that the model is not told of.
UNTOLD = (
    "the model is not told of its tool: the prompt goes through no chat template, or through one "
    "that shows no tools. Describe tool and call in the part's text `system`, or leave out "
    "call_form, so that the environment does"
)


@dataclass(frozen=True, slots=True)
class SeenPrompt:
    """One problem's prompt.

    Attributes:
        text: as the tokenizer reads it. ids: of it.
        warnings: kind → what is probably wrong, in a line.
    """

    text: str
    ids: list[int]
    warnings: Mapping[str, str]


def see_prompts(
    tokenizer: FolderTokenizer,
    config: Mapping[str, Any],
    end_tokens: Sequence[int],
    problems: Sequence[Problem],
    max_tokens: int,
) -> list[SeenPrompt]:
    """What a model sees of each problem.

    Args:
        config: of the model.
        max_tokens: of an answer, which the context must hold behind the prompt.
    """
    known: dict[tuple[int, ...], Problem] = {}
    closing = tokenizer.find_closing()
    seen = []
    for problem in problems:
        asked = problem.conversation
        ids, text, warnings = tokenizer.encode(asked), asked.text, dict[str, str]()
        try:
            text = tokenizer.write(asked)
            tokenizer.encode_strictly(asked)
        except ValueError as error:
            warnings["refused"] = (
                f"nobody can put this problem to the model, it becomes the id 0: {error}"
            )
        else:
            warnings |= _list_losses(problem, text, known.setdefault(tuple(ids), problem))
            if asked.tools and not _shows_tools(tokenizer, asked, text):
                warnings["tools"] = UNTOLD
        if tokenizer.adds_bos and ids[:1] != [tokenizer.bos]:
            warnings["bos"] = f"{BOS_LACKS}: the setting bos=1 does so"
        if asked.bos and tokenizer.bos is None:
            warnings["bos"] = BOS_IDLE
        fault = find_context_fault(config, len(ids), max_tokens)
        if fault is not None:
            warnings["context"] = fault
        if closing is not None and closing not in end_tokens and not asked.plain:
            warnings["closing"] = (
                f"the template closes an answer with {tokenizer.name_token(closing)}, which is no "
                "end token: the model goes on behind it. `assay adopt --end-token` makes it one"
            )
        for end in end_tokens:
            if end >= len(tokenizer.drawable) or not tokenizer.drawable[end]:
                warnings[f"end {end}"] = f"the end token {end} is none that the model can write"
        seen.append(SeenPrompt(text, ids, warnings))
    return seen


def _shows_tools(tokenizer: FolderTokenizer, asked: Conversation, text: str) -> bool:
    """Whether a prompt's text, which the tokenizer writes, depends on the tools."""
    if asked.plain or not tokenizer.has_template:
        return False
    try:
        return tokenizer.write(replace(asked, tools="")) != text
    except ValueError:  # a template that asks for tools
        return True


def _list_losses(problem: Problem, text: str, first: Problem) -> Iterator[tuple[str, str]]:
    """What of a problem does not reach the model. `first`: the first problem with the same ids."""
    if problem.question.strip() not in text:
        yield "question", "the text lacks the question: the template leaves it out or changes it"
    if first.question != problem.question:
        yield "twin", "another problem has the same ids: the model cannot tell them apart"


def summarize_warnings(seen: Sequence[SeenPrompt]) -> list[str]:
    """A line for each kind of warning: the number of prompts, and the longest prompt's warning."""
    found: dict[str, list[SeenPrompt]] = {}
    for one in seen:
        for kind in one.warnings:
            found.setdefault(kind, []).append(one)
    return [
        f"{len(some)} of {len(seen)} prompts: "
        + max(some, key=lambda one: len(one.ids)).warnings[kind]
        for kind, some in found.items()
    ]
