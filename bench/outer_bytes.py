"""The size of an outer step: a trainer's difference from the round's parent after H steps, as a
share of the bf16 checkpoint, by form and learning rate; and how fast differences are encoded and
decoded on one core.

Steps are real, as in `checkpoints.py`: rollouts of the model itself, judged, and the trainer's
learner. Three steps come before the round, because the first begins with masters that are already
bf16. One model is the demo's. The other has a few million weights, is made here, and does no sums:
its reward is 1 if a completion has more even ids than odd ones. The exact form sends all 32 bits of
every master, the rounded one the part that shows in bf16. A sparse form's bytes follow from the
shapes alone: 64 of 4,096 values, as SparseLoCo ran, take one percent, and 24 fit the target of half
a percent. Ctrl-C reports the finished rounds, and the same command continues from the files in
--out. `--fast`: the demo's model, one rate, H of 1 and 2.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from time import thread_time

import torch
from checkpoints import Reward, count_even, make_groups
from figures import FAST, OUT, Figure, report
from safetensors.torch import save_file
from torch import Tensor

from assay.inference.checkpoint import load_checkpoint
from assay.inference.folder import MODEL_FILE
from assay.network.files import write_json
from assay.rounds.wire import DifferenceForm, decode_difference, encode_difference
from assay.subnet.genesis_checkpoint import make_genesis
from assay.training import GENESIS, LearnConfig, Learner, pick_masters
from assay.training.text_model import TextConfig, train_text_model

#: Learning rates of the demo's model; the other model has only the first.
RATES = (1e-6,) if FAST else (1e-6, 3e-5)
LENGTHS = (1, 2) if FAST else (1, 8, 30)
BEFORE = 3  # steps
FORMS = {
    "exact": DifferenceForm(),
    "rounded": DifferenceForm(bits=16, feedback=1_000_000),
    "sparse, 64 of 4,096, 2 bits": DifferenceForm(64, 4_096, 2, 950_000),
    "sparse, 64 of 4,096, 8 bits": DifferenceForm(64, 4_096, 8, 950_000),
    "sparse, 24 of 4,096, 2 bits": DifferenceForm(24, 4_096, 2, 950_000),
}
#: Targets for a difference, percent of the bf16 checkpoint: rounded at rate 1e-6 and H = 1, and
#: sparse.
ROUNDED_MOST, SPARSE_MOST = 5.0, 0.5
Masters = Mapping[str, Tensor]


def make_larger_model(folder: Path) -> Path:
    """Write a Qwen2 of four million weights whose words nobody can foresee."""
    shutil.copytree(GENESIS, folder)
    config = TextConfig(steps=30, batch=16, hidden=256, layers=5, heads=4, inner=704)
    model = train_text_model(config)
    model.config.save_pretrained(folder)
    weights = {n: w.to(torch.bfloat16).contiguous() for n, w in model.state_dict().items()}
    save_file(weights, folder / MODEL_FILE)
    make_genesis(folder)
    return folder


def get_masters(learner: Learner) -> dict[str, Tensor]:
    masters = pick_masters(dict(learner.export_state()))
    return {name: master.clone() for name, master in masters.items()}


def take_round(folder: Path, rate: float, score: Reward | None) -> Iterator[Masters]:
    """Masters of the parent, then of the child after each number of steps."""
    checkpoint = load_checkpoint(folder)
    model = checkpoint.load_trainable()  # the learner's weights are its own
    learner = Learner(model, LearnConfig(learning_rate=rate))
    for step in range(BEFORE + max(LENGTHS) + 1):
        if step - BEFORE in (0, *LENGTHS):
            yield get_masters(learner)
        if step < BEFORE + max(LENGTHS):
            learner.learn(make_groups(checkpoint, model, step, score))


def measure_round(name: str, rate: float, masters: Iterator[Masters]) -> list[Figure]:
    parent = next(masters)
    size = 2 * sum(tensor.numel() for tensor in parent.values())
    figures = []
    for length, child in zip(LENGTHS, masters, strict=True):
        for kind, form in FORMS.items():
            if form.kept and (rate, length) != (RATES[0], LENGTHS[0]):
                continue  # the bytes of these forms are always the same
            blobs, _ = encode_difference(parent, child, form, {})
            most = ROUNDED_MOST if kind == "rounded" and rate == 1e-6 and length == 1 else None
            what = f"{name}: {kind}" if form.kept else f"{name}, {rate:g}, H = {length}: {kind}"
            percent = 100 * sum(map(len, blobs)) / size
            most = SPARSE_MOST if form.kept == 24 else most
            figures.append(Figure(what, percent, "%", bound=most))
            print(f"  {what}: {percent:.3f} %", flush=True)
    return figures


def measure_speed(count: int = 1 << 20 if FAST else 1 << 23) -> list[Figure]:
    """MB of the bf16 checkpoint per second of one core, on normal weights that moved by 1e-6
    each."""
    random = torch.Generator().manual_seed(1)
    parent = {"w": torch.randn(count, generator=random) * 0.02}
    moves = torch.randn(count, generator=random).sign() * 1e-6
    child = {"w": parent["w"] + moves}
    figures = []
    for kind, form in FORMS.items():
        taken: tuple[list[float], list[float]] = [], []
        for _ in range(3):
            began = thread_time()
            blobs, _ = encode_difference(parent, child, form, {})
            taken[0].append(thread_time() - began)
            began = thread_time()
            decode_difference(parent, blobs, form)
            taken[1].append(thread_time() - began)
        for what, seconds in zip(("encode", "decode"), taken, strict=True):
            figures.append(Figure(f"{what}, {kind}", 2e-6 * count / min(seconds), "MB/s"))
    return figures


def keep_round(name: str, rate: float, folder: Path, score: Reward | None) -> list[Figure]:
    """A round's figures. Finished rounds in --out are not repeated."""
    file = None if OUT is None else OUT / f"{name}-{rate:g}.json"
    if file is not None and file.exists():
        return [Figure(**figure) for figure in json.loads(file.read_text())]
    figures = measure_round(name, rate, take_round(folder, rate, score))
    if file is not None:
        write_json(file, list(map(asdict, figures)))
    return figures


def run_all(figures: list[Figure]) -> None:
    """Add figures as they come. Ctrl-C leaves out the rest."""
    with TemporaryDirectory(prefix="assay-") as scratch:
        try:
            for rate in RATES:
                figures += keep_round("demo's model", rate, GENESIS, None)
            figures += measure_speed()
            if not FAST:
                larger = make_larger_model(Path(scratch) / "larger")
                figures += keep_round("larger model", RATES[0], larger, count_even)
        except KeyboardInterrupt:
            print("  stopped; the same command goes on after the last round", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    figures: list[Figure] = []
    run_all(figures)
    report("Bytes of an outer step", figures, torch.get_num_threads())


if __name__ == "__main__":
    main()
