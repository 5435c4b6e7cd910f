"""The reader of rows: examples of conversations, and pairs of preferences.

    reading = read_conversations(rows, DialogueWriter(tokenizer, ends, most))
    reading.found, reading.left_out, reading.unread

A step's record names the version of the reader that its trainer had (`sft_reader`), since another
one makes other examples of the same file. Whoever changes what an example is made of raises
`READER`, and keeps what reads the version before.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Generic, TypeVar

from assay.training.imitation import Example
from assay.training.preferences import Pair
from assay.training.rows.dialogues import (
    NO_WORDS,
    Dialogue,
    DialogueReader,
    LeftOutError,
    Words,
    count_key,
    is_harmless,
)
from assay.training.rows.writing import DialogueWriter

#: The version of the reader, which `assay.artifacts.steps` writes into records.
READER = 2
_T = TypeVar("_T")
#: Most tokens of all examples of a file, prompts included: an answer of a long conversation has all
#: that is before it as its prompt, so that a small file may make very many. 8 bytes each.
TOKENS_MAX = 1 << 27
#: Reasons and keys that a line tells.
_TOLD_MAX = 12
_EMPTY = "with an empty answer"
_TYPE = "with a value of a type that nothing here reads"
_KNOWN = "that say what a row before says"
_AGAINST = "that prefer what another row rejects"


@dataclass(slots=True)
class LeftOut:
    """How many rows were left out for a reason, and the number of the first, from 1."""

    count: int
    first: int


@dataclass(slots=True)
class Reading(Generic[_T]):
    """What was read of a file's rows.

    Attributes:
        tokens: of all that was found.
        found: what is learned from.
        origins: number of the row that each is of, from 1.
        left_out: reason → the rows that give nothing.
        answers: reason → answers that are left out of rows that give others.
        unread: key → how often something stands there that nothing reads.
        ignored: the same of keys that say nothing about what is to be learned, such as `id`.
        notes: what else a person should know → number of rows.
    """

    rows: int = 0
    tokens: int = 0
    found: list[_T] = field(default_factory=list)
    origins: list[int] = field(default_factory=list)
    left_out: dict[str, LeftOut] = field(default_factory=dict)
    answers: dict[str, LeftOut] = field(default_factory=dict)
    unread: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)

    def add(self, one: _T, *examples: Example) -> None:
        """Add what the last row gives, which these examples are or make."""
        self.found.append(one)
        self.origins.append(self.rows)
        self.tokens += sum(len(each.prompt) + len(each.completion) for each in examples)

    def leave(self, reason: str, row: int | None = None, whole: bool = True) -> None:
        """Count a row, the last one without a number, or one of its answers as left out."""
        counts = self.left_out if whole else self.answers
        counts.setdefault(reason, LeftOut(0, row or self.rows)).count += 1

    def count_columns(self, columns: Iterable[str]) -> None:
        """Count columns of a table that were not unpacked: in each row something may stand
        there."""
        for name in columns:
            counts = self.ignored if is_harmless(name) else self.unread
            count_key(counts, "", name, self.rows)

    def describe_left_out(self) -> str:
        """Reasons by frequency, each with its first row; no text: no row is left out."""
        return _describe(self.left_out)

    def describe(self) -> list[str]:
        """Lines for a person: how many rows, how many were left out and why, what was not read."""
        left = sum(one.count for one in self.left_out.values())
        told = f" ({self.describe_left_out()})" if left else ""
        lines = [f"{len(self.found):,} examples of {self.rows:,} rows, {left:,} left out{told}"]
        if self.answers:
            lines.append(f"answers left out of rows with others: {_describe(self.answers)}")
        if self.unread:
            lines.append(f"keys that nothing reads: {_rank(self.unread, '{1} {0:,} times')}")
        if self.ignored:
            lines.append(f"keys that say nothing of what is learned: {_rank(self.ignored, '{1}')}")
        if self.notes:
            lines.append(_rank(self.notes, "{0:,} rows {1}"))
        return lines

    def to_json(self) -> dict[str, Any]:
        """The counts as JSON."""
        return {
            "rows": self.rows,
            "examples": len(self.found),
            "left_out": {reason: one.count for reason, one in self.left_out.items()},
            "answers_left_out": {reason: one.count for reason, one in self.answers.items()},
            "unread": dict(self.unread),
            "ignored": dict(self.ignored),
            "notes": dict(self.notes),
        }


#: As `read_conversations` is.
ReadRows = Callable[[Iterable[bytes], DialogueWriter, Words], Reading[_T]]


def read_conversations(
    rows: Iterable[bytes], writer: DialogueWriter, words: Words = NO_WORDS
) -> Reading[Example]:
    """The examples of conversations, one for each message of the assistant that has no weight of 0.

    Args:
        rows: of JSON, see `assay.training.rows.dialogues`.
        words: of the network, before which a row's own are replaced.
    """
    reader, known = DialogueReader(words), set[bytes]()

    def read(row: bytes, reading: Reading[Example]) -> None:
        dialogue = writer.prepare(reader.read_conversation(row))
        places = [n for n, one in enumerate(dialogue.turns) if one.role == "assistant"]
        learned = [place for place in places if dialogue.turns[place].weight]
        if not learned:
            raise LeftOutError("of weight 0")
        if len(learned) < len(places):
            reader.notes["with answers of weight 0, which are not learned"] += 1
        made, faults = list[Example](), list[str]()
        for place in learned:
            try:
                made.append(_write(writer, dialogue, place))
            except LeftOutError as error:
                faults.append(str(error))
                if str(error).startswith("longer than"):
                    break  # what follows is longer
        new = []
        for example in made:
            digest = _digest(example.prompt, example.completion)
            if digest not in known:
                known.add(digest)
                new.append(example)
        if not new:
            raise LeftOutError(_KNOWN if made else faults[0])
        for fault in [*faults, *[_KNOWN] * (len(made) - len(new))]:
            reading.leave(fault, whole=False)
        for example in new:
            reading.add(example, example)

    return _read_all(rows, read, reader)


def read_pairs(
    rows: Iterable[bytes], writer: DialogueWriter, words: Words = NO_WORDS
) -> Reading[Pair]:
    """The pairs of rows. Of rows that prefer what another rejects none is taken: nobody knows which
    is right.

    Args:
        rows, words: as of `read_conversations`.
    """
    reader = DialogueReader(words)
    known: dict[bytes, bytes] = {}  # prompt and both answers → the one that was chosen
    keys, contested = list[bytes](), set[bytes]()

    def read(row: bytes, reading: Reading[Pair]) -> None:
        chosen, rejected = map(writer.prepare, reader.read_preference(row))
        place = len(chosen.turns) - 1
        if chosen.turns[place].is_empty:
            raise LeftOutError(_EMPTY)
        one, other = (writer.write(part, place) for part in (chosen, rejected))
        if one.prompt != other.prompt:
            raise LeftOutError("whose prompt depends on the answer, by this model's chat template")
        if one.completion == other.completion:
            raise LeftOutError("whose two answers are equal")
        best, worst = (_digest(part.prompt, part.completion) for part in (one, other))
        key = min(best, worst) + max(best, worst)
        if known.setdefault(key, best) != best:
            contested.add(key)
            raise LeftOutError(_AGAINST)
        if key in contested:
            raise LeftOutError(_AGAINST)
        if key in keys_held:
            raise LeftOutError(_KNOWN)
        keys_held.add(key)
        keys.append(key)
        reading.add(Pair(one, other), one, other)

    keys_held = set[bytes]()
    reading = _read_all(rows, read, reader)
    if contested:
        kept = [place for place, key in enumerate(keys) if key not in contested]
        for place in sorted({*range(len(keys))} - {*kept}):
            reading.leave(_AGAINST, reading.origins[place])
        reading.found = [reading.found[place] for place in kept]
        reading.origins = [reading.origins[place] for place in kept]
    return reading


def _read_all(
    rows: Iterable[bytes], read: Callable[[bytes, Reading[_T]], None], reader: DialogueReader
) -> Reading[_T]:
    reading = Reading[_T](unread=reader.unread, ignored=reader.ignored, notes=reader.notes)
    for row in rows:
        reading.rows += 1
        try:
            if reading.tokens >= TOKENS_MAX:
                raise LeftOutError(f"behind the first {TOKENS_MAX:,} tokens of the file's examples")
            read(row, reading)
        except LeftOutError as error:
            reading.leave(str(error))
        except (TypeError, AttributeError, LookupError, ValueError):
            reading.leave(_TYPE)  # no row of a stranger may end a course
    return reading


def _write(writer: DialogueWriter, dialogue: Dialogue, place: int) -> Example:
    if dialogue.turns[place].is_empty:
        raise LeftOutError(_EMPTY)
    return writer.write(dialogue, place)


def _digest(prompt: list[int], completion: list[int]) -> bytes:
    return sha256(json.dumps([prompt, completion]).encode()).digest()


def _describe(counts: Mapping[str, LeftOut]) -> str:
    ranked = sorted(counts.items(), key=lambda entry: -entry[1].count)
    told = [f"{one.count:,} {reason} (row {one.first:,})" for reason, one in ranked[:_TOLD_MAX]]
    return ", ".join([*told, *(["\u2026"] if len(ranked) > _TOLD_MAX else [])])


def _rank(counts: Mapping[str, int], form: str) -> str:
    ranked = Counter(counts).most_common()
    told = [form.format(count, name) for name, count in ranked[:_TOLD_MAX]]
    return ", ".join([*told, *(["\u2026"] if len(ranked) > _TOLD_MAX else [])])
