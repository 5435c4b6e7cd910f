"""Vectors of steps (sections 11, 11.4): a record, leaves of groups, rewards of late proposals."""

from typing import Any

import numpy as np
from subjects import ALICE, BOB, digest

from assay.environments.base import rate_answer
from assay.environments.pooling import compute_learnability, rate_delayed
from assay.protocol.encoding import encode, to_json
from assay.protocol.episode import Reply
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.reason import Reason
from assay.protocol.step import (
    STEP_VERSION,
    DelayedRollout,
    StepLeftOut,
    StepRecord,
    StepReplay,
    StepRollout,
    StepSource,
    compute_consumed_root,
    compute_delayed_leaf,
    compute_step_leaf,
)

Json = Any
_NUMBER, _WINDOW = 12, 1_000
_ROLLOUTS = (
    StepRollout(np.array([9], np.uint32), np.array([70_000], np.uint32), 1_000_000),
    StepRollout(np.array([8, 7], np.uint32), np.array([0, 5], np.uint32), 0, [Reply(1, (3, 2))]),
    StepRollout(np.array([6], np.uint32), np.array([1], np.uint32), 944_444),
)
_DELAYED = (DelayedRollout(0, 0, 0), DelayedRollout(0, 0, 1), DelayedRollout(3, 2, 1))
_TRIED = ((0, 0), (1, 0), (1, 1), (3, 1), (3, 2), (8, 4), (8, 7), (70_001, 35_000), (2**22, 3))


def make_steps() -> Json:
    """A step's groups: one that is learned from at once, one that waits, and a delayed one."""
    prompt, source = np.array([1, 2], np.uint32), digest("earlier step")
    leaves = [
        compute_step_leaf(hotkey, index, digest("drawing checkpoint"), prompt, _ROLLOUTS)
        for hotkey, index in ((ALICE, 4), (BOB, 0), (BOB, 7))
    ]
    leaves[1] = compute_delayed_leaf(leaves[1], ZERO_DIGEST, ())
    leaves[2] = compute_delayed_leaf(leaves[2], source, _DELAYED)
    parent = digest("parent")
    root = compute_consumed_root(leaves, _WINDOW, parent)
    delays = [None, {"source": ZERO_DIGEST.hex(), "rollouts": []}]
    delays += [{"source": source.hex(), "rollouts": list(map(to_json, _DELAYED))}]
    record = _make_record(parent, root, source)
    return {
        "checkpoint": digest("drawing checkpoint").hex(),
        "prompt": prompt.tolist(),
        "rollouts": [
            {
                "tokens": one.tokens.tolist(),
                "logprobs": one.logprobs.tolist(),
                "reward": one.reward,
                "replies": [{"at": reply.at, "ids": list(reply.ids)} for reply in one.replies],
            }
            for one in _ROLLOUTS
        ],
        "groups": [
            {"hotkey": hotkey.hex(), "index": index, "delay": delay, "leaf": leaf.hex()}
            for hotkey, index, delay, leaf in zip(
                (ALICE, BOB, BOB), (4, 0, 7), delays, leaves, strict=True
            )
        ],
        "record": {
            "json": to_json(record),
            "encoding": encode(record).hex(),
            "digest": record.digest.hex(),
        },
        "proposals": [
            {
                "tries": tries,
                "solves": solves,
                "learnability": compute_learnability(tries, solves),
                "correctness": rate_delayed(rate_answer(1), tries, solves).correctness,
            }
            for tries, solves in _TRIED
        ],
    }


def _make_record(parent: bytes, root: bytes, source: bytes) -> StepRecord:
    return StepRecord(
        version=STEP_VERSION,
        software="assay 1.0",
        engine="torch 2 x",
        threads=2,
        code=digest("code"),
        parameters=digest("parameters"),
        window=_WINDOW,
        number=_NUMBER,
        parent=parent,
        sources=(StepSource(ALICE, digest("root"), 1), StepSource(BOB, digest("other root"), 1)),
        left_out=(StepLeftOut(ALICE, 5, Reason.SAMPLING_MISMATCH),),
        groups=3,
        consumed=root,
        config='{"proposal_tries":3}',
        optimiser_before=digest("before"),
        optimiser_after=digest("after"),
        tensors=digest("tensors"),
        replayed=(StepReplay(source, _NUMBER - 2, _WINDOW - 2, BOB, digest("old root"), 1),),
    )
