"""Transfer of checkpoints: the size of a step's difference, the time to make and to apply it, and
the speed of fetching a checkpoint from a mirror on this machine's disk.

Each delta is compared with the empirical entropy of the changes, given the tensor and the parent's
exponent. No lossless code that knows only these two of a value can be smaller.

Steps are real: rollouts of the model itself on its own environment, judged by the environment, and
the trainer's learner. The measured ones are the fourth to sixth in a row, because the first begins
with masters that are already bf16. Each figure names its learning rate. The bench model does no
sums: its reward is 1 if a completion has more even ids than odd ones. The fetched checkpoint is a
Qwen2 of 405 million weights (normal, deviation 0.02), and a child whose masters all moved by 4e-6:
four updates of 1e-6.
"""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from time import perf_counter, thread_time

import numpy as np
import torch
from figures import Figure, report
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from assay.artifacts.checkpoints.download import fetch_checkpoint
from assay.artifacts.checkpoints.publish import publish_checkpoint
from assay.artifacts.checkpoints.tensor_delta import apply_delta, make_delta
from assay.artifacts.store_objects import CHUNK_BYTES
from assay.environments.registry import make_environment
from assay.inference.checkpoint import Checkpoint, load_checkpoint
from assay.inference.draft import Request
from assay.inference.folder import (
    MANIFEST_FILE,
    MODEL_FILE,
    digest_structure,
    digest_tensors,
    find_tensors,
)
from assay.network.store.folder import open_folder
from assay.protocol.encoding import to_json
from assay.protocol.manifest import TensorPlace, compute_tensor_root
from assay.training import GENESIS, Group, LearnConfig, Learner
from assay.training.text_model import TextConfig, train_text_model

GROUPS, GROUP_SIZE, STEPS, MEASURED = 8, 8, 6, 3
HIDDEN, INNER, LAYERS = 2_048, 5_504, 8
GB = 1e9

Reward = Callable[[int, Sequence[int]], int]


def make_groups(
    checkpoint: Checkpoint,
    model: PreTrainedModel,
    step: int | str,
    score: Reward | None,
    count: int = GROUPS,
) -> list[Group]:
    """Rollouts of the model in its present state, with its own log-probabilities."""
    environment = make_environment("arithmetic", {})
    seeds = [sha256(f"{step} {number}".encode()).digest() for number in range(count)]
    problems = [environment.make_problem(seed, checkpoint.manifest.level_numbers) for seed in seeds]
    prompts = [checkpoint.tokenizer.encode(problem.conversation) for problem in problems]
    requests = [
        Request(tuple(prompt), sha256(seed + bytes([rollout])).digest())
        for prompt, seed in zip(prompts, seeds, strict=True)
        for rollout in range(GROUP_SIZE)
    ]
    drawn = [
        list(map(int, tokens)) for tokens in checkpoint.get_drafter(1_024, model).draft(requests)
    ]
    groups = []
    for number, (problem, prompt) in enumerate(zip(problems, prompts, strict=True)):
        completions = drawn[number * GROUP_SIZE :][:GROUP_SIZE]
        rewards = [
            environment.score(problem, checkpoint.tokenizer.decode(tokens)).correctness
            if score is None
            else score(number, tokens)
            for tokens in completions
        ]
        logprobs = measure_logprobs(model, prompt, completions)
        groups.append(Group(prompt, completions, rewards, logprobs))
    return groups


def measure_logprobs(
    model: PreTrainedModel, prompt: list[int], completions: list[list[int]]
) -> list[list[float]]:
    """Log-probabilities of each token of each completion, in one batch padded on the right."""
    rows = [torch.tensor(prompt + tokens) for tokens in completions]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    with torch.no_grad():
        logprobs = model(input_ids=ids[:, :-1]).logits.float().log_softmax(-1)
    chosen = logprobs.gather(2, ids[:, 1:, None])[:, :, 0]
    first = len(prompt) - 1
    return [chosen[i, first : first + len(c)].tolist() for i, c in enumerate(completions)]


def make_bench_model(folder: Path) -> Path:
    """Write a model with many choices, in the shipped model's shape. Returns its folder."""
    shutil.copytree(GENESIS, folder)
    model = train_text_model(TextConfig(steps=60))
    weights = {n: w.to(torch.bfloat16).contiguous() for n, w in model.state_dict().items()}
    save_file(weights, folder / MODEL_FILE)
    manifest = replace(
        load_checkpoint(GENESIS).manifest, tensors=compute_tensor_root(digest_tensors(folder))
    )
    (folder / MANIFEST_FILE).write_text(json.dumps(to_json(manifest)))
    return folder


