"""A miner's file and its audit: bytes per token, bytes and time of reading it, the evenness of pay
for honest work, the tokens of the forward passes, and the chance to find a fake.

Bytes per token are those of files of 24 groups of 16: of the shipped model, and made up in a large
model's shape (`rows`). The audit's reading is counted in a file of 1,024 groups, of which 64 are
distinct, with several audit seeds; a validator reads 256 such files. Times are processor time, the
least of several runs, so other work of the machine does not count. Forward passes and detection are
computed, not measured; they are compared with an audit of four whole groups.
"""

import io
import sys
import zlib
from dataclasses import replace
from hashlib import sha256
from math import comb
from pathlib import Path
from time import process_time
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from figures import FAST, Figure, measure_together, report
from others import TOPLOC_TOKENS, PublicSketch, build_toploc, load_toploc
from rows import (
    ID_BITS,
    SIZE,
    TOKENS,
    VOCABULARY,
    Parts,
    compute_zipf,
    draw_by_zipf,
    draw_uniformly,
    make_dear_group,
    make_groups,
    make_padded_group,
)
from work import load_genesis, make_any_projection, make_problems, make_requests

from assay.artifacts.submissions.reading import read_submission
from assay.verification import plan_audit

sys.path.append(str(Path(__file__).parents[1]))
from assay.environments.registry import make_environment
from assay.environments.rewards import choose_rewards, compute_reward
from assay.inference.checkpoint import Checkpoint
from assay.inference.generate import generate_groups
from assay.lab.gauntlet.attack_setup import MemorySubmission
from assay.protocol.beacon import QUICKNET, Beacon
from assay.protocol.context import Committed, Context, Member
from assay.protocol.hashing import DIGEST_BYTES
from assay.protocol.parameters import MAIN_TIMING, MAIN_WORK, PROTOCOL_VERSION, Parameters
from assay.protocol.reason import Refusal
from assay.protocol.selection import select_committed
from assay.protocol.submission import (
    SKETCH_COLUMNS,
    Header,
    Range,
    Rollout,
    assemble_submission,
    decode_opening,
    encode_group,
    encode_submission,
    get_id_bits,
    get_opening_bytes,
)
from assay.protocol.window import Block
from assay.subnet.presets import DEMO_ENVIRONMENT, DEMO_SETTINGS, make_demo_parameters
from assay.verification.examination import decode_groups
from assay.verification.settlement import compute_value
from tests.lab.gauntlet.incentives import WINDOWS, Fake, compute_window_pay

_T = TypeVar("_T")
Group = list[Rollout]

MINERS, GROUPS, FILE_GROUPS = 256, MAIN_WORK.group_cap, 24
DISTINCT, AUDITS, REPEATS = (8, 2, 3) if FAST else (64, 16, 15)
VALUED, BATCH, SETTLEMENTS = (32, 32, 2_000) if FAST else (256, 32, 20_000)


def digest(name: str) -> bytes:
    return sha256(name.encode()).digest()


def make_parameters() -> Parameters:
    demo = make_demo_parameters(digest("chain"), QUICKNET, 0, digest("trainer"), digest("genesis"))
    return replace(demo, timing=MAIN_TIMING, work=MAIN_WORK)


HOTKEY, CHECKPOINT = digest("miner"), digest("checkpoint")
#: Groups of the baseline audit, each of them read and computed whole.
WHOLE = 4


# --- bytes a token


def list_sizes(
    name: str, groups: list[Group], vocabulary: int, law: float | None = None
) -> list[Figure]:
    """A file's fields compared with the entropy of its rows, without its digests; and the whole
    file.

    Args:
        law: entropy in bits of the law of its ids; None: unknown.
    """
    data, _ = encode_submission(
        groups,
        parameters=bytes(DIGEST_BYTES),
        window=0,
        hotkey=HOTKEY,
        checkpoint=CHECKPOINT,
        id_bits=get_id_bits(vocabulary),
    )
    opening = decode_opening(data[: get_opening_bytes(len(groups))], len(groups))
    tokens = sum(len(rollout.tokens) for group in groups for rollout in group)
    digests = sum(
        opening.find_head(g).size - opening.sizes[g].head + 2 * DIGEST_BYTES * len(group)
        for g, group in enumerate(groups)
    )
    proofs = sum(s.proofs for s in opening.sizes) + DIGEST_BYTES * sum(map(len, groups))
    bits = 8 * (len(data) - digests) / tokens
    ids, rest = compute_entropy(groups)
    fields, beside = f"{name}: file without digests", "zero-order entropy of its"
    figures = [Figure(fields, bits, "bit/tok", f"{beside} rows", ids + rest, ratio_bound=1.08)]
    if law is not None:
        baseline = f"{beside} ids' law and of its other rows", law + rest
        figures.append(Figure(fields, bits, "bit/tok", *baseline, ratio_bound=1.08))
    proof, whole = f"{name}: proofs with digests", f"{name}: whole file"
    figures += [
        Figure(f"{name}: digests", 8 * digests / tokens, "bit/tok"),
        *(
            Figure(proof, proofs / tokens, "B/tok", baseline, size)
            for baseline, size in measure_other_proofs().items()
        ),
        *(
            Figure(whole, len(data) / tokens, "B/tok", baseline, size / tokens)
            for baseline, size in (
                ("token ids alone, Parquet with zstd", measure_ids(groups)),
                ("raw rows by zlib", sum(len(zlib.compress(join_rows(g))) for g in groups)),
            )
        ),
    ]
    return figures


