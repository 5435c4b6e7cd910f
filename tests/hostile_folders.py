"""Model folders as a hostile trainer or a careless one would publish them.

A generator of changes to a good folder, each with what a gate must say of it.

`CHANGES` are edits of JSON, so that other programs can be held to them, too. `FILES` replace files.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from assay.inference.folder import (
    CONFIG_FILE,
    MANIFEST_FILE,
    TOKENIZER_FILES,
    digest_tensors,
    read_record,
)
from assay.protocol.encoding import to_json
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.manifest import Manifest, compute_files_digest, compute_tensor_root
from assay.training import GENESIS

CORE, SETTINGS = TOKENIZER_FILES
REMOVED = object()
#: V of the genesis checkpoint.
VOCABULARY = 98


@dataclass(frozen=True)
class Change:
    """Edits of one JSON file.

    Attributes:
        about: a name.
        file: it is in.
        edits: path and value; `REMOVED`: the member goes.
        fine: whether the folder can still be used.
    """

    about: str
    file: str
    edits: tuple[tuple[tuple[str | int, ...], Any], ...]
    fine: bool = field(default=False)

    def apply(self, document: Any) -> Any:
        """The changed document."""
        changed = json.loads(json.dumps(document))
        for path, value in self.edits:
            inner = changed
            for step in path[:-1]:
                inner = inner[step]
            if value is REMOVED:
                inner.pop(path[-1], None)
            elif isinstance(inner, list) and path[-1] == len(inner):
                inner.append(value)
            else:
                inner[path[-1]] = value
        return changed


def _change(file: str, about: str, *edits: Any, fine: bool = False) -> Change:
    """`edits`: path and value in turn. A path is one step, or a tuple of them."""
    paths = [path if isinstance(path, tuple) else (path,) for path in edits[::2]]
    return Change(about, file, tuple(zip(paths, edits[1::2], strict=True)), fine)


def _list_config() -> Iterator[Change]:
    def config(about: str, *edits: Any, fine: bool = False) -> Change:
        return _change(CONFIG_FILE, about, *edits, fine=fine)

    sizes = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers")
    for name in (*sizes, "num_attention_heads", "num_key_value_heads"):
        yield config(f"no {name}", name, REMOVED)
        yield config(f"no {name} beside head_dim", name, REMOVED, "head_dim", 32)
        yield config(f"{name} is 2^40", name, 1 << 40)
    for value in (0, -1, 1.5, 96.0, True, "96", None, [96], 10**60):
        yield config(f"hidden_size is {value}", "hidden_size", value)
    for value in (0, -2, 3, 1 << 13, 32.0, True, None, "32"):
        yield config(f"head_dim is {value}", "head_dim", value)
    yield config("another head_dim", "head_dim", 64)
    yield config("its own head_dim", "head_dim", 32, fine=True)
    yield config("key heads that do not divide", "num_key_value_heads", 2)
    yield config("heads of an odd size", "num_attention_heads", 32, "num_key_value_heads", 32)
    yield config("two layers", "num_hidden_layers", 2, "layer_types", ["full_attention"] * 2)
    yield config("another family", "model_type", "gpt2")
    yield config("a list of families", "model_type", ["qwen2"])
    yield config("no family", "model_type", REMOVED)
    for name, value in {
        "is_causal": False,
        "quantization_config": {},
        "auto_map": {"AutoConfig": "x.Y"},
        "num_labels": 10**9,
        "": 1,
    }.items():
        yield config(f"a field {name!r}", name, value)
    for name, value in {
        "hidden_act": "gelu",
        "tie_word_embeddings": 1,
        "use_cache": None,
        "attention_bias": "false",
        "dtype": "float8",
        "rms_norm_eps": "1e-6",
        "rms_norm_eps ": 1e-6,
        "attention_dropout": None,
        "bos_token_id": -1,
        "eos_token_id": [1] * 17,
        "max_position_embeddings": 0,
        "pretraining_tp": 2,
        "use_mrope": True,
        "sliding_window": -4,
        "transformers_version": {},
        "architectures": ["a"] * 5,
    }.items():
        yield config(f"{name} is {str(value)[:20]}", name, value)
    yield config("ids in a list", "eos_token_id", [1, 0], fine=True)
    yield config("an older dtype", "dtype", REMOVED, "torch_dtype", "bfloat16", fine=True)
    yield config("no layer types", "layer_types", None, fine=True)
    for value in (["full_attention"] * 2, ["full_attention", "x", "x"], [[]] * 3, "abc", [{}] * 3):
        yield config(f"layer types {str(value)[:30]}", "layer_types", value)
    yield config("a number of 400 digits", "attention_dropout", 10**400)
    for rope in (
        {"rope_type": "dynamic", "factor": 2.0},
        {"rope_type": ["default"]},
        {"rope_type": "linear"},
        {"rope_type": "linear", "factor": 0},
        {"rope_type": "linear", "factor": "2"},
        {"rope_type": "yarn", "type": "linear", "factor": 2.0},
        {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0},
        {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0, "high_freq_factor": 4.0},
        {"rope_theta": 1},
        {"rope_theta": True},
        {"rope_type": "default", "mscale": 1.0},
        [],
        "default",
    ):
        yield config(f"rope {json.dumps(rope)[:60]}", "rope_parameters", rope)
    yield config("two ropes", "rope_scaling", {"type": "default"})
    yield config("no rope", "rope_parameters", REMOVED, fine=True)
    yield config("an older rope", "rope_parameters", REMOVED, "rope_theta", 1e4, fine=True)


def _nest(kind: str, parts: str, inner: Any, times: int) -> Any:
    for _ in range(times):
        inner = {"type": kind, parts: [inner]}
    return inner


def _replacing(pattern: Any, content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def _splitting(pattern: Any, **more: Any) -> dict[str, Any]:
    return {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False} | more


_LETTER = {"String": "a"}
_EVIL = {"Regex": "(a+)+$x"}
_NORMALIZERS: dict[str, Any] = {
    "a charsmap that is null": {"type": "Precompiled", "precompiled_charsmap": None},
    "a charsmap": {"type": "Precompiled", "precompiled_charsmap": "AAAA"},
    "letters that grow": _replacing(_LETTER, "aa"),
    "letters that grow five times": {
        "type": "Sequence",
        "normalizers": [_replacing(_LETTER, "a" * 20)] * 5,
    },
    "a regex that backtracks": _replacing(_EVIL, "a"),
    "a replaced regex": _replacing({"Regex": r"[\s\S]"}, "a"),
    "an empty pattern": _replacing({"String": ""}, ""),
    "a pattern of two kinds": _replacing({"String": "a", "Regex": "a"}, "a"),
    "a million letters before": {"type": "Prepend", "prepend": "x" * 1_000_000},
    "nothing before": {"type": "Prepend", "prepend": ""},
    "a type that nobody has": {"type": "Nobody"},
    "a type that is a list": {"type": ["NFC"]},
    "no type": {},
    "a text": "NFC",
    "a list": [{"type": "NFC"}],
    "an empty sequence": {"type": "Sequence", "normalizers": []},
    "a sequence of null": {"type": "Sequence", "normalizers": None},
    "a nested sequence": _nest("Sequence", "normalizers", {"type": "NFC"}, 2),
    "a deeply nested sequence": _nest("Sequence", "normalizers", {"type": "NFC"}, 25),
    "two forms": {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "NFD"}]},
    "one form twice": {"type": "Sequence", "normalizers": [{"type": "NFKD"}] * 2},
    "a field more": {"type": "NFC", "more": 1},
}
_PRE_TOKENIZERS: dict[str, Any] = {
    "a fixed length of nothing": {"type": "FixedLength", "length": 0},
    "a split that backtracks": _splitting(_EVIL),
    "a split that backtracks at sums": _splitting({"Regex": "^(([0-9+=?]|[0-9])+)+$x"}),
    "a split that is no regex": _splitting({"Regex": "("}),
    "a split by nothing": _splitting({"String": ""}),
    "a split by a number": _splitting(5),
    "a split with nonsense": _splitting(_LETTER, behavior="Nowhere"),
    "a split that is inverted by text": _splitting(_LETTER, invert="no"),
    "bytes three times": {
        "type": "Sequence",
        "pretokenizers": [{"type": "ByteLevel", "add_prefix_space": True}] * 3,
    },
    "a mark of two letters": {"type": "Metaspace", "replacement": "__", "prepend_scheme": "always"},
    "a mark of nothing": {"type": "Metaspace", "replacement": "", "prepend_scheme": "always"},
    "nine splits": {"type": "Sequence", "pretokenizers": [_splitting(_LETTER)] * 9},
    "a delimiter": {"type": "CharDelimiterSplit", "delimiter": "x"},
    "scripts": {"type": "UnicodeScripts"},
}
_DECODERS: dict[str, Any] = {
    "blanks stripped at both ends": {"type": "Strip", "content": " ", "start": 1, "stop": 1},
    "blanks stripped for ever": {"type": "Strip", "content": " ", "start": 1 << 62, "stop": 0},
    "letters that grow": _replacing(_LETTER, "aa"),
    "letters that grow four times": {
        "type": "Sequence",
        "decoders": [{"type": "Fuse"}] + [_replacing({"Regex": "."}, "a" * 10)] * 4,
    },
    "pieces of words": {"type": "WordPiece", "prefix": "##", "cleanup": True},
    "speech": {"type": "CTC", "pad_token": "<pad>", "word_delimiter_token": "|", "cleanup": True},
    "a suffix": {"type": "BPEDecoder", "suffix": "</w>"},
    "null in a sequence": {"type": "Sequence", "decoders": [None]},
}
_A, _B = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")


def _processing(single: Any, pair: Any = (_A, _B), special: Any = None) -> dict[str, Any]:
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": list(pair),
        "special_tokens": special or {},
    }


_PROCESSORS: dict[str, Any] = {
    "a text a thousand times": _processing([_A] * 1_000),
    "a text twice": _processing([_A, _A]),
    "no text": _processing([]),
    "the other text": _processing([_B]),
    "a huge type": _processing([{"Sequence": {"id": "A", "type_id": 1 << 40}}]),
    "a token without an id": _processing(
        [_A], special={"x": {"id": "x", "ids": [], "tokens": ["x"]}}
    ),
    "Roberta": {"type": "RobertaProcessing", "sep": ["x", 1], "cls": ["x", 0]},
}


def _bpe(**more: Any) -> dict[str, Any]:
    model = {
        "type": "BPE",
        "unk_token": None,
        "vocab": {"a": 2, "b": 3, "ab": 4},
        "merges": [["a", "b"]],
    }
    return model | more


_MODELS: dict[str, Any] = {
    "no model": None,
    "a model of pieces": {"type": "WordPiece", "vocab": {"a": 2}, "unk_token": "a"},
    "a model without entries": {"type": "WordLevel", "unk_token": "a"},
    "an unknown token that is a number": {"type": "WordLevel", "unk_token": 5, "vocab": {"a": 2}},
    "a list of entries": {"type": "Unigram", "unk_id": 0, "vocab": [["a", 0.0]]},
    "one id twice": _bpe(vocab={"a": 2, "b": 2, "ab": 4}),
    "an id of half a thousand million": _bpe(vocab={"a": 500_000_000, "b": 3, "ab": 4}),
    "an id that is V": _bpe(vocab={"a": VOCABULARY, "b": 3, "ab": 4}),
    "a negative id": _bpe(vocab={"a": -1, "b": 3, "ab": 4}),
    "an id that is text": _bpe(vocab={"a": "2", "b": 3, "ab": 4}),
    "an id that is true": _bpe(vocab={"a": True, "b": 3, "ab": 4}),
    "an id that is a float": _bpe(vocab={"a": 2.0, "b": 3, "ab": 4}),
    "an entry without text": _bpe(vocab={"": 5, "a": 2, "b": 3, "ab": 4}),
    "an entry of 1,000 letters": _bpe(vocab={"x" * 1_000: 5, "a": 2, "b": 3, "ab": 4}),
    "half a character": _bpe(vocab={"\ud800": 5, "a": 2, "b": 3, "ab": 4}),
    "chance": _bpe(dropout=0.5),
    "a prefix that tokens lack": _bpe(continuing_subword_prefix="##"),
    "a suffix that tokens lack": _bpe(end_of_word_suffix="</w>"),
    "no merges": _bpe(merges=None),
    "a merge of three": _bpe(merges=["a b a"]),
    "merges of two forms": _bpe(merges=[["a", "b"], "a b"]),
    "a merge of one": _bpe(merges=["a"]),
    "a merge that makes nothing": _bpe(merges=[["b", "a"]]),
    "a merge of what is not there": _bpe(merges=[["a", "c"]]),
    "a merge of numbers": _bpe(merges=[[1, 2]]),
    "bytes by a text": _bpe(byte_fallback="yes"),
    "a field more": _bpe(more=1),
}


def _list_core() -> Iterator[Change]:
    def core(about: str, *edits: Any, fine: bool = False) -> Change:
        return _change(CORE, about, *edits, fine=fine)

    for name, table in {
        "normalizer": _NORMALIZERS,
        "pre_tokenizer": _PRE_TOKENIZERS,
        "decoder": _DECODERS,
        "post_processor": _PROCESSORS,
        "model": _MODELS,
    }.items():
        for about, value in table.items():
            yield core(f"{name}: {about}", name, value)
    yield core("forms in a row", "normalizer", {"type": "NFC"}, fine=True)
    yield core("no post-processor", "post_processor", None, fine=True)
    yield core("another version", "version", "2.0")
    yield core("a field more", "more", {})
    yield core("cut off", "truncation", {"max_length": 1, "stride": 5})
    yield core("padded", "padding", {"strategy": {"Fixed": 1 << 40}})
    token = {"content": "<more>", "single_word": False, "lstrip": False, "rstrip": False}
    token |= {"normalized": False, "special": True}
    for about, change in {
        "with another id": {"id": 5},
        "beyond V": {"id": VOCABULARY},
        "without an id": {},
        "of no text": {"id": VOCABULARY, "content": ""},
        "of a number": {"id": VOCABULARY, "content": 7},
        "of a field more": {"id": VOCABULARY, "more": 1},
        "that strips by a number": {"id": VOCABULARY, "lstrip": 1},
    }.items():
        yield core(f"an added token {about}", ("added_tokens", 2), token | change)
    yield core("an added token twice", ("added_tokens", 2), token | {"id": 1, "content": "<end>"})
    yield core("added tokens that are text", "added_tokens", "<end>")


def _list_settings() -> Iterator[Change]:
    def settings(about: str, *edits: Any, fine: bool = False) -> Change:
        return _change(SETTINGS, about, *edits, fine=fine)

    yield settings("empty special tokens", "unk_token", "", "pad_token", "")
    for value in ("", 5, [], {"content": "x"}, {"__type": "AddedToken", "content": ""}, "x" * 600):
        yield settings(f"eos_token is {str(value)[:30]}", "eos_token", value)
    for value in (5, "x", [""], [5], {"x": "y"}, {"messages": "x"}, {"x_token": ""}):
        yield settings(f"extra_special_tokens is {value}", "extra_special_tokens", value)
    yield settings("5,000 special tokens", "extra_special_tokens", [f"<{i}>" for i in range(5_000)])
    yield settings("an image's token that is nothing", "image_token", "")
    yield settings("an image's token beyond V", "image_token", "<image>")
    table = {"content": "<end>", "special": True}
    for about, value in {
        "a list": [],
        "beyond V": {str(VOCABULARY): table},
        "at half a thousand million": {"500000000": table},
        "at no number": {"x": table},
        "at a number with a sign": {"-1": table},
        "of no text": {"5": {"content": ""}},
        "of a field more": {"5": table | {"more": 1}},
        "of text": {"5": "<end>"},
    }.items():
        yield settings(f"a table of added tokens {about}", "added_tokens_decoder", value)
    for value in (5, True, [], "x"):
        yield settings(f"a table of added tokens that is {value}", "added_tokens_decoder", value)
    yield settings("specials split by a text", "split_special_tokens", "yes")
    for value in ([{"name": "default", "template": "x"}], {"default": "x"}, 5, "x" * (1 << 18)):
        yield settings(f"a template {str(value)[:40]}", "chat_template", value)
    for name, value in {
        "tokenizer_file": "/etc/passwd",
        "vocab_file": "/dev/zero",
        "fast_tokenizer_files": ["tokenizer.1.json"],
        "init_inputs": [1, 2, 3],
        "gguf_file": "x.gguf",
        "tokenizer_object": 5,
        "from_slow": True,
        "model_max_length": "x",
        "model_input_names": None,
        "padding_side": "up",
        "add_bos_token": 5,
        "auto_map": {"AutoTokenizer": ["x.Y", None]},
        "encode": "x",
        "fix_mistral_regex": True,
    }.items():
        yield settings(f"a field {name} that nobody reads", name, value, fine=True)


#: Templates that fail or would cost without bound, each in its own way.
TEMPLATES: dict[str, str] = {
    "one that raises": "{{ raise_exception('no') }}",
    "one that asks for a system message": "{% if messages[0].role != 'system' %}"
    "{{ raise_exception('a system message comes first') }}{% endif %}",
    "another day's form": "{{ strftime_now('%-d %B') }}",
    "what does not compile": "{{ broken",
    "an end without a beginning": "{% endif %}",
    "brackets in brackets": "{{ " + "(" * 9_999,
    "closed brackets in brackets": "{{ " + "(" * 40 + "1" + ")" * 40 + " }}",
    "no of no": "{{ " + "not " * 400 + "1 }}",
    "signs of signs": "{{ " + "-" * 400 + "1 }}",
    "a long sum": "{{ " + "1 + " * 400 + "1 }}",
    "a long way": "{{ messages" + "[0]" * 400 + " }}",
    "an if of ifs": "{{ 1" + " if messages else 1" * 400 + " }}",
    "tags in tags": "{% if messages %}" * 400 + "{% endif %}" * 400,
    "set in set": "{% set x | d(a=1) %}" * 400 + "{% endset %}" * 400,
    "an if of many branches": "{% if 0 %}" + "{% elif 0 %}" * 4_000 + "{% endif %}",
    "a macro of 187 levels": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{% endif %}{% endmacro %}"
    "{{ f(187) }}SYSTEM {{ messages[0].content }}",
    "a macro without end": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "a loop of itself": "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "loops in loops": "{% for i in range(99999) %}{% for j in range(99999) %}"
    "{% endfor %}{% endfor %}",
    "fourteen loops": "{% for i in 'ab' %}" * 14 + "{% endfor %}" * 14,
    "gigabytes": "{{ ('a' * 9000000000) | length }}",
    "a power": "{{ 9 ** 9 ** 9 }}",
    "a number that grows": "{% set ns = namespace(x=2) %}{% for i in range(60) %}"
    "{% set ns.x = ns.x * ns.x %}{% endfor %}{{ ns.x }}",
    "a text that grows": "{% set ns = namespace(x='a') %}{% for i in range(60) %}"
    "{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x }}",
    "a text that is joined": "{% set ns = namespace(x='a') %}{% for i in range(60) %}"
    "{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
    "a text that is replaced": "{% set ns = namespace(x='a') %}{% for i in range(60) %}"
    "{% set ns.x = ns.x | replace('a', 'aa') %}{% endfor %}{{ ns.x }}",
    "a block that grows": "{% set ns = namespace(x='a') %}{% for i in range(60) %}"
    "{% set ns.x %}{{ ns.x }}{{ ns.x }}{% endset %}{% endfor %}{{ ns.x }}",
    "a list that grows": "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}"
    "{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
    "a list in lists": "{% set ns = namespace(x=[1]) %}{% for i in range(900) %}"
    "{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}",
    "a format": "{{ '%999999999s' % 'x' }}",
    "another format": "{{ '{:>999999999}'.format('x') }}",
    "a wide text": "{{ 'x' | center(999999999) }}",
    "another wide text": "{{ 'x'.ljust(999999999) }}",
    "a wide line": "{{ 'x' | indent(999999999, true) }}",
    "wide JSON": "{{ messages | tojson(indent=999999999) }}",
    "a long range": "{{ range(99999) | list }}",
    "many digits": "{{ ('9' * 5000) | int }}",
    "an address": "{{ messages[0].items }}",
    "an address in a list": "{{ [namespace()] | string }}",
    "a set": "{{ ({'a': 1, 'b': 2}.keys() - {}.keys()) | list }}",
    "the interpreter": "{{ messages[0].__class__.__mro__ }}",
    "chance": "{{ ['a', 'b'] | random }}",
    "chance by another name": "{{ [['a', 'b']] | map('ran' ~ 'dom') | list }}",
    "Latin": "{{ lipsum() }}",
    "another file": "{% include 'x' %}",
    "itself": "{{ self }}",
    "half a character": '{{ "\\ud800" }}',
    "a letter of a newer Unicode": "{% if '\U00031350'.isalpha() %}x{% endif %}",
    "a capital of a newer Unicode": "{{ '\ua7cb' | lower }}",
    "digits of a newer Unicode": "{{ '\U00011f51' | int }}",
    "letters in order": "{{ ['\U00031350', 'b'] | sort | length }}",
    "letters in order, one by one": "{{ ['\U00031350'] | map('trim') | unique | list }}",
    "letters by case": "{{ ['\U00031350'] | select('upper') | list | length }}",
    "a letter in a list": "{{ ['\U00031350'] }}",
    "a letter in a list in a text": "{{ 'x' ~ [['\U00031350']] }}",
    "a letter in a joined list": "{{ [['\U00031350']] | join }}",
    "a name of a newer Unicode": "{% set \U00031350 = 1 %}x",
    "a character by its name": "{{ '\\N{KAWI LETTER A}' }}",
    "a number of a newer Unicode": "{{ 1\U00011f51 }}",
    "a search from behind": "{% set t = 'a' * 90000 %}{{ t.rfind('ab' + t[45000:]) }}",
    "a split from behind": "{% set t = 'a' * 90000 %}{{ t.rsplit('ab' + t[45000:]) | length }}",
    "a split from behind by name": "{% set t = 'a' * 90000 %}"
    "{{ t.rsplit(sep='ab' + t[45000:]) | length }}",
    "trimmed of many kinds": "{% set t = 'a' * 90000 %}{{ ('b' * 90000) | trim(t + 'b') }}",
    "blanks of many kinds": "{% set t = 'a' * 90000 %}{{ ('b' * 90000).strip(t + 'b') | length }}",
    "a text that is read again and again": "{% set t = 'a' * 300000 %}{% for i in range(1900) %}"
    "{{ t.count('ab') }}{% endfor %}",
    "much of one text": "{% for i in range(3999) %}" + "b" * 50_000 + "{% endfor %}",
}
#: Templates that can be used, with what they make of "7+15".
FINE_TEMPLATES: dict[str, tuple[str, str]] = {
    "nothing": ("{% if 0 %}x{% endif %}", ""),
    "the prompt": ("{{ messages[0].content }}", "7+15"),
    "letters beyond ASCII": (
        "{{ ' \xe9 '.strip() ~ '\u4e2d'.replace('\u4e2d', '\u56fd') }}{{ ['\xdf', 'y'] | join }}"
        "{{ {'\xfc': 'Y'} | tojson }}{{ '\\\\N' }}",
        '\xe9\u56fd\xdfy{"\xfc": "Y"}\\N',
    ),
    "a macro of 14 levels": (
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(14) }}1",
        "1",
    ),
}


def list_changes() -> list[Change]:
    """All edits of JSON."""
    templates = [
        *(_change(SETTINGS, f"template: {n}", "chat_template", t) for n, t in TEMPLATES.items()),
        *(
            _change(SETTINGS, f"template: {name}", "chat_template", template, fine=True)
            for name, (template, _) in FINE_TEMPLATES.items()
        ),
    ]
    return [*_list_config(), *_list_core(), *_list_settings(), *templates]


def _write(name: str, data: bytes) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).write_bytes(data)

    return write


def _swap(name: str, make: Callable[[Path], None]) -> Callable[[Path], None]:
    def swap(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return swap


def _list_broken(names: Iterable[str]) -> Iterator[tuple[str, Callable[[Path], None]]]:
    for name in names:
        data = (GENESIS / name).read_bytes()
        for about, changed in {
            "nothing": b"",
            "half": data[: len(data) // 2],
            "a list": b"[]",
            "a mark before it": b"\xef\xbb\xbf" + data,
            "bytes that are no text": data + b"\xff",
            "lists in lists": b"[" * 100_000 + b"]" * 100_000,
            "70 lists in lists": b"[" * 70 + b"]" * 70,
            "a name twice": data.rstrip()[:-1] + b', "x": 1, "x": 2}',
            "an infinite number": data.rstrip()[:-1] + b', "x": 1e999}',
            **({} if name == CORE else {"5 MiB of blanks": data + b" " * (5 << 20)}),
            "a long number": data.rstrip()[:-1] + b', "x": ' + b"9" * 5_000 + b"}",
        }.items():
            yield f"{name}: {about}", _write(name, changed)


#: What replaces a file, by name. Digests are fitted afterwards where the file can be read.
FILES: dict[str, Callable[[Path], None]] = dict(_list_broken((CONFIG_FILE, *TOKENIZER_FILES)))
#: Files that are none of the folder's.
ODD_FILES: dict[str, Callable[[Path], None]] = {
    f"{name}: {about}": _swap(name, make)
    for name in (CONFIG_FILE, *TOKENIZER_FILES, MANIFEST_FILE, "model.safetensors")
    for about, make in {
        "a pipe": os.mkfifo,
        "a folder": Path.mkdir,
        "a link to a device": lambda path: path.symlink_to("/dev/zero"),
        "a link out": lambda path: path.symlink_to(GENESIS / path.name),
        "a link to nothing": lambda path: path.symlink_to("nothing"),
        "a link to itself": lambda path: path.symlink_to(path.name),
    }.items()
}


def write_changed(folder: Path, change: Change | Callable[[Path], None]) -> bytes:
    """Write the genesis folder with one change, and a manifest that fits. Returns its digest."""
    shutil.copytree(GENESIS, folder)
    if isinstance(change, Change):
        path = folder / change.file
        path.write_text(json.dumps(change.apply(json.loads(path.read_text()))))
    else:
        change(folder)
    return fit_manifest(folder)


def name_another_template(folder: Path, template: str | None = "x") -> bytes:
    """Let the manifest of a written folder name another template than its files have. Returns its
    digest. `template`: None: none."""
    digest = hash_fields(Domain.CHAT_TEMPLATE, *([] if template is None else [template.encode()]))
    return change_manifest(folder, chat_template=digest)


def change_manifest(folder: Path, **fields: Any) -> bytes:
    """Write other fields into a folder's manifest. Returns its digest."""
    manifest = replace(read_record(folder, MANIFEST_FILE, Manifest), **fields)
    (folder / MANIFEST_FILE).write_text(json.dumps(to_json(manifest)))
    return manifest.digest