def count_even(number: int, tokens: Sequence[int]) -> int:
    """The bench model's reward."""
    return 1_000_000 * (2 * sum(token % 2 for token in tokens) < len(tokens))


def measure_step(
    folder: Path, learning_rate: float, score: Reward | None
) -> tuple[float, float, float]:
    """Three shares for a step: its delta's size and its changes' entropy, both of the checkpoint's
    size, and the share of values that changed."""
    checkpoint = load_checkpoint(folder)
    config = LearnConfig(learning_rate=learning_rate)
    model = checkpoint.load_trainable()  # the learner's weights are its own
    learner = Learner(model, config)
    sizes, entropies, shares = [], [], []
    for step in range(STEPS):
        before = learner.bf16_state()
        learner.learn(make_groups(checkpoint, model, step, score))
        after = learner.bf16_state()
        if step >= STEPS - MEASURED:
            pairs = [(view(before[name]), view(after[name])) for name in after]
            total = sum(len(child) for _, child in pairs)
            deltas = [make_delta(*pair, len(pair[1])) for pair in pairs]
            sent = [len(d) if d else len(p[1]) for d, p in zip(deltas, pairs, strict=True)]
            changed = sum(int((before[name] != after[name]).sum()) for name in after)
            sizes.append(sum(sent) / total)
            entropies.append(sum(measure_entropy(*pair) for pair in pairs) / 8 / total)
            shares.append(changed / (total / 2))
    return fmean(sizes), fmean(entropies), fmean(shares)


def measure_entropy(parent: memoryview, child: memoryview) -> float:
    """Bits of a tensor's changes, by their frequencies among values of the same exponent."""
    before, after = (np.frombuffer(data, "<u2") for data in (parent, child))
    change, exponents = after - before, before >> 7 & 0xFF
    bits = 0.0
    for exponent in np.unique(exponents):
        _, counts = np.unique(change[exponents == exponent], return_counts=True)
        bits -= float((counts * np.log2(counts / counts.sum())).sum())
    return bits


def view(tensor: Tensor) -> memoryview:
    return memoryview(tensor.contiguous().view(torch.int16).numpy()).cast("B")


def make_large(models: Path) -> tuple[bytes, bytes]:
    """Two checkpoints of 405 million weights, the second one step after the first."""
    generator = torch.Generator().manual_seed(1)
    shapes = {
        "q": (HIDDEN, HIDDEN),
        "k": (HIDDEN, HIDDEN),
        "v": (HIDDEN, HIDDEN),
        "o": (HIDDEN, HIDDEN),
        "up": (INNER, HIDDEN),
        "gate": (INNER, HIDDEN),
        "down": (HIDDEN, INNER),
    }
    parent: dict[str, Tensor] = {}
    child: dict[str, Tensor] = {}
    for layer in range(LAYERS):
        for kind, shape in shapes.items():
            master = torch.randn(shape, generator=generator) * 0.02
            moves = torch.randint(0, 2, shape, generator=generator) * 8e-6 - 4e-6
            parent[f"layers.{layer}.{kind}"] = master.to(torch.bfloat16)
            child[f"layers.{layer}.{kind}"] = (master + moves).to(torch.bfloat16)
    first = save_large(models, parent, bytes(32))
    return first, save_large(models, child, first)


def save_large(models: Path, weights: dict[str, Tensor], parent: bytes) -> bytes:
    folder = models / "new"
    shutil.copytree(GENESIS, folder)
    save_file(weights, folder / MODEL_FILE, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
    }
    config.pop("layer_types", None)
    (folder / "config.json").write_text(json.dumps(config))
    manifest = replace(
        load_checkpoint(GENESIS).manifest,
        structure=digest_structure(folder),
        tensors=compute_tensor_root(digest_tensors(folder)),
        parent=parent,
    )
    (folder / MANIFEST_FILE).write_text(json.dumps(to_json(manifest)))
    folder.rename(models / manifest.digest.hex())
    return manifest.digest


def time_fetch(source: Path, digest: bytes, root: Path, repeats: int = 3) -> float:
    """Least seconds of some fetches. The folder is removed after each but the last."""
    taken = []
    for _ in range(repeats):
        shutil.rmtree(root / digest.hex(), ignore_errors=True)
        began = perf_counter()
        fetch_checkpoint([open_folder(source)], digest, root)
        taken.append(perf_counter() - began)
    return min(taken)


