"""A pipeline over the internet, measured: one model's layers split between two processes of one
thread, over a link of 100 Mbit/s and 30 ms each way. It is compared with one process, and with two
processes that learn apart and exchange their results after several steps (an outer step).

The stages are the product's learner with some of the layers each (`pipeline_worker.py`). States go
one way and gradients the other, a pack at a time, while the next pack is computed. The link is a
relay of this repository, a leaky bucket (`slow_link.py`), not the kernel's: no packet is lost and
no window opens slowly, so a real link is slower. For a slow processor 100 Mbit/s are much. So the
same is measured over a slower link: one that is to this machine what 100 Mbit/s are to two H200s
with half of a model of 7 billion weights each. `docs/pipelines.md` computes the cost of larger
models from these bytes. `--fast`: a small model, one step.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from figures import FAST, Figure, report
from pipeline_worker import SIDES, STAGES, Task
from safetensors.torch import load_file
from slow_link import PATIENCE_S, Relay
from step import PROMPTS, SMALL, make_groups, make_model
from transformers import Qwen2Config

from assay.inference.reading import make_even_packs
from assay.subnet.recipe import read_recipe
from assay.subnet.window_costs import CARDS, compute_learn_seconds
from assay.training import Group

WORKER = Path(__file__).with_name("pipeline_worker.py")
RATE, DELAY_S = 100e6, 0.030
#: 6 + 2 layers: the head, in the last stage, has as many products as four layers.
TASK = Task(split=6, tokens_per_pass=256, steps=4, inner=8, rounds=1)
GROUPS, MODEL, LONG = 2, SMALL, (16, 64)
if FAST:
    TASK, LONG = Task(split=2, tokens_per_pass=256, steps=1, inner=2, rounds=1), (8, 32)
    MODEL = Qwen2Config(
        vocab_size=SMALL.vocab_size,  # the groups' log-probabilities need so many ids
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=False,
    )
#: Bytes of a state's value: as the learner computes here, and as a card would send it.
FLOAT, HALF = 4, 2
#: Most distance between gradients of the stages and of one process. Only rounding makes them
#: differ.
DISTANCE_MAX = 1e-4

Steps = list[dict[str, float]]


def run(folder: Path, roles: Sequence[str], rates: Sequence[float]) -> dict[str, list[Steps]]:
    """Each process's measurements over each link. `rates`: bits per second; 0: as fast as this
    machine."""
    relays = [Relay(rate, DELAY_S if rate else 0.0) for rate in rates]
    ports = [str(relay.port) for relay in relays]
    command = [sys.executable, str(WORKER), str(folder)]
    started = [subprocess.Popen([*command, role, *ports]) for role in roles]
    try:
        codes = [process.wait(PATIENCE_S) for process in started]
    finally:
        for process in started:
            process.kill()
        for relay in relays:
            relay.close()
    if any(codes):
        sys.exit(f"the processes {', '.join(roles)} ended with {codes}")
    return {role: json.loads((folder / f"{role}.json").read_text()) for role in roles}


def take_least(steps: Steps) -> dict[str, float]:
    """The fastest step: on a busy machine the others are slower."""
    return min(steps, key=lambda step: step["seconds"])


def compare_gradients(folder: Path, split: int) -> float:
    """Length of the difference between the stages' gradients and one process's, over the latter's
    length."""
    whole = load_file(folder / "one.safetensors")
    stages = dict(load_file(folder / "first.safetensors"))
    for name, gradient in load_file(folder / "last.safetensors").items():
        parts = name.split(".")
        if parts[1] == "layers":
            parts[2] = str(int(parts[2]) + split)
        stages[".".join(parts)] = gradient
    if whole.keys() != stages.keys():
        sys.exit(f"the stages have other weights than the whole: {whole.keys() ^ stages.keys()}")
    apart = sum(float((whole[n] - stages[n]).square().sum()) for n in whole)
    distance = float((apart / sum(float(g.square().sum()) for g in whole.values())) ** 0.5)
    if not distance <= DISTANCE_MAX:
        sys.exit(f"the stages' gradients are not the whole's: {distance:.3g} of it apart")
    return distance


def count_read(groups: Sequence[Group]) -> int:
    """Tokens that a step reads. A prompt is read once in a pack."""
    rows = [(group.prompt, row) for group in groups for row in group.completions]
    packs = make_even_packs(*map(list, zip(*rows, strict=True)), TASK.tokens_per_pass, 1)
    return sum(len(pack.tokens) for pack in packs)


def compute_slow_rate(seconds_a_token: float) -> float:
    """Bits per second that are to a stage of this machine what RATE is to half a model of 7 billion
    weights on an H200, whose states are sent in bf16."""
    recipe = read_recipe("7b-8-cards")
    course, model = recipe.course, recipe.model
    theirs = compute_learn_seconds(model, CARDS["H200"], course.lengths, 1, recipe.trainer) / 2
    share = 8 * HALF * model.hidden_size / RATE / theirs
    return 8 * FLOAT * MODEL.hidden_size / (share * seconds_a_token / 2)


def describe(rows: Sequence[tuple[str, float, dict[str, float]]], alone: float) -> list[Figure]:
    """Figures of the measurements: name, tokens, and one side's step."""
    speeds = [
        Figure(f"{name}: tokens a second", tokens / side["seconds"], "/s", "one process", alone)
        for name, tokens, side in rows
    ]
    waits = [
        Figure(f"{name}: time spent waiting", 100 * side["waited"] / side["seconds"], "%")
        for name, _, side in rows
    ]
    shares = [
        Figure(f"{name}: share of a core while not waiting", 100 * compute_share(side), "%")
        for name, _, side in rows
    ]
    return speeds + waits + shares


