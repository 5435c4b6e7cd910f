"""Tokenizers of any parts that the gate's tables have, with any values that their rules allow."""

import random
from typing import Any

from assay.gate.tokenizer_file import COMPONENTS, REGEXES

PARTS_VOCABULARY = 1_000
#: Pieces of texts, of patterns and of tokens: each is a hard case of some part.
_PIECES = (
    *("a", "b", " ", "▁", "é", "日", "\n", "İ", "ﷺ", "Ġ", "1", "'s", "A", "🙂", "\0", "\u0301"),
    *("ß", "-", "<end>"),
)
_BEHAVIORS = ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous")


def make_text(chance: random.Random, most: int) -> str:
    """A text of at most so many pieces."""
    return "".join(chance.choice(_PIECES) for _ in range(chance.randrange(most + 1)))


def make_core(chance: random.Random) -> dict[str, Any]:
    """A tokenizer.json."""
    tokens = ["<unk>", *(f"<0x{i:02X}>" for i in range(256)), *_PIECES, "ab", "▁a", "ĠĠ", "aa"]
    tokens = [*dict.fromkeys([*tokens, *map(chr, range(0x100, 0x150))])]
    chance.shuffle(tokens)
    ids = {token: number for number, token in enumerate(tokens)}
    added, following = [], len(ids)
    for text in sorted({_make_short(chance, 3) for _ in range(chance.randrange(4))}):
        known = ids.get(text)
        switches = ("single_word", "lstrip", "rstrip", "normalized", "special")
        added.append(
            {"id": following if known is None else known, "content": text}
            | {name: _flip(chance) for name in switches}
        )
        following += known is None
    return {
        "version": "1.0",
        "added_tokens": added,
        "model": _make_model(chance, ids),
        **{part: _make_part(chance, part) for part in COMPONENTS},
    }


def _make_model(chance: random.Random, ids: dict[str, int]) -> dict[str, Any]:
    unknown = chance.choice(["<unk>", "nowhere"])
    if _flip(chance):
        return {"type": "WordLevel", "unk_token": unknown, "vocab": ids}
    switches = ("fuse_unk", "byte_fallback", "ignore_merges")
    return {
        "type": "BPE",
        "unk_token": chance.choice([None, unknown]),
        "vocab": ids,
        "merges": [["a", "b"], ["a", "a"], ["Ġ", "Ġ"]],
        **{name: _flip(chance) for name in switches},
    }


def _make_part(chance: random.Random, part: str) -> dict[str, Any] | None:
    kind = COMPONENTS[part]
    types = sorted(kind.types)
    parts: list[dict[str, Any]] = []
    for name in chance.choices(types, k=chance.randrange(7)):
        made = {one["type"] for one in parts}
        if name in kind.single and kind.single & made:
            continue
        if name in kind.repeated or name not in made:
            parts.append({"type": name, **_make_fields(chance, part, name)})
    if len(parts) < 2:
        return parts[0] if parts else None
    return {"type": "Sequence", kind.parts: parts}


def _make_fields(chance: random.Random, part: str, name: str) -> dict[str, Any]:
    if name == "Prepend":
        return {"prepend": _make_short(chance, 4)[:8]}  # a piece may be five characters
    if name == "Replace":
        pattern = _make_short(chance, 4)
        content = _make_short(chance, 4)[: len(pattern)]
        return {"pattern": {"String": pattern}, "content": content}
    if name == "ByteLevel":
        switches = ("add_prefix_space", "trim_offsets", "use_regex")
        return {switch: _flip(chance) for switch in switches}
    if name == "Digits":
        return {"individual_digits": _flip(chance)}
    if name == "Metaspace":
        scheme = chance.choice(["first", "never", "always"])
        return {"replacement": chance.choice("▁ab日"), "prepend_scheme": scheme}
    if name == "Punctuation":
        return {"behavior": chance.choice(_BEHAVIORS)}
    if name == "Split":
        regex, text = chance.choice([*REGEXES.values()]), _make_short(chance, 3)
        pattern = {"Regex": regex} if _flip(chance) else {"String": text}
        return {"pattern": pattern, "behavior": chance.choice(_BEHAVIORS), "invert": _flip(chance)}
    if name == "Strip":
        return {"content": chance.choice(" ab▁"), "start": chance.randrange(9), "stop": 0}
    if name == "TemplateProcessing":
        a, b = ({"Sequence": {"id": text, "type_id": 0}} for text in "AB")
        return {"single": [a], "pair": [b, a], "special_tokens": {}}
    return {}


def _make_short(chance: random.Random, most: int) -> str:
    return make_text(chance, most) or "a"


def _flip(chance: random.Random) -> bool:
    return chance.random() < 0.5