def time_disk(path: Path, source: Path, repeats: int = 3) -> float:
    """Least seconds to read as many bytes, hash them and write them to the disk, with one thread
    for each core."""
    threads = torch.get_num_threads()
    size = source.stat().st_size
    part = -(-size // threads // CHUNK_BYTES) * CHUNK_BYTES

    def run(start: int) -> None:
        found = sha256()
        with path.open("r+b") as file, source.open("rb") as data:
            data.seek(start)
            file.seek(start)
            for at in range(start, min(size, start + part), CHUNK_BYTES):
                chunk = data.read(min(CHUNK_BYTES, size - at))
                found.update(chunk)
                file.write(chunk)

    taken = []
    for _ in range(repeats):
        path.unlink(missing_ok=True)
        path.touch()
        began = perf_counter()
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(run, range(0, size, part)))
        with path.open("r+b") as file:
            os.fsync(file.fileno())
        taken.append(perf_counter() - began)
    path.unlink()
    return min(taken)


def time_codec(models: Path, first: bytes, second: bytes) -> tuple[float, float]:
    """Seconds of one processor to make and to apply the deltas of all tensors, in memory."""
    places = [find_tensors(models / digest.hex()) for digest in (first, second)]
    made = applied = 0.0
    for name, (path, place) in places[1].items():
        parent, child = read(*places[0][name]), read(path, place)
        began = thread_time()
        delta = make_delta(memoryview(parent), memoryview(child), len(child))
        made += thread_time() - began
        assert delta is not None
        began = thread_time()
        parts = list(apply_delta(len(child), BytesIO(parent).read, BytesIO(delta).read))
        applied += thread_time() - began
        assert b"".join(parts) == child
    return made, applied


def read(path: Path, place: TensorPlace) -> bytes:
    with path.open("rb") as file:
        file.seek(place.start)
        return file.read(place.end - place.start)


def measure_travel(root: Path) -> list[Figure]:
    """Figures of fetching a whole checkpoint and its deltas, compared with the disk's time."""
    first, second = make_large(root / "models")
    size = (root / "models" / first.hex() / MODEL_FILE).stat().st_size
    for digest in (first, second):
        began = perf_counter()
        publish_checkpoint(open_folder(root / "store"), root / "models" / digest.hex(), digest)
        published = perf_counter() - began
    deltas = sum(p.stat().st_size for p in (root / "store").rglob("deltas/*"))
    made, applied = time_codec(root / "models", first, second)
    disk = time_disk(root / "scratch", root / "models" / first.hex() / MODEL_FILE)
    whole = time_fetch(root / "store", first, root / "fetched")
    by_delta = time_fetch(root / "store", second, root / "fetched")
    unit = GB / size
    copied = "read, hash, write alone"
    return [
        Figure("large model, delta of its bf16 checkpoint", 100 * deltas / size, "%", bound=10),
        Figure(
            "fetch whole", whole * unit, "s/GB", copied, disk * unit, max(2.0, 1.25 * disk * unit)
        ),
        Figure("fetch by deltas", by_delta * unit, "s/GB", copied, disk * unit),
        Figure("make deltas, one core, in memory", made * unit, "s/GB"),
        Figure("apply deltas, one core, in memory", applied * unit, "s/GB"),
        Figure("publish with deltas, read back", published * unit, "s/GB"),
    ]


def main() -> None:
    figures = []
    with TemporaryDirectory(prefix="assay-") as scratch:
        root = Path(scratch)
        figures += measure_travel(root)
        bench = make_bench_model(root / "bench")
        for name, folder, score, rate, bound in (
            ("shipped model", GENESIS, None, 1e-6, 10.0),
            ("shipped model", GENESIS, None, 5e-5, None),
            ("bench model", bench, count_even, 1e-6, 10.0),
        ):
            size, entropy, share = measure_step(folder, rate, score)
            what = f"{name}, rate {rate:g}"
            figures += [
                Figure(f"{what}: delta of its bf16 checkpoint", 100 * size, "%", bound=bound),
                Figure(f"{what}: entropy of the changes", 100 * entropy, "%"),
                Figure(f"{what}: values that changed", 100 * share, "%"),
            ]
    report("checkpoints that travel", figures, torch.get_num_threads())


if __name__ == "__main__":
    main()
