"""One tiny model of every family as the installed transformers reads it, for another version to
compare with.

python -m tests.inference.library_pair FOLDER  # writes a folder and states for each family
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.torch import save_file
from torch import Tensor

from assay.inference.families import FAMILIES
from assay.inference.implementations import make_model
from assay.inference.model_loading import load_model
from assay.inference.passages import Passage
from assay.inference.reference import Reference
from tests.inference.family_models import RAMP, VOCABULARY, get_model, get_tensors, write_config

TEMPERATURE = 1_024


def make_passages() -> list[Passage]:
    """Prompts and completions of random tokens; some share a prompt."""
    random = np.random.default_rng(3)

    def draw(count: int) -> tuple[int, ...]:
        return tuple(random.integers(0, VOCABULARY, count).tolist())

    prompts = [draw(20), draw(35)]
    return [Passage(prompts[i % 2], draw(40)) for i in range(20)]


def read_folder(folder: Path) -> tuple[Reference, Sequence[Tensor]]:
    """The reference of a folder, and its states of the passages."""
    model = load_model(folder, router_ramp=RAMP)
    reference = Reference(make_model(model, "fp32-sdpa"), np.ones(VOCABULARY, bool), TEMPERATURE)
    return reference, reference.compute_states(make_passages())


def main(out: Path) -> None:
    for kind in FAMILIES:
        folder = out / kind
        folder.mkdir(parents=True)
        write_config(get_model(kind).config, folder)
        save_file(get_tensors(get_model(kind)), folder / "model.safetensors")
        _, states = read_folder(folder)
        stored = {str(i): one.contiguous() for i, one in enumerate(states)}
        save_file(stored, out / f"{kind}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
