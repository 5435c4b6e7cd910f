"""tokenizer.json: a closed list of components, every number and text of which is bounded.

No component makes a text longer than a small multiple of its characters, nothing takes more time
than in proportion to the text, and memory follows the number of entries. A component that the
tables below lack is refused, whatever a version of the library makes of it.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from assay.gate.rules import (
    CHARACTER,
    FLAG,
    NOTHING,
    TOKEN,
    TOKEN_MAX,
    Rule,
    UnfitError,
    is_text,
    make_choice,
    make_number,
    make_text,
    require_fields,
    require_type,
)
from assay.protocol.encoding import Json

#: Components of a sequence, and pieces of a template of a post-processor, at most.
PARTS_MAX = 8
#: Characters of a pattern that is a text, and of what it is replaced by.
PATTERN_MAX = 64
#: Bytes `[`, `{`, `,` and `:` of the file, at most: before each value stands one. Gemma's file, the
#: largest that is known, has 2.2 million. Each value takes some 80 bytes of memory.
MARKS_MAX = 3 << 20
#: Most merges of a model. Gemma has 514,906; the library takes a KiB and 12 µs for each.
MERGES_MAX = 1 << 20

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SPACES = r"|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
#: Regular expressions by what they are of. Others could take time without end.
REGEXES: Mapping[str, str] = {
    "single characters": r"[\s\S]",
    "GPT-2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+" + _SPACES,
    "Qwen2, Qwen3": _CONTRACTIONS
    + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    + _SPACES,
    "Qwen3.5": _CONTRACTIONS
    + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+"
    + _SPACES,
    "Llama 3": _CONTRACTIONS
    + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    + _SPACES,
    "o200k": rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_CONTRACTIONS}?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_CONTRACTIONS}?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+" + _SPACES,
    "Tekken": rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+" + _SPACES,
    "DeepSeek, digits": r"\p{N}{1,3}",
    "DeepSeek, scripts": "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
    "DeepSeek, words": r"[!\x22#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+".replace(r"\x22", '"')
    + r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+"
    + _SPACES,
}
#: How many characters a part of a normalizer makes of one, at most. The others make one.
GROWTH: Mapping[str, int] = {"NFC": 3, "NFD": 4, "NFKC": 18, "NFKD": 18, "Lowercase": 2}
#: Of these a normalizer has one: what a form makes can be replaced by what the next one expands.
_FORMS = frozenset({"NFC", "NFD", "NFKC", "NFKD"})
_KNOWN_REGEXES = frozenset(REGEXES.values())


def _is_text_pattern(value: Json) -> bool:
    return (
        isinstance(value, dict)
        and list(value) == ["String"]
        and is_text(value["String"], 1, PATTERN_MAX)
    )


def _is_pattern(value: Json) -> bool:
    if isinstance(value, dict) and list(value) == ["Regex"]:
        return type(value["Regex"]) is str and value["Regex"] in _KNOWN_REGEXES
    return _is_text_pattern(value)


_TEXT_PATTERN = Rule(f"{{String: 1 to {PATTERN_MAX} characters}}", _is_text_pattern)
_PATTERN = Rule("a text pattern, or {Regex: one of the list}", _is_pattern)
_BEHAVIORS = (*("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext"), "Contiguous")
_BEHAVIOR = make_choice(*_BEHAVIORS)
_REPLACED = make_text(0, PATTERN_MAX)
_BYTE_LEVEL = {
    "add_prefix_space": FLAG.optional,
    "trim_offsets": FLAG.optional,
    "use_regex": FLAG.optional,
}
_METASPACE = {
    "replacement": CHARACTER,
    "prepend_scheme": make_choice("first", "never", "always").optional,
    "split": FLAG.optional,
}


class Kind(NamedTuple):
    """A kind of components.

    Attributes:
        types: the type of a component → rules for its fields.
        parts: the field of a `Sequence` with its components.
        repeated: types that a `Sequence` may have more than once.
        single: types of which a `Sequence` may have one.
    """

    types: Mapping[str, Mapping[str, Rule]]
    parts: str
    repeated: frozenset[str]
    single: frozenset[str] = frozenset()


#: The field of tokenizer.json → what may be there. Each may also be null.
COMPONENTS: Mapping[str, Kind] = {
    "normalizer": Kind(
        {
            **{name: {} for name in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase")},
            "Prepend": {"prepend": make_text(1, 8)},
            "Replace": {"pattern": _TEXT_PATTERN, "content": make_text(1, PATTERN_MAX)},
        },
        "normalizers",
        frozenset({"Replace"}),
        _FORMS,
    ),
    "pre_tokenizer": Kind(
        {
            "ByteLevel": _BYTE_LEVEL,
            "Digits": {"individual_digits": FLAG},
            "Metaspace": _METASPACE,
            "Punctuation": {"behavior": _BEHAVIOR},
            "Split": {"pattern": _PATTERN, "behavior": _BEHAVIOR, "invert": FLAG},
            **{name: {} for name in ("Whitespace", "WhitespaceSplit")},
        },
        "pretokenizers",
        frozenset({"Split", "Digits"}),
    ),
    "post_processor": Kind(
        {
            "ByteLevel": _BYTE_LEVEL,
            "TemplateProcessing": {
                "single": Rule(
                    f"at most {PARTS_MAX} pieces, one of them the text",
                    lambda v: _is_template(v, "A"),
                ),
                "pair": Rule(
                    f"at most {PARTS_MAX} pieces, one of them each text",
                    lambda v: _is_template(v, "AB"),
                ),
                "special_tokens": Rule(f"at most {PARTS_MAX} tokens", lambda v: _are_specials(v)),
            },
        },
        "processors",
        frozenset(),
    ),
    "decoder": Kind(
        {
            "ByteFallback": {},
            "ByteLevel": _BYTE_LEVEL,
            "Fuse": {},
            "Metaspace": _METASPACE,
            "Replace": {"pattern": _TEXT_PATTERN, "content": _REPLACED},
            # the library panics where it would strip one text from both ends
            "Strip": {"content": CHARACTER, "start": make_number(0, 8), "stop": make_number(0, 0)},
        },
        "decoders",
        frozenset({"Replace"}),
    ),
}
#: The type of a model → rules for its fields, besides its entries.
MODELS: Mapping[str, Mapping[str, Rule]] = {
    "BPE": {
        "dropout": NOTHING.optional,
        "unk_token": Rule("null or a token", lambda v: v is None or is_text(v)).optional,
        # the library cuts tokens at the length of a prefix that they need not have
        "continuing_subword_prefix": make_choice(None, "").optional,
        "end_of_word_suffix": make_choice(None, "").optional,
        "fuse_unk": FLAG.optional,
        "byte_fallback": FLAG.optional,
        "ignore_merges": FLAG.optional,
    },
    "WordLevel": {"unk_token": TOKEN},
}
#: The fields of an added token.
ADDED_TOKEN: Mapping[str, Rule] = {
    "content": TOKEN,
    **dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), FLAG),
}
_FIELDS: Mapping[str, Rule] = {
    "version": make_choice("1.0"),
    "truncation": NOTHING.optional,
    "padding": NOTHING.optional,
}


def find_size_fault(data: bytes) -> str | None:
    """The reason why the bytes of a tokenizer.json are refused before they are parsed, or None."""
    marks = sum(map(data.count, (b"[", b"{", b",", b":")))
    if marks <= MARKS_MAX:
        return None
    return f"tokenizer.json has {marks:,} of the bytes [ {{ , : and at most {MARKS_MAX:,} may be"


def count_bytes(text: str, normalizer: Json) -> int:
    """Most bytes of UTF-8 that a checked normalizer makes of a text. `normalizer`: None: none."""
    if normalizer is None:
        return len(text.encode())
    count = len(text)
    for part in normalizer.get("normalizers", [normalizer]):
        count = GROWTH.get(part["type"], 1) * count + len(part.get("prepend", ""))
    return 4 * count


def find_tokenizer_fault(file: Json, vocabulary: int) -> str | None:
    """The reason why a tokenizer.json is refused, or None.

    Args:
        file: parsed.
        vocabulary: V, rows of the model's output matrix.
    """
    try:
        require_fields(file, _FIELDS, "", (*COMPONENTS, "model", "added_tokens"))
        for field, kind in COMPONENTS.items():
            if file.get(field) is not None:
                _require_component(file[field], kind, f"its {field}")
        ids = _require_model(file.get("model"), vocabulary)
        _require_added(file.get("added_tokens", []), ids, vocabulary)
    except UnfitError as error:
        return f"tokenizer.json: {error}"
    return None


def _require_component(value: Json, kind: Kind, where: str) -> None:
    if require_type(value, {*kind.types, "Sequence"}, where) != "Sequence":
        _require_single(value, kind, where)
        return
    require_fields(value, {}, where, ("type", kind.parts))
    parts = value.get(kind.parts)
    if not isinstance(parts, list) or not 1 <= len(parts) <= PARTS_MAX:
        raise UnfitError(f"{where} is not a sequence of 1 to {PARTS_MAX} parts")
    for number, part in enumerate(parts):
        _require_single(part, kind, f"part {number} of {where}")
    types = [part["type"] for part in parts if part["type"] not in kind.repeated]
    if twice := sorted({name for name in types if types.count(name) > 1}):
        raise UnfitError(f"{where} has {twice[0]} twice")
    if len(kind.single.intersection(types)) > 1:
        raise UnfitError(f"{where} has more than one of {', '.join(sorted(kind.single))}")


def _require_single(value: Json, kind: Kind, where: str) -> None:
    name = require_type(value, kind.types, where)
    require_fields(value, kind.types[name], where, ("type",))
    if name == "Replace" and len(value["content"]) > len(value["pattern"]["String"]):
        raise UnfitError(f"{where} replaces a text by a longer one")


def _require_model(model: Json, vocabulary: int) -> dict[str, int]:
    """The ids of the model's entries."""
    name = require_type(model, MODELS, "its model")
    lists = ("vocab", "merges") if name == "BPE" else ("vocab",)
    require_fields(model, MODELS[name], "its model", ("type", *lists))
    ids = model.get("vocab")
    if not isinstance(ids, dict):
        raise UnfitError("vocab of its model is not an object")
    _require_tokens(ids)
    numbers = ids.values()
    if not all(type(i) is int for i in numbers) or len({*numbers}) < len(ids):
        raise UnfitError("an entry of its vocabulary has no id, or one that another has")
    if ids and not (min(numbers) >= 0 and max(numbers) < vocabulary):
        raise UnfitError(
            f"its vocabulary has id {max(numbers)} or a negative one, the model has {vocabulary}"
        )
    if name == "BPE":
        _require_merges(model.get("merges"), ids)
    return ids