def compute_entropy(groups: list[Group]) -> tuple[float, float]:
    """Bits per token, by the frequency of each value in the whole file: of ids; of classes of
    log-probabilities with the bits below them, and of sketches."""
    rollouts = [rollout for group in groups for rollout in group]
    logprobs = np.concatenate([rollout.logprobs for rollout in rollouts])
    classes = np.frexp(logprobs.astype(float))[1]
    below = float(np.maximum(classes - 1, 0).mean())
    ids = count_entropy(np.concatenate([rollout.tokens for rollout in rollouts]))
    sketch = count_entropy(np.concatenate([rollout.sketch.ravel() for rollout in rollouts]))
    return ids, count_entropy(classes) + below + SKETCH_COLUMNS * sketch


def count_entropy(values: np.ndarray) -> float:
    _, counts = np.unique(values, return_counts=True)
    return sum_entropy(counts / len(values))


def sum_entropy(shares: np.ndarray) -> float:
    return float(-(shares * np.log2(shares)).sum())


def measure_other_proofs() -> dict[str, float]:
    """Bytes per token of other systems' proofs."""
    sizes: dict[str, float] = {"the public subnet's sketch alone": PublicSketch.BYTES}
    if (toploc := load_toploc()) is not None:
        (chunk,) = build_toploc(toploc, torch.randn(TOPLOC_TOKENS, 1_536).bfloat16())
        sizes["toploc, without log-probabilities"] = len(chunk) / TOPLOC_TOKENS
    return sizes


def measure_ids(groups: list[Group]) -> int:
    """Bytes of a Parquet file of the token ids alone."""
    file = io.BytesIO()
    ids = pa.array([r.tokens for group in groups for r in group], pa.list_(pa.uint32()))
    pq.write_table(
        pa.table({"tokens": ids}),
        file,
        compression="zstd",
        write_statistics=False,
        row_group_size=len(groups[0]),
    )
    return len(file.getvalue())


def join_rows(group: Group) -> bytes:
    """The columns as they are in memory, one after the other: 10 bytes per token."""
    columns = zip(*((r.tokens, r.logprobs, r.sketch) for r in group), strict=True)
    return b"".join(np.concatenate(column).tobytes() for column in columns)


# --- reading


