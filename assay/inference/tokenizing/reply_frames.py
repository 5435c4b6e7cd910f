"""The frame of a world's replies, derived from a chat template: what it writes between two turns.

A template is asked for conversations of several turns, and what stands around each reply must be
one constant, confirmed in ids. That is done once, by an owner: no template runs on a world's words
later. Specification, section 3.1. Here nothing knows which worlds there are.

Nothing that is said here repeats a template's own words but as JSON in ASCII, cut short.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Literal

from assay.environments.base import Frame, Manner
from assay.gate.tokenizer import FolderTokenizer
from assay.protocol.parameters import FRAME_MAX, REPLY_BYTES_MAX

Role = Literal["user", "tool"]
#: In the order in which equals are preferred.
ROLES: tuple[Role, ...] = ("user", "tool")

#: The conversations that are tried: questions, turns, replies. The second reply needs escapes as
#: JSON, so it tells the two forms apart.
_QUESTIONS = ("Q1q", "A longer one?\nTwo lines.")
_TURNS = (1, 2, 3, 6)
_REPLIES = ("R7r", 'Rx\ny "z" {w} \\R', "R" + " 42 and more words" * 8 + "R")
#: Two answers that end in other characters: what follows both alike is the template's.
_ANSWERS = ("aA", "bbB")
#: Further replies whose ids are compared.
_SAID = ("higher", "12 + 30 = 42.", "[1, 2]", "R\u00e9ponse: \u4f60\u597d")
#: Most characters that a template may write for any of them.
_TEXT_MAX = 1 << 16
#: Characters of a text that is quoted.
_QUOTED = 24
_CALL_ID = "a00000000"
_TOOLS = (
    {
        "type": "function",
        "function": {
            "name": "calc",
            "description": "Adds.",
            "parameters": {
                "type": "object",
                "properties": {"x": {"type": "string", "description": "a sum"}},
                "required": ["x"],
            },
        },
    },
)


class _NoFrameError(Exception):
    """Why there is no constant frame, as a fixed sentence without its subject, the template."""


@dataclass(frozen=True, slots=True)
class FoundFrame:
    """What a chat template does with replies in one role.

    Attributes:
        frame: constant and confirmed in ids; None: there is none, and `fault` says why.
        closer: an end token that closes turns in place of the first one, so that there is none.
        differs: how prompt, turns and replies differ from what the template writes of the whole
            conversation, for answers without thoughts and with them; None: not at all.
        keeps_break: whether the template leaves the line break at a reply's end.
    """

    role: Role
    frame: Frame | None = None
    fault: str = ""
    closer: str | None = None
    differs: tuple[str | None, str | None] = (None, None)
    keeps_break: bool = True

    @property
    def verdict(self) -> str:
        """`faithful`, or what is not, in a line."""
        if self.frame is None:
            return self.fault
        plain, thought = self.differs
        said = "faithful"
        if plain is not None and thought is None:
            said = f"faithful where a model thinks in every turn, but differs elsewhere: {plain}"
        elif plain is not None:
            said = f"differs: {plain}"
        elif thought is not None:
            said = f"faithful, but differs where a model thinks: {thought}"
        lost = "the template drops the line break at a reply's end"
        return said if self.keeps_break else f"{said}; {lost}"


def find_frames(tokenizer: FolderTokenizer, manner: Manner) -> list[FoundFrame]:
    """What a model's chat template does with replies in each of `ROLES`, in that order.

    Args:
        manner: how the problems are put: with its system text and its arguments.

    Raises:
        ValueError: there is no chat template.
    """
    if not tokenizer.has_template:
        raise ValueError("there is no chat template")
    return [_find(_Probe(tokenizer, manner, role)) for role in ROLES]


def choose_frame(found: Sequence[FoundFrame], manner: Manner) -> FoundFrame | None:
    """The frame of role `tool` where the template is told of a tool; else the one that leaves most
    as the template writes it; the first of equals. None: none has a frame."""
    wanted = "tool" if manner.tools else None
    usable = [one for one in found if one.frame is not None]
    return max(usable, key=lambda one: (one.role == wanted, one.differs.count(None)), default=None)


def find_role(tokenizer: FolderTokenizer, manner: Manner) -> Role:
    """The role in which the chat template writes a reply as the frame of `manner` does: of equals
    `tool` where the template is told of one. `user`, if no template does."""
    if manner.plain or not tokenizer.has_template:
        return "user"
    same = [one for one in find_frames(tokenizer, manner) if one.frame == manner.frame]
    chosen = choose_frame(same, manner)
    return "user" if chosen is None else chosen.role


def quote(text: str, most: int | None = None) -> str:
    """A stranger's text as JSON in ASCII, without control characters; of a long one the start."""
    shown = text if most is None else text[:most]
    return json.dumps(shown).replace("\x7f", "\\u007f") + ("" if shown == text else "\u2026")


