"""What reading a file of the main network costs a validator: footer and twelve groups, in the cage.

The baseline reads the same bytes with pyarrow in this process, without any check.
"""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from figures import Figure, measure, report

from assay.artifacts.parquet import ParquetWorker
from assay.artifacts.submissions.submission_file import SubmissionFile, write_submission
from assay.artifacts.submissions.submission_layout import CPU_SECONDS, SubmissionLimits
from assay.protocol import Header, Rollout
from assay.protocol.parameters import MAIN_WORK

LIMITS = SubmissionLimits(MAIN_WORK.group_size, MAIN_WORK.group_cap, MAIN_WORK.max_tokens)
READ = MAIN_WORK.audited_groups + MAIN_WORK.sampled_groups


class Memory:
    """A file in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def size(self) -> int:
        return len(self.data)

    def read(self, start: int, end: int) -> bytes:
        return self.data[start:end]


def make_rollout(random: np.random.Generator, length: int) -> Rollout:
    return Rollout(
        tokens=random.integers(0, 151_936, length, dtype=np.uint32),
        logprobs=random.integers(0, 1 << 20, length, dtype=np.uint32),
        sketch=random.integers(-40, 40, (length, 2), dtype=np.int8),
    )


def make_largest_file() -> bytes:
    """All groups there may be, and those that are read as long as they may be."""
    random = np.random.default_rng(0)
    short, long = (
        [make_rollout(random, length) for _ in range(LIMITS.group_size)]
        for length in (1, LIMITS.max_tokens)
    )
    groups = [long] * READ + [short] * (LIMITS.group_cap - READ)
    return write_submission(Header(1, bytes(32), 7, bytes(32), bytes(32), len(groups)), groups)


def main() -> None:
    data = make_largest_file()
    left = []

    def read_in_cage() -> None:
        file = SubmissionFile(Memory(data), worker, LIMITS)
        assert hasattr(file.read_footer(), "leaves")
        assert all(isinstance(file.read_group(index), bytes) for index in range(READ))
        left.append(file.budget.left)

    def read_plainly() -> None:
        parquet = pq.ParquetFile(pa.BufferReader(data))
        for index in range(READ):
            parquet.read_row_group(index, use_threads=False)

    with ParquetWorker() as worker:
        caged = measure(read_in_cage)
    plain = measure(read_plainly)
    spent = CPU_SECONDS - min(left)
    report(
        f"a file of {len(data) / 1e6:.1f} MB, {LIMITS.group_cap} groups: footer and {READ} groups",
        [
            Figure("read in the cage", caged * 1e3, "ms", "plain pyarrow", plain * 1e3),
            Figure("of a file's processor time", 100 * spent / CPU_SECONDS, "%", bound=10),
        ],
        1,
    )


if __name__ == "__main__":
    main()
