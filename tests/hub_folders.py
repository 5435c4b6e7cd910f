"""Model folders in the shapes that hubs, trainers and interrupted downloads leave them in.

A generator: `FOLDERS` has for each shape how it is made, and what becomes of it: it is adopted,
with these end tokens and notes, or refused in one line. The models are tiny and random.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModelForCausalLM

from assay.gate.tokenizer_file import REGEXES

#: The ids of a byte-level tokenizer before its added tokens, and rows of the models here.
BYTES, VOCABULARY = 256, 288
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
QWEN_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
LLAMA_TOKENS = ("<|begin_of_text|>", "<|end_of_text|>", "<|eom_id|>", "<|eot_id|>")
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] "
    "+ '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
#: Before a template: it fails without a system text.
NEEDS_SYSTEM = "{% if messages[0].role != 'system' %}{{ raise_exception('no system') }}{% endif %}"
LLAMA3 = (
    "{{ bos_token }}{% for message in messages %}{{ '<|begin_of_text|>' if false else '' }}"
    "{{ message['role'] + '\n\n' + message['content'] | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant\n\n' }}{% endif %}"
)
LLAMA3_ROPE = {
    "factor": 32.0,
    "high_freq_factor": 4.0,
    "low_freq_factor": 1.0,
    "original_max_position_embeddings": 128,
    "rope_type": "llama3",
}
MIXTURE: dict[str, Any] = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5000000000\n"

Tensors = dict[str, torch.Tensor]


@cache
def _make_tensors(family: str, tied: bool, changes: tuple[tuple[str, Any], ...]) -> Tensors:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        family, **SIZES, tie_word_embeddings=tied, pad_token_id=None, **dict(changes)
    )
    model = AutoModelForCausalLM.from_config(config).bfloat16()
    state = model.state_dict()
    if tied:
        del state["lm_head.weight"]
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def make_tensors(family: str = "qwen2", tied: bool = True, **changes: Any) -> Tensors:
    """The tensors of a tiny model in bf16, always the same."""
    return dict(_make_tensors(family, tied, tuple(sorted(changes.items()))))


def make_config(family: str = "qwen2", tied: bool = True, **changes: Any) -> dict[str, Any]:
    """A config.json as hubs have it, in the spelling of transformers 4."""
    names = {"qwen2": "Qwen2", "qwen3": "Qwen3", "llama": "Llama"}
    told = SIZES | {
        "architectures": [f"{names.get(family, family)}ForCausalLM"],
        "model_type": family,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "rope_scaling": None,
        "tie_word_embeddings": tied,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.46.0",
        "use_cache": True,
        **({"head_dim": 8} if family == "qwen3" else {}),
    }
    return {name: value for name, value in (told | changes).items() if value is not ...}


def make_core(tokens: tuple[str, ...], first: str | None = None, **changes: Any) -> dict[str, Any]:
    """A byte-level tokenizer.json with these special tokens; `first` comes before each text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({text: i for i, text in enumerate(alphabet)}, []))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(REGEXES["Qwen2, Qwen3"]), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in tokens])
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    if first is not None:
        pair = [(first, made.token_to_id(first))]
        made.post_processor = processors.Sequence(
            [
                processors.ByteLevel(trim_offsets=True),
                processors.TemplateProcessing(f"{first} $A", f"{first} $A {first} $B", pair),
            ]
        )
    document: dict[str, Any] = json.loads(made.to_str())
    return document | changes


def make_settings(eos: str | None = "<|im_end|>", **changes: Any) -> dict[str, Any]:
    """A tokenizer_config.json."""
    named = {} if eos is None else {"eos_token": eos}
    return {"tokenizer_class": "Qwen2Tokenizer", "model_max_length": 512, **named, **changes}


def find_id(text: str, tokens: tuple[str, ...] = QWEN_TOKENS) -> int:
    """The id of a special token."""
    return BYTES + tokens.index(text)


@dataclass(slots=True)
class Content:
    """What a folder gets. A test changes some of it."""

    config: dict[str, Any] | None
    tensors: Tensors
    core: dict[str, Any] | None
    settings: dict[str, Any] | None
    #: other files, by name
    others: dict[str, bytes]
    #: tensors of each further safetensors file
    parts: dict[str, Tensors]
    #: names of pipes that nobody writes to
    pipes: tuple[str, ...] = ()

    def write(self, folder: Path) -> Path:
        """Write all of it."""
        folder.mkdir(parents=True, exist_ok=True)
        documents = {
            "config.json": self.config,
            "tokenizer.json": self.core,
            "tokenizer_config.json": self.settings,
        }
        for name, document in documents.items():
            if document is not None:
                (folder / name).write_text(json.dumps(document))
        files = {"model.safetensors": self.tensors} if self.tensors else {}
        for name, tensors in (files | self.parts).items():
            save_file(tensors, folder / name, metadata={"format": "pt"})
        for name in self.pipes:
            os.mkfifo(folder / name)
        for name, data in self.others.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(data)
        return folder


