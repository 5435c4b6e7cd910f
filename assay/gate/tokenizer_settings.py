"""tokenizer_config.json: the few fields that define a tokenizer, each bounded.

Only they are handed to the library. It would follow others to other files, or to the network.
"""

import re
from collections.abc import Iterator, Mapping

from assay.gate.rules import FLAG, TOKEN, Rule, UnfitError, is_text, require_fields
from assay.gate.tokenizer_file import ADDED_TOKEN, count_bytes
from assay.protocol.encoding import Json

#: Most characters of a chat template.
TEMPLATE_MAX = 64 << 10
#: Most special tokens.
SPECIALS_MAX = 1 << 12
#: Most bytes that the texts of all added tokens count, and what each counts besides. The library
#: finds them all at once, by an automaton of some 110 bytes and 4 µs for each byte.
ADDED_MAX, ADDED_EACH = 1 << 18, 16
#: The special tokens with names that every tokenizer knows.
SPECIAL_NAMES = (
    *("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"),
)
#: Lists of further special tokens, the older name first.
SPECIAL_LISTS = ("additional_special_tokens", "extra_special_tokens")
#: Further special tokens by name.
SPECIAL_TABLES = ("extra_special_tokens", "model_specific_special_tokens")
#: Texts of tokens that tokenizer.json may lack, by id.
DECODER_TABLE = "added_tokens_decoder"
#: The other fields that are read.
OTHERS: Mapping[str, Rule] = {
    "split_special_tokens": FLAG.optional,
    "chat_template": Rule(
        f"one text of at most {TEMPLATE_MAX} characters, or null",
        lambda v: v is None or is_text(v, 0, TEMPLATE_MAX),
        required=False,
    ),
}
_NAME = re.compile(r"[a-z][a-z_]{0,40}_token")
_ID = re.compile("0|[1-9][0-9]{0,9}")
_KIND = "__type"


def read_settings(file: Json, vocabulary: int) -> dict[str, Json]:
    """What of tokenizer_config.json is handed to the library.

    Args:
        file: parsed.
        vocabulary: V, rows of the model's output matrix.

    Raises:
        UnfitError: the file is refused.
    """
    if not isinstance(file, dict):
        raise UnfitError("it is not an object")
    known = {name: file[name] for name in OTHERS if name in file}
    require_fields(known, OTHERS, "")
    if known.get("chat_template") == "":  # there is none
        del known["chat_template"]
    tokens, lists = _split(file)
    _require_table(lists.get(DECODER_TABLE, {}), vocabulary)
    for where, name, token in _iterate_tokens(tokens, lists):
        if _NAME.fullmatch(name) is None:
            raise UnfitError(f"{where} is not a name of a token")
        _require_token(token, where)
    if sum(len(part) for part in lists.values()) + len(tokens) > SPECIALS_MAX:
        raise UnfitError(f"it has more than {SPECIALS_MAX} special tokens")
    return {**known, **tokens, **lists}


def find_added_fault(core: Mapping[str, Json], settings: Mapping[str, Json]) -> str | None:
    """The reason why the added tokens of a tokenizer's two files are refused, or None.

    Args:
        core: tokenizer.json, checked.
        settings: of `read_settings`.
    """
    named = [token for _, token in iterate_tokens(settings)]
    named += [*core.get("added_tokens", ()), *settings.get(DECODER_TABLE, {}).values()]
    normalizer, counts = core.get("normalizer"), dict[str, int]()
    for token in named:
        text = token if isinstance(token, str) else token["content"]
        fixed = isinstance(token, dict) and token.get("normalized") is False
        size = len(text.encode()) if fixed else count_bytes(text, normalizer)
        counts[text] = max(counts.get(text, 0), ADDED_EACH + size)
    total = sum(counts.values())
    if total <= ADDED_MAX:
        return None
    return (
        f"the added tokens of tokenizer.json and tokenizer_config.json count {total:,} bytes, "
        f"{ADDED_EACH} for each and those of its text, and at most {ADDED_MAX:,} may be"
    )


def iterate_tokens(settings: Mapping[str, Json]) -> Iterator[tuple[str, Json]]:
    """Where each special token is, and the token, a text or an object. `settings`: of
    `read_settings`."""
    for where, _, token in _iterate_tokens(*_split(settings)):
        yield where, token


def _split(file: Mapping[str, Json]) -> tuple[dict[str, Json], dict[str, Json]]:
    """The special tokens by name, and the lists and tables of further ones."""
    tokens = {
        name: token
        for name, token in file.items()
        if (name.endswith("_token") and isinstance(token, str | dict))
        or (name in SPECIAL_NAMES and token is not None)
    }
    more = (*SPECIAL_LISTS, *SPECIAL_TABLES, DECODER_TABLE)
    return tokens, {name: file[name] for name in more if file.get(name) is not None}


def _iterate_tokens(
    tokens: Mapping[str, Json], lists: Mapping[str, Json]
) -> Iterator[tuple[str, str, Json]]:
    """Where each special token is, its name, and the token. One of a list has a list's name."""
    for name, token in tokens.items():
        yield name[:60], name, token
    for field, part in lists.items():
        if field == DECODER_TABLE:
            continue
        if isinstance(part, dict) and field in SPECIAL_TABLES:
            for name, token in part.items():
                yield f"{name[:60]!r} of {field}", name, token
        elif isinstance(part, list) and field in SPECIAL_LISTS:
            for token in part:
                yield f"a token of {field}", "list_token", token
        else:
            raise UnfitError(f"{field} is neither a list nor a table of tokens")


def _require_token(token: Json, where: str) -> None:
    """Raises an UnfitError unless a special token is a text, or an object with one."""
    if isinstance(token, dict) and token.get(_KIND) == "AddedToken":
        inner = {name: value for name, value in token.items() if name != _KIND}
        require_fields(inner, _LENIENT, where)
    elif not TOKEN.holds(token):
        raise UnfitError(f"{where} is not {TOKEN.about}")


def _require_table(table: Json, vocabulary: int) -> None:
    if not isinstance(table, dict):
        raise UnfitError(f"{DECODER_TABLE} is not an object")
    if len(table) > vocabulary:
        raise UnfitError(f"{DECODER_TABLE} has more entries than the model has ids")
    for number, token in table.items():
        if _ID.fullmatch(number) is None or int(number) >= vocabulary:
            raise UnfitError(f"{number[:20]!r} of {DECODER_TABLE} is not an id of the model")
        require_fields(token, _LENIENT, f"token {number} of {DECODER_TABLE}")


_LENIENT = {
    name: rule if name == "content" else rule.optional for name, rule in ADDED_TOKEN.items()
}
