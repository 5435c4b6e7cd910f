"""The judge's ports: a tokenizer and a forward pass.

The adapters are in `inference`. `neurons` passes them to the judge.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from assay.environments.base import Conversation, Frame
from assay.protocol.episode import Reply


class Tokenizer(Protocol):
    """The checkpoint's tokenizer."""

    @property
    def drawable(self) -> NDArray[np.bool_]:
        """bool [V]: ids that may be drawn. V is the number of rows of the output matrix."""

    def encode(self, asked: Conversation) -> list[int]:
        """Token ids of a prompt, at least one, with the chat template applied."""

    def encode_reply(self, content: str, frame: Frame, most_bytes: int) -> list[int] | None:
        """Token ids of a world's reply within its frame, as they follow a turn's end token; None:
        the tokenizer refuses the text.

        Args:
            most_bytes: of the content in UTF-8; what is longer is cut.
        """

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of a completion or of a turn, without end tokens."""


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """The map from a hidden state to C bytes: two of a sketch (section 6), and two more of a
    witness (section 10) if one is wanted."""

    matrix: NDArray[np.float32]  # float32 [H, C], entries ±1
    centre: NDArray[np.float32]  # float32 [H], μ
    scale: float  # root mean squared distance from μ, at least 2^-8


@dataclass(frozen=True, slots=True, eq=False)
class Measurement:
    """The results of one forward pass on one completion of T tokens. Row t belongs to token t: to
    the state that drew the token, before the token was appended."""

    #: int64 [T], best keyed score minus the claimed token's, 2^-20 logits, ≥ 0
    margins: NDArray[np.int64]
    best: NDArray[np.int64]  # int64 [T], the keyed argmax
    gini: NDArray[np.float64]  # float64 [T], 1 − Σp² at T = 1
    #: uint32 [T], −ln p of the claimed token, 2^-16 nats, clipped to 24 bits
    logprobs: NDArray[np.uint32]
    sketch: NDArray[np.int8]  # int8 [T, C], one column for each of the projection's


class UnheardError(Exception):
    """A second opinion that cannot be had here. The first one stands."""


class Forward(Protocol):
    """The reference (section 3): the checkpoint's stored weights, activations in fp32."""

    def measure(
        self,
        prompts: Sequence[Sequence[int]],
        completions: Sequence[NDArray[np.uint32]],
        seeds: Sequence[bytes],
        projection: Projection,
        replies: Sequence[Sequence[Reply]] | None = None,
    ) -> list[Measurement]:
        """Prefill prompts and completions, and the replies between their turns. All results are
        finite: a broken model is our own fault and raises.

        Args:
            prompts: token ids, at least one; one prompt for each completion. A prompt that several
                completions share may be computed once.
            completions: token ids below V, each of at least one token: the own tokens alone, which
                alone are measured.
            seeds: 32-byte rollout seeds, one for each completion.
            replies: of each completion, ascending, none behind its last token; None: no completion
                has any.
        """
