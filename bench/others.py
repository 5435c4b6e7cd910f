"""The systems with which Assay's sketch is compared: toploc 0.1.6, and the public subnet's sketch,
re-implemented from its published description.

toploc is optional: `make bench` builds it from source once. Without it, the scripts say so and
print the rest.
"""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

#: toploc's own settings: 128 largest values of every 32 tokens.
TOPLOC_TOKENS, TOPLOC_VALUES = 32, 128
#: Limits from its paper (arXiv 2501.16007): a proof with more exponent mismatches, or a larger mean
#: or median error of the mantissa, is refused.
TOPLOC_EXPONENTS, TOPLOC_MEAN, TOPLOC_MEDIAN = 38, 10, 8


def load_toploc() -> ModuleType | None:
    """toploc, or None after a line that says so."""
    try:
        import toploc
    except ImportError:
        print("toploc 0.1.6 is not there, its rows are left out: `make bench` builds it (g++)")
        return None
    module: ModuleType = toploc
    return module


def build_toploc(toploc: ModuleType, states: Tensor) -> list[bytes]:
    """Proofs of bf16 states [T, H], T a multiple of 32."""
    rows = list(states)
    built: list[bytes] = toploc.build_proofs_bytes(
        rows, TOPLOC_TOKENS, TOPLOC_VALUES, skip_prefill=True
    )
    return built


def check_toploc(toploc: ModuleType, states: Tensor | list[Tensor], proofs: list[bytes]) -> Any:
    """Results of its verifier: in C++ for a tensor, in Python for a list of rows."""
    return toploc.verify_proofs_bytes(
        states, proofs, TOPLOC_TOKENS, TOPLOC_VALUES, skip_prefill=True
    )


def is_toploc_accepted(results: Any) -> bool:
    """Whether every chunk is within the paper's thresholds."""
    return all(
        r.exp_mismatches <= TOPLOC_EXPONENTS
        and r.mant_err_mean <= TOPLOC_MEAN
        and r.mant_err_median <= TOPLOC_MEDIAN
        for r in results
    )


@dataclass(frozen=True)
class PublicSketch:
    """The public RLVR subnet's sketch, our re-implementation from its description.

    For each state it names the 16 entries largest in magnitude. Each becomes a signed bucket of
    log2(1 + |x|), 0.8 buckets an octave, at most 7. Their dot product with a random vector of −127
    to 127 is the sketch. The validator takes *its* entries at the *miner's* indices and accepts
    within 6,000 + 5 · √position, at 32 drawn positions of a completion.
    """

    vector: Tensor

    VALUES, BUCKETS, POSITIONS = 16, 8, 32
    #: Four bytes of sketch, sixteen indices of two.
    BYTES = 4 + 2 * 16

    @classmethod
    def draw(cls, generator: np.random.Generator) -> "PublicSketch":
        """A window's random vector."""
        return cls(torch.from_numpy(generator.integers(-127, 128, cls.VALUES)).float())

    def _sketch(self, states: Tensor, indices: Tensor) -> Tensor:
        values = states.gather(1, indices)
        buckets = (1 + values.abs()).log2() * (self.BUCKETS / 10)
        buckets = buckets.floor().clamp_(max=self.BUCKETS - 1) * values.sign()
        return (buckets @ self.vector).long()

    def build(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """States [T, H] → sketches int64 [T], indices int64 [T, 16]."""
        indices = states.abs().topk(self.VALUES, dim=1).indices
        return self._sketch(states, indices), indices

    def check(self, states: Tensor, sketches: Tensor, indices: Tensor, positions: Tensor) -> bool:
        """Whether all challenged positions are within the tolerance."""
        found = self._sketch(states[positions], indices[positions])
        tolerance = (6_000 + 5 * positions.double().sqrt()).long()
        return bool(((sketches[positions] - found).abs() <= tolerance).all())