def make_qwen(family: str = "qwen2", tied: bool = True, **changes: Any) -> Content:
    """A Qwen of instructions. `changes` of its config."""
    ends = {"eos_token_id": find_id("<|im_end|>")}
    return Content(
        make_config(family, tied, **ends | changes),
        make_tensors(family, tied, **({"head_dim": 8} if family == "qwen3" else {})),
        make_core(QWEN_TOKENS),
        make_settings(chat_template=CHATML, pad_token="<|endoftext|>"),
        {},
        {},
    )


def make_llama(template: str | None = LLAMA3, **changes: Any) -> Content:
    """A Llama 3. Its tokenizer puts a token before each text."""
    settings = make_settings("<|eot_id|>", bos_token="<|begin_of_text|>")
    return Content(
        make_config("llama", rope_theta=500000.0, rope_scaling=LLAMA3_ROPE, **changes),
        make_tensors("llama"),
        make_core(LLAMA_TOKENS, "<|begin_of_text|>"),
        settings if template is None else settings | {"chat_template": template},
        {},
        {},
    )


def dump(document: Any) -> bytes:
    return json.dumps(document).encode()


@dataclass(frozen=True, slots=True)
class HubFolder:
    """A shape of folders.

    Attributes:
        make: its content.
        refused: what the one line says; None: it is adopted.
        notes: what must be told, each "kind: part of a text".
        ends: the end tokens, in order.
    """

    make: Callable[[], Content]
    refused: str | None = None
    notes: tuple[str, ...] = ()
    ends: tuple[str, ...] | None = None


def _of(content: Content, **changes: Any) -> Content:
    """A content with other config, settings or files."""
    for name, value in changes.items():
        setattr(content, name, value)
    return content


def _with_settings(content: Content, **changes: Any) -> Content:
    assert content.settings is not None
    merged = {**content.settings, **changes}
    content.settings = {name: value for name, value in merged.items() if value is not ...}
    return content


def _with_long_tokens(content: Content, count: int) -> Content:
    """So many added tokens of 512 characters, each of which a normalizer could make 18 of."""
    assert content.core is not None
    known, flags = content.core["added_tokens"], dict.fromkeys(("single_word", "lstrip"), False)
    flags |= {"rstrip": False, "normalized": True, "special": False}
    texts = [f"{i}".ljust(512, "x") for i in range(count)]
    more = [{"id": known[-1]["id"] + 1 + i, "content": t, **flags} for i, t in enumerate(texts)]
    added = {"normalizer": {"type": "NFKD"}, "added_tokens": [*known, *more]}
    return _of(content, core=content.core | added)


def _with_tensors(
    content: Content, change: Callable[[str, torch.Tensor], torch.Tensor | None]
) -> Content:
    changed = {name: change(name, tensor) for name, tensor in content.tensors.items()}
    content.tensors = {name: one for name, one in changed.items() if one is not None}
    return content


def _shard(content: Content, index: bool = True, keep: Mapping[str, bytes | None] = {}) -> Content:
    """Its tensors in three parts. `keep`: other bytes for a part, None: it is missing."""
    names = [f"model-{i:05d}-of-00003.safetensors" for i in (1, 2, 3)]
    places = {tensor: names[i % 3] for i, tensor in enumerate(content.tensors)}
    for name in names:
        if name not in keep:
            content.parts[name] = {t: content.tensors[t] for t in places if places[t] == name}
        elif (data := keep[name]) is not None:
            content.others[name] = data
    if index:
        content.others["model.safetensors.index.json"] = dump({"weight_map": places})
    content.tensors = {}
    return content


def _forget(content: Content) -> Content:
    """Its index without the first tensor."""
    index = json.loads(content.others["model.safetensors.index.json"])
    del index["weight_map"][min(index["weight_map"])]
    content.others["model.safetensors.index.json"] = dump(index)
    return content


def _own_head(content: Content, factor: float) -> Content:
    content.tensors["lm_head.weight"] = content.tensors["model.embed_tokens.weight"] * factor
    return content


