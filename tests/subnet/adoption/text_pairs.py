"""Tokenizers in the shapes of people's models, with people's chat templates, as folder and as GGUF.

Each tokenizer is trained here on a few lines, so that it merges, splits digits, falls back to bytes
and spells spaces as its model does. The templates are those of TRL 1.16.0's wheel (Apache-2.0, see
`tests/inference/chat_templates`), which names the repository of each, and a few lines of others.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.trainers import BpeTrainer
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.tokenization_utils_base import generate_merges

from assay.gate.tokenizer_file import REGEXES
from tests.hub_folders import CHATML
from tests.tree import ROOT

TEMPLATES = ROOT / "tests" / "inference" / "chat_templates"
#: What templates write that is one token: `<|im_end|>`, `</think>`, `[INST]`; and which of them
#: are no special tokens in models.
MARKS = re.compile(r"</?[|\uff5c]?[A-Za-z_\u2581|\uff5c]+[|\uff5c]?>|\[/?[A-Z_]+\]")
PLAIN_MARKS = re.compile(r"</?(think|tool_call|tool_response)>")
CORPUS = (
    "What is 12+30? It is 42. #### 42\n",
    "Ada counts 5 apples and adds 7.  How many?\n\n7+15=22\n22+3=25\n#### 25\n",
    "The answer is alone in LaTeX \\frac{1}{2}, isn't it?\n",
    "system\nuser\nassistant\nYou are a helpful assistant.\n",
    "Réponse: 你好, été 2024 – naïve café\n",
) * 8
#: By special tokens of one of these names a template closes a turn.
_CLOSERS = (
    *("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>", "<|END_OF_TURN_TOKEN|>"),
    *("<end_of_utterance>", "<|user|>", "<\uff5cend\u2581of\u2581sentence\uff5c>", "</s>"),
)
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 1, 2, 3, 4, 6


@dataclass(frozen=True)
class Shape:
    """How a model's tokenizer works.

    Attributes:
        splits: its name in GGUF files; "": it has pieces of SentencePiece.
        first: its BOS token, which it puts before every text where `adds` says so.
        prefix: whether a piece begins each text with a space.
        whole: whether a word that is a token is not merged.
    """

    splits: str
    first: str | None = None
    adds: bool = False
    prefix: bool = False
    whole: bool = False


#: By the models that have them.
SHAPES = {
    "Qwen 2": Shape("qwen2"),
    "SmolLM 2": Shape("smollm", "<|im_start|>"),
    "GPT-2": Shape("gpt-2"),
    "Llama 3": Shape("llama-bpe", "<|begin_of_text|>", adds=True, whole=True),
    "Mistral Nemo": Shape("tekken", "<s>", adds=True, whole=True),
    "GPT-4o": Shape("gpt-4o", "<|startoftext|>"),
    "DeepSeek R1's Qwen": Shape("deepseek-r1-qwen", "<\uff5cbegin\u2581of\u2581sentence\uff5c>"),
    "Command R": Shape("command-r", "<BOS_TOKEN>", adds=True),
    "Llama 2": Shape("", "<s>", adds=True, prefix=True),
    "Phi 3": Shape("", "<s>", prefix=True),
    "Gemma": Shape("", "<bos>", adds=True),
}
_REGEXES = {
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen"), "Qwen2, Qwen3"),
    "llama-bpe": "Llama 3",
    "tekken": "Tekken",
    "gpt-4o": "o200k",
}


@dataclass(frozen=True)
class Pair:
    """A tokenizer and a chat template.

    Attributes:
        shape: of `SHAPES`.
        name: of a template, a file of TRL's or one of `_OWN`; "": there is none.
    """

    shape: str
    name: str

    @property
    def template(self) -> str | None:
        if not self.name:
            return None
        return _OWN.get(self.name) or (TEMPLATES / f"{self.name}.jinja").read_text()

    @property
    def marks(self) -> list[str]:
        """The added tokens, special ones first."""
        shape, found = SHAPES[self.shape], {*MARKS.findall(self.template or "")}
        found |= {"<|endoftext|>"} if shape.splits else {"</s>"}
        found |= set() if shape.first is None else {shape.first}
        found -= {"<unk>"}
        return sorted(found, key=lambda mark: (PLAIN_MARKS.fullmatch(mark) is not None, mark))

    @property
    def closer(self) -> str:
        source = self.template or ""
        default = "<|endoftext|>" if SHAPES[self.shape].splits else "</s>"
        return next((mark for mark in _CLOSERS if mark in source), default)


#: The format of Zephyr and TinyLlama, as TinyLlama-1.1B-Chat-v1.0 has it: it writes no BOS token.
_OWN = {
    "chatml": CHATML,
    "zephyr": (
        "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + "
        "message['content'] + eos_token }}\n{% elif message['role'] == 'system' %}\n{{ "
        "'<|system|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == "
        "'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n"
        "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n"
        "{% endfor %}"
    ),
}
PAIRS = (
    *(Pair("Llama 3", name) for name in ("llama3", "llama3_1", "llama3_2", "")),
    *(Pair("Qwen 2", name) for name in ("qwen2_5", "qwen2_5_vl", "qwen3", "qwen3_instruct_2507")),
    *(Pair("Qwen 2", name) for name in ("qwen3_vl", "qwen3_5_think", "qwen3_6", "glm4moe", "")),
    *(Pair("Gemma", name) for name in ("gemma", "gemma3", "")),
    *(Pair("Phi 3", name) for name in ("phi3", "phi3_5")),
    *(Pair("Llama 2", name) for name in ("zephyr", "idefics3", "llava_next", "")),
    *(Pair("Command R", name) for name in ("cohere", "cohere2")),
    *(Pair("Mistral Nemo", name) for name in ("nemotron_3_nano", "chatml")),
    *(Pair("GPT-4o", name) for name in ("gptoss", "lfm2", "lfm2_2_5")),
    *(Pair("SmolLM 2", name) for name in ("chatml",)),
    *(Pair("GPT-2", name) for name in ("chatml", "")),
    *(Pair("DeepSeek R1's Qwen", name) for name in ("deepseekv3",)),
)


@cache
def _train(splits: str, prefix: bool) -> str:
    if splits:
        made = Tokenizer(models.BPE())
        if splits in _REGEXES:
            regex = Regex(REGEXES[_REGEXES[splits]])
            made.pre_tokenizer = pre_tokenizers.Sequence(
                [
                    pre_tokenizers.Split(regex, "isolated"),
                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
                ]
            )
        else:
            digits = [pre_tokenizers.Digits(individual_digits=True)] * (splits != "gpt-2")
            plain = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
            made.pre_tokenizer = pre_tokenizers.Sequence([*digits, plain])
        made.decoder = decoders.ByteLevel()
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        made.train_from_iterator(CORPUS, BpeTrainer(vocab_size=420, initial_alphabet=alphabet))
        return str(made.to_str())
    first = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    trained.train_from_iterator(CORPUS, BpeTrainer(vocab_size=460, special_tokens=first))
    entries = trained.get_vocab()
    scores = {text: -number for text, number in entries.items()}
    merges = generate_merges(entries, scores)  # as SentencePiece merges: by what is made
    made = Tokenizer(
        models.BPE(entries, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    spelled = [normalizers.Prepend("\u2581")] * prefix + [normalizers.Replace(" ", "\u2581")]
    made.normalizer = normalizers.Sequence(spelled)
    made.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
        + [decoders.Strip(" ", 1, 0)] * prefix
    )
    return str(made.to_str())


def make_pair_core(pair: Pair) -> dict[str, Any]:
    """tokenizer.json of a pair."""
    shape = SHAPES[pair.shape]
    made = Tokenizer.from_str(_train(shape.splits, shape.prefix))
    if not shape.splits:
        made.add_special_tokens(["<unk>"])
    for mark in pair.marks:
        is_plain = PLAIN_MARKS.fullmatch(mark) is not None
        add = made.add_tokens if is_plain else made.add_special_tokens
        add([AddedToken(mark, normalized=False)])
    core: dict[str, Any] = json.loads(made.to_str())
    if shape.whole:
        core["model"]["ignore_merges"] = True
    if shape.adds:
        bos: dict[str, Any] = {"SpecialToken": {"id": shape.first, "type_id": 0}}
        text = {"Sequence": {"id": "A", "type_id": 0}}
        ids = [made.token_to_id(str(shape.first))]
        core["post_processor"] = {
            "type": "TemplateProcessing",
            "single": [bos, text],
            "pair": [bos, text, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {
                str(shape.first): {"id": shape.first, "ids": ids, "tokens": [shape.first]}
            },
        }
    return core


def make_pair_settings(pair: Pair) -> dict[str, Any]:
    """tokenizer_config.json of a pair."""
    told = {"bos_token": SHAPES[pair.shape].first, "eos_token": pair.closer}
    told |= {"chat_template": pair.template, "tokenizer_class": "PreTrainedTokenizerFast"}
    return {name: value for name, value in told.items() if value is not None}


def list_pieces(core: Mapping[str, Any]) -> list[str]:
    """All tokens of a tokenizer, by id."""
    entries = dict(core["model"]["vocab"])
    entries |= {token["content"]: token["id"] for token in core["added_tokens"]}
    return sorted(entries, key=lambda text: entries[text])


@cache
def _make_model(size: int) -> Any:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "llama",
        vocab_size=size,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        pad_token_id=None,
        bos_token_id=None,
        eos_token_id=None,
    )
    return AutoModelForCausalLM.from_config(config).bfloat16()


def write_pair(folder: Path, pair: Pair) -> Path:
    """Write a folder with a tiny model and a pair's tokenizer."""
    folder.mkdir()
    core = make_pair_core(pair)
    model = _make_model(len(list_pieces(core)))
    tensors = {name: one for name, one in model.state_dict().items() if name != "lm_head.weight"}
    save_file({name: one.clone() for name, one in tensors.items()}, folder / "model.safetensors")
    config = model.config.to_dict() | {"architectures": ["LlamaForCausalLM"]}
    for name, document in (
        ("config.json", config),
        ("tokenizer.json", core),
        ("tokenizer_config.json", make_pair_settings(pair)),
    ):
        (folder / name).write_text(json.dumps(document))
    return folder


