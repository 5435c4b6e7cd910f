"""What a tokenizer's files name: entries, added tokens, special tokens in any of their forms."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from assay.gate.tokenizer_settings import DECODER_TABLE
from assay.protocol.encoding import Json


@dataclass(frozen=True)
class KnownTokens:
    """What a tokenizer's files name: text → id of all entries, and of those beside the model's; and
    id → text."""

    entries: Mapping[str, int]
    added: Mapping[str, int]
    texts: Mapping[int, str]


def list_tokens(core: Mapping[str, Json], settings: Mapping[str, Json]) -> KnownTokens:
    """The tokens of tokenizer.json and tokenizer_config.json."""
    listed = core.get("added_tokens")
    added = {
        token["content"]: token["id"]
        for token in (listed if isinstance(listed, list) else ())
        if isinstance(token, dict)
        and isinstance(token.get("content"), str)
        and type(token.get("id")) is int
    }
    table = settings.get(DECODER_TABLE)
    for number, token in (table if isinstance(table, dict) else {}).items():
        text = token.get("content") if isinstance(token, dict) else None
        if isinstance(text, str) and number.isdecimal() and len(number) < 10:
            added.setdefault(text, int(number))
    model = core.get("model")
    own = model.get("vocab") if isinstance(model, dict) else None
    known = own if isinstance(own, dict) else {}
    entries = {**known, **added}
    texts = {number: text for text, number in reversed(entries.items()) if type(number) is int}
    return KnownTokens(entries, added, texts)


def text_of(token: Json) -> str | None:
    """The text of a special token, in any of its forms."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) and text else None


def iterate_ids(value: Json) -> Iterator[int]:
    """The ids of an `eos_token_id`, which is one or a list."""
    for number in value if isinstance(value, list) else [value]:
        if type(number) is int:
            yield number
