"""The judge's needs from outside: a file's parts, a tokenizer, a forward pass.

Adapters live in `inference` and `network`; `neurons` hands them over.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from assay.protocol.reason import Refusal
from assay.protocol.submission import Range

_T = TypeVar("_T")


class SubmissionReader(Protocol):
    """A miner's file, read in parts. Fetches only the requested parts."""

    def read(self, part: Range, parse: Callable[[bytes], _T | Refusal]) -> _T | Refusal:
        """The result of `parse` on these bytes of the file.

        Bytes for which it returns an unbound refusal are not the committed ones: the reader looks
        for others, and returns that refusal only where nobody has them. Where the bytes are
        missing, the reader returns a refusal of its own, unbound too.
        """


class Tokenizer(Protocol):
    """The checkpoint's tokenizer."""

    @property
    def drawable(self) -> NDArray[np.bool_]:
        """bool [V]: ids that may be drawn; V = rows of the output matrix."""

    def encode(self, prompt: str) -> list[int]:
        """Token ids of a prompt, chat template applied."""

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of a completion, end tokens left out."""


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """The map from a hidden state to C bytes: two of a sketch (section 6), two more of a witness
    (section 10) where one is wanted."""

    matrix: NDArray[np.float32]  # float32 [H, C], entries ±1
    centre: NDArray[np.float32]  # float32 [H], μ
    scale: float  # root mean squared distance from μ, at least 2^-8


@dataclass(frozen=True, slots=True, eq=False)
class Measurement:
    """The results of one forward pass on one completion of T tokens. Row t belongs to token t: the
    state that drew it, before it was appended."""

    #: int64 [T], best keyed score minus the claimed token's, 2^-20 logits, ≥ 0
    margins: NDArray[np.int64]
    best: NDArray[np.int64]  # int64 [T], the keyed argmax
    gini: NDArray[np.float64]  # float64 [T], 1 − Σp² at T = 1
    #: uint32 [T], −ln p of the claimed token, 2^-16 nats, clipped to 24 bits
    logprobs: NDArray[np.uint32]
    sketch: NDArray[np.int8]  # int8 [T, C], a column for each of the projection's


class Forward(Protocol):
    """The reference (section 3): the checkpoint's stored weights, activations in fp32."""

    def measure(
        self,
        prompts: Sequence[Sequence[int]],
        completions: Sequence[NDArray[np.uint32]],
        seeds: Sequence[bytes],
        projection: Projection,
    ) -> list[Measurement]:
        """A prefill of prompts and completions. All results are finite: a broken model is our own
        fault and raises.

        Args:
            prompts: token ids, at least one, one prompt a completion; what several share may be
                computed once.
            completions: token ids below V, each of at least one token.
            seeds: 32-byte rollout seeds, one a completion.
        """