def write_pair_gguf(path: Path, pair: Pair, left: Sequence[str] = (), **entries: Any) -> Path:
    """Write the same as a GGUF file, as llama.cpp's converter does.

    Args:
        left: entries `tokenizer.ggml.` that it does not have.
        entries: further entries `tokenizer.`, or others: numbers, flags and texts.
    """
    import gguf

    from tests.gguf_files import rename

    shape, core = SHAPES[pair.shape], make_pair_core(pair)
    pieces = list_pieces(core)
    writer = gguf.GGUFWriter(str(path), "llama")
    config = _make_model(len(pieces)).config
    writer.add_block_count(1)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(len(pieces))
    writer.add_rope_dimension_count(8)
    special = {token["content"]: token["special"] for token in core["added_tokens"]}
    types = [
        _UNKNOWN
        if text == "<unk>"
        else (_CONTROL if special[text] else _USER_DEFINED)
        if text in special
        else (_BYTE if re.fullmatch("<0x..>", text) else _NORMAL)
        for text in pieces
    ]
    writer.add_tokenizer_model("gpt2" if shape.splits else "llama")
    writer.add_token_list(pieces)
    writer.add_token_types(types)
    if shape.splits:
        writer.add_tokenizer_pre(shape.splits)
        writer.add_token_merges([" ".join(merge) for merge in core["model"]["merges"]])
    else:
        writer.add_token_scores([-float(number) for number in range(len(pieces))])
    told: dict[str, Any] = {
        "ggml.eos_token_id": pieces.index(pair.closer),
        "ggml.add_bos_token": shape.adds,
        "ggml.add_space_prefix": shape.prefix,
    }
    if shape.first is not None:
        told["ggml.bos_token_id"] = pieces.index(shape.first)
    if pair.template is not None:
        told["chat_template"] = pair.template
    for name, value in (told | entries).items():
        if name.removeprefix("ggml.") in left:
            continue
        number = writer.add_int32 if value == -1 else writer.add_uint32
        kind = {bool: writer.add_bool, int: number, str: writer.add_string}
        kind[type(value)](f"tokenizer.{name}", value)
    model = _make_model(len(pieces))
    for name, numbers in rename(model, "llama"):
        writer.add_tensor(name, numbers)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
