"""The share of a demo's accepted groups that reaches other trainers unchanged, and the speed.

A demo's trainer folder is exported in every layout. Each layout is read back and compared, column
by column, with rows under the trainer's own names. Then the miners' groups are sent to atroposlib's
own server, unmodified, and its batches are compared with the same rows. Without its environment
(`make atropos`) these rows are left out. The time per group covers two questions, a post, and two
writes of the journal that are synced to the disk. It is compared with the same posts without
questions and writes.
"""

import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from time import perf_counter

import pyarrow.parquet as pq
from figures import FAST, OUT, Figure, report

from assay.audit.provenance.column_layouts import LAYOUTS, ROLLOUT
from assay.audit.provenance.step_export import export_steps
from assay.audit.provenance.step_push import make_scored_group, push_steps
from assay.network.atropos import GroupServer

sys.path.append(str(Path(__file__).parents[1]))
from tests.adversarial.pushing.counts import count_equal
from tests.adversarial.pushing.group_servers import ATROPOS_PYTHON, RealServer, run_real_server
from tests.adversarial.test_exported_columns import UNDO, find_differences

ALL = range(1 << 40)


def run_demo(folder: Path) -> Path:
    """Play a demo. Returns a trainer's folder."""
    words = ["demo", "--fast", "--quiet", "--out", str(folder / "demo")]
    if FAST:
        words += ["--windows", "6"]
    subprocess.run([str(Path(sys.executable).with_name("assay")), *words], check=True)
    return folder / "demo"


def read_layouts(course: Path, folder: Path) -> dict[str, tuple[list[dict], int]]:
    """Rows and bytes of each layout."""
    found = {}
    for name in LAYOUTS:
        export_steps(course, folder / name, ALL, columns=name)
        files = sorted((folder / name / "data").glob("*.parquet"))
        rows = [row for path in files for row in pq.read_table(path).to_pylist()]
        found[name] = rows, sum(path.stat().st_size for path in files)
    return found


def measure_columns(found: dict[str, tuple[list[dict], int]]) -> list[Figure]:
    ours, size = found["assay"]
    figures = []
    for name, undo in UNDO.items():
        rows, theirs = found[name]
        different = sum(
            bool(find_differences(undo(row), own)) for row, own in zip(rows, ours, strict=True)
        )
        called = f"columns as in {name}: rollouts that differ in any of {len(ROLLOUT)}"
        figures += [
            Figure(called, different, "rollouts", "of", len(ours), bound=0),
            Figure(f"columns as in {name}: size", theirs, "bytes", "Assay's columns", size),
        ]
    return figures


def measure_push(course: Path, rows: list[dict], server: RealServer) -> list[Figure]:
    groups, size = [], 0
    proven = [row for row in rows if int(row["proof"], 16)]
    for row in proven:
        if row["rollout"] == 0:
            groups.append([])
        groups[-1].append(row)
        size = max(size, row["rollout"] + 1)
    server.begin(batch=size)
    server.get_batch()
    started = perf_counter()
    summary = push_steps(course, server.url, ALL, wait_s=60)
    whole = perf_counter() - started
    again = push_steps(course, server.url, ALL, wait_s=60)
    equal = count_equal(server.get_all(), proven)
    scored = [make_scored_group(group) for group in groups]
    with closing(GroupServer(server.url)) as client:
        env = client.register("bench", size, 4_096)
        started = perf_counter()
        for group in scored:
            client.post(group, env)
        alone = perf_counter() - started
    return [
        Figure(
            "rollouts that atroposlib's server does not give back equal",
            len(proven) - equal,
            "rollouts",
            "of",
            len(proven),
            bound=0,
        ),
        Figure("groups handed over", summary.sent, "groups", "of", len(groups)),
        Figure("groups that a second run hands over again", again.sent, "groups", bound=0),
        Figure("handing over, with scoring again before it", whole, "s", "posts alone", alone),
    ]


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        course = OUT or run_demo(folder)
        found = read_layouts(course, folder)
        figures = measure_columns(found)
        if ATROPOS_PYTHON is not None:
            with run_real_server(folder) as server:
                figures += measure_push(course, found["assay"][0], server)
        report("Accepted groups for other trainers", figures, threads=1)


if __name__ == "__main__":
    main()
