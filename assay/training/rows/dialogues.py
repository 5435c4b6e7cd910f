"""A row as a dialogue: messages in one form, whatever people's data sets call their parts.

Fields are those of Hugging Face's chat templates and of TRL's trainers (TRL 1.16.0,
docs/source/dataset_formats.md): `messages`, or `prompt` and `completion`, or `chosen` and
`rejected`; `tools`, `chat_template_kwargs`; in a message `role`, `content`, `tool_calls`,
`tool_call_id`, `name`. Beside these what OpenAI's and ShareGPT's files have: `weight`, `system`,
`conversations` of `from` and `value`, arguments of calls as JSON in a text, content in parts.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from assay.environments.base import Arguments
from assay.environments.problem_file import LONG_ROW_MAX, has_control
from assay.environments.problem_table import parse_cell
from assay.protocol.encoding import EncodingError, read_json
from assay.sandbox.child import clean

#: Columns that are read, or whose meaning forbids to read the rest without them.
ROW_COLUMNS = (
    *("messages", "conversations", "prompt", "completion", "chosen", "rejected", "system", "tools"),
    *("chat_template_kwargs", "weight", "label", "function_call", "images", "image", "videos"),
    *("video", "audio", "audios", "documents"),
)
#: Most messages of a row, calls of a message, and tools.
MESSAGES_MAX, CALLS_MAX, TOOLS_MAX = 1_024, 64, 256
#: Names under which templates know a thought.
THOUGHTS = "reasoning_content", "reasoning", "thinking"
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})
_SYSTEMS = "system", "developer"
_FROM = {"human": "user", "gpt": "assistant"}
_MESSAGE_KEYS = frozenset(
    {"role", "from", "content", "value", "tool_calls", "tool_call_id", "weight"}
)
#: Keys with a part of what is said that nothing here can write.
_REFUSED = frozenset(
    {"function_call", "images", "image", "videos", "video", "audio", "audios", "documents"}
    | {"refusal"}
)
#: Keys that say nothing about what is to be learned.
_HARMLESS = frozenset(
    {"id", "idx", "index", "uid", "uuid", "_id", "prompt_id", "conversation_id", "message_id"}
    | {"source", "dataset", "split", "language", "lang", "category", "topic", "model", "timestamp"}
    | {"created", "license", "url", "decided_by", "problem", "level", "chosen_checkpoint"}
    | {"rejected_checkpoint", "score_chosen", "score_rejected"}
)
#: Values of a row's label: whether the answer is a good one.
_TRUE, _FALSE = (True, "true", "True"), (False, "false", "False")
#: What a template is given by whoever calls it.
_GIVEN = frozenset({"messages", "tools", "add_generation_prompt", "bos_token", "eos_token"})
#: How a list of messages in a text begins.
_MESSAGES = re.compile(r"\s*\[\s*\{\s*\"(?:role|content|from|value)\"\s*:", re.ASCII)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
#: Different keys that are counted by name, and characters of one that are told.
_KEYS_MAX, _KEY_SHOWN = 64, 60
#: What `read_json` says of a row whatever stands where in it.
_TOLD = "NaN", "finite", "occurs twice", "nested deeper", "digits"

NO_CONVERSATION = "without messages, or a prompt and a completion"
NO_PAIR = "without a chosen and a rejected answer"
TWO_PROMPTS = "whose two answers are to different prompts"


class LeftOutError(ValueError):
    """Nothing is learned from a row, or from one of its answers. The message, of a fixed set, says
    why."""


@dataclass(frozen=True, slots=True)
class Words:
    """A network's own words, before which a row's are replaced.

    Attributes:
        system: message; None: there is none, or not one for all of its problems.
        arguments: of the chat template.
    """

    system: str | None = None
    arguments: Arguments = ()


#: Of a network without words of its own.
NO_WORDS = Words()


@dataclass(frozen=True, slots=True)
class Turn:
    """A message as a chat template takes it, and whether it may be learned."""

    message: Mapping[str, Any]
    weight: bool = field(default=True, compare=False)

    @property
    def role(self) -> str:
        return str(self.message["role"])

    @property
    def content(self) -> str:
        return str(self.message["content"])

    @property
    def thought(self) -> str:
        """No text: there is none."""
        return str(self.message.get(THOUGHTS[0], ""))

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing and calls nothing."""
        said = self.content.strip() or self.thought.strip()
        return not said and not self.message.get("tool_calls")


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Messages, and how a chat template is to write them.

    Attributes:
        tools: that the template is told of; None: none.
    """

    turns: tuple[Turn, ...]
    tools: Sequence[Mapping[str, Any]] | None = None
    arguments: Arguments = ()

    @property
    def is_plain(self) -> bool:
        """Whether it has nothing but questions and answers in words."""
        return not self.tools and all(
            one.role in ("user", "assistant") and "tool_calls" not in one.message
            for one in self.turns
        )


@dataclass(slots=True)
class DialogueReader:
    """Reads rows.

    Attributes:
        unread: key of a row or message → number of rows or messages that say something there.
        ignored: the same of keys that say nothing about what is to be learned.
        notes: what else a person should know → number of rows.
    """

    words: Words = NO_WORDS
    unread: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)

    def read_conversation(self, line: bytes) -> Dialogue:
        """The dialogue of a row. Raises LeftOutError."""
        row = _read_row(line)
        named = next((one for one in ("messages", "conversations") if row.get(one)), None)
        if named is not None:
            turns = self._read_part(row[named], None)
            first = next((one.content for one in turns if one.role == "user"), None)
            used = {named, *(["prompt"] if row.get("prompt") == first else [])}
        elif row.get("completion") is None:
            raise LeftOutError(NO_CONVERSATION)
        else:
            turns = self._join(row.get("prompt"), row["completion"])
            used = {"prompt", "completion"}
        if not any(one.role == "assistant" for one in turns):
            raise LeftOutError("without a message of the assistant")
        return self._finish(row, used, turns)

    def read_preference(self, line: bytes) -> tuple[Dialogue, Dialogue]:
        """The dialogues that end in the chosen and in the rejected answer. Raises LeftOutError."""
        row = _read_row(line)
        both = []
        for name in ("chosen", "rejected"):
            if row.get(name) is None:
                raise LeftOutError(NO_PAIR)
            turns = self._join(row.get("prompt"), row[name])
            if turns[-1].role != "assistant":
                raise LeftOutError(f"whose {name} answer is not the assistant's")
            both.append(turns)
        chosen, rejected = both
        if chosen[:-1] != rejected[:-1]:
            raise LeftOutError(TWO_PROMPTS)
        if chosen[-1] == rejected[-1]:
            raise LeftOutError("whose two answers are equal")
        if not (chosen[-1].weight and rejected[-1].weight):
            raise LeftOutError("of weight 0")
        prompt = row.get("prompt")
        texts = prompt, row["chosen"], row["rejected"]
        if prompt and all(isinstance(one, str) and one.startswith(prompt) for one in texts):
            self.notes["whose two answers both repeat the prompt"] += 1
        made = self._finish(row, {"prompt", "chosen", "rejected"}, chosen)
        answer = replace(made, turns=(*made.turns[:-1], rejected[-1]))
        return made, answer

    def _finish(self, row: Mapping[str, Any], used: set[str], turns: tuple[Turn, ...]) -> Dialogue:
        _require_wanted(row)
        turns = self._put_system(turns, row.get("system"))
        tools = [self._drop_nulls(one) for one in _read_list(row.get("tools"), TOOLS_MAX, "tools")]
        arguments = self._read_arguments(row.get("chat_template_kwargs"))
        used |= {"system", "tools", "chat_template_kwargs", "weight"}
        used |= {"label"} if row.get("label") in _TRUE else set()
        self._count_unread("", row, used)
        return Dialogue(turns, tools or None, arguments)

    def _join(self, prompt: Any, said: Any) -> tuple[Turn, ...]:
        """A prompt and what answers it, with the prompt once: `said` may be the whole conversation
        again, as in most data sets of preferences."""
        before = self._read_part(prompt, "user") if prompt else ()
        turns = self._read_part(said, "assistant")
        if not before or turns[0].role == "assistant":
            return (*before, *turns)
        if isinstance(prompt, str) and len(before) == 1:
            asked = [one.content.strip() for one in turns[:-1] if one.role == "user"]
            if before[0].content.strip() not in asked:
                raise LeftOutError("whose prompt is not that of its conversations")
            return turns
        systems = [one for one in (*before, *turns) if one.role in _SYSTEMS]
        bare, whole = (
            [one for one in part if one.role not in _SYSTEMS] for part in (before, turns)
        )
        if whole[: len(bare)] != bare or any(one != systems[0] for one in systems):
            raise LeftOutError("whose prompt is not that of its conversations")
        return (*systems[:1], *whole)

    def _put_system(self, turns: tuple[Turn, ...], column: Any) -> tuple[Turn, ...]:
        """The turns with a row's `system`, and with the network's in its place."""
        held = [place for place, one in enumerate(turns) if one.role in _SYSTEMS]
        if isinstance(column, str) and column.strip():
            if any(turns[place].content.strip() != column.strip() for place in held):
                raise LeftOutError("with two different systems")
            if not held:
                _require_text(column)
                turns, held = (Turn({"role": "system", "content": column}), *turns), [0]
        elif column:
            raise LeftOutError("with a system that is not a text")
        own = self.words.system
        if own is None or all(turns[place].content == own for place in held):
            return turns
        self.notes["whose system message is replaced by the network's own words"] += 1
        at = held[0]
        rest = [one for one in turns[at + 1 :] if one.role not in _SYSTEMS]
        return (*turns[:at], Turn({"role": "system", "content": own}), *rest)

    def _read_arguments(self, value: Any) -> Arguments:
        fault = LeftOutError("with chat_template_kwargs that are no names and plain values")
        given = _parse(value) if value else {}
        if not isinstance(given, dict):
            raise fault
        given = {name: one for name, one in given.items() if one is not None}
        if not all(map(_NAME.fullmatch, given)) or any(
            not isinstance(one, str | int | bool) for one in given.values()
        ):
            raise fault
        if _GIVEN.intersection(given):
            raise LeftOutError("with chat_template_kwargs that are no names of its own")
        own = dict(self.words.arguments)
        if any(given[name] != own[name] for name in given.keys() & own.keys()):
            self.notes["whose chat_template_kwargs are replaced by the network's own"] += 1
        return tuple(sorted((given | {n: own[n] for n in given.keys() & own.keys()}).items()))

    def _read_part(self, part: Any, role: str | None) -> tuple[Turn, ...]:
        """A cell's messages: a list of them, or with a role a text, which is its only one."""
        if isinstance(part, str) and _MESSAGES.match(part):
            part = _parse(part)
        if isinstance(part, str) and role is not None:
            _require_text(part)
            return (Turn({"role": role, "content": part}),)
        if not isinstance(part, list) or not part:
            raise LeftOutError(NO_CONVERSATION)
        if len(part) > MESSAGES_MAX:
            raise LeftOutError(f"with more than {MESSAGES_MAX:,} messages")
        return tuple(map(self._read_message, part))

    def _read_message(self, value: Any) -> Turn:
        if not isinstance(value, dict):
            raise LeftOutError("with messages that are no objects")
        given = {name: one for name, one in value.items() if one is not None}
        role = _take_one(given, "role", "from")
        role = _FROM.get(role, role) if isinstance(role, str) else None
        if role not in _ROLES:
            raise LeftOutError(f"with other roles than {', '.join(sorted(_ROLES))}")
        content = self._read_content(_take_one(given, "content", "value"))
        if content is None and role != "assistant":
            raise LeftOutError("with a message without content")
        message: dict[str, Any] = {"role": role, "content": content or ""}
        calls = _read_list(given.get("tool_calls"), CALLS_MAX, "calls")
        if calls and role != "assistant":
            raise LeftOutError("with a call that is not the assistant's")
        if calls:
            message["tool_calls"] = [self._read_call(one) for one in calls]
        thoughts = {given[name] for name in THOUGHTS if given.get(name)}
        if thoughts and role == "assistant":
            if len(thoughts) > 1:
                raise LeftOutError("with two different thoughts in a message")
            (thought,) = thoughts
            _require_text(thought)
            message |= dict.fromkeys(THOUGHTS, thought)
        own = {"tool_call_id", "name"} if role == "tool" else {"tool_call_id"}
        for name in own.intersection(given):
            _require_text(given[name])
            message[name] = given[name]
        own |= {*THOUGHTS} if role == "assistant" else set()
        self._count_unread("message.", given, _MESSAGE_KEYS | own)
        return Turn(message, _read_weight(given.get("weight")))

    def _read_content(self, value: Any) -> str | None:
        """A message's text; None: it has none."""
        if isinstance(value, list):
            parts = [one if isinstance(one, dict) else {"text": one} for one in value]
            texts = [one.get("text") for one in parts]
            is_text = all((one.get("type") or "text") == "text" for one in parts)
            value = "".join(map(str, texts)) if is_text else 0
            if not all(isinstance(one, str) for one in texts):
                value = 0
            for one in parts:
                self._count_unread("content.", one, {"type", "text"})
        if value is None:
            return None
        if not isinstance(value, str):
            raise LeftOutError("with content that is not text")
        _require_text(value)
        return value

    def _drop_nulls(self, value: Any) -> Any:
        """The same without what is null: tables and `datasets` give each object the keys of all
        objects of a file."""
        if isinstance(value, dict):
            kept = {name: one for name, one in value.items() if one is not None}
            if len(kept) < len(value):
                self.notes["with nulls in calls or tools, which are left out"] += 1
            return {name: self._drop_nulls(one) for name, one in kept.items()}
        return [self._drop_nulls(one) for one in value] if isinstance(value, list) else value

    def _read_call(self, value: Mapping[str, Any]) -> dict[str, Any]:
        function = value.get("function", value)
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(name, str) or not name or value.get("type", "function") != "function":
            raise LeftOutError("with a call of no function")
        known = {"type", "id", "index", "function"} if function is not value else {"type", "id"}
        further = {key for key, one in function.items() if one not in (None, "", [], {})}
        arguments = function.get("arguments")
        if arguments is None and further - known - {"name"}:
            raise LeftOutError("with a call whose arguments have another name")
        arguments = {} if arguments in (None, "") else self._drop_nulls(_parse(arguments))
        if not isinstance(arguments, dict):
            raise LeftOutError("with a call whose arguments are no object of JSON")
        for text in (name, *_list_texts(arguments)):
            _require_text(text)
        made: dict[str, Any] = {
            "type": "function",
            "function": {"name": name, "arguments": arguments},
        }
        if value.get("id") is not None:
            _require_text(value["id"])
            made["id"] = value["id"]
        if function is not value:
            self._count_unread("tool_calls.", value, known)
        self._count_unread("tool_calls.", function, {"name", "arguments", *known - {"function"}})
        return made

    def _count_unread(self, where: str, given: Mapping[str, Any], known: Any) -> None:
        for name, value in given.items():
            if name in known or value in (None, "", [], {}):
                continue
            if name in _REFUSED:
                raise LeftOutError(f"with {name}, which nothing here reads")
            count_key(self.ignored if is_harmless(name) else self.unread, where, name)