def _see(content: Content, kind: str, flat: bool = False) -> Content:
    """The text part of a model that also sees, with the names that hubs have."""
    config = content.config
    assert config is not None
    rope = {"type": "mrope", "mrope_section": [2, 1, 1]}
    if flat:
        content.config = config | {
            "model_type": kind,
            "rope_scaling": rope,
            "vision_config": {"depth": 2},
            "image_token_id": 5,
        }
    else:
        content.config = {
            "architectures": ["SomeForConditionalGeneration"],
            "model_type": kind,
            "tie_word_embeddings": config.pop("tie_word_embeddings"),
            "text_config": config | {"model_type": f"{kind}_text", "rope_scaling": rope},
            "vision_config": {"depth": 2},
        }
    content.tensors = {
        name.replace("model.", "model.language_model.", 1): tensor
        for name, tensor in content.tensors.items()
    }
    content.tensors["model.visual.patch_embed.weight"] = torch.zeros(4, 4, dtype=torch.bfloat16)
    return content


def _tie_otherwise(content: Content) -> Content:
    assert content.config is not None
    text = content.config["text_config"]
    text["tie_word_embeddings"] = not content.config["tie_word_embeddings"]
    return content


def _make_mistral(**changes: Any) -> Content:
    """A Mistral. Its class has a window of 4,096 where config.json does not deny it."""
    content = make_qwen(model_type="mistral", head_dim=8, **changes)
    content.tensors = make_tensors("mistral", head_dim=8)
    return content


def _make_phi(**rope: Any) -> Content:
    """A Phi-4-mini, of whose heads of 8 the first six numbers are turned."""
    content = make_qwen(
        model_type="phi3",
        partial_rotary_factor=0.75,
        original_max_position_embeddings=64,
        rope_scaling={
            "type": "longrope",
            "short_factor": [1, 1.5, 2.0],
            "long_factor": [1, 4.0, 8.5],
            **rope,
        },
        sliding_window=262_144,
        auto_map={"AutoConfig": "configuration_phi3.Phi3Config"},
        full_attn_mod=1,
        interpolate_factor=1,
        lm_head_bias=False,
        mlp_bias=False,
    )
    content.tensors = make_tensors("phi3")
    return content


def _make_mixture(**changes: Any) -> Content:
    """A Qwen3 with experts."""
    sizes = {**MIXTURE, "head_dim": 8, **changes}
    config, tensors = make_config("qwen3_moe", **sizes), make_tensors("qwen3_moe", **sizes)
    return _of(make_qwen(), config=config, tensors=tensors)


def _make_hunyuan(**rope: Any) -> Content:
    """A Hunyuan, whose base of rotary angles is stretched by an alpha."""
    numbers = {"beta_fast": 32, "beta_slow": 1, "factor": 1.0, "mscale": 1.0, "mscale_all_dim": 0.0}
    content = make_qwen(
        model_type="hunyuan_v1_dense",
        head_dim=8,
        rope_scaling={"type": "dynamic", **numbers, **rope},
    )
    content.tensors = make_tensors("hunyuan_v1_dense", head_dim=8)
    return content


FP8 = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic"}


