"""The tokenizer of a GGUF file, as the two files that a model's folder has.

The installed transformers makes it of the file's tokens and merges, and leaves out the rest of what
the header says of texts. Here that is added as llama.cpp reads it, for which such files are made:
its `src/llama-vocab.cpp` (`llama_vocab::impl::load` and `tokenize`) and `common/chat.cpp`, of which
`tests/subnet/adoption/test_prompt_ids.py` states the rules. Nothing is left out without a line.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, pre_tokenizers

from assay.inference.folder import CheckpointError
from assay.protocol.encoding import Json
from assay.subnet.adoption.notes import Notes, name_some
from assay.subnet.adoption.texts import CORE, GENERATION_FILE, SETTINGS
from assay.subnet.adoption.tokens import list_tokens

#: How text is split before BPE, by the names in GGUF files that transformers does not know: as
#: GPT-2 does, or each digit for itself and then so. It takes GPT-2's way for every unknown name.
_AS_GPT2 = ("gpt-2", "jais", "mpt", "olmo", "phi-2")
_WITH_DIGITS = ("codeshell", "command-r", "exaone", "minerva-7b", "refact", "smollm", "starcoder")
#: Those whose tokens are found whole before they are merged, and whose texts have a BOS token.
_LIKE_LLAMA3 = (
    *("llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"),
    *("jina-v5-nano", "tekken"),
)
_SPECIALS = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "pad_token": "padding_token_id",
    "unk_token": "unknown_token_id",
}
#: The entries of tokens that end an answer, and those that llama.cpp has where a file of a
#: SentencePiece tokenizer names none.
_ENDS = ("eos_token_id", "eot_token_id", "eom_token_id")
_UNNAMED = {"unknown_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_PREFIX, _GGML, _TEMPLATE = "tokenizer.", "tokenizer.ggml.", "tokenizer.chat_template"
#: Lists that the library reads, and the short entries that are read here, by their kinds.
_LISTS = ("tokens", "scores", "token_type", "merges")
_READ: Mapping[str, type] = {
    "model": str,
    "pre": str,
    **dict.fromkeys(("add_bos_token", "add_eos_token", "add_space_prefix"), bool),
    **dict.fromkeys((*_SPECIALS.values(), *_ENDS), int),
}
#: Entries that change no prompt of a model that continues a text.
_OTHER_USES = frozenset(
    {f"fim_{part}_token_id" for part in ("pre", "suf", "mid", "pad", "rep", "sep")}
    | {f"{part}_token_id" for part in ("prefix", "suffix", "middle", "cls", "mask", "seperator")}
    | {"token_type_count", "remove_extra_whitespaces", "suppress_tokens", "add_sep_token"}
    | {"tokenizer.huggingface.json", "tokenizer.rwkv.world"}
)
#: How others draw, by the names of generation_config.json.
_DRAWING = {
    "general.sampling.temp": "temperature",
    "general.sampling.top_k": "top_k",
    "general.sampling.top_p": "top_p",
    "general.sampling.min_p": "min_p",
    "general.sampling.penalty_repeat": "repetition_penalty",
}
#: Tokenizers of byte-level tokens, and of pieces of SentencePiece with scores.
_MODELS = ("gpt2", "llama")
_SPACE = "▁"
#: The types of tokens that are found whole in a text: special ones, and others.
_MARKS = (3, 4)


def make_texts(
    path: Path, architecture: str, told: Mapping[str, Any], reader: Any, notes: Notes
) -> tuple[dict[str, bytes], bool]:
    """tokenizer.json, tokenizer_config.json and generation_config.json, and whether every prompt
    begins with the BOS token.

    Args:
        told: what transformers reads of the tokenizer.
        reader: of the file.

    Raises:
        CheckpointError: they would not have the strings of the file, or it says something of its
            texts that nothing here does.
    """
    entries = _read_entries(path, reader, notes)
    if entries.get("model") not in _MODELS:
        raise CheckpointError(
            f"{path}: its tokenizer is of the kind {str(entries.get('model'))[:60]}, and only "
            f"those of {' and '.join(_MODELS)} are taken"
        )
    tokens = told["tokens"]
    tokenizer = _make_tokenizer(path, architecture, told)
    core: dict[str, Any] = json.loads(tokenizer.to_str())
    _name_marks(core, tokens, told.get("token_type") or ())
    _require_strings(path, core, tokens)
    is_pieces = told.get("tokenizer_type") == "llama"
    if is_pieces:
        entries = {**_UNNAMED, **entries}
        _set_spaces(core, entries.get("add_space_prefix", True))
    elif entries.get("add_space_prefix"):
        notes.dropped.append(f"{_GGML}add_space_prefix: llama.cpp adds none to bytes")
    if entries.get("pre") in _LIKE_LLAMA3:
        core["model"]["ignore_merges"] = True
    named = _name_tokens(entries, tokens, notes)
    settings: dict[str, Json] = {
        name: tokens[named[key]] for name, key in _SPECIALS.items() if key in named
    }
    adds = entries.get("add_bos_token", is_pieces or entries.get("pre") in _LIKE_LLAMA3)
    if adds:
        _put_first(path, core, settings.get("bos_token"), tokens)
    elif "bos_token" in settings:
        notes.kept.append(
            f"prompts without {settings['bos_token']}: the file puts none before texts"
        )
    if entries.get("add_eos_token"):
        notes.dropped.append(f"{_GGML}add_eos_token: an answer begins where a prompt ends")
    if (templates := _read_templates(reader)) is not None:
        settings["chat_template"] = templates
    ends = [named[key] for key in _ENDS if key in named]
    generation = {"eos_token_id": ends, **_read_drawing(reader)}
    files: dict[str, Json] = {CORE: core, SETTINGS: settings, GENERATION_FILE: generation}
    return {name: json.dumps(file).encode() for name, file in files.items()}, adds


def _read_entries(path: Path, reader: Any, notes: Notes) -> dict[str, Any]:
    """The short entries `tokenizer.ggml.`, by the rest of their names. Raises a CheckpointError
    where one is unknown, or has another kind."""
    entries, others = dict[str, Any](), []
    for key, field in reader.fields.items():
        name = key.removeprefix(_GGML)
        if not key.startswith(_PREFIX) or key.startswith(_TEMPLATE) or name in _LISTS:
            continue
        if name in _OTHER_USES:
            others.append(key)
            continue
        value = field.contents()
        if name not in _READ:
            raise CheckpointError(
                f"{path}: {key} ({str(value)[:60]}) is not known here: adopt the model that the "
                "file was made of"
            )
        if type(value) is not _READ[name]:
            raise CheckpointError(
                f"{path}: {key} is {str(value)[:60]!r}, no {_READ[name].__name__}"
            )
        entries[name] = value
    if others:
        notes.dropped.append(f"{name_some(sorted(others))}: of no use to prompts or answers")
    return entries


def _read_templates(reader: Any) -> Json:
    """The chat template, or several with their names, as tokenizer_config.json has them."""
    named: list[Json] = []
    for key, field in reader.fields.items():
        if key == _TEMPLATE or key.startswith(f"{_TEMPLATE}."):
            name = key.removeprefix(_TEMPLATE).removeprefix(".") or "default"
            named.append({"name": name, "template": field.contents()})
    return named or None


def _read_drawing(reader: Any) -> dict[str, Json]:
    return {
        name: reader.fields[key].contents()
        for key, name in _DRAWING.items()
        if key in reader.fields
    }


def _name_tokens(entries: Mapping[str, Any], tokens: list[str], notes: Notes) -> dict[str, int]:
    """The entries that name tokens which the file has."""
    named = {key: entries[key] for key in (*_SPECIALS.values(), *_ENDS) if key in entries}
    for key, number in named.items():
        if not 0 <= number < len(tokens):
            notes.dropped.append(f"{_GGML}{key} {number}: the file has {len(tokens)} tokens")
    return {key: number for key, number in named.items() if 0 <= number < len(tokens)}


def _make_tokenizer(path: Path, architecture: str, told: Mapping[str, Any]) -> Tokenizer:
    """What the library makes, with the splits of text that it does not know."""
    from transformers.integrations.gguf.gguf_tokenizer_mapping import (
        GGUF_PRE_TOKENIZER_SPLITS,
        convert_gguf_tokenizer,
    )

    tokenizer: Tokenizer = convert_gguf_tokenizer(architecture, dict(told))[0]
    splits = told.get("pre_tokenizer_type")
    if told.get("tokenizer_type") == "gpt2" and splits not in GGUF_PRE_TOKENIZER_SPLITS:
        if splits not in (*_AS_GPT2, *_WITH_DIGITS):
            raise CheckpointError(
                f"{path}: its tokenizer splits text as {str(splits)[:60]}, which is not known "
                "here: adopt the model that the file was made of"
            )
        digits = [pre_tokenizers.Digits(individual_digits=True)] * (splits in _WITH_DIGITS)
        plain = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*digits, plain])
    return tokenizer


def _set_spaces(core: dict[str, Any], prefix: bool) -> None:
    """Write spaces as SentencePiece does, one more before each text between special tokens where
    `prefix` says so. The library puts one at the very beginning alone, or none."""
    spelled = {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE}
    before = [{"type": "Prepend", "prepend": _SPACE}] if prefix else []
    core["normalizer"] = {"type": "Sequence", "normalizers": [*before, spelled]}
    core["pre_tokenizer"] = None
    core["decoder"] = {
        "type": "Sequence",
        "decoders": [
            {"type": "Replace", "pattern": {"String": _SPACE}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
            *([{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if prefix else []),
        ],
    }


def _put_first(path: Path, core: dict[str, Any], first: Json, tokens: list[str]) -> None:
    """Let the tokenizer put a token before each text, so that whoever reads the folder knows."""
    if not isinstance(first, str):
        raise CheckpointError(
            f"{path}: {_GGML}add_bos_token puts a token before each text, and no entry names it"
        )
    bos = {"SpecialToken": {"id": first, "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    core["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [bos, text],
        "pair": [bos, text, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {first: {"id": first, "ids": [tokens.index(first)], "tokens": [first]}},
    }


def _name_marks(core: dict[str, Any], tokens: list[str], types: Sequence[int]) -> None:
    """Give marks such as DeepSeek's, whose characters are none of a byte-level alphabet, their own
    texts: the library takes them for bytes, which no template writes."""
    spelled = core["model"]["vocab"]
    if not isinstance(spelled, dict):
        return
    made = {number: text for text, number in spelled.items()}
    for number, kind in enumerate(types):
        text = tokens[number]
        if kind not in _MARKS or number not in made or made[number] == text or text in spelled:
            continue
        if _SPACE in made[number]:  # a run of spaces, as SentencePiece spells it
            continue
        del spelled[made[number]]
        spelled[text] = number
        flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        added = {"id": number, "content": text, **flags, "special": kind == _MARKS[0]}
        core["added_tokens"].append(added)
    core["added_tokens"].sort(key=lambda token: token["id"])


def _require_strings(path: Path, core: Mapping[str, Any], tokens: list[str]) -> None:
    """Raise a CheckpointError unless each id has the file's own string. A run of spaces may be
    spelled with the sign for a space."""
    found = list_tokens(core, {}).texts
    for number, text in enumerate(tokens):
        made = found.get(number)
        if made != text and (made or "").replace(_SPACE, " ") != text.replace(_SPACE, " "):
            raise CheckpointError(
                f"{path}: token {number} is {text[:60]!r}, and transformers makes {made!r} of it"
            )
    if len(found) != len(tokens):
        raise CheckpointError(
            f"{path} has {len(tokens)} tokens, and transformers makes {len(found)} of them"
        )
