"""Whether a model may be measured: by what its family's packs rest on, or by what its own class
must be where no family describes it."""

from transformers import PreTrainedModel

from assay.inference.plain.probes import ADOPT_TOKENS, probe_plain
from assay.inference.plain.states import get_plain_head
from assay.inference.probes import Probe, probe, require_holding


def require_measurable(model: PreTrainedModel, tokens: int = ADOPT_TOKENS) -> list[Probe]:
    """Try all properties of a model in fp32. Raises a ProbeError that names the first that fails.

    Args:
        tokens: on which two implementations of a class without a family are compared.
    """
    plain = get_plain_head(model) is not None
    return require_holding(probe_plain(model, tokens) if plain else probe(model))
