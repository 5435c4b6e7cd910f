"""Peak memory of auditing a model of half a billion parameters on a CPU.

The model is a random-weights Qwen2 of V = 151,936, with rollouts of 2,048 tokens. The baseline
reads all tensors at once and computes 32,768 tokens a pass, as the program did before passes were
planned. Each runs in its own process.
"""

import multiprocessing
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from figures import FAST, Figure, report
from transformers import Qwen2Config, Qwen2ForCausalLM

from assay.inference.checkpoint import FolderModels
from assay.inference.folder import find_tensors
from assay.inference.model_loading import load_model, read_tensors
from assay.inference.placement import Placement
from assay.inference.placing.memory_plan import MemoryBudget, plan_memory
from assay.inference.placing.model_sizes import MemoryPlan, measure_shape
from assay.inference.reference import Reference
from assay.verification import Projection

THREADS = 2
ROLLOUTS, PROMPT, TOKENS = (2, 64, 512) if FAST else (8, 64, 2_048)
#: The shape of Qwen2.5-0.5B.
CONFIG = Qwen2Config(
    vocab_size=151_936,
    hidden_size=896,
    intermediate_size=4_864,
    num_hidden_layers=24,
    num_attention_heads=14,
    num_key_value_heads=2,
    max_position_embeddings=4_096,
    tie_word_embeddings=True,
)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        _run(_write_model, place)
        stored = sum(path.stat().st_size for path in place.glob("*.safetensors"))
        before = _run(_audit_at_once, place)
        after = _run(_audit_by_plan, place)
        split = _run(_audit_split, place)
    gib = 2**30
    name = f"{ROLLOUTS} rollouts of {TOKENS:,} tokens"
    bound = stored / gib + 2
    figures = [
        Figure(
            f"{name}, fp32-sdpa: peak memory",
            after / gib,
            "GiB",
            "all tensors at once, 32,768 tokens a pass",
            before / gib,
            bound=bound,
        ),
        Figure(
            f"{name}, split3: peak memory",
            split / gib,
            "GiB",
            "all tensors at once, 32,768 tokens a pass",
            before / gib,
            bound=bound,
        ),
        Figure("weights in bf16", stored / gib, "GiB"),
    ]
    report("peak memory of an audit, Qwen2 of 0.5 B parameters on a CPU", figures, THREADS)


def _run(task: Callable[[Path], int], place: Path) -> int:
    """The result of a task in its own process."""
    context = multiprocessing.get_context("spawn")
    queue: Any = context.Queue()
    process = context.Process(target=_answer, args=(queue, task, place))
    process.start()
    found: int = queue.get(timeout=3_600)
    process.join(60)
    return found


def _answer(queue: Any, task: Callable[[Path], int], place: Path) -> None:
    torch.set_num_threads(THREADS)
    queue.put(task(place))


def _write_model(place: Path) -> int:
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    Qwen2ForCausalLM(CONFIG).save_pretrained(place)
    return 0


def _audit_by_plan(place: Path, implementation: str = "fp32-sdpa") -> int:
    placement = Placement(implementation=implementation)
    model: Any = FolderModels(place, placement, 0).get(implementation)
    parameters = sum(tensor.end - tensor.start for _, tensor in find_tensors(place).values()) // 2
    plan = plan_memory(measure_shape(model.config, parameters), "cpu", placement.memory_share)
    return _audit(model, plan)


def _audit_split(place: Path) -> int:
    return _audit_by_plan(place, "split3")


def _audit_at_once(place: Path) -> int:
    tensors = [read_tensors(path) for path in place.glob("*.safetensors")]
    model: Any = load_model(place)
    del tensors
    return _audit(model, MemoryPlan())


def _audit(model: Any, plan: MemoryPlan) -> int:
    """Peak bytes of this process."""
    generator = np.random.default_rng(0)
    drawable, hidden = np.ones(CONFIG.vocab_size, bool), CONFIG.hidden_size
    columns = generator.choice([-1.0, 1.0], (hidden, 4)).astype(np.float32)
    projection = Projection(columns, np.zeros(hidden, np.float32), hidden**0.5)
    rows = generator.integers(0, CONFIG.vocab_size, (ROLLOUTS, PROMPT + TOKENS))
    reference = Reference(model, drawable, 1_024, MemoryBudget(plan, "cpu", len(drawable)))
    reference.measure(
        [row[:PROMPT].tolist() for row in rows],
        [row[PROMPT:].astype(np.uint32) for row in rows],
        [bytes([i]) * 32 for i in range(ROLLOUTS)],
        projection,
    )
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) << 10


if __name__ == "__main__":
    main()
