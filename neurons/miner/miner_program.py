"""A miner and its review as one neuron, and what it counts of itself."""

from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any

from assay.inference import DraftCount
from assay.neurons.miner.miner import Miner
from assay.neurons.miner.review import MinerReview
from assay.neurons.program.tally import Counters


class MinerWithReview:
    """Mines, and looks at its own windows in the time that mining leaves."""

    name = "miner"

    def __init__(self, miner: Miner, review: MinerReview, tally: Counters) -> None:
        self._miner = miner
        self._review = review
        self._tally = tally

    @property
    def trouble(self) -> str | None:
        """The miner's before the review's."""
        return self._miner.trouble or self._review.trouble

    def step(self) -> bool:
        """See `Miner.step` and `MinerReview.step`."""
        before, drafts, began = self._miner.progress, replace(self._miner.count), perf_counter()
        busy = self._miner.step()
        self._count(before, drafts, perf_counter() - began)
        return busy or self._review.step()

    def _count(self, before: tuple[int, int] | None, drafts: DraftCount, seconds: float) -> None:
        """What a step of the miner's has made. Groups that were taken up again were not."""
        after, count, tally = self._miner.progress, self._miner.count, self._tally
        if before is None or after is None or before[0] != after[0] or before[1] == after[1]:
            return
        discarded = count.discarded - drafts.discarded
        tally.add("groups", after[1] - before[1])
        tally.add("tokens", count.submitted - drafts.submitted)
        tally.add("drafted", count.drafted - drafts.drafted - discarded, "kept")
        tally.add("drafted", discarded, "discarded")
        tally.add("generating_seconds", seconds)


def list_reasons(rows: Sequence[dict[str, Any]]) -> dict[int, str]:
    """Window → reason, of a miner's final verdicts."""
    judged = {row["window"]: row["verdict"] for row in rows if row["verdict"]}
    return {w: v["reason"] for w, v in judged.items() if v["final"] and v["reason"]}
