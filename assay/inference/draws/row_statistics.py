"""The judge's statistics of a row of logits, in one pass: margin, Gini, log-probability.

The keyed argmax and the margin are integers, the same on every backend: numba's kernels on a CPU,
Triton's on a GPU, plain tensors where neither compiles. Log-probability and Gini impurity come from
sums of V exponentials, in float32 within a block of ids and float64 from there on. Plain tensors
sum as torch does. The sums agree to 4e-6, less than a unit of a log-probability (1.5e-5 nats), so
roundings and therefore claims of a miner and a validator can differ by one unit.

A row's results do not depend on the rows beside it. Specification, sections 3, 5 and 6.
"""

from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor

from assay.inference.draws.sampler import (
    KeyedSampler,
    is_for_a_card,
    is_for_a_cpu,
    load_card_kernels,
    load_kernels,
    require_done,
    require_useful,
    to_arrays,
)
from assay.protocol.draw import LOGIT_MAX
from assay.protocol.submission import LOGPROB_BITS, LOGPROB_MAX


class RowStatistics(NamedTuple):
    """Statistics of N rows, each on the logits' device."""

    best: Tensor  # int64 [N], the keyed argmax
    margins: Tensor  # int64 [N], its score less the claimed id's, 2^-20 logits
    gini: Tensor  # float64 [N], 1 − Σp² at T = 1 over drawable ids
    logprobs: Tensor  # int64 [N], −ln p of the claimed id at T = 1, 2^-16 nats, clipped


class RowMeter:
    """Measures rows of logits against claimed ids.

    Args:
        sampler: of the vocabulary and temperature, on the device of the logits.
    """

    def __init__(self, sampler: KeyedSampler) -> None:
        self._sampler = sampler
        self._blocked = ~sampler.drawable

    def measure(
        self, logits: Tensor, keys: Tensor, positions: Tensor, tokens: Tensor
    ) -> RowStatistics:
        """Measure rows with the fastest available backend.

        Args:
            logits: float [N, V], overwritten where plain tensors compute. float64 is processed as
                tensors, all narrower types as float32.
            keys: int64 [N, 4].
            positions: int64 [N], index of the token in its completion.
            tokens: int64 [N], the claimed ids, below V.

        Raises:
            NumericalError: a logit is not finite. IndexError: on a CPU, a claimed id of V or more.
        """
        row = keys, positions, tokens
        if is_for_a_cpu(logits) and (kernels := load_kernels()) is not None:
            return self.measure_compiled(kernels, logits.float(), *row)
        if is_for_a_card(logits) and (kernels := load_card_kernels(logits.device)) is not None:
            return self.measure_on_card(kernels, logits.float(), *row)
        return self.measure_on_tensors(logits, *row)

    def find_leads(self, logits: Tensor, keys: Tensor, positions: Tensor) -> Tensor:
        """The lead of each row's keyed argmax over the second-best id, int64 [N], 2^-20 logits.
        Where it is small, another pass over the same tokens may draw the other id.

        Args:
            logits: float32 [N, V]; changed during the call. Others as in `measure`.
        """
        best, top = self._sampler.draw(logits, keys, positions)
        rows = torch.arange(len(best), device=logits.device)
        held = logits[rows, best]
        # below every other id whatever its noise, whose range is less than 32 T
        lowest = logits.amin(dim=1)
        logits[rows, best] = lowest - 32 * self._sampler.temperature / 1024
        second = self._sampler.draw(logits, keys, positions)[1]
        logits[rows, best] = held
        return top - second

    def measure_compiled(
        self, kernels: ModuleType, logits: Tensor, keys: Tensor, positions: Tensor, tokens: Tensor
    ) -> RowStatistics:
        """The same as `measure`, of float32 on a CPU. The row is read from memory once."""
        if len(tokens) and not 0 <= int(tokens.min()) <= int(tokens.max()) < logits.shape[1]:
            raise IndexError("a claimed id is none of the vocabulary")
        sampler = self._sampler
        best, margins = torch.empty_like(tokens), torch.empty_like(tokens)
        logp, gini = (torch.empty(len(tokens), dtype=torch.float64) for _ in range(2))
        drawable, table = to_arrays(sampler.drawable, sampler.table)

        def measure(rows: slice) -> bool:
            done: bool = kernels.measure_rows(
                *to_arrays(logits[rows]),
                drawable,
                *to_arrays(keys[rows], positions[rows], tokens[rows]),
                sampler.temperature,
                table,
                sampler.bound,
                sampler.slack,
                LOGIT_MAX,
                *to_arrays(best[rows], margins[rows], logp[rows], gini[rows]),
            )
            return done

        require_done(logits, measure)
        return RowStatistics(best, margins, gini, _round_logprobs(logp))

    def measure_on_card(
        self, kernels: ModuleType, logits: Tensor, keys: Tensor, positions: Tensor, tokens: Tensor
    ) -> RowStatistics:
        """The same as `measure`, of float32, with Triton's kernels."""
        sampler = self._sampler
        statistics, bits = kernels.measure_rows(
            logits.contiguous(),
            sampler.drawable,
            keys,
            positions,
            sampler.temperature,
            sampler.table,
            sampler.make_card_bound(kernels),
            tokens,
            1 << LOGPROB_BITS,
            LOGPROB_MAX,
        )
        require_useful(bits)
        return RowStatistics(*statistics)

    def measure_on_tensors(
        self, logits: Tensor, keys: Tensor, positions: Tensor, tokens: Tensor
    ) -> RowStatistics:
        """The same as `measure`, on any device. Overwrites the logits and takes as much memory
        again."""
        claimed = tokens[:, None]
        best, top = self._sampler.draw(logits, keys, positions)
        scores = self._sampler.score(logits, keys, positions, claimed)
        logp = logits.masked_fill_(self._blocked, -torch.inf).log_softmax(dim=1)
        logprobs = _round_logprobs(logp.gather(1, claimed)[:, 0].double())
        gini = (1.0 - logp.exp_().square_().sum(dim=1)).clamp_(min=0).double()
        return RowStatistics(best, top - scores[:, 0], gini, logprobs)


def _round_logprobs(logp: Tensor) -> Tensor:
    """ln p, float64 [N], as a submission has it: −ln p in 2^-16 nats, int64 [N]."""
    return torch.round(-logp * (1 << LOGPROB_BITS)).clamp_(0, LOGPROB_MAX).long()
