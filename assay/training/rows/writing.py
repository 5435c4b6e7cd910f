"""A dialogue's answers as a model's own chat template writes them.

The completion is what the template writes behind the prompt, up to the end token: prompt and prompt
with answer are both rendered, as in TRL's trainers, and the one must begin the other. A template
may say nothing of a part that it does not know, such as a call. So the dialogue is also rendered
with a mark in each such place, and a mark that does not appear is a reason to leave the row out.

A thought may stand in an answer's text, as `<think>…</think>`: it is a thought wherever the
template knows any. A prompt may begin one, as DeepSeek-R1's and Qwen3.5's do, which such a template
does not always write again: then the answer's thought goes on behind the prompt, and an answer
without one ends it at once, in the form of Qwen3's templates. Whoever asks the model asks it so.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from assay.environments.base import Conversation, Message
from assay.gate.tokenizer import FolderTokenizer
from assay.training.imitation import Example
from assay.training.rows.dialogues import THOUGHTS, Dialogue, LeftOutError, Turn

#: Most characters of a prompt's and an answer's text, for each token that may be: a longer text is
#: not encoded to find out. No vocabulary comes near it.
_CHARACTERS = 64
NO_USER = "with a message of the assistant that answers no user"
NOT_BEHIND = "whose answer this model's chat template does not write behind the prompt"
_REFUSES = "that this model's chat template or tokenizer refuses"
_HALF = "with a thought that does not end"
#: A thought at the beginning of an answer's text, or its end alone; an empty one; and its beginning
#: at the end of a prompt.
_THOUGHT = re.compile(r"(?:<think>)?(.*?)</think>(.*)", re.DOTALL)
_EMPTY = re.compile(r"<think>\s*</think>\s*")
_BEGUN = re.compile(r"<think>\s*\Z")
_THINK = "<think>"
#: What ends a thought where the template does not say, as Qwen3's write it.
_CLOSING = "\n</think>\n\n"
#: What follows an answer, to see what closes it.
_NEXT = "x"
#: A dialogue that each template takes.
_ASKED = (Turn({"role": "user", "content": _NEXT}),)


@dataclass(frozen=True, slots=True)
class DialogueWriter:
    """Writes examples of dialogues.

    Args:
        ends: ids that end a turn; the first closes an answer that the template closes with none.
        most: tokens of an example, with its prompt.
    """

    tokenizer: FolderTokenizer
    ends: Sequence[int]
    most: int
    #: each id once: a list of equal ones that the tokenizer makes anew takes four times the memory
    _numbers: Sequence[int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_numbers", list(range(len(self.tokenizer.drawable))))

    def prepare(self, dialogue: Dialogue) -> Dialogue:
        """A dialogue in the form that the template takes. Raises LeftOutError: there is none, or
        the template leaves out a part of it."""
        if dialogue.arguments and not self.tokenizer.has_template:
            raise LeftOutError("with chat_template_kwargs, and the model has no chat template")
        if any("</think>" in one.content for one in dialogue.turns if one.role == "assistant"):
            dialogue = self._take_thoughts(dialogue)
        if dialogue.is_plain:
            return dialogue
        if not self.tokenizer.has_template:
            if dialogue.tools or any("tool_calls" in one.message for one in dialogue.turns):
                raise LeftOutError("with calls or tools, and the model has no chat template")
            if any(one.role == "tool" for one in dialogue.turns):
                raise LeftOutError("with a tool's reply, and the model has no chat template")
            return dialogue
        for form in (dialogue, _write_arguments(dialogue)):  # DeepSeek's templates take texts
            try:
                lost = self._find_lost(form)
            except LeftOutError:
                raise
            except ValueError:
                continue
            if lost is not None:
                raise LeftOutError(f"whose {lost} this model's chat template does not write")
            return form
        raise LeftOutError(_REFUSES)

    def write(self, dialogue: Dialogue, place: int) -> Example:
        """The example of the answer at a place. Raises LeftOutError."""
        before, answer = dialogue.turns[:place], dialogue.turns[place]
        if not before or before[-1].role not in ("user", "tool"):
            raise LeftOutError(NO_USER)
        size = sum(len(one.content) for one in (*before, answer))
        if size > self.most * _CHARACTERS:
            raise LeftOutError(f"longer than {self.most:,} tokens")
        try:
            prompt = self._render(dialogue, before, begins=True)
            begun = _BEGUN.search(prompt)
            if begun and answer.content.lstrip().startswith(_THINK):
                raise LeftOutError(_HALF)
            text = self._render(dialogue, (*before, answer), begins=False)
            if not text.startswith(prompt):
                said = self._go_on(dialogue, place, prompt[: begun.start()] if begun else "")
                text = prompt + said
            self._require_whole(answer, text[len(prompt) :])
            if len(text) > self.most * _CHARACTERS:
                raise LeftOutError(f"longer than {self.most:,} tokens")
            asked = self.tokenizer.encode_text(prompt) or [0]
            whole = self.tokenizer.encode_text(text)
            is_split = whole[: len(asked)] == asked
            behind = whole[len(asked) :] if is_split else self._encode_behind(text, prompt)
            answered = self._close(behind, dialogue, place)
        except LeftOutError:
            raise
        except ValueError:
            raise LeftOutError(_REFUSES) from None
        if len(asked) + len(answered) > self.most:
            raise LeftOutError(f"longer than {self.most:,} tokens")
        return Example(self._share(asked), self._share(answered))

    def _take_thoughts(self, dialogue: Dialogue) -> Dialogue:
        """The dialogue with the thoughts in its answers' texts as thoughts, if the template knows
        them."""
        if not self.tokenizer.has_template:
            return dialogue
        try:
            prompt = self._render(dialogue, _ASKED, begins=True)
            knows = _BEGUN.search(prompt) or self._find_closing(dialogue, _ASKED) is not None
        except ValueError:
            knows = False
        return replace(dialogue, turns=tuple(map(_split, dialogue.turns))) if knows else dialogue

    def _find_closing(self, dialogue: Dialogue, before: Sequence[Turn]) -> str | None:
        """What the template writes between an answer's thought and its text; None: it writes no
        thought. Raises a ValueError if it refuses one."""
        marks = _Marks()
        thought, said = marks.make("thoughts"), marks.make("text")
        answer = {"role": "assistant", "content": said, **dict.fromkeys(THOUGHTS, thought)}
        text = self._render(dialogue, (*before, Turn(answer)), begins=False)
        if thought not in text:
            return None
        found = re.search(rf"{thought}(\s*</think>\s*){said}", text)
        return _CLOSING if found is None else found[1]

    def _go_on(self, dialogue: Dialogue, place: int, before: str) -> str:
        """An answer behind a thought that the prompt begins, where the template does not write it
        so.

        Args:
            before: the prompt up to that; no text: it begins none.

        Raises:
            LeftOutError: the prompt begins none, or the template writes something else there.
            ValueError: the template refuses it.
        """
        turns, answer = dialogue.turns[:place], dialogue.turns[place]
        bare = {name: one for name, one in answer.message.items() if name not in THOUGHTS}
        text = self._render(dialogue, (*turns, Turn(bare)), begins=False)
        if not before or not text.startswith(before):
            raise LeftOutError(NOT_BEHIND)
        said = text[len(before) :].lstrip()
        empty = _EMPTY.match(said)
        said = said[empty.end() :] if empty else said
        if _THINK in said[: said.find(answer.content)]:
            raise LeftOutError(NOT_BEHIND)
        closing = self._find_closing(dialogue, turns) or _CLOSING
        return answer.thought + closing + said

    def _share(self, tokens: Sequence[int]) -> list[int]:
        return [self._numbers[token] for token in tokens]

    def _encode_behind(self, text: str, prompt: str) -> list[int]:
        return self.tokenizer.encode_text(text[len(prompt) :])

    def _render(self, dialogue: Dialogue, turns: Sequence[Turn], begins: bool) -> str:
        """Raises a ValueError if the template refuses it."""
        if not self.tokenizer.has_template:
            messages = tuple(Message(one.role, one.content) for one in turns)
            text = Conversation(messages[:-1]).text
            last = messages[-1]
            return text + (Conversation((last,)).text if begins else last.content)
        return self.tokenizer.write_probe(
            [one.message for one in turns], begins, dialogue.tools, dialogue.arguments
        )

    def _require_whole(self, answer: Turn, written: str) -> None:
        """Raises LeftOutError: the template leaves out or changes what an answer says."""
        shown = "".join(written.split())
        for said, what in ((answer.thought, "thoughts"), (answer.content, "text")):
            if "".join(said.split()) not in shown:
                raise LeftOutError(f"whose {what} this model's chat template does not write")

    def _close(self, said: list[int], dialogue: Dialogue, place: int) -> list[int]:
        """An answer's ids up to the end token behind it."""
        at = next((at for at, token in enumerate(said) if token in self.ends), None)
        if at is None:
            return [*said, self._find_end(dialogue, place)]
        behind = [token for token in said[at + 1 :] if token not in self.ends]
        if self.tokenizer.decode(behind).strip():
            raise LeftOutError("with an end token inside")
        return said[: at + 1]

    def _find_end(self, dialogue: Dialogue, place: int) -> int:
        """The end token of an answer that the template closes only where something follows."""
        answer = dialogue.turns[place]
        if not self.tokenizer.has_template:
            return self.ends[0]
        calls = answer.message.get("tool_calls")
        following: dict[str, Any] = {"role": "tool" if calls else "user", "content": _NEXT}
        if calls and "id" in calls[-1]:
            following["tool_call_id"] = calls[-1]["id"]
        turns = dialogue.turns[: place + 1]
        try:
            text = self._render(dialogue, turns, begins=False)
            longer = self._render(dialogue, (*turns, Turn(following)), begins=False)
            behind = self.tokenizer.encode_text(longer[len(text) :])
        except ValueError:
            behind = []
        is_end = behind and behind[0] in self.ends and longer.startswith(text)
        return behind[0] if is_end else self.ends[0]

    def _find_lost(self, dialogue: Dialogue) -> str | None:
        """A part of a dialogue that the template does not write. Raises a ValueError if it fails
        for it."""
        marks = _Marks()
        turns = [Turn(marks.put(one.message)) for one in dialogue.turns]
        tools = dialogue.tools and [marks.put_tool(one) for one in dialogue.tools]
        marked = Dialogue(tuple(turns), tools, dialogue.arguments)
        text = self._render(marked, turns, begins=False)
        return next((what for mark, what in marks.places.items() if mark not in text), None)