def _require_tokens(texts: Mapping[str, Json]) -> None:
    """Raise an UnfitError unless all are tokens' texts. Checks all at once: they are many."""
    if texts and not 1 <= min(map(len, texts)) <= max(map(len, texts)) <= TOKEN_MAX:
        raise UnfitError(f"an entry of its vocabulary has no text, or more than {TOKEN_MAX}")
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        raise UnfitError("an entry of its vocabulary is not Unicode") from None


def _require_merges(merges: Json, ids: Mapping[str, int]) -> None:
    if not isinstance(merges, list):
        raise UnfitError("merges of its model is not a list")
    if len(merges) > MERGES_MAX:
        raise UnfitError(f"its model has {len(merges):,} merges, and at most {MERGES_MAX:,} may be")
    if len({*map(type, merges)}) > 1:
        raise UnfitError("merges of its model have two forms")
    for merge in merges:
        pair = merge.split(" ") if type(merge) is str else merge
        if type(pair) is not list or len(pair) != 2 or not type(pair[0]) is type(pair[1]) is str:
            raise UnfitError(f"{str(merge)[:60]!r} is not a merge of two tokens")
        first, second = pair
        if not (first in ids and second in ids and first + second in ids):
            raise UnfitError(f"the merge {str(merge)[:60]!r} is not of tokens, or makes none")