def _find_common(one: str, other: str) -> str:
    """The characters with which both texts begin."""
    pairs = takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return "".join(pair[0] for pair in pairs)


#: A conversation's question, number of turns and last reply.
_Key = tuple[str, int, str]


class _Probe:
    """Conversations in one role as a template writes them."""

    def __init__(self, tokenizer: FolderTokenizer, manner: Manner, role: Role) -> None:
        self.tokenizer, self.role, self._manner = tokenizer, role, manner

    def ask(self, question: str) -> list[dict[str, Any]]:
        system = self._manner.get("system")
        first = [] if system is None else [{"role": "system", "content": system}]
        return [*first, {"role": "user", "content": question}]

    def answer(self, text: str, thought: str | None = None) -> dict[str, Any]:
        """A turn: a call, if a tool replies to it, since some templates allow no other."""
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if self.role == "tool":
            call = {"name": "calc", "arguments": {"x": text}}
            calls = [{"type": "function", "id": _CALL_ID, "function": call}]
            message |= {"content": "", "tool_calls": calls}
        if thought is not None:  # by both names that templates know
            message |= {"reasoning_content": thought, "thinking": thought}
        return message

    def reply(self, text: str) -> dict[str, Any]:
        if self.role == "user":
            return {"role": "user", "content": text}
        return {"role": "tool", "name": "calc", "tool_call_id": _CALL_ID, "content": text}

    def write(self, messages: Sequence[dict[str, Any]], begins: bool = True) -> str:
        tools = _TOOLS if self.role == "tool" else None
        if self._manner.tools:
            tools = json.loads(self._manner.tools)
        try:
            text = self.tokenizer.write_probe(messages, begins, tools, self._manner.arguments)
        except ValueError:  # in its own words, which are a stranger's
            raise _NoFrameError(f"it fails for a conversation with role {self.role}") from None
        if len(text) > _TEXT_MAX:
            raise _NoFrameError(f"it writes more than {_TEXT_MAX} characters of a few words")
        return text

    def list_conversations(self) -> Iterator[tuple[_Key, list[list[dict[str, Any]]]]]:
        """For each question, number of turns and last reply the messages, once with each last
        answer."""
        for question in _QUESTIONS:
            for turns in _TURNS:
                before = self.ask(question)
                for number in range(turns - 1):
                    before += [self.answer(f"old{number}"), self.reply(f"said{number}")]
                for said in _REPLIES:
                    last = [[self.answer(text), self.reply(said)] for text in _ANSWERS]
                    yield (question, turns, said), [before + pair for pair in last]


def _find(probe: _Probe) -> FoundFrame:
    closer = None
    try:
        frame, end = _derive(probe)
        if end != probe.tokenizer.closer:
            closer = end
            raise _NoFrameError(
                f"it closes a turn with {quote(end)}, which is not the model's first end token"
            )
        if max(len(text.encode()) for text in (frame.before, frame.after)) > FRAME_MAX:
            raise _NoFrameError(f"it writes more than {FRAME_MAX} bytes before or behind a reply")
        _confirm(probe, frame)
    except _NoFrameError as error:
        return FoundFrame(probe.role, fault=str(error), closer=closer)
    differs = _compare(probe, frame, None), _compare(probe, frame, "hm")
    return FoundFrame(probe.role, frame, differs=differs, keeps_break=_keeps_break(probe, frame))


