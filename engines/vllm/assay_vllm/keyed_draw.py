"""The keyed draw on an engine's logits: integers, and the same ids as the specification's.

Numba's kernels on a CPU and Triton's on a card: both files are the reference's own, see README.md.
What this does not know: which model the logits are from. What it draws is a draft, and the
reference verifies it.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from assay.protocol.gumbel import (
    BOUND_ERROR,
    BOUND_SLOPE,
    BOUND_START,
    FRACTION_BITS,
    GUMBEL_MAX,
    TABLE,
)

#: Logits from here on do not fit the fixed-point score.
_LOGIT_MAX = float(1 << 40)
SEED_BYTES = 32
TEMPERATURE_MAX = 1 << 16
#: Above every logit: what an engine's greedy sampling takes.
_CHOSEN = 1e30


@dataclass(frozen=True, slots=True)
class KeyedRow:
    """The rollout that a request continues.

    Attributes:
        key: Philox key of its seed.
        at: tokens of the completion that the request's prompt holds.
        temperature: Tq = 1024 · T.
    """

    key: tuple[int, int, int, int]
    at: int
    temperature: int


def read_row(extra: dict[str, object] | None, temperature: float) -> KeyedRow | None:
    """The rollout that a request names under `vllm_xargs`; None: it names none.

    Args:
        temperature: the request's own, which must be 0: its noise is its seed's.

    Raises:
        ValueError: it names one in another way than README.md says.
    """
    if not extra or "assay_seed" not in extra:
        return None
    text, at, quantised = extra["assay_seed"], extra.get("assay_at"), extra.get("assay_tq")
    try:
        seed = bytes.fromhex(str(text))
    except ValueError:
        seed = b""
    if len(seed) != SEED_BYTES:
        raise ValueError(f"assay_seed is {2 * SEED_BYTES} hex digits")
    if type(at) is not int or not 0 <= at < 1 << 32:
        raise ValueError("assay_at is the number of the completion's tokens in the prompt")
    if type(quantised) is not int or not 0 < quantised <= TEMPERATURE_MAX:
        raise ValueError(f"assay_tq is 1024 times the temperature, 1 to {TEMPERATURE_MAX}")
    if temperature != 0:
        raise ValueError("a request with assay_seed has temperature 0: its noise is its seed's")
    s0, s1, s2, s3 = (int.from_bytes(seed[i : i + 4], "little") for i in (0, 4, 8, 12))
    return KeyedRow((s0, s1, s2, s3), at, quantised)


@cache
def make_bound(temperature: int) -> tuple[np.ndarray, float]:
    """The bound of the noise, float64 [3], and what an exact score may have above it: logits."""
    scale = temperature / 1024
    bound = np.array([BOUND_START, BOUND_SLOPE, GUMBEL_MAX / (1 << FRACTION_BITS)]) * scale
    return bound, scale * BOUND_ERROR * 2 + 2.0**-18


class KeyedDraw:
    """The keyed argmax over one vocabulary on one device.

    Args:
        drawable: bool [V], ids that may be drawn.
    """

    def __init__(self, drawable: Tensor, device: torch.device) -> None:
        self._drawable = drawable.to(device)
        self._table = torch.from_numpy(TABLE.copy()).to(device)
        if device.type == "cpu":
            from assay_vllm import kernels

            self._draw = self._draw_on_cpu
        else:
            from assay_vllm import card_kernels as kernels

            self._draw = self._draw_on_card
        self._kernels = kernels

    def draw(self, logits: Tensor, keys: Tensor, positions: Tensor, temperature: int) -> Tensor:
        """The id of each row, int64 [N]; where a row's logits are no numbers it means nothing.

        Args:
            logits: float32 [N, V].
            keys: int64 [N, 4]. positions: int64 [N], index of the token in its completion.
        """
        return self._draw(logits, keys, positions, temperature)

    def _draw_on_cpu(
        self, logits: Tensor, keys: Tensor, positions: Tensor, temperature: int
    ) -> Tensor:
        ids = torch.zeros(len(logits), dtype=torch.int64)
        bound, slack = make_bound(temperature)
        self._kernels.draw_rows(
            logits.contiguous().numpy(),
            self._drawable.numpy(),
            keys.numpy(),
            positions.numpy(),
            temperature,
            self._table.numpy(),
            bound,
            slack,
            _LOGIT_MAX,
            ids.numpy(),
            torch.empty_like(ids).numpy(),
        )
        return ids

    def _draw_on_card(
        self, logits: Tensor, keys: Tensor, positions: Tensor, temperature: int
    ) -> Tensor:
        bound, slack = make_bound(temperature)
        ids, _, _ = self._kernels.draw_rows(
            logits.contiguous(),
            self._drawable,
            keys,
            positions,
            temperature,
            self._table,
            self._kernels.Bound(float(bound[0]), float(bound[1]), slack),
        )
        return ids.clamp(max=logits.shape[1] - 1)  # of a row of no numbers


def choose(logits: Tensor, rows: Tensor, ids: Tensor, wanted: Tensor | None = None) -> None:
    """Makes some ids the largest of their rows, in place.

    Args:
        rows, ids: int64 [N].
        wanted: bool [N], of which rows; None: of all.
    """
    if wanted is None:
        logits[rows, ids] = _CHOSEN
    else:
        logits[rows, ids] = torch.where(wanted, _CHOSEN, logits[rows, ids])
