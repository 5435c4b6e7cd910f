"""A validator's audit of one window, and its memory: 256 miners × 16 rollouts of 128 tokens of the
demo's model, each rollout of a different group and prompt, by the real judge from a real file.

One honest miner's file of 24 groups of 16 is judged 256 times. Reading, hashing, the forward pass
and all tests are done anew each time; only the generation is not. In turn with it runs an audit of
four whole groups of the file: 64 rollouts of four prompts. The end token is one that cannot be
drawn, so every completion has 128 tokens. Seconds are processor time, so other work of the machine
does not count. `--fast` takes 8 miners.
"""

import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

import torch
from figures import FAST, Figure, measure_together, report
from work import load_genesis, write_larger_checkpoint

from assay.artifacts.submissions.file import SubmissionFile
from assay.artifacts.submissions.judge import judge_with_checkpoint
from assay.artifacts.submissions.judging_threads import judge_beside
from assay.environments.dealing import make_miner_problem
from assay.environments.registry import open_environment
from assay.inference.checkpoint import Checkpoint, load_checkpoint
from assay.inference.folder import verify_manifest
from assay.inference.generate import DraftCount, GroupRequest, generate_groups
from assay.inference.workers.messages import WorkerSettings
from assay.inference.workers.pool import open_workers
from assay.lab.simulator import SimulatedChain
from assay.network.beacon import LocalBeacon
from assay.network.store.folder import open_file
from assay.protocol.context import Committed, Context
from assay.protocol.parameters import DEMO_TIMING, MAIN_WORK, Parameters
from assay.protocol.reason import Reason
from assay.protocol.seeds import compute_projection_seed, compute_rollout_seed
from assay.protocol.submission import encode_submission, get_id_bits
from assay.session.window_reader import get_challenge, get_context
from assay.subnet.presets import NETUID, make_demo_parameters
from assay.verification import make_projection

MINERS, GROUPS, TOKENS, THREADS = 8 if FAST else 256, 24, 128, 1
ROLLOUTS, AUDITED, WHOLE = MAIN_WORK.group_size, MAIN_WORK.audited_rollouts, 4
MEMORY_MIB = 2_048
MINER, TRAINER = (sha256(name).digest() for name in (b"miner", b"trainer"))
GENESIS_MS = 1_700_000_000_000


def main() -> None:
    torch.set_num_threads(THREADS)
    checkpoint = make_endless(load_genesis())
    context = open_window(checkpoint)
    started = process_time()
    data, context = mine(checkpoint, context)
    generated = process_time() - started
    seconds = whole = 0.0
    with TemporaryDirectory() as folder:
        path = Path(folder) / "submission.rollouts"
        path.write_bytes(data)

        def judge(groups: Sequence[int] | None, rollouts: int) -> float:
            started = process_time()
            file = SubmissionFile(open_file(path))
            verdict = judge_with_checkpoint(file, MINER, context, checkpoint, groups=groups)
            assert verdict.reason is Reason.ACCEPTED, verdict
            assert verdict.tokens == rollouts * TOKENS
            return process_time() - started

        for miner in range(MINERS):
            seconds += judge(None, AUDITED)
            whole += judge(range(WHOLE), WHOLE * ROLLOUTS)
            if miner % 16 == 15:
                print(f"  {miner + 1} of {MINERS} miners, {seconds:.0f} s", file=sys.stderr)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        beside = measure_workers(path, context, checkpoint, min(MINERS, 64), "demo model")
        beside += measure_larger(Path(folder))
    report(
        f"audit of {MINERS} miners × {AUDITED} rollouts × {TOKENS} tokens, demo model",
        [
            Figure("peak memory of both audits", memory, "MiB", bound=MEMORY_MIB),
            Figure(
                "speed of the audit",
                MINERS * AUDITED * TOKENS / seconds,
                "tokens/s",
                "generation and verification by the miner",
                GROUPS * ROLLOUTS * TOKENS / generated,
            ),
            Figure(
                "the whole audit",
                seconds,
                "s",
                f"auditing {WHOLE} groups of {ROLLOUTS} of each miner",
                whole,
            ),
            *beside,
        ],
        THREADS,
    )


def make_endless(checkpoint: Checkpoint) -> Checkpoint:
    """The same checkpoint under a manifest by which every completion has all its tokens."""
    endless = replace(checkpoint.manifest, end_tokens=(0,), max_tokens=TOKENS)
    assert not checkpoint.tokenizer.drawable[0]
    return replace(checkpoint, manifest=endless)


def measure_larger(folder: Path) -> list[Figure]:
    """Figures of a model whose forward passes are nearly all of an audit."""
    model, path = folder / "larger", folder / "larger.rollouts"
    checkpoint = make_endless(load_checkpoint(model, write_larger_checkpoint(model)))
    data, context = mine(checkpoint, open_window(checkpoint))
    path.write_bytes(data)
    bounds = {
        "two workers of one thread": ("one worker of one thread", 1.8),
        "two Ray actors of one thread": ("one Ray actor of one thread", 1.7),
    }
    return measure_workers(path, context, checkpoint, 4 if FAST else 16, "larger model", bounds)


