"""A validator's audit of one window: 256 miners × 4 groups × 16 rollouts × 128 tokens of the demo's
model, by the real judge from a real Parquet file, and the memory it takes.

One honest miner's file is judged 256 times: reading, hashing, the forward pass and all tests are
done anew each time, only the generating is not. The end token is one that cannot be drawn, so that
every completion has 128 tokens.
"""

import resource
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import torch
from figures import Figure, report
from work import load_genesis

from assay.artifacts.parquet import ParquetWorker
from assay.artifacts.submissions.submission_file import SubmissionFile, write_submission
from assay.artifacts.submissions.submission_judge import judge_with_checkpoint
from assay.artifacts.submissions.submission_layout import get_limits
from assay.devnet import SimulatedChain
from assay.environments import open_environment
from assay.inference import Checkpoint, GroupRequest, generate_groups
from assay.network import open_file
from assay.network.beacon import LocalBeacon
from assay.neurons.miner.miner import compute_leaves
from assay.neurons.session.window_reader import get_challenge, get_context
from assay.protocol import Committed, Context, Header, Parameters, Reason
from assay.protocol.parameters import DEMO_TIMING, PROTOCOL_VERSION
from assay.protocol.seeds import compute_problem_seed, compute_projection_seed, compute_rollout_seed
from assay.protocol.submission import compute_submission_root
from assay.subnet.presets import DEMO_WORK, NETUID, make_demo_parameters
from assay.verification import make_projection

MINERS, GROUPS, ROLLOUTS, TOKENS, THREADS = 256, 4, 16, 128, 1
MEMORY_MIB = 2_048
MINER, TRAINER = (sha256(name).digest() for name in (b"miner", b"trainer"))
GENESIS_MS = 1_700_000_000_000


def main() -> None:
    torch.set_num_threads(THREADS)
    checkpoint = load_genesis()
    endless = replace(checkpoint.manifest, end_tokens=(0,), max_tokens=TOKENS)
    assert not checkpoint.tokenizer.drawable[0]
    checkpoint = replace(checkpoint, manifest=endless)
    context = open_window(checkpoint)
    started = perf_counter()
    data, context = mine(checkpoint, context)
    generated = perf_counter() - started
    with TemporaryDirectory() as folder, ParquetWorker() as worker:
        path = Path(folder) / "submission.parquet"
        path.write_bytes(data)
        started = perf_counter()
        for miner in range(MINERS):
            file = SubmissionFile(open_file(path), worker, get_limits(context.parameters))
            verdict = judge_with_checkpoint(file, MINER, context, checkpoint)
            assert verdict.reason is Reason.ACCEPTED, verdict
            assert verdict.tokens == GROUPS * ROLLOUTS * TOKENS
            if miner % 16 == 15:
                seconds = perf_counter() - started
                print(f"  {miner + 1} of {MINERS} miners, {seconds:.0f} s", file=sys.stderr)
        seconds = perf_counter() - started
    own, child = (
        resource.getrusage(who).ru_maxrss / 1024
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    tokens = GROUPS * ROLLOUTS * TOKENS
    report(
        f"audit of {MINERS} miners × {GROUPS} groups × {ROLLOUTS} × {TOKENS} tokens, demo model",
        [
            Figure(
                "memory at most: the process and its Parquet worker",
                own + child,
                "MiB",
                bound=MEMORY_MIB,
            ),
            Figure(
                "audited",
                MINERS * tokens / seconds,
                "tokens/s",
                "generated and verified by the miner",
                tokens / generated,
            ),
            Figure("the whole audit", seconds, "s"),
        ],
        THREADS,
    )


def open_window(checkpoint: Checkpoint) -> Context:
    """A window on a simulated chain with this checkpoint in force; nothing is committed yet."""
    chain = SimulatedChain(
        b"bench", NETUID, GENESIS_MS, DEMO_TIMING.slot_ms, DEMO_TIMING.tempo, (TRAINER, MINER)
    )
    beacons = LocalBeacon(
        b"bench", GENESIS_MS, 1_000, lambda: chain.get_block(chain.get_head()).timestamp_ms
    )
    parameters = make_parameters(chain, beacons, checkpoint)
    while True:
        chain.mint()
        challenge = get_challenge(chain, beacons, parameters, 0)
        if challenge is not None:
            context = get_context(chain, beacons, parameters, challenge)
            if context is not None:
                return context


def make_parameters(
    chain: SimulatedChain, beacons: LocalBeacon, checkpoint: Checkpoint
) -> Parameters:
    """The demo's, with the main network's group size and longer completions."""
    parameters = make_demo_parameters(
        chain.genesis_hash, beacons.chain, 0, TRAINER, checkpoint.digest
    )
    work = replace(DEMO_WORK, group_size=ROLLOUTS, audited_groups=GROUPS, max_tokens=TOKENS)
    return replace(parameters, work=work)


def mine(checkpoint: Checkpoint, context: Context) -> tuple[bytes, Context]:
    """An honest miner's file, and the context with its commitment."""
    parameters, seed = context.parameters, context.challenge_seed
    environment = open_environment(parameters.environment)
    requests = []
    for index in range(GROUPS):
        problem = environment.make_problem(
            compute_problem_seed(seed, MINER, index), checkpoint.manifest.levels
        )
        requests.append(
            GroupRequest(
                tuple(checkpoint.tokenizer.encode(problem.prompt)),
                tuple(compute_rollout_seed(seed, MINER, index, r) for r in range(ROLLOUTS)),
            )
        )
    temperature = parameters.work.temperature
    groups = generate_groups(
        requests,
        checkpoint.get_drafter(temperature),
        checkpoint.get_reference(temperature),
        checkpoint.get_rules(temperature),
        make_projection(compute_projection_seed(seed), checkpoint.manifest),
    )
    header = Header(
        PROTOCOL_VERSION, parameters.digest, context.window, MINER, checkpoint.digest, GROUPS
    )
    root = compute_submission_root(header, compute_leaves(groups))
    committed = Committed(root, GROUPS, context.challenge_block.number, "bench:store")
    return write_submission(header, groups), replace(context, commitments={MINER: committed})


if __name__ == "__main__":
    main()
