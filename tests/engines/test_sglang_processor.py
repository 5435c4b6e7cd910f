"""assay-vllm's class for SGLang against the specification's draw.

SGLang itself is not installed here, and was never tried with a card: its names are replaced by
stubs, and its requests are made up. That cannot show whether SGLang calls as its source says.
"""

import json
import pickle
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from assay.inference.checkpoint import load_checkpoint
from assay.neurons.miner.engines.engine import SGLANG_PROCESSOR
from assay.protocol.draw import draw_token
from assay.protocol.prf import compute_key
from assay.training import GENESIS

ROOT = Path(__file__).parents[2]
SEEDS = [bytes([i + 1]) * 32 for i in range(5)]


@pytest.fixture
def processor(monkeypatch):
    """The class, found as SGLang finds it: by the pickled reference in a request."""
    names = {
        "sglang.srt.sampling.custom_logit_processor": {"CustomLogitProcessor": object},
        "sglang.srt.server_args": {
            "get_global_server_args": lambda: SimpleNamespace(model_path=str(GENESIS))
        },
    }
    monkeypatch.syspath_prepend(ROOT / "engines" / "vllm")
    for name, content in names.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    found = pickle.loads(bytes.fromhex(json.loads(SGLANG_PROCESSOR)["callable"]))
    yield found
    for name in [name for name in sys.modules if name.startswith("assay_vllm")]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_are_drawn_as_specified(processor, dtype):
    drawable = load_checkpoint(GENESIS).tokenizer.drawable
    generator = torch.Generator().manual_seed(0)
    logits = (3 * torch.randn(len(SEEDS), len(drawable), generator=generator)).to(dtype)
    temperatures = (1_024, 700, 1_024, 1_024, 700)
    asked = [
        {
            "assay_seed": seed.hex(),
            "assay_at": 2 * i,
            "assay_tq": temperature,
            "__req__": SimpleNamespace(output_ids=[7] * i),
        }
        for i, (seed, temperature) in enumerate(zip(SEEDS, temperatures, strict=True))
    ]
    asked[3] = {"__req__": SimpleNamespace(output_ids=[])}  # somebody else's
    found = processor()(logits.clone(), asked)
    for i, (seed, temperature) in enumerate(zip(SEEDS, temperatures, strict=True)):
        if i == 3:
            assert torch.equal(found[i], logits[i])
            continue
        key = compute_key(seed)
        row = logits[i].float().numpy()
        assert int(found[i].argmax()) == draw_token(row, drawable, key, 3 * i, temperature)[0]


def test_a_request_that_names_its_rollout_wrongly_is_refused(processor):
    asked = [{"assay_seed": "ff", "__req__": SimpleNamespace(output_ids=[])}]
    with pytest.raises(ValueError, match="assay_seed is 64 hex digits"):
        processor()(torch.zeros(1, 98), asked)
