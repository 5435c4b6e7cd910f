"""assay-vllm against the specification's draw, through both of vLLM's interfaces.

vLLM itself is not installed here: its names are replaced by stubs, and its state is made up. That
cannot show whether vLLM calls as it says; docs/engines.md says how to try that with a server.
"""

import json
import sys
from enum import Enum
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from assay.inference.checkpoint import load_checkpoint
from assay.protocol.draw import compute_slack, draw_token
from assay.protocol.gumbel import TABLE
from assay.protocol.prf import compute_key
from assay.training import GENESIS

ROOT = Path(__file__).parents[2]
VOCABULARY, ROWS = 5_001, 12
Direction = Enum("MoveDirectionality", ["UNIDIRECTIONAL", "SWAP"])


@pytest.fixture(scope="module")
def processor():
    """The module, over names that vLLM has."""
    names = {
        "vllm": {"__version__": "0.32.0"},
        "vllm.config": {"VllmConfig": object},
        "vllm.sampling_params": {"SamplingParams": object},
        "vllm.v1.sample.logits_processor": {
            "LogitsProcessor": type("V1", (), {}),
            "MoveDirectionality": Direction,
        },
        "vllm.v1.worker.gpu.sample.logits_processor": {"LogitsProcessor": type("V2", (), {})},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "engines" / "vllm")
        for name, content in names.items():
            module = ModuleType(name)
            vars(module).update(content)
            patch.setitem(sys.modules, name, module)
        import assay_vllm.processor as found

        yield found
        for name in [name for name in sys.modules if name.startswith("assay_vllm")]:
            patch.delitem(sys.modules, name)


@pytest.fixture
def folder(tmp_path):
    """A checkpoint's small files, of a larger vocabulary; two ids are none of the tokenizer's."""
    known = {f"w{i}": i for i in range(VOCABULARY - 2)}
    tokenizer = {"model": {"vocab": known}, "added_tokens": [{"content": "<end>", "id": 4}]}
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"pad_token": "w0"}))
    (tmp_path / "manifest.json").write_text(json.dumps({"end_tokens": [4]}))
    return tmp_path


DRAWABLE = np.ones(VOCABULARY, bool)
DRAWABLE[[0, VOCABULARY - 2, VOCABULARY - 1]] = False


def configure(folder):
    model = SimpleNamespace(model=str(folder), get_vocab_size=lambda: VOCABULARY)
    return SimpleNamespace(model_config=model)


def make_params(row, at=0, temperature=1_024):
    extra = {"assay_seed": make_seed(row).hex(), "assay_at": at, "assay_tq": temperature}
    return SimpleNamespace(extra_args=extra, temperature=0.0)


def make_seed(row):
    return bytes([row + 1]) * 32


PLAIN = SimpleNamespace(extra_args=None, temperature=1.0)


def make_logits():
    return torch.randn(ROWS, VOCABULARY, generator=torch.Generator().manual_seed(0)) * 3


def draw(logits, row, position, temperature=1_024):
    key = compute_key(make_seed(row))
    return draw_token(logits.numpy(), DRAWABLE, key, position, temperature)[0]


def update(added=(), removed=(), moved=()):
    return SimpleNamespace(added=added, removed=removed, moved=moved)


def test_v1_draws_rows_wherever_they_are_moved(processor, folder):
    keyed = processor.KeyedProcessor(configure(folder), torch.device("cpu"), False)
    assert not keyed.is_argmax_invariant()
    made = [[7] * n for n in range(ROWS)]  # tokens that came so far
    params = [make_params(row, at=row, temperature=(1_024, 700)[row % 2]) for row in range(ROWS)]
    params[3] = PLAIN
    keyed.update_state(update([(i, params[i], None, made[i]) for i in range(ROWS)]))
    keyed.update_state(
        update(removed=[5], moved=[(0, 1, Direction.SWAP), (6, 5, Direction.UNIDIRECTIONAL)])
    )
    keyed.update_state(None)
    whose = {0: 1, 1: 0, 5: 6} | {i: i for i in range(ROWS) if i not in (0, 1, 3, 5, 6)}
    logits = make_logits()
    found = keyed.apply(logits.clone())
    for place in range(ROWS):
        if place not in whose:
            assert torch.equal(found[place], logits[place])
            continue
        row = whose[place]
        expected = draw(logits[place], row, row + len(made[row]), (1_024, 700)[row % 2])
        assert int(found[place].argmax()) == expected


def test_v2_draws_several_rows_of_a_request(processor, folder):
    """Speculative decoding needs this: a row for each token that a smaller model has drafted."""
    prompts = torch.tensor([10, 20, 7, 5])
    states = SimpleNamespace(
        device=torch.device("cpu"), max_num_reqs=4, prompt_len=SimpleNamespace(gpu=prompts)
    )
    keyed = processor.KeyedProcessor(configure(folder), states)
    assert keyed.add_request(0, make_params(0))
    assert keyed.add_request(1, make_params(1, at=4))
    assert not keyed.add_request(2, PLAIN)
    assert keyed.add_request(3, make_params(3))
    keyed.apply_staged_writes()
    assert not keyed.add_request(3, PLAIN)  # the slot is another's now
    keyed.apply_staged_writes()
    slots = torch.tensor([1, 1, 1, 0, 2, 3])
    places = torch.tensor([20 + 4, 20 + 5, 20 + 6, 10 - 1, 7 + 3, 5 + 2])
    logits = make_logits()[:6]
    context = SimpleNamespace(expanded_idx_mapping=slots, pos=places)
    found = keyed.apply(logits.clone(), context)
    for row, (whose, position) in enumerate([(1, 9), (1, 10), (1, 11), (0, 0)]):
        assert int(found[row].argmax()) == draw(logits[row], whose, position)
    assert torch.equal(found[4:], logits[4:])


def test_drawable_ids_are_the_judge_s(processor):
    checkpoint = load_checkpoint(GENESIS)
    expected = checkpoint.tokenizer.drawable
    found = sys.modules["assay_vllm.drawable"].find_drawable(str(GENESIS), len(expected))
    assert found.tolist() == expected.tolist()


def test_the_bound_is_the_specification_s(processor):
    found = sys.modules["assay_vllm.keyed_draw"]
    for temperature in (1, 700, 1_024, 4_096):
        assert found.make_bound(temperature)[1] == compute_slack(0.0, temperature)
    assert found.TABLE.tobytes() == TABLE.tobytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"assay_seed": "ab"}, "64 hex digits"),
        ({"assay_seed": "zz" * 32}, "64 hex digits"),
        ({"assay_at": -1}, "assay_at"),
        ({"assay_at": "3"}, "assay_at"),
        ({"assay_tq": 0}, "assay_tq"),
        ({"assay_tq": True}, "assay_tq"),
    ],
)
def test_a_request_that_names_no_rollout_is_refused(processor, change, said):
    params = make_params(0)
    params.extra_args |= change
    with pytest.raises(ValueError, match=said):
        processor.KeyedProcessor.validate_params(params)
    params = make_params(0)
    params.temperature = 1.0
    with pytest.raises(ValueError, match="temperature 0"):
        processor.KeyedProcessor.validate_params(params)


def test_another_vllm_and_another_folder_are_refused(processor, tmp_path):
    with pytest.raises(ValueError, match="not a folder of an Assay checkpoint"):
        processor.KeyedProcessor(configure(tmp_path), torch.device("cpu"), False)
    processor.require_supported("0.32.1")
    with pytest.raises(RuntimeError, match=r"was not tried with vLLM 0\.33"):
        processor.require_supported("0.33.0")
