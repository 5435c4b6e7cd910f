"""Whether a validator keeps up with its subnet: the reference is timed, the rest is arithmetic."""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from assay.cli.preflight.checks import CheckState, PreflightCheck
from assay.inference import Checkpoint
from assay.inference.folder import read_passages
from assay.neurons.ports import Chain
from assay.neurons.session.window_reader import get_window_commitments
from assay.protocol import Domain, Parameters, Phase, hash_fields
from assay.protocol.window import compute_block
from assay.verification import make_projection

#: Shares of a window from which a validator has little to spare, and from which it is too slow.
_TIGHT, _FULL = 0.5, 1.0
#: A full subnet's hotkeys.
_MINERS = 256


@dataclass(frozen=True, slots=True)
class AuditSpeed:
    """What this machine makes of one miner's audit."""

    tokens: int  # of prompts and completions that one audit reads
    seconds: float

    @property
    def tokens_per_second(self) -> float:
        """Prompts included."""
        return self.tokens / self.seconds

    def compute_share(self, miners: int, parameters: Parameters) -> float:
        """The share of a window that so many audits take."""
        timing = parameters.timing
        return miners * self.seconds * 1_000 / (timing.window_blocks * timing.slot_ms)


def measure_audit_speed(
    checkpoint: Checkpoint, parameters: Parameters, timer: Callable[[], float] = perf_counter
) -> AuditSpeed:
    """Reads as many passages of the calibration set as an audit reads rollouts, twice, and times
    the second. What it costs to fetch files and to score answers is left out.

    Raises:
        CheckpointError: the calibration set cannot be read. DeviceError: memory does not suffice.
    """
    work = parameters.work
    passages = read_passages(checkpoint.folder)[: work.audited_rollouts]
    prompts = [passage.prompt for passage in passages]
    completions = [np.array(passage.completion, np.uint32) for passage in passages]
    seeds = [hash_fields(Domain.ROLLOUT, bytes([i])) for i in range(len(passages))]
    projection = make_projection(hash_fields(Domain.PROJECTION, b"speed"), checkpoint.manifest)
    reference = checkpoint.get_reference(work.temperature)
    seconds = 0.0
    for _ in range(2):
        started = timer()
        reference.measure(prompts, completions, seeds, projection)
        seconds = timer() - started
    read = sum(map(len, prompts)) + sum(map(len, completions))
    return AuditSpeed(read * work.audited_rollouts // len(passages), seconds)


def count_miners(chain: Chain, parameters: Parameters) -> int:
    """Hotkeys that committed to the newest window whose commitments are final."""
    timing, head = parameters.timing, chain.get_head()
    window = max(0, (head - timing.commit_offset) // timing.window_blocks)
    block = min(head, compute_block(timing, window, Phase.COMMIT))
    return len(get_window_commitments(chain, window, block))


def check_audit_speed(
    speed: AuditSpeed, miners: int, parameters: Parameters, workers: int = 1
) -> PreflightCheck:
    """Whether the audit of the miners there are takes less than a window.

    Args:
        miners: who committed to the last window.
        workers: as fast as each other, beside each other.
    """
    share, full = (speed.compute_share(n, parameters) / workers for n in (miners, _MINERS))
    by = "" if workers == 1 else f" by each of {workers} workers"
    detail = (
        f"{speed.tokens_per_second:,.0f} tokens a second through the reference{by}; the audit of "
        f"{miners} miners takes {share:.1%} of a window, of {_MINERS} it would take {full:.1%}"
    )
    if share >= _FULL:
        remedy = "a faster device, or more of them: this validator cannot keep up, and abstains"
        return PreflightCheck("speed", CheckState.FAIL, detail, remedy)
    if share >= _TIGHT:
        remedy = "a faster device, or more of them, before more miners come"
        return PreflightCheck("speed", CheckState.WARN, detail, remedy)
    return PreflightCheck("speed", CheckState.OK, detail)