def count_key(counts: Counter[str], where: str, key: str, number: int = 1) -> None:
    """Count a key, of so many by name, as a terminal can show it."""
    shown = where + clean(key[:_KEY_SHOWN])
    is_new = shown not in counts and len(counts) >= _KEYS_MAX
    counts["other keys" if is_new else shown] += number


def is_harmless(key: str) -> bool:
    """Whether a key or column says nothing about what is to be learned."""
    return key in _HARMLESS


def _read_row(line: bytes) -> dict[str, Any]:
    if len(line) > LONG_ROW_MAX:
        raise LeftOutError(f"of more than {LONG_ROW_MAX >> 20} MiB")
    try:
        row = read_json(line)
    except EncodingError as error:
        told = str(error)
        told = told if any(one in told for one in _TOLD) else "is not JSON"
        raise LeftOutError(f"that {told}") from None
    if not isinstance(row, dict):
        raise LeftOutError("that is no object of JSON")
    return row


def _require_wanted(row: Mapping[str, Any]) -> None:
    if not _read_weight(row.get("weight")):
        raise LeftOutError("of weight 0")
    if row.get("label") in _FALSE:
        raise LeftOutError("whose label is false")


def _read_weight(value: Any) -> bool:
    """Whether something of a weight is learned."""
    if value is None or value == "":
        return True
    try:
        weight = float(value)
    except (TypeError, ValueError, OverflowError):
        weight = -1.0
    if weight not in (0.0, 1.0):
        raise LeftOutError("with a weight other than 0 and 1")
    return weight == 1.0


def _take_one(given: Mapping[str, Any], name: str, other: str) -> Any:
    """What stands under either of two names of the same."""
    if name in given and other in given and given[name] != given[other]:
        raise LeftOutError(f"with a {name} and another one as {other}")
    return given.get(name, given.get(other))


def _read_list(value: Any, most: int, what: str) -> list[dict[str, Any]]:
    """A list of objects, perhaps as JSON in a text; empty without one."""
    given = _parse(value) if value else []
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise LeftOutError(f"with {what} that are no list of objects")
    if len(given) > most:
        raise LeftOutError(f"with more than {most} {what}")
    return given


def _parse(value: Any) -> Any:
    try:
        return parse_cell(value)
    except EncodingError:
        raise LeftOutError("with a text that is to hold JSON, and does not") from None


def _list_texts(value: Any) -> Iterator[str]:
    """All texts in a value of JSON."""
    level = [value]
    while level:
        part = level.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict):
            level += [*part, *part.values()]
        elif isinstance(part, list):
            level += part


def _require_text(text: Any) -> None:
    if not isinstance(text, str):
        raise LeftOutError("with a value of a type that nothing here reads")
    if has_control(text):
        raise LeftOutError("with control characters or half characters")
