"""Measurements by workers and by this process."""

import numpy as np
import pytest

from assay.protocol.episode import Reply


@pytest.fixture
def prefills(checkpoint, requests, projection):
    """A few submissions' worth: prompts shared and not, completions of unequal length, with replies
    in one of them."""
    draw, drawable = np.random.default_rng(5), np.flatnonzero(checkpoint.tokenizer.drawable)

    def complete(length):
        return draw.choice(drawable, length).astype(np.uint32)

    given = [
        (
            [request.prompt] * len(request.seeds) + [requests[0].prompt],
            [complete(3 + 17 * n) for n in range(len(request.seeds))] + [complete(9)],
            [*request.seeds, requests[0].seeds[0]],
            projection,
        )
        for request in requests
    ]
    replies = [(), (Reply(4, (7, 8)), Reply(9, (5,))), (Reply(1, ()),), (), (Reply(8, (6,)),)]
    return [(*given[0], replies), *given[1:]]