def _split(turn: Turn) -> Turn:
    """An answer with the thought of its text as its thought."""
    found = _THOUGHT.match(turn.content.lstrip()) if turn.role == "assistant" else None
    if found is None or turn.thought:
        return turn
    thought, said = found[1].strip("\n"), found[2].lstrip("\n")
    made = {**turn.message, "content": said}
    if thought.strip():
        made |= dict.fromkeys(THOUGHTS, thought)
    return Turn(made, turn.weight)


@dataclass(slots=True)
class _Marks:
    """Places of a dialogue in which a mark stands instead of what was there.

    Attributes:
        places: mark → what stood there.
    """

    places: dict[str, str] = field(default_factory=dict)

    def make(self, what: str) -> str:
        mark = f"Q7k{len(self.places)}Z"
        self.places[mark] = what
        return mark

    def put(self, message: Mapping[str, Any]) -> dict[str, Any]:
        made = dict(message)
        if str(made["content"]).strip():
            names = {"tool": "tools' replies", "assistant": "text beside calls"}
            made["content"] = self.make(names.get(made["role"], f"{made['role']} message"))
        if "tool_calls" in made:
            made["tool_calls"] = [self._put_call(one) for one in made["tool_calls"]]
        return made

    def _put_call(self, call: Mapping[str, Any]) -> dict[str, Any]:
        function, given = dict(call["function"]), call["function"]["arguments"]
        function["name"] = self.make("calls")
        if given and given != "{}":
            made = {"x": self.make("calls")}
            function["arguments"] = json.dumps(made) if isinstance(given, str) else made
        return {**call, "function": function}

    def put_tool(self, tool: Mapping[str, Any]) -> dict[str, Any]:
        function = tool.get("function", tool)
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise LeftOutError("with tools that have no name")
        named = {**function, "name": self.make("tools")}
        return {**tool, "function": named} if "function" in tool else named


def _write_arguments(dialogue: Dialogue) -> Dialogue:
    """The dialogue with the arguments of its calls as texts."""
    turns = []
    for turn in dialogue.turns:
        message = dict(turn.message)
        if "tool_calls" in message:
            message["tool_calls"] = [_write_call(one) for one in message["tool_calls"]]
        turns.append(Turn(message, turn.weight))
    return Dialogue(tuple(turns), dialogue.tools, dialogue.arguments)


def _write_call(call: Mapping[str, Any]) -> dict[str, Any]:
    arguments = json.dumps(call["function"]["arguments"], ensure_ascii=False)
    return {**call, "function": {**call["function"], "arguments": arguments}}
