"""Bytes a token: what the proof adds, beside toploc's and the public subnet's sketch, and what a
whole file weighs."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from figures import Figure, report
from others import TOPLOC_TOKENS, PublicSketch, build_toploc, load_toploc
from work import load_genesis, make_any_projection, make_requests

from assay.artifacts.submissions.submission_file import write_submission
from assay.inference import generate_groups
from assay.protocol import Header
from assay.protocol.submission import LOGPROB_MAX
from assay.subnet.presets import DEMO_WORK

GROUPS = 24


def main() -> None:
    torch.set_num_threads(2)
    checkpoint = load_genesis()
    temperature = DEMO_WORK.temperature
    groups = generate_groups(
        make_requests(checkpoint, GROUPS, DEMO_WORK.group_size),
        checkpoint.get_drafter(temperature),
        checkpoint.get_reference(temperature),
        checkpoint.get_rules(temperature),
        make_any_projection(checkpoint),
    )
    tokens = sum(len(rollout.tokens) for group in groups for rollout in group)
    header = Header(1, bytes(32), 0, bytes(32), checkpoint.digest, GROUPS)
    data = write_submission(header, groups)
    # baseline: the token ids alone, written the same way
    plain = io.BytesIO()
    ids = pa.array([r.tokens for g in groups for r in g], pa.list_(pa.uint32()))
    pq.write_table(
        pa.table({"tokens": ids}),
        plain,
        compression="zstd",
        write_statistics=False,
        row_group_size=DEMO_WORK.group_size,
    )
    row = groups[0][0]
    proof = row.sketch.nbytes / len(row.tokens) + (LOGPROB_MAX.bit_length() + 7) // 8
    assert max(int(r.logprobs.max()) for g in groups for r in g) <= LOGPROB_MAX
    proofs = [
        Figure(
            "proof: sketch + logprob",
            proof,
            "B/token",
            "the public subnet's sketch alone",
            PublicSketch.BYTES,
            bound=5,
        )
    ]
    if (toploc := load_toploc()) is not None:
        (chunk,) = build_toploc(toploc, torch.randn(TOPLOC_TOKENS, 1_536).bfloat16())
        theirs = len(chunk) / TOPLOC_TOKENS
        proofs.append(
            Figure(
                "proof: sketch + logprob",
                proof,
                "B/token",
                "toploc, without logprobs",
                theirs,
                bound=5,
            )
        )
    report(
        f"size of a submission, {GROUPS} groups, {tokens:,} tokens of the demo model",
        [
            *proofs,
            Figure(
                "file, footer and ids included",
                len(data) / tokens,
                "B/token",
                "token ids alone",
                len(plain.getvalue()) / tokens,
            ),
        ],
        2,
    )


if __name__ == "__main__":
    main()