class CountingSubmission(MemorySubmission):
    """A file in memory that counts the bytes read."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.requests = self.bytes = 0

    def read(self, part: Range) -> bytes:
        self.requests += 1
        self.bytes += part.size
        return super().read(part)


def make_context(audit: int) -> Context:
    """A window with the main network's rules and no commitments. Each `audit` draws other
    groups."""
    block = Block(1, digest("block"), 0)
    return Context(
        0,
        block,
        block,
        block,
        Beacon(1, b"challenge"),
        Beacon(2, b"audit %d" % audit),
        None,
        {HOTKEY: Member(0, 0)},
        {},
        CHECKPOINT,
        make_parameters(),
    )


def make_file(parts: list[Parts]) -> tuple[bytes, Committed]:
    """A file of these groups, and the commitment to it."""
    header = Header(
        version=PROTOCOL_VERSION,
        parameters=make_parameters().digest,
        window=0,
        hotkey=HOTKEY,
        checkpoint=CHECKPOINT,
        groups=len(parts),
        group_size=SIZE,
        id_bits=ID_BITS,
        index=bytes(DIGEST_BYTES),
        tree=bytes(DIGEST_BYTES),
    )
    data, root = assemble_submission(header, parts)
    return data, Committed(root, len(parts), 0, "bench:store")


def read(context: Context, data: bytes, committed: Committed) -> CountingSubmission:
    """Read, hash and decode a file, as the judge does before it looks at tokens."""
    submission = CountingSubmission(data)
    context = replace(context, commitments={HOTKEY: committed})
    checked = read_submission(plan_audit(context, HOTKEY), submission)
    assert checked.refusal is None, checked.refusal
    shown = decode_groups(checked.groups, ID_BITS)
    assert not isinstance(shown, Refusal), shown
    return submission


def list_reading(name: str, groups: list[Group]) -> list[Figure]:
    """Bytes and requests of an audit."""
    parts = [encode_group(group, ID_BITS) for group in groups]
    data, committed = make_file([parts[index % len(parts)] for index in range(GROUPS)])
    found = [read(make_context(audit), data, committed) for audit in range(AUDITS)]
    requests, size = (
        sum(getattr(one, what) for one in found) / AUDITS for what in ("requests", "bytes")
    )
    every = len(data) * MINERS / 1e6
    return [
        Figure(
            f"{name}: bytes read of {MINERS} files",
            size * MINERS / 1e6,
            "MB",
            "whole files",
            every,
            bound=40,
        ),
        Figure(f"{name}: requests a file", requests, ""),
    ]


def list_times(groups: list[Group], random: np.random.Generator) -> list[Figure]:
    """Times to read an honest file, and the most costly one of the same lengths; to write and to
    read tokens."""
    context = make_context(0)
    audited = select_committed(context, HOTKEY, GROUPS)
    valued = {group.index for group in audited if group.valued}
    honest = encode_group(groups[0], ID_BITS)
    dear, padded = make_dear_group(random, groups[0]), make_padded_group(random, groups[0])
    files = [
        make_file([honest] * GROUPS),
        make_file([dear if index in valued else padded for index in range(GROUPS)]),
    ]
    plain, dearest = measure_together(
        [lambda file=file: read(context, *file) for file in files], REPEATS, process_time
    )
    alone, rows = make_file([honest]), join_rows(groups[0])
    packed = zlib.compress(rows)
    tokens = sum(len(rollout.tokens) for rollout in groups[0])
    encode_s, decode_s, pack_s, unpack_s = measure_together(
        [
            lambda: encode_group(groups[0], ID_BITS),
            lambda: read(context, *alone),  # an audit of one group reads the whole file
            lambda: zlib.compress(rows),
            lambda: zlib.decompress(packed),
        ],
        REPEATS,
        process_time,
    )
    return [
        Figure(
            "CPU time to read the most expensive accepted file",
            dearest * 1e3,
            "ms",
            "an honest one of the same lengths",
            plain * 1e3,
            ratio_bound=2,
        ),
        *(
            Figure(name, ours / tokens * 1e6, "µs/tok", "raw rows by zlib", theirs / tokens * 1e6)
            for name, ours, theirs in (
                ("a group encoded and hashed", encode_s, pack_s),
                ("a group read, hashed and decoded", decode_s, unpack_s),
            )
        ),
    ]


# --- pay


def generate(checkpoint: Checkpoint) -> list[Group]:
    """Groups of the shipped model."""
    temperature = MAIN_WORK.temperature
    requests = make_requests(checkpoint, VALUED, SIZE)
    groups: list[Group] = []
    for start in range(0, VALUED, BATCH):
        groups += generate_groups(
            requests[start : start + BATCH],
            checkpoint.get_drafter(temperature),
            checkpoint.get_reference(temperature),
            checkpoint.get_rules(temperature),
            make_any_projection(checkpoint),
        )
        print(f"  {len(groups)} of {VALUED} groups generated", end="\r", file=sys.stderr)
    return groups


def value_groups(checkpoint: Checkpoint, groups: list[Group]) -> np.ndarray:
    """The groups' values, as the judge computes them; float64 [groups]."""
    environment = make_environment(DEMO_ENVIRONMENT, DEMO_SETTINGS)
    tokenizer, paid, values = checkpoint.tokenizer, choose_rewards(environment.rated), []
    for problem, group in zip(make_problems(checkpoint, len(groups)), groups, strict=True):
        scores = [
            environment.score(problem, tokenizer.decode(rollout.tokens.tolist()))
            for rollout in group
        ]
        rewards = [compute_reward(parts, 0, paid, 1) for parts in scores]
        value = compute_value(
            MAIN_WORK,
            lengths=[len(rollout.tokens) for rollout in group],
            prompt_tokens=len(tokenizer.encode(problem.conversation)),
            mean_reward=sum(rewards) // len(rewards),
            mean_correctness=sum(parts.correctness for parts in scores) // len(scores),
        )
        values.append(value)
    return np.array(values, float)