def _quantise(content: Content, block: list[int] | None) -> Content:
    """Its products in FP8, with a scale for each block, or one for each matrix."""
    assert content.config is not None
    content.config["quantization_config"] = FP8 | {"weight_block_size": block}
    for name, tensor in [*content.tensors.items()]:
        if not name.endswith("proj.weight"):
            continue
        content.tensors[name] = (tensor.float() * 64).to(torch.float8_e4m3fn)
        high, wide = block or tensor.shape
        shape = (-(-tensor.shape[0] // high), -(-tensor.shape[1] // wide)) if block else ()
        scales = torch.full(shape, 1 / 64)
        content.tensors[name.replace(".weight", ".weight_scale_inv")] = scales
        if block is None:
            content.tensors[name.replace(".weight", ".activation_scale")] = torch.ones(())
    return content


IM_END, END_OF_TEXT = "<|im_end|>", "<|endoftext|>"
_CONSOLIDATED = {"consolidated.safetensors": {"layers.0.wq": torch.zeros(2)}}

#: Every shape by its name.
FOLDERS: Mapping[str, HubFolder] = {
    "Qwen with a list of end tokens": HubFolder(
        lambda: _of(
            make_qwen(),
            others={
                "generation_config.json": dump(
                    {"eos_token_id": [BYTES + 2, BYTES], "top_k": 20, "repetition_penalty": 1.1}
                )
            },
        ),
        notes=("dropped: top_k, repetition_penalty: people",),
        ends=(IM_END, END_OF_TEXT),
    ),
    "a base whose template closes turns with another token": HubFolder(
        lambda: _with_settings(make_qwen(eos_token_id=BYTES), eos_token=END_OF_TEXT),
        notes=("guessed: <|im_end|> ends a completion first",),
        ends=(IM_END, END_OF_TEXT),
    ),
    "Phi-4-mini, whose angles have short and long factors": HubFolder(
        _make_phi, notes=("dropped: full_attn_mod",)
    ),
    "Phi-4-mini with a factor too few": HubFolder(
        lambda: _make_phi(short_factor=[1, 1.5]), refused="short_factor"
    ),
    "Hunyuan, whose angles have an alpha": HubFolder(
        lambda: _make_hunyuan(alpha=1000.0),
        notes=("dropped: beta_fast, beta_slow, mscale, mscale_all_dim",),
    ),
    "a Gemma 4 with experts": HubFolder(
        lambda: make_qwen(model_type="gemma4_text", enable_moe_block=True),
        refused="a mixture of experts beside an MLP",
    ),
    "an end token that is ordinary text": HubFolder(
        lambda: make_qwen(eos_token_id=2),
        notes=("dropped: eos_token_id 2 of config.json is the text",),
        ends=(IM_END,),
    ),
    "a tied model whose head is there once more": HubFolder(
        lambda: _own_head(make_qwen(), 1), notes=("dropped: lm_head.weight: the embedding",)
    ),
    "a tied model with a head of its own": HubFolder(
        lambda: _own_head(make_qwen(), 1.5), notes=("guessed: tie_word_embeddings false",)
    ),
    "no word on the tie, and no head": HubFolder(
        lambda: _of(
            make_qwen(), config=make_config(eos_token_id=258) | {"tie_word_embeddings": None}
        )
    ),
    "untied by its config, without a head": HubFolder(
        lambda: make_qwen(tie_word_embeddings=False),
        "does not tie the head to the embedding, and there is no lm_head.weight: fetch it",
    ),
    "no word on the tie, and a head": HubFolder(
        lambda: _own_head(make_qwen(tie_word_embeddings=...), 1.5)
    ),
    "Llama 3 of instructions": HubFolder(
        lambda: make_llama(eos_token_id=[257, 258, 259]),
        ends=("<|eot_id|>", "<|end_of_text|>", "<|eom_id|>"),
    ),
    "a base model whose tokenizer adds a token": HubFolder(
        lambda: make_llama(None), notes=("guessed: prompts begin with <|begin_of_text|>",)
    ),
    "a base model whose tokenizer is told to add a token": HubFolder(
        lambda: _with_settings(
            make_qwen(), chat_template=..., bos_token=END_OF_TEXT, add_bos_token=True
        ),
        notes=(f"guessed: prompts begin with {END_OF_TEXT}",),
    ),
    "a base model whose tokenizer is told to add none": HubFolder(
        lambda: _with_settings(make_llama(None), add_bos_token=False),
        notes=("kept: prompts as bare text",),
    ),
    "SmolLM2's fields": HubFolder(
        lambda: make_qwen(
            **{
                "is_llama_config": True,
                "rope_interleaved": False,
                "transformers.js_config": {"kv_cache_dtype": {"fp16": "float16"}},
            }
        ),
        notes=("dropped: config.json: is_llama_config, rope_interleaved, transformers.js_config",),
    ),
    "fields of trainers": HubFolder(
        lambda: make_qwen(
            _name_or_path="a/b",
            _attn_implementation_autoset=True,
            unsloth_fixed=True,
            unsloth_version="1",
            torchscript=False,
            neftune_noise_alpha=5,
            num_labels=2,
            id2label={"0": "A", "1": "B"},
            quantization_config=None,
        ),
        notes=("dropped: config.json: _attn_implementation_autoset, _name_or_path, id2label",),
    ),
    "an interleaved rope, which engines may obey": HubFolder(
        lambda: make_qwen(rope_interleaved=True), "field 'rope_interleaved' that is not known here"
    ),
    "a field that makes attention see the future": HubFolder(
        lambda: make_qwen(is_causal=False), "field 'is_causal' that is not known here"
    ),
    "code of its own": HubFolder(
        lambda: _of(
            make_qwen(auto_map={"AutoModelForCausalLM": "modeling_x.X"}),
            others={"modeling_x.py": b"raise SystemExit(7)\n"},
        ),
        notes=("dropped: config.json: auto_map", "dropped: modeling_x.py"),
    ),
    "a head size of null": HubFolder(lambda: make_qwen(head_dim=None)),
    "no window, which the class would have": HubFolder(lambda: _make_mistral(sliding_window=None)),
    "a padding id without a row": HubFolder(
        lambda: make_qwen(pad_token_id=32_000, bos_token_id=-1),
        notes=("dropped: config.json: bos_token_id -1, pad_token_id 32000",),
    ),
    "a family that nobody knows": HubFolder(
        lambda: make_qwen(model_type="nonsense"), "no causal language model of the type nonsense"
    ),
    "no family, and its class": HubFolder(
        lambda: make_qwen(model_type=...),
        notes=("guessed: model_type qwen2: by architectures in config.json",),
    ),
    "a family that is refused": HubFolder(
        lambda: make_qwen(model_type="bitnet"),
        "model_type bitnet in config.json: its products are ternary",
    ),
    "a classifier": HubFolder(
        lambda: make_qwen(architectures=["Qwen2ForSequenceClassification"]), "no head for text"
    ),
    "another vocabulary than the tensors": HubFolder(
        lambda: make_qwen(vocab_size=300),
        "vocab_size in config.json is 300, and model.embed_tokens.weight has 288 rows: set it",
    ),
    "a rope that depends on the longest sequence": HubFolder(
        lambda: make_qwen(rope_scaling={"type": "dynamic", "factor": 4.0}),
        "has the type 'dynamic', which is none of default",
    ),
    "YaRN in the older spelling": HubFolder(
        lambda: make_qwen(
            rope_scaling={"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}
        )
    ),
    "a window of nothing": HubFolder(
        lambda: make_qwen(use_sliding_window=True, sliding_window=0), "sliding_window in config"
    ),
    "three parts and an index": HubFolder(lambda: _shard(make_qwen())),
    "three parts without an index": HubFolder(lambda: _shard(make_qwen(), index=False)),
    "a part has a tensor that the index does not know": HubFolder(
        lambda: _forget(_shard(make_qwen())),
        "model-.*safetensors has .*, which model.safetensors.index.json does not look for there",
    ),
    "a part is missing": HubFolder(
        lambda: _shard(make_qwen(), keep={"model-00002-of-00003.safetensors": None}),
        r"model-00002-of-00003.safetensors, which model.safetensors.index.json names, is missing",
    ),
    "a part is missing, and the index": HubFolder(
        lambda: _shard(make_qwen(), False, {"model-00002-of-00003.safetensors": None}),
        r"model-00002-of-00003.safetensors, one of 3 parts, is missing",
    ),
    "a part is a pointer": HubFolder(
        lambda: _shard(make_qwen(), keep={"model-00002-of-00003.safetensors": POINTER}),
        r"model-00002-of-00003.safetensors is a pointer of Git LFS",
    ),
    "a part is cut off": HubFolder(
        lambda: _shard(make_qwen(), keep={"model-00002-of-00003.safetensors": b"\x10" + bytes(9)}),
        r"model-00002-of-00003.safetensors is not safetensors",
    ),
    "the tokenizer is a pointer": HubFolder(
        lambda: _of(make_qwen(), core=None, others={"tokenizer.json": POINTER}),
        r"tokenizer.json is a pointer of Git LFS",
    ),
    "an older save beside it": HubFolder(
        lambda: _of(make_qwen(), parts={"model-00001-of-00002.safetensors": {"x": torch.zeros(2)}}),
        notes=("dropped: model-00001-of-00002.safetensors",),
    ),
    "the makers' own format beside it": HubFolder(
        lambda: _of(make_qwen(), parts=_CONSOLIDATED), notes=("dropped: consolidated.safetensors",)
    ),
    "the makers' own format alone": HubFolder(
        lambda: _of(
            make_qwen(), tensors={}, parts={"consolidated.safetensors": {"x": torch.zeros(2)}}
        ),
        r"holds only consolidated.safetensors",
    ),
    "an adapter beside it": HubFolder(
        lambda: _of(
            make_qwen(),
            parts={"adapter_model.safetensors": {"x": torch.zeros(2)}},
            others={"adapter_config.json": b"{}"},
        ),
        notes=("dropped: adapter_model.safetensors",),
    ),
    "pickles alone": HubFolder(
        lambda: _of(make_qwen(), tensors={}, others={"pytorch_model.bin": b"x"}),
        r"no \*.safetensors, only pytorch_model.bin: a pickle",
    ),
    "no weights": HubFolder(lambda: _of(make_qwen(), tensors={}), "holds no \\*.safetensors file"),
    "no config": HubFolder(lambda: _of(make_qwen(), config=None), "has no config.json"),
    "a tokenizer in another format": HubFolder(
        lambda: _of(make_qwen(), core=None, others={"tokenizer.model": b"\n\x0b"}),
        "no tokenizer.json, only tokenizer.model: convert it",
    ),
    "no tokenizer": HubFolder(lambda: _of(make_qwen(), core=None), "has no tokenizer.json: fetch"),
    "fp16": HubFolder(
        lambda: _with_tensors(make_qwen(torch_dtype="float16"), lambda name, one: one.half()),
        notes=("converted: 26 tensors from F16 to BF16: largest relative change",),
    ),
    "fp32": HubFolder(
        lambda: _with_tensors(make_qwen(), lambda name, one: one.float() * 1.001),
        notes=("converted: 26 tensors from F32 to BF16: largest relative change 0.001",),
    ),
    "norms in fp32": HubFolder(
        lambda: _with_tensors(
            make_qwen(), lambda name, one: one.float() if "norm" in name else one
        ),
        notes=("converted: 5 tensors from F32 to BF16: largest relative change 0",),
    ),
    "a weight that is too large for bf16": HubFolder(
        lambda: _with_tensors(
            make_qwen(),
            lambda name, one: one.float().fill_(3.4e38) if name == "model.norm.weight" else one,
        ),
        "model.norm.weight has a weight that is too large for bf16",
    ),
    "a weight that is no number": HubFolder(
        lambda: _with_tensors(
            make_qwen(), lambda name, one: one * float("nan") if "q_proj.w" in name else one
        ),
        r"layers.0.self_attn.q_proj.weight has a weight that is not a finite number",
    ),
    "weights in integers": HubFolder(
        lambda: _with_tensors(
            make_qwen(), lambda name, one: one.to(torch.int8) if "q_proj.w" in name else one
        ),
        r"q_proj.weight is stored in I8",
    ),
    "names of a trainer's wrapper": HubFolder(
        lambda: _of(
            make_qwen(), tensors={f"_fsdp_wrapped_module.{n}": t for n, t in make_tensors().items()}
        ),
        notes=("converted: names of 26 tensors",),
    ),
    "names without the model's prefix": HubFolder(
        lambda: _of(
            make_qwen(), tensors={n.removeprefix("model."): t for n, t in make_tensors().items()}
        ),
        notes=("converted: names of 26 tensors",),
    ),
    "buffers of older libraries": HubFolder(
        lambda: _of(
            make_qwen(),
            tensors=make_tensors()
            | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)},
        ),
        notes=("dropped: model.layers.0.self_attn.rotary_emb.inv_freq",),
    ),
    "the text part of a model that sees": HubFolder(
        lambda: _see(make_qwen("qwen3"), "qwen3_vl"),
        notes=("kept: the text part of qwen3_vl, as qwen3", "dropped: what sees"),
    ),
    "a text part that ties its head otherwise than the whole": HubFolder(
        lambda: _tie_otherwise(_see(make_qwen("qwen3"), "qwen3_vl")),
        notes=("guessed: tie_word_embeddings true: there is no lm_head.weight",),
    ),
    "a model that sees without its text part": HubFolder(
        lambda: make_qwen(model_type="gemma4"), "of gemma4, which reads pictures, too, and has no"
    ),
    "a text part that nothing here reads": HubFolder(
        lambda: _see(make_qwen("qwen3"), "mimo"),
        "model_type mimo_text in config.json: its code is not in the library",
    ),
    "a model that sees, in the older spelling": HubFolder(
        lambda: _see(make_qwen(), "qwen2_5_vl", flat=True),
        notes=("kept: the text part of qwen2_5_vl, as qwen2",),
    ),
    "a template in its own file beside an older one": HubFolder(
        lambda: _of(
            _with_settings(make_qwen(), chat_template="OLD {{ messages[0].content }}"),
            others={"chat_template.jinja": CHATML.encode()},
        ),
        notes=("dropped: tokenizer_config.json: its chat_template: chat_template.jinja comes",),
        ends=(IM_END,),
    ),
    "a template with a byte order mark and other line ends": HubFolder(
        lambda: _of(
            _with_settings(make_qwen(), chat_template=...),
            others={"chat_template.jinja": b"\xef\xbb\xbf" + CHATML.replace("\n", "\r\n").encode()},
        ),
        notes=("converted: chat_template.jinja: without a byte order mark",),
        ends=(IM_END,),
    ),
    "a template in the file of models that see": HubFolder(
        lambda: _of(
            _with_settings(make_qwen(), chat_template=...),
            others={"chat_template.json": dump({"chat_template": CHATML})},
        ),
        ends=(IM_END,),
    ),
    "templates in a folder of their own": HubFolder(
        lambda: _of(
            make_qwen(),
            others={
                "chat_template.jinja": CHATML.encode(),
                "additional_chat_templates/tool_use.jinja": b"X",
            },
        ),
        notes=("dropped: additional_chat_templates/tool_use.jinja",),
    ),
    "a template of no text": HubFolder(
        lambda: _with_settings(make_qwen(), chat_template=""),
        notes=("dropped: the empty chat template", "kept: prompts as bare text"),
    ),
    "a template's file of no text": HubFolder(
        lambda: _of(make_qwen(), others={"chat_template.jinja": b""}),
        notes=("dropped: the empty chat template", "kept: prompts as bare text"),
    ),
    "added tokens that a normalizer could make long": HubFolder(
        lambda: _with_long_tokens(make_qwen(), 7)
    ),
    "more of them": HubFolder(
        lambda: _with_long_tokens(make_qwen(), 8),
        "the added tokens of tokenizer.json and tokenizer_config.json count 296,",
    ),
    "a tokenizer of millions of values": HubFolder(
        lambda: _of(make_qwen(), others={"tokenizer.json": b"[" + b"[]," * (3 << 20)}),
        "tokenizer.json has 6,291,457 of the bytes",
    ),
    "a list of named templates": HubFolder(
        lambda: _with_settings(
            make_qwen(),
            chat_template=[
                {"name": "default", "template": CHATML},
                {"name": "tool_use", "template": "X"},
            ],
        ),
        notes=("dropped: tokenizer_config.json: the templates tool_use",),
        ends=(IM_END,),
    ),
    "a list of templates without a default": HubFolder(
        lambda: _with_settings(make_qwen(), chat_template=[{"name": "rag", "template": "X"}]),
        "nor a list with one named default \\(named are rag\\)",
    ),
    "a template that needs a system text": HubFolder(
        lambda: _with_settings(make_qwen(), chat_template=f"{NEEDS_SYSTEM}{CHATML}"),
        notes=(
            "guessed: that your words are what its template needs: the chat template in "
            "tokenizer_config.json fails for messages of user: TemplateError: no system",
        ),
        ends=(IM_END,),
    ),
    "an end token in the older map alone": HubFolder(
        lambda: _of(
            _with_settings(make_qwen(eos_token_id=None), eos_token=..., chat_template=...),
            others={"special_tokens_map.json": dump({"eos_token": {"content": IM_END}})},
        ),
        notes=("kept: eos_token of special_tokens_map.json",),
        ends=(IM_END,),
    ),
    "special tokens of no text": HubFolder(
        lambda: _with_settings(
            make_qwen(), bos_token="", eos_token="", unk_token="", chat_template=...
        ),
        notes=("guessed: eos_token <|im_end|>: by eos_token_id 258",),
        ends=(IM_END,),
    ),
    "special tokens that the tokenizer lacks": HubFolder(
        lambda: _with_settings(
            make_qwen(), pad_token="[PAD]", additional_special_tokens=["<|im_start|>", "<no>"]
        ),
        notes=("dropped: tokenizer_config.json: pad_token [PAD], <no>",),
    ),
    "no end token at all": HubFolder(
        lambda: _with_settings(
            make_qwen(eos_token_id=None), eos_token=None, chat_template="{{ messages[0].content }}"
        ),
        "name it with --end-token",
    ),
    "truncation and padding saved": HubFolder(
        lambda: _of(
            make_qwen(),
            core=make_core(
                QWEN_TOKENS,
                truncation={
                    "direction": "Right",
                    "max_length": 4,
                    "strategy": "LongestFirst",
                    "stride": 0,
                },
            ),
        ),
        notes=("dropped: tokenizer.json: truncation",),
    ),
    "a special token of pictures beyond the rows": HubFolder(
        lambda: _with_settings(
            _of(make_qwen(), core=make_core((*QWEN_TOKENS, *map("<{}>".format, range(30))))),
            extra_special_tokens={"boi_token": "<28>", "image_token": "<29>"},
            image_token="<29>",
        ),
        notes=(
            "dropped: tokenizer.json: <29>: the model has 288 ids",
            "dropped: tokenizer_config.json: image_token <29>, image_token <29>",
        ),
    ),
    "a token of texts beyond the rows": HubFolder(
        lambda: _of(
            make_qwen(),
            core=make_core(QWEN_TOKENS)
            | {
                "added_tokens": [
                    {
                        "id": VOCABULARY,
                        "content": "<new>",
                        "special": False,
                        "single_word": False,
                        "lstrip": False,
                        "rstrip": False,
                        "normalized": False,
                    }
                ]
            },
        ),
        "token <new> with id 288, and the model has 288 ids",
    ),
    "an end token that begins texts": HubFolder(
        lambda: make_llama(eos_token_id=[256, 259]),
        notes=("dropped: eos_token_id 256 of config.json is <|begin_of_text|>, which begins",),
        ends=("<|eot_id|>",),
    ),
    "fp8 in blocks": HubFolder(
        lambda: _quantise(make_qwen(), [16, 16]), notes=("converted: 14 tensors from fp8",)
    ),
    "fp8 with one scale a matrix": HubFolder(
        lambda: _quantise(make_qwen(), None), notes=("converted: 14 tensors from fp8",)
    ),
    "fp8 without scales": HubFolder(
        lambda: _with_tensors(
            _quantise(make_qwen(), [16, 16]), lambda name, one: None if "scale" in name else one
        ),
        "is in fp8 and its weight_scale_inv is missing",
    ),
    "fp8 with scales of other blocks": HubFolder(
        lambda: _of(
            _quantise(make_qwen(), [16, 16]),
            config=make_config(quantization_config=FP8 | {"weight_block_size": [8, 8]}),
        ),
        "weight_scale_inv has the shape",
    ),
    **{
        f"quantised by {method}": HubFolder(
            lambda method=method: make_qwen(quantization_config={"quant_method": method}),
            f"quantised with {method}, which loses",
        )
        for method in ("awq", "bitsandbytes", "compressed-tensors", "fbgemm_fp8", "gptq")
    },
    "added tokens that are no list": HubFolder(
        lambda: _of(make_qwen(), core=make_core(QWEN_TOKENS, added_tokens=5)), "added_tokens"
    ),
    "a stack without experts": HubFolder(
        lambda: _of(
            make_qwen(),
            config=make_config("qwen3_moe", head_dim=8, **MIXTURE),
            tensors={
                name: tensor[:, :0] if name.endswith("experts.gate_up_proj") else tensor
                for name, tensor in make_tensors("qwen3_moe", head_dim=8, **MIXTURE).items()
            },
        ),
        "is no stack of experts",
    ),
    "a mixture with one expert": HubFolder(
        lambda: _make_mixture(num_experts=1, num_experts_per_tok=1),
        "num_experts_per_tok in config.json is 1 of 1 experts",
    ),
    "a router of NaN": HubFolder(
        lambda: _with_tensors(
            _make_mixture(),
            lambda name, one: one * float("nan") if name.endswith("mlp.gate.weight") else one,
        ),
        "mlp.gate.weight has a weight that is not a finite number",
    ),
    "a mixture whose heads have no size of their own": HubFolder(
        lambda: _of(
            make_qwen(),
            config=make_config("qwen3_moe", **MIXTURE),
            tensors=make_tensors("qwen3_moe", **MIXTURE),
        ),
        notes=("guessed: config.json: head_dim 8",),
    ),
    "half a character": HubFolder(
        lambda: _with_settings(make_qwen(), chat_template="{{ messages[0].content }}\ud800"),
        "tokenizer_config.json has half a character",
    ),
    "a list of types": HubFolder(
        lambda: make_qwen(model_type=["qwen2"]),
        "model_type \\['qwen2'\\] in config.json is none of",
    ),
    "an index with a long name": HubFolder(
        lambda: _of(
            make_qwen(),
            tensors={},
            others={"model.safetensors.index.json": b'{"weight_map": {"a": "%s"}}' % (b"a" * 999)},
        ),
        "names 'aaa.*, which is no file's name",
    ),
    "a negative epsilon": HubFolder(
        lambda: make_qwen(rms_norm_eps=-1e-6),
        "rms_norm_eps in config.json is not a number of at least 0",
    ),
    "two angles": HubFolder(
        lambda: make_qwen(
            rope_scaling=..., rope_parameters={"rope_type": "default", "rope_theta": 5e5}
        ),
        "rope_theta in config.json is 10000.0, and 500000.0 in rope_parameters: remove one",
    ),
    "a pipe in place of tensors": HubFolder(
        lambda: _of(make_qwen(), tensors={}, pipes=("model.safetensors",)),
        "model.safetensors is not a regular file",
    ),
    "a pipe that is named in the index": HubFolder(
        lambda: _of(
            make_qwen(),
            tensors={},
            pipes=("a.safetensors",),
            others={"model.safetensors.index.json": b'{"weight_map": {"a": "a.safetensors"}}'},
        ),
        "a.safetensors is not a regular file",
    ),
    "a pipe in place of a GGUF file": HubFolder(
        lambda: _of(make_qwen(), tensors={}, config=None, pipes=("model.gguf",)),
        "has no config.json",
    ),
    "quantised in the older words of bitsandbytes": HubFolder(
        lambda: make_qwen(quantization_config={"load_in_4bit": True}),
        "quantised with bitsandbytes, which loses",
    ),
}