def write_overflowing(folder: Path) -> bytes:
    """Write the genesis folder with finite weights whose products are not. Returns its digest."""
    shutil.copytree(GENESIS, folder)
    path = folder / "model.safetensors"
    tensors = load_file(path)
    for name in tensors:
        if ".mlp." in name:
            tensors[name] = tensors[name] * 1e25
    save_file(tensors, path, {"format": "pt"})
    tensors_root = compute_tensor_root(digest_tensors(folder))
    genesis = read_record(GENESIS, MANIFEST_FILE, Manifest)
    manifest = replace(
        genesis, tensors=tensors_root, step=bytes([1] * 32), levels_before=genesis.levels
    )
    (folder / MANIFEST_FILE).write_text(json.dumps(to_json(manifest)))
    return manifest.digest


def fit_manifest(folder: Path) -> bytes:
    """Write a manifest with the digests of the folder's files. Returns its digest."""
    data = {name: (folder / name).read_bytes() for name in (CONFIG_FILE, *TOKENIZER_FILES)}
    template = None
    with suppress(ValueError, AttributeError, RecursionError):
        template = json.loads(data[SETTINGS]).get("chat_template")
    text = [template.encode(errors="replace")] if template and isinstance(template, str) else []
    manifest = replace(
        read_record(GENESIS, MANIFEST_FILE, Manifest),
        structure=compute_files_digest(Domain.STRUCTURE, {CONFIG_FILE: data.pop(CONFIG_FILE)}),
        tokenizer=compute_files_digest(Domain.TOKENIZER, data),
        chat_template=hash_fields(Domain.CHAT_TEMPLATE, *text),
    )
    (folder / MANIFEST_FILE).write_text(json.dumps(to_json(manifest)))
    return manifest.digest
