"""Checks whether a validator keeps up with its subnet: the reference is timed, the rest is
arithmetic."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from assay.artifacts.submissions.judging_threads import judge_beside
from assay.inference.checkpoint import Checkpoint
from assay.inference.folder import read_passages
from assay.inference.workers.pool import WorkerState
from assay.network.chain.ports import SubnetReader
from assay.neurons.preflight.check_results import CheckState, PreflightCheck
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.parameters import Parameters
from assay.protocol.window import Phase, compute_block
from assay.session.window_reader import get_window_commitments
from assay.verification import make_projection

#: Shares of a window from which a validator has little reserve, and from which it is too slow.
_TIGHT, _FULL = 0.5, 1.0
#: Hotkeys of a full subnet.
_MINERS = 256


@dataclass(frozen=True, slots=True)
class AuditSpeed:
    """The speed of the judging processes on one miner's audit."""

    tokens: int  # of prompts and completions that one audit reads
    seconds: float  # from one audit to the next

    @property
    def tokens_per_second(self) -> float:
        """Tokens a second, prompts included."""
        return self.tokens / self.seconds

    def compute_share(self, miners: int, parameters: Parameters) -> float:
        """The share of a window that this many audits take."""
        timing = parameters.timing
        return miners * self.seconds * 1_000 / (timing.window_blocks * timing.slot_ms)


def measure_audit_speed(
    checkpoint: Checkpoint,
    parameters: Parameters,
    parallel: int = 1,
    timer: Callable[[], float] = perf_counter,
) -> AuditSpeed:
    """Read as many passages of the calibration set as an audit reads rollouts, twice, and time the
    second time. The cost of fetching files and scoring answers is left out.

    Args:
        parallel: audits at a time: the number of the checkpoint's workers.
        timer: seconds.

    Raises:
        CheckpointError: the calibration set cannot be read. DeviceError: memory does not suffice.
        WorkerError: no worker is left.
    """
    work = parameters.work
    passages = read_passages(checkpoint.folder)[: work.audited_rollouts]
    prompts = [passage.prompt for passage in passages]
    completions = [np.array(passage.completion, np.uint32) for passage in passages]
    seeds = [hash_fields(Domain.ROLLOUT, bytes([i])) for i in range(len(passages))]
    projection = make_projection(hash_fields(Domain.PROJECTION, b"speed"), checkpoint.manifest)
    reference = checkpoint.get_forward(work.temperature)

    def audit(_: int) -> None:
        reference.measure(prompts, completions, seeds, projection)

    seconds = 0.0
    for _ in range(2):
        started = timer()
        for judgment in judge_beside(range(parallel), audit, parallel):
            judgment.get()
        seconds = timer() - started
    read = sum(map(len, prompts)) + sum(map(len, completions))
    return AuditSpeed(read * work.audited_rollouts // len(passages), seconds / parallel)


def count_miners(chain: SubnetReader, parameters: Parameters) -> int:
    """The number of hotkeys that committed to the newest window with final commitments."""
    timing, head = parameters.timing, chain.get_head()
    window = max(0, (head - timing.commit_offset) // timing.window_blocks)
    block = min(head, compute_block(timing, window, Phase.COMMIT))
    return len(get_window_commitments(chain, window, block))


def check_audit_speed(
    speed: AuditSpeed, miners: int, parameters: Parameters, workers: Sequence[WorkerState] = ()
) -> PreflightCheck:
    """Check whether auditing the present miners takes less than a window.

    Args:
        miners: number that committed to the last window.
        workers: that judge, from `WorkerPool.describe`; none: this process judges.
    """
    share, full = (speed.compute_share(n, parameters) for n in (miners, _MINERS))
    names = ", ".join(f"{worker.device} on {worker.host}" for worker in workers)
    by = f" by {len(workers)} workers ({names})" if workers else ""
    detail = (
        f"{speed.tokens_per_second:,.0f} tokens a second through the verification pass{by}; the "
        f"audit of "
        f"{miners} miners takes {share:.1%} of a window, of {_MINERS} it would take {full:.1%}"
    )
    if share >= _FULL:
        remedy = "use a faster device or more devices: this validator cannot keep up, and abstains"
        return PreflightCheck("speed", CheckState.FAIL, detail, remedy)
    if share >= _TIGHT:
        remedy = "use a faster device or more devices before more miners join"
        return PreflightCheck("speed", CheckState.WARN, detail, remedy)
    return PreflightCheck("speed", CheckState.OK, detail)
