"""Checkpoints as models of lm-eval (EleutherAI's evaluation harness), for its tasks:

    python -m assay.evaluation.lm_eval_adapter run --model assay --model_args folder=FOLDER \
        --tasks hellaswag --device cpu

Everything behind `--model assay` is lm-eval's own command line. The folder is one with a manifest,
whose digest is checked, or one that `assay adopt` wrote. Its tensors are read by the code that
verifies miners, its prompts are made by its own tokenizer and template; scoring and generation are
lm-eval's. So a figure here is one of exactly the model that a network agreed on.
"""

import sys
from pathlib import Path
from typing import Any

from lm_eval.__main__ import cli_evaluate
from lm_eval.api.registry import register_model
from lm_eval.models.huggingface import HFLM

from assay.evaluation.model import open_folder
from assay.inference.folder import CheckpointError, read_config
from assay.inference.placement import Placement
from assay.inference.tokenizing.folder_tokenizer import load_tokenizer
from assay.protocol.errors import OperatorError


@register_model("assay")
class AssayLM(HFLM):  # type: ignore[misc]  # lm-eval has no types
    """lm-eval's model of the library transformers, with Assay's weights and tokenizer.

    Args:
        folder: of the checkpoint.
        device: torch's name of it; None: cpu.
        options: of `HFLM`, such as batch_size and max_length.

    Raises:
        CheckpointError: no folder is named, or it cannot be used.
    """

    def __init__(self, folder: str = "", device: str | None = None, **options: Any) -> None:
        if not folder:
            raise CheckpointError("which checkpoint? name its folder: --model_args folder=FOLDER")
        place = Path(folder)
        opened = open_folder(place)
        tokenizer = load_tokenizer(place, int(read_config(place)["vocab_size"]))
        model = opened.load(Placement(device or "cpu"))
        super().__init__(pretrained=model, tokenizer=tokenizer, backend="causal", **options)


if __name__ == "__main__":
    try:
        cli_evaluate()
    except OperatorError as error:
        print(f"assay: {error}", file=sys.stderr)
        raise SystemExit(2) from None