def simulate_pay(values: np.ndarray, valued: int) -> float:
    """Standard deviation of a settlement's score, in percent of its mean."""
    random = np.random.default_rng(0)
    scores = np.zeros(SETTLEMENTS)
    for _ in range(WINDOWS):
        scores += random.choice(values, (SETTLEMENTS, valued)).mean(axis=1)
    return float(100 * scores.std() / scores.mean())


def list_pay(values: np.ndarray) -> list[Figure]:
    new, old = (simulate_pay(values, valued) for valued in (MAIN_WORK.valued_groups, WHOLE))
    name = f"deviation of an honest score of {WINDOWS} windows"
    spread = 100 * values.std() / values.mean()
    return [
        Figure(
            f"{name}, {MAIN_WORK.valued_groups} groups valued",
            new,
            "%",
            f"{WHOLE} groups valued",
            old,
            bound=1.5,
        ),
        Figure("deviation of one group's value", spread, "%"),
    ]


# --- computed


def list_forward() -> list[Figure]:
    """Tokens that the forward passes for a miner need. Several rollouts of a group share its
    prompt."""
    rollouts, size, figures = MAIN_WORK.audited_rollouts, MAIN_WORK.group_size, []
    for share, bound in ((0.1, 0.30), (1, None), (4, None)):
        prompt = share * TOKENS
        new, old = rollouts * (prompt + TOKENS), WHOLE * (prompt + size * TOKENS)
        name = f"computed: forward tokens a file, prompt of {share:g} × {TOKENS}"
        figures.append(Figure(name, new, "tokens", f"{WHOLE} whole groups", old, ratio_bound=bound))
    return figures


def list_detection() -> list[Figure]:
    """The chance that an audit misses fakes, each as long as a genuine rollout."""
    quarter = GROUPS // 4, SIZE
    forty_eighth = [(GROUPS * SIZE // (48 * fakes), fakes) for fakes in range(1, SIZE + 1)]
    figures = []
    for name, cases, window, settlement in (
        ("a quarter of all groups fake", [quarter], 0.01, None),
        ("one in 48 rollouts fake, hidden best", forty_eighth, None, 0.02),
    ):
        new = max(compute_miss(groups, fakes) for groups, fakes in cases)
        old = max(compute_old_miss(groups) for groups, _ in cases)
        for span, times, bound in (
            ("a window", 1, window),
            (f"{WINDOWS} windows", WINDOWS, settlement),
        ):
            figures.append(
                Figure(
                    f"computed: P(no fake is seen in {span}), {name}",
                    new**times,
                    "share",
                    f"{WHOLE} whole groups",
                    old**times,
                    bound=bound,
                )
            )
    return figures


def compute_miss(groups: int, fakes: int) -> float:
    """The exact chance to miss them: `groups` groups with `fakes` fakes each."""
    return 1 - compute_window_pay(MAIN_WORK, GROUPS, groups, Fake(fakes, 1.0))[1]


def compute_old_miss(groups: int) -> float:
    """The chance to miss a fake if whole groups are drawn without replacement: it is seen in a
    drawn one."""
    return comb(GROUPS - groups, WHOLE) / comb(GROUPS, WHOLE)


def main() -> None:
    torch.set_num_threads(1)
    checkpoint = load_genesis()
    shipped = generate(checkpoint)
    random = np.random.default_rng(1)
    figures = list_sizes("shipped model", shipped[:FILE_GROUPS], len(checkpoint.tokenizer.drawable))
    laws = {f"V = {VOCABULARY:,}, Zipf {exponent:g}": exponent for exponent in (1.1, 1.0)}
    for name, exponent in laws.items():
        groups = make_groups(random, FILE_GROUPS, draw_by_zipf(random, exponent))
        law = sum_entropy(compute_zipf(exponent))
        figures += list_sizes(name, groups, VOCABULARY, law)
    draws = {name: draw_by_zipf(random, exponent) for name, exponent in laws.items()}
    draws[f"V = {VOCABULARY:,}, uniform"] = draw_uniformly(random)
    made = {name: make_groups(random, DISTINCT, draw) for name, draw in draws.items()}
    for name, groups in made.items():
        figures += list_reading(name, groups)
    figures += list_times(next(iter(made.values())), random)
    figures += list_pay(value_groups(checkpoint, shipped))
    figures += list_forward()
    figures += list_detection()
    report(f"submissions: files of {SIZE} × {TOKENS} tokens a group, and their audit", figures, 1)


if __name__ == "__main__":
    main()
