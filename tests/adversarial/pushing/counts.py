"""The groups that arrived, compared with those that were learned from."""

from collections import Counter

import pyarrow.parquet as pq

from assay.audit.provenance.step_export import export_steps
from assay.network.atropos import MASKED, MASKED_LOGPROB

ALL = range(10)
#: The world's: 2 windows of 2 miners with 5 groups of 8.
GROUPS, SIZE = 20, 8


def read_rows(course, out):
    export_steps(course, out, ALL)
    return [
        row
        for path in sorted((out / "data").glob("*.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]


def count_equal(groups, rows):
    """Rollouts that a server gave back as the data set's rows have them, bit for bit."""
    equal = start = 0
    for group in groups:
        size = len(group["tokens"])
        ours, start = rows[start : start + size], start + size
        told = group["group_overrides"]["assay"]
        same = told["root"] == ours[0]["proof"] and all(
            told[name] == ours[0][name]
            for name in (
                "hotkey",
                "window",
                "group",
                "checkpoint",
                "problem_seed",
                "levels",
                "step",
            )
        )
        for i, row in enumerate(ours):
            asked, answered = row["prompt_tokens"], row["tokens"]
            before = len(asked)
            equal += same and [
                group[name][i]
                for name in ("tokens", "masks", "scores", "advantages", "inference_logprobs")
            ] == [
                asked + answered,
                [MASKED] * before + answered,
                row["reward"],
                [0.0] * before + [row["advantage"] or 0.0] * len(answered),
                [MASKED_LOGPROB] * before + row["logprobs"],
            ]
        equal -= size * (group["generation_params"] != {"temperature": ours[0]["temperature"]})
    return equal


def count_posts(posted):
    """All groups of both steps, each as often as it was posted."""
    counts = Counter(posted)
    assert counts.total() == len(posted)
    return counts
