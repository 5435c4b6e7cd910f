"""Whether a model may be measured: by what its family's packs rest on, or by what its own class
must be where no family describes it."""

from time import perf_counter

import torch
from transformers import PreTrainedModel

from assay.inference.plain.states import get_plain_head, read_states
from assay.inference.plain_probes import ADOPT_TOKENS, LONGEST, probe_plain
from assay.inference.probes import Probe, probe, require_holding

#: Tokens of the row by which a class's speed is measured.
_TIMED = 256


def measure_plain_speed(model: PreTrainedModel) -> float | None:
    """The tokens a second that a class without a family reads here, one row at a time; None: a
    family reads the model."""
    if get_plain_head(model) is None:
        return None
    ids = torch.zeros((1, _TIMED), dtype=torch.int64, device=model.device)
    began = perf_counter()
    with torch.inference_mode():
        read_states(model, ids)[0, -1, 0].item()
    return _TIMED / (perf_counter() - began)


def require_measurable(
    model: PreTrainedModel, tokens: int = ADOPT_TOKENS, longest: int = LONGEST
) -> list[Probe]:
    """Try all properties of a model in fp32. Raises a ProbeError that names the first that fails.

    Args:
        tokens: on which two implementations of a class without a family are compared.
        longest: tokens of the longest row that is read of such a class.
    """
    if get_plain_head(model) is None:
        return require_holding(probe(model))
    return require_holding(probe_plain(model, tokens, longest=longest))