def _require_added(added: Json, ids: Mapping[str, int], vocabulary: int) -> None:
    """Raise an UnfitError unless the added tokens have the ids that the library gives them: of an
    entry the entry's, of others the next ones."""
    if not isinstance(added, list):
        raise UnfitError("added_tokens is not a list")
    taken = {*ids.values()}
    following, texts = len(ids), set()
    for number, token in enumerate(added):
        where = f"added token {number}"
        require_fields(token, ADDED_TOKEN, where, ("id",))
        text, known = token["content"], ids.get(token["content"])
        if text in texts:
            raise UnfitError(f"{where} occurs twice")
        wanted = following if known is None else known
        if type(token.get("id")) is not int or token["id"] != wanted or wanted >= vocabulary:
            raise UnfitError(f"{where} has not the id {wanted}, or the model has no such id")
        if known is None and wanted in taken:
            raise UnfitError(f"{where} has an id that another has")
        texts.add(text)
        following = max(following, wanted + 1)


def _is_template(value: Json, texts: str) -> bool:
    if not isinstance(value, list) or len(value) > PARTS_MAX:
        return False
    pieces = list(_list_pieces(value))
    return len(pieces) == len(value) and sorted(filter(None, pieces)) == sorted(texts)


def _list_pieces(pieces: list[Json]) -> Iterator[str]:
    """For each well-formed piece the text that it stands for; nothing for a token."""
    for piece in pieces:
        if not isinstance(piece, dict) or len(piece) != 1:
            continue
        ((name, inner),) = piece.items()
        rules = {"id": TOKEN, "type_id": make_number(0, 1)}
        try:
            require_fields(inner, rules, "a piece")
        except UnfitError:
            continue
        if name == "Sequence" and inner["id"] in ("A", "B"):
            yield inner["id"]
        elif name == "SpecialToken":
            yield ""


def _are_specials(value: Json) -> bool:
    if not isinstance(value, dict) or len(value) > PARTS_MAX:
        return False
    return all(
        isinstance(token, dict)
        and token.keys() == {"id", "ids", "tokens"}
        and token["id"] == name
        and is_text(name)
        and isinstance(token["ids"], list)
        and isinstance(token["tokens"], list)
        and 1 <= len(token["ids"]) == len(token["tokens"]) <= PARTS_MAX
        and all(type(i) is int and 0 <= i < 1 << 32 for i in token["ids"])
        and all(map(is_text, token["tokens"]))
        for name, token in value.items()
    )
