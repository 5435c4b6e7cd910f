"""Checks a model's folder as every reader of a checkpoint would: each part by itself, then all.

It needs no network: an owner runs it before publishing, and anybody runs it on what a window was
void for.
"""

from collections.abc import Iterator
from pathlib import Path

from transformers import PreTrainedModel

from assay.environments.base import ask
from assay.gate.chat_template import PROBE, TemplateFault
from assay.gate.tokenizer import TEMPLATE_REMEDY
from assay.inference.checkpoint import load_checkpoint
from assay.inference.folder import (
    CONFIG_FILE,
    MANIFEST_FILE,
    TOKENIZER_FILES,
    CheckpointError,
    read_config,
)
from assay.inference.measurable import require_measurable
from assay.inference.model_loading import load_model
from assay.inference.tokenizing.folder_tokenizer import load_tokenizer, make_tokenizer
from assay.neurons.preflight.check_results import CheckState, PreflightCheck, attempt

_REMEDY = "nobody can use such a folder: publish another, or repair the file that is named"


def check_model_folder(folder: Path) -> Iterator[PreflightCheck]:
    """The results for a folder with or without a manifest, cheap ones first."""
    yield attempt("config", _REMEDY, lambda: _check_config(folder))
    yield attempt("tokenizer", _REMEDY, lambda: _check_tokenizer(folder))
    models: list[PreTrainedModel] = []
    yield attempt("tensors", _REMEDY, lambda: _check_tensors(folder, models))
    if models:
        yield attempt("packing", _REMEDY, lambda: _check_packing(models.pop()))
    if (folder / MANIFEST_FILE).exists():
        yield attempt("checkpoint", _REMEDY, lambda: _check_checkpoint(folder))


def _check_config(folder: Path) -> PreflightCheck:
    config = read_config(folder)
    detail = f"{CONFIG_FILE} is of a {config['model_type']} with {config['vocab_size']:,} ids"
    return PreflightCheck("config", CheckState.OK, detail)


def _check_tokenizer(folder: Path) -> PreflightCheck:
    vocabulary = read_config(folder)["vocab_size"]
    library = load_tokenizer(folder, vocabulary)
    end = library.eos_token_id
    if end is None:
        raise CheckpointError(f"{folder / TOKENIZER_FILES[1]} names no eos_token")
    tokenizer = make_tokenizer(folder, library, vocabulary, (end,))
    try:
        ids = len(tokenizer.encode_strictly(ask(PROBE)))
    except TemplateFault as error:  # an owner's words may be what it needs
        return PreflightCheck("tokenizer", CheckState.WARN, str(error), TEMPLATE_REMEDY)
    way = "without a chat template" if library.chat_template is None else "by the chat template"
    detail = f"{' and '.join(TOKENIZER_FILES)}: {PROBE!r} becomes {ids} ids {way}"
    return PreflightCheck("tokenizer", CheckState.OK, detail)


def _check_tensors(folder: Path, models: list[PreTrainedModel]) -> PreflightCheck:
    """Also appends the model that they make."""
    models.append(load_model(folder))
    weights = sum(part.numel() for part in models[0].parameters())
    detail = f"{weights:,} weights, all bf16, finite and as {CONFIG_FILE} says"
    return PreflightCheck("tensors", CheckState.OK, detail)


def _check_packing(model: PreTrainedModel) -> PreflightCheck:
    worst = max(
        require_measurable(model), key=lambda each: each.difference / max(each.allowed, 1e-30)
    )
    detail = (
        f"alone and in packs, logits differ by at most {worst.difference:.1g} ({worst.name}); "
        f"{worst.allowed:.1g} is allowed"
    )
    return PreflightCheck("packing", CheckState.OK, detail)


def _check_checkpoint(folder: Path) -> PreflightCheck:
    manifest = load_checkpoint(folder).manifest
    detail = (
        f"number {manifest.number}, {manifest.digest.hex()[:16]}…: every file is its manifest's"
    )
    return PreflightCheck("checkpoint", CheckState.OK, detail)
