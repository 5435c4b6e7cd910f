"""The demo's shipped model: it loads, round-trips and answers some of its problems."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors import safe_open
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from assay.environments.registry import make_environment
from assay.protocol.hashing import Domain, hash_fields
from assay.training import GENESIS
from assay.training.genesis_model import (
    ALPHABET,
    END,
    encode,
    make_model,
    make_tokenizer,
    save_model,
)
from assay.training.pretrain import PretrainConfig, pretrain

TOKENIZER = make_tokenizer()


@example("#### 25<end><pad>")
@given(st.text(alphabet=ALPHABET, max_size=80))
def test_text_round_trips(text: str) -> None:
    ids = TOKENIZER(text)["input_ids"]
    assert ids == encode(text)
    assert len(ids) == len(text)
    assert TOKENIZER.decode(ids) == text
    assert TOKENIZER.decode([*ids, END], skip_special_tokens=True) == text


def test_alphabet() -> None:
    assert len(TOKENIZER) == 98
    assert (TOKENIZER.pad_token_id, TOKENIZER.eos_token_id) == (0, 1)
    assert encode("\n ~") == [2, 3, 97]
    with pytest.raises(KeyError):
        encode("é")
    with pytest.raises(Exception, match=r"^WordLevel error: Missing \[UNK\]"):
        TOKENIZER("é")


def test_saved_weights_are_bf16_and_load_as_rounded(tmp_path: Path) -> None:
    model = make_model(hidden=16, layers=1, heads=2, inner=16, seed=0)
    save_model(model, tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    for name, weight in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight.to(torch.bfloat16).float())
    names = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_shipped_folder() -> None:
    assert sum(path.stat().st_size for path in GENESIS.iterdir()) <= 2 * 1024 * 1024
    config = json.loads((GENESIS / "config.json").read_text())
    assert config["architectures"] == ["Qwen2ForCausalLM"]
    with safe_open(GENESIS / "model.safetensors", "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    assert tensors.keys() == AutoModelForCausalLM.from_pretrained(GENESIS).state_dict().keys()
    # Not AutoTokenizer: it knows qwen2 better than the file and puts its own splitting in.
    tokenizer = PreTrainedTokenizerFast.from_pretrained(GENESIS)
    assert tokenizer(ALPHABET)["input_ids"] == list(range(2, 98))
    assert tokenizer.decode(list(range(2, 98))) == ALPHABET


def test_shipped_model_answers_some_problems() -> None:
    """Greedy answers: far better than chance, far from perfect when sampled."""
    model = AutoModelForCausalLM.from_pretrained(GENESIS, dtype=torch.float32).eval()
    environment = make_environment("arithmetic", {})
    correct = 0
    for i in range(24):
        seed = hash_fields(Domain.HELD_OUT, b"test-genesis", bytes([i]))
        problem = environment.make_problem(seed, (5, 6))
        ids = encode(problem.prompt)
        start = len(ids)
        while len(ids) < start + 48 and ids[-1] != END:
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits
            ids.append(int(logits[0, -1].argmax()))
        completion = TOKENIZER.decode(ids[start:]).removesuffix("<end>")
        correct += environment.score(problem, completion).correctness > 0
    assert correct >= 8


def test_pretraining_is_deterministic(tmp_path: Path) -> None:
    config = PretrainConfig(steps=2, batch=4, hidden=16, layers=1, heads=2, inner=16)
    for name in ("first", "second"):
        pretrain(config, tmp_path / name)
    first, second = (tmp_path / n / "model.safetensors" for n in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()
