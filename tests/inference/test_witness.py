"""Witnesses of one state differ by 1 at most, whichever implementation a validator runs."""

import numpy as np

from assay.inference.draft import Request
from assay.inference.implementations import PERMITTED
from assay.protocol.seeds import compute_witness_seed
from assay.verification import make_projection
from assay.verification.sketch import join_projections


def test_permitted_implementations_agree_within_one(checkpoint, requests, projection):
    """The sketch is the same as without a witness, to its own last digit or two."""
    drafter = checkpoint.get_drafter(1_024)
    witnesses: dict[str, list[np.ndarray]] = {name: [] for name in PERMITTED}
    for number, request in enumerate(requests):
        drafts = drafter.draft([Request(request.prompt, seed) for seed in request.seeds])
        completions = [np.array(row, np.uint32) for row in drafts]
        seed = compute_witness_seed(bytes([number]) * 32, b"\x01" * 32)
        joined = join_projections(projection, make_projection(seed, checkpoint.manifest))
        for name in PERMITTED:
            reference = checkpoint.get_reference(1_024, name)
            arguments = [request.prompt] * len(completions), completions, request.seeds
            alone = reference.measure(*arguments, projection)
            for one, both in zip(alone, reference.measure(*arguments, joined), strict=True):
                assert abs(both.sketch[:, :2].astype(int) - one.sketch).max() <= 1
                witnesses[name].append(both.sketch[-1, 2:].astype(int))
    first, *others = (np.array(found) for found in witnesses.values())
    assert len(others) >= 1
    assert first.shape == (24, 2)
    assert first.std() > 10
    for other in others:
        assert abs(first - other).max() <= 1