def _derive(probe: _Probe) -> tuple[Frame, str]:
    """The one frame of all conversations, and the end token before it."""
    found: dict[_Key, tuple[str, Frame]] = {}
    for key, pair in probe.list_conversations():
        found[key] = _split([probe.write(messages) for messages in pair], key[-1], probe.tokenizer)
    if len({frame.as_json for _, frame in found.values()}) > 1:
        raise _NoFrameError("it writes some replies as JSON and others not")
    for place, name in ((2, "the reply's text"), (1, "the turn's number"), (0, "the question")):
        alike: dict[tuple[Any, ...], set[tuple[str, Frame]]] = {}
        for key, value in found.items():
            alike.setdefault(key[:place] + key[place + 1 :], set()).add(value)
        if any(len(values) > 1 for values in alike.values()):
            raise _NoFrameError(f"what it writes around a reply depends on {name}")
    end, frame = next(iter(found.values()))
    return frame, end


def _split(texts: Sequence[str], said: str, tokenizer: FolderTokenizer) -> tuple[str, Frame]:
    """The end token and the frame of the last reply, of conversations that differ in the last
    answer alone."""
    if len(set(texts)) < len(texts):
        raise _NoFrameError("it drops a turn that a reply follows")
    common = _find_common(*(text[::-1] for text in texts))[::-1]
    quoted = json.dumps(said, ensure_ascii=False)
    as_json = quoted in common
    shown = quoted if as_json else said
    if common.count(shown) != 1:
        lost = shown not in common
        raise _NoFrameError("it drops or changes a reply" if lost else "it writes a reply twice")
    head, after = common.split(shown)
    places = [(head.find(end), -len(end), end) for end in tokenizer.end_texts if end in head]
    if not places:
        raise _NoFrameError("it writes no end token of the model between a turn and the reply")
    at, length, end = min(places)
    return end, Frame(head[at - length :], after, as_json)


def _confirm(probe: _Probe, frame: Frame) -> None:
    """Compare ids: a whole conversation's must end in the closer and those of the reply."""
    tokenizer = probe.tokenizer
    for _, (messages, _) in probe.list_conversations():
        for said in (messages[-1]["content"], *_SAID):
            text = probe.write([*messages[:-1], probe.reply(said)])
            ids = tokenizer.encode_reply(said, frame, REPLY_BYTES_MAX)
            try:
                (closer,) = tokenizer.encode_text(tokenizer.closer)
                whole = tokenizer.encode_text(text)
            except ValueError:
                if ids is None and not said.isascii():
                    continue  # its tokenizer has none of these characters, wherever they stand
                whole = []
            if ids is None or whole[-len(ids) - 1 :] != [closer, *ids]:
                raise _NoFrameError("its tokenizer gives a reply other ids within the whole text")


def _compare(probe: _Probe, frame: Frame, thought: str | None) -> str | None:
    """How a conversation's prompt, turns and replies differ from what the template writes of it."""
    closer = probe.tokenizer.closer
    put: Callable[[str], str] = (
        (lambda text: json.dumps(text, ensure_ascii=False)) if frame.as_json else str
    )
    try:
        messages = probe.ask(_QUESTIONS[0])
        built = probe.write(messages)
        for number in range(3):
            said = thought and f"{thought}{number}"
            messages.append(probe.answer(f"a{number}", said))
            shown = probe.write(messages, begins=False)
            if not shown.startswith(built):
                return f"turn {number + 1} is not behind the beginning of an answer"
            turn = shown[len(built) :]
            turn = turn[: turn.rfind(closer)] if closer in turn else turn
            messages.append(probe.reply(f"r{number}"))
            built += f"{turn}{closer}{frame.before}{put(f'r{number}')}{frame.after}"
            whole = probe.write(messages)
            if whole != built:
                at = len(_find_common(whole, built))
                return (
                    f"after reply {number + 1} it writes {quote(whole[at:], _QUOTED)} where "
                    f"{quote(built[at:], _QUOTED)} was"
                )
    except _NoFrameError as error:
        return str(error)
    return None


def _keeps_break(probe: _Probe, frame: Frame) -> bool:
    said = f"{_REPLIES[0]}\n"
    try:
        text = probe.write([*probe.ask("Q"), probe.answer("a"), probe.reply(said)])
    except _NoFrameError:
        return False
    shown = json.dumps(said, ensure_ascii=False) if frame.as_json else said
    return text.endswith(f"{frame.before}{shown}{frame.after}")