def compute_share(side: dict[str, float]) -> float:
    """The share of a core that a process had: less than one if the machine had other work."""
    return side["processor"] / (side["seconds"] - side["waited"])


def main() -> None:
    groups = make_groups(GROUPS, MODEL.vocab_size, PROMPTS, LONG)
    tokens = sum(len(row) for group in groups for row in group.completions)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = make_model(MODEL)
        weights = sum(weight.numel() for weight in model.parameters())
        model.bfloat16().save_pretrained(folder / "model")
        del model
        (folder / "task.json").write_text(json.dumps(asdict(TASK)))
        (folder / "groups.json").write_text(json.dumps([asdict(group) for group in groups]))
        one = take_least(run(folder, ["one"], [])["one"][0])
        slow = compute_slow_rate(one["seconds"] / count_read(groups))
        stages = run(folder, tuple(STAGES), [0.0, RATE, slow])
        distance = compare_gradients(folder, TASK.split)
        apart = run(folder, SIDES, [RATE, RATE])
    last = [take_least(steps) for steps in stages["last"]]
    deltas, whole = map(take_least, apart["left"])
    round_tokens = TASK.inner * tokens
    rows = [
        ("pipeline, no limit on the link", tokens, last[0]),
        ("pipeline, 100 Mbit/s", tokens, last[1]),
        ("pipeline, link slowed as for H200s", tokens, last[2]),
        (f"apart, lossless deltas every {TASK.inner} steps", round_tokens, deltas),
        (f"apart, float32 differences every {TASK.inner} steps", round_tokens, whole),
    ]
    sent, read = (stages["first"][0][0][what] for what in ("sent", "tokens"))
    figures = [
        *describe(rows, tokens / one["seconds"]),
        Figure("one process: share of a core", 100 * one["processor"] / one["seconds"], "%"),
        Figure("speed of the slowed link", slow / 1e6, "Mbit/s"),
        Figure("sent from stage to stage, each way", sent / read, "bytes a token"),
        Figure(
            "sent from stage to stage, each column of a hidden state",
            sent / read / MODEL.hidden_size,
            "bytes",
        ),
        Figure("lossless deltas sent, each way", deltas["sent"] / weights, "bytes a weight"),
        Figure("float32 differences sent, each way", whole["sent"] / weights, "bytes a weight"),
        Figure(
            "distance of the stages' gradients from one process's", distance, "", bound=DISTANCE_MAX
        ),
    ]
    figures += [
        Figure(f"CPU time, {name}", side["processor"], "s", "one process", one["processor"])
        for name, side in (("first stage", take_least(stages["first"][0])), ("last stage", last[0]))
    ]
    report(
        f"A pipeline of two stages over {RATE / 1e6:.0f} Mbit/s and {1_000 * DELAY_S:.0f} ms each "
        f"way: {weights / 1e6:.1f} M weights of hidden size {MODEL.hidden_size}, a step of "
        f"{tokens:,} tokens drawn, {read:,.0f} read",
        figures,
        threads=1,
    )


if __name__ == "__main__":
    main()
