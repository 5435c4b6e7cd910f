"""The first reader of conversations: by it steps are repeated whose records name no reader.

It knows a message's role and content alone. It stays as it is: another word of it would be another
example, and a step that imitated one could not be repeated.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from assay.environments.base import Conversation, Message
from assay.environments.problem_file import LONG_ROW_MAX, read_object, require_text
from assay.environments.problem_table import get_cell, parse_cell
from assay.gate.tokenizer import FolderTokenizer
from assay.training.imitation import Example

#: Roles of a conversation's messages.
_ROLES = ("system", "user", "assistant")
#: Most messages of a conversation.
_MESSAGES_MAX = 1_024


def read_conversations(
    rows: Iterable[bytes], tokenizer: FolderTokenizer, ends: Sequence[int], most: int
) -> tuple[list[Example], Counter[str]]:
    """The examples of conversations, one for each message of the assistant, and reason → number of
    rows that give none.

    Args:
        rows: of JSON: `messages`, or `prompt` and `completion`, each a text or a list of messages
            with `role` and `content`, as trainers take them.
        most: tokens of an example, with its prompt.
    """
    examples, left_out = list[Example](), Counter[str]()
    for row in rows:
        try:
            messages = _read_messages(read_object(row, "conversation", LONG_ROW_MAX))
        except ValueError as error:
            left_out[str(error)[:200]] += 1
            continue
        found = 0
        for place, message in enumerate(messages):
            if message.role != "assistant":
                continue
            made = _make_turn(messages[:place], message.content, tokenizer, ends, most)
            if isinstance(made, Example):
                examples.append(made)
                found += 1
            elif not found:
                left_out[made] += 1
                break
    return examples, left_out


def _make_turn(
    before: tuple[Message, ...],
    content: str,
    tokenizer: FolderTokenizer,
    ends: Sequence[int],
    most: int,
) -> Example | str:
    if not before or before[-1].role != "user":
        return "with a message of the assistant that answers no user"
    try:
        prompt = tokenizer.encode_strictly(Conversation(before))
        completion = [*tokenizer.encode_text(content), ends[0]]
    except ValueError:
        return "not what this model's template and tokenizer can write"
    if len(prompt) + len(completion) > most:
        return f"longer than {most:,} tokens"
    if frozenset(ends).intersection(completion[:-1]):
        return "with an end token inside"
    return Example(list(prompt), completion)


def _read_messages(row: dict[str, Any]) -> tuple[Message, ...]:
    """Raises ValueError: they are no messages."""
    said = get_cell(row, "messages")
    if said is not None:
        messages = _read_part(said, None)
    else:
        messages = _read_part(row.get("prompt"), "user")
        messages += _read_part(row.get("completion"), "assistant")
    if not any(one.role == "assistant" for one in messages):
        raise ValueError("without a message of the assistant")
    return messages


def _read_part(part: Any, role: str | None) -> tuple[Message, ...]:
    """A cell's messages: a list of them, or with a role a text, which is its only message. Raises
    ValueError: it is neither."""
    value = parse_cell(part) if isinstance(part, str) and part[:1] == "[" else part
    if isinstance(value, str) and role is not None:
        return (Message(role, require_text(value, role, "conversation")),)
    if isinstance(value, list) and 0 < len(value) <= _MESSAGES_MAX:
        return tuple(map(_read_message, value))
    raise ValueError("without messages, or a prompt and a completion")


def _read_message(value: Any) -> Message:
    role = value.get("role") if isinstance(value, dict) else None
    content = value.get("content") if isinstance(value, dict) else None
    if role not in _ROLES or not isinstance(content, str):
        raise ValueError(f"with messages other than texts of {', '.join(_ROLES)}")
    return Message(role, require_text(content, role, "conversation"))