def measure_workers(
    path: Path,
    context: Context,
    checkpoint: Checkpoint,
    files: int,
    title: str,
    bounds: Mapping[str, tuple[str, float]] | None = None,
) -> list[Figure]:
    """Figures of one file, judged `files` times.

    Args:
        bounds: row → another row, and at least how many times as fast as that row it should be.
    """
    digest = verify_manifest(checkpoint.folder).digest  # the endless manifest has another

    def audit(by: Checkpoint, beside: int) -> Callable[[], None]:
        def judge(_: int) -> Reason:
            file = SubmissionFile(open_file(path))
            return judge_with_checkpoint(file, MINER, context, by).reason

        def run() -> None:
            for judgment in judge_beside(range(files), judge, beside):
                assert judgment.get() is Reason.ACCEPTED

        return run

    one, wide = WorkerSettings(threads=1), WorkerSettings(threads=2)
    with ExitStack() as stack:
        runs = {"this process, one thread": audit(checkpoint, 1)}
        kinds: list[tuple[str, list[WorkerSettings], str | None]] = [
            ("one worker of one thread", [one], None),
            ("one worker of two threads", [wide], None),
            ("two workers of one thread", [one, one], None),
        ]
        address = start_cluster(stack)
        if address is not None:
            kinds.append(("one Ray actor of one thread", [one], address))
            kinds.append(("two Ray actors of one thread", [one, one], address))
        for name, settings, where in kinds:
            pool = stack.enter_context(open_workers(settings, where))
            pooled = replace(pool.load(checkpoint.folder, digest), manifest=checkpoint.manifest)
            runs[name] = audit(pooled, pool.count + 1)
        taken = dict(zip(runs, measure_together([*runs.values()], repeats=3), strict=True))
    alone = "this process, one thread"
    wanted = bounds or {}
    return [
        Figure(
            f"{files} files of the {title} by {name}",
            seconds,
            "s",
            base := wanted[name][0] if name in wanted else alone,
            taken[base],
            ratio_bound=1 / wanted[name][1] if name in wanted else None,
        )
        for name, seconds in taken.items()
        if name != alone
    ]


def start_cluster(stack: ExitStack) -> str | None:
    """The address of a Ray cluster of three processors on this machine; None without Ray."""
    try:
        import ray
    except ImportError:
        print("  there is no Ray here: its rows are left out", file=sys.stderr)
        return None
    ray.init(
        "local",
        num_cpus=3,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
        _system_config={"worker_niceness": 0},  # not below everything else
    )
    stack.callback(ray.shutdown)
    return str(ray.get_runtime_context().gcs_address)


def with_main_work(parameters: Parameters) -> Parameters:
    """The main network's work, with these completions."""
    return replace(parameters, work=replace(MAIN_WORK, max_tokens=TOKENS))


def open_window(
    checkpoint: Checkpoint, change: Callable[[Parameters], Parameters] = with_main_work
) -> Context:
    """A window on a simulated chain with this checkpoint in force; nothing is committed yet.

    Args:
        change: what it has in place of the demo's parameters.
    """
    chain = SimulatedChain(
        b"bench", NETUID, GENESIS_MS, DEMO_TIMING.slot_ms, DEMO_TIMING.tempo, (TRAINER, MINER)
    )
    beacons = LocalBeacon(
        b"bench", GENESIS_MS, 1_000, lambda: chain.get_block(chain.get_head()).timestamp_ms
    )
    demo = make_demo_parameters(chain.genesis_hash, beacons.chain, 0, TRAINER, checkpoint.digest)
    parameters = change(demo)
    while True:
        chain.mint()
        challenge = get_challenge(chain, beacons, parameters, 0)
        if challenge is not None:
            context = get_context(chain, beacons, parameters, challenge)
            if context is not None:
                return context


def mine(
    checkpoint: Checkpoint,
    context: Context,
    groups_made: int = GROUPS,
    count: DraftCount | None = None,
) -> tuple[bytes, Context]:
    """An honest miner's file, and the context with its commitment.

    Args:
        groups_made: all generated together.
        count: see `generate_groups`.
    """
    parameters, seed = context.parameters, context.challenge_seed
    environment = open_environment(parameters.environment)
    size = parameters.work.group_size
    requests = []
    for index in range(groups_made):
        problem = make_miner_problem(environment, seed, MINER, index, checkpoint.manifest.levels)
        requests.append(
            GroupRequest(
                tuple(checkpoint.tokenizer.encode(problem.conversation)),
                tuple(compute_rollout_seed(seed, MINER, index, r) for r in range(size)),
            )
        )
    temperature = parameters.work.temperature
    groups = generate_groups(
        requests,
        checkpoint.get_drafter(temperature),
        checkpoint.get_reference(temperature),
        checkpoint.get_rules(temperature),
        make_projection(compute_projection_seed(seed), checkpoint.manifest),
        count,
    )
    data, root = encode_submission(
        groups,
        parameters=parameters.digest,
        window=context.window,
        hotkey=MINER,
        checkpoint=checkpoint.digest,
        id_bits=get_id_bits(len(checkpoint.tokenizer.drawable)),
    )
    committed = Committed(root, groups_made, context.challenge_block.number, "bench:store")
    return data, replace(context, commitments={MINER: committed})


if __name__ == "__main__":
    main()
