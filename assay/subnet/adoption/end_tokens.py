"""Which tokens end a completion: those of a model's files, or those that were settled before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.inference.folder import MANIFEST_FILE, CheckpointError
from assay.protocol.encoding import Json
from assay.subnet.adoption.notes import Notes, name_some
from assay.subnet.adoption.source import read_source_json
from assay.subnet.adoption.tokens import KnownTokens, iterate_ids

#: What an adoption did, in the folder that it wrote.
ADOPTION_FILE = "adoption.json"
#: Most end tokens of a manifest.
_ENDS_MAX = 16


@dataclass(frozen=True)
class Settled:
    """The end tokens of an adopted folder, or of a checkpoint.

    Attributes:
        ends: their ids.
        template: digest of the chat template that they were settled for, hex; None: not known.
        file: that has them.
    """

    ends: Sequence[int]
    template: str | None
    file: str


@dataclass(frozen=True)
class Endings:
    """What a model's files say of the ends of completions.

    Attributes:
        closing: the added token with which the chat template closes an answer.
        own: the tokenizer's eos_token. begins: its bos_token.
        named: file → the ids that its `eos_token_id` has, one or a list.
        vocabulary: rows of the model's output matrix.
    """

    known: KnownTokens
    closing: str | None
    own: str | None
    begins: str | None
    named: Mapping[str, Json]
    vocabulary: int


def read_settled(folder: Path) -> Settled | None:
    """What an earlier adoption or a manifest has settled; None: neither is there. Raises a
    CheckpointError where their file cannot be read."""
    for name in (ADOPTION_FILE, MANIFEST_FILE):
        document = read_source_json(folder, name) or {}
        if document.get("end_tokens") is not None:
            template = document.get("chat_template")
            ends = [*iterate_ids(document["end_tokens"])]
            return Settled(ends, template if isinstance(template, str) else None, name)
    return None


def choose_ends(
    told: Endings, wanted: Sequence[str], settled: Settled | None, template: str, notes: Notes
) -> list[tuple[int, str]]:
    """The end tokens, id and text: those that are wanted, else those that were settled for this
    template, else those that are found, the one that closes a model's turn first.

    Args:
        wanted: texts or ids.
        template: digest of the chat template, hex.

    Raises:
        CheckpointError: there are none, or `wanted` names something else than a token.
    """
    closing, known = told.closing, told.known
    if wanted:
        ends = _parse_ends(wanted, known)
    elif settled is not None and settled.template in (template, None):
        ends = _parse_ends([str(number) for number in settled.ends], known)
    else:
        if settled is not None:
            notes.guessed.append(
                f"end tokens, found anew: {settled.file} has those of another chat template"
            )
        ends = _find_ends(told, notes)
    if closing is not None and known.entries[closing] not in dict(ends):
        notes.guessed.append(
            f"that a model goes on behind {closing}, with which the template closes an answer: it "
            f"is no end token, and --end-token '{closing}' makes it one"
        )
    return ends


def _find_ends(told: Endings, notes: Notes) -> list[tuple[int, str]]:
    found: dict[int, str] = {}
    closing, own, known = told.closing, told.own, told.known
    if closing is not None:
        found[known.entries[closing]] = closing
    if own is not None and own in known.entries:
        found[known.entries[own]] = own
    if closing is not None and own is not None and closing != own:
        notes.guessed.append(
            f"{closing} ends a completion first: the template closes the model's turn with it; "
            f"the tokenizer's eos_token is {own}"
        )
    ordinary = []
    for where, ids in told.named.items():
        for number in iterate_ids(ids):
            text = known.texts.get(number)
            if number in found:
                continue
            if text is None or number >= told.vocabulary:
                ordinary.append(f"{number} of {where} is no token")
            elif text not in known.added:
                ordinary.append(f"{number} of {where} is the text {text!r}")
            elif text == told.begins:
                ordinary.append(f"{number} of {where} is {text}, which begins a text")
            else:
                found[number] = text
    if ordinary:
        notes.dropped.append(f"eos_token_id {name_some(ordinary)}: no end token")
    if not found:
        raise CheckpointError(
            "neither tokenizer_config.json, config.json nor generation_config.json names a token "
            "that ends a completion: name it with --end-token"
        )
    ends = list(found.items())
    if more := [text for _, text in ends[_ENDS_MAX:]]:
        notes.dropped.append(f"end tokens {name_some(more)}: at most {_ENDS_MAX} may be")
    return ends[:_ENDS_MAX]


def _parse_ends(wanted: Sequence[str], known: KnownTokens) -> list[tuple[int, str]]:
    chosen = dict.fromkeys(_parse_end(text, known) for text in wanted)
    if len(chosen) > _ENDS_MAX:
        raise CheckpointError(
            f"{len(chosen)} tokens are to end a completion: at most {_ENDS_MAX} may"
        )
    return list(chosen)


def _parse_end(text: str, known: KnownTokens) -> tuple[int, str]:
    """A token by its id or its text. Digits are an id: no number in an answer should end it."""
    if text.isdecimal() and len(text) < 10:
        name = known.texts.get(int(text))
        if name is not None:
            return int(text), name
    elif text in known.entries:
        return known.entries[text], text
    raise CheckpointError(f"end token {text[:60]!r} is no token of tokenizer.json")
