"""The model that is evaluated: a checkpoint's folder, or one that `assay adopt` wrote.

Prompts are made from its small files. Its tensors are read only if this program draws itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from assay.environments import ask
from assay.evaluation.suite import EvaluationError, Suite
from assay.inference import Checkpoint, OwnDrafter, Placement, Rules, load_checkpoint
from assay.inference.checkpoint import load_outline
from assay.inference.context_length import count_positions
from assay.inference.draws.sampler import BROKEN, KeyedSampler, NumericalError
from assay.inference.folder import (
    MANIFEST_FILE,
    digest_structure,
    digest_tensors,
    digest_tokenizer,
    digest_weights,
    read_config,
)
from assay.inference.model_loading import load_model
from assay.inference.tokenizing.folder_tokenizer import (
    FolderTokenizer,
    load_tokenizer,
    make_tokenizer,
)

#: Rows that are decoded together on a CPU, and on a GPU.
_ROWS_CPU, _ROWS_GPU = 32, 256


@dataclass(frozen=True, slots=True)
class EvaluatedModel:
    """A model, without its weights.

    Attributes:
        folder: of its files. digests: of their parts, hex; part → digest.
        tokenizer: makes prompts, by the chat template if `has_template`.
        end_tokens: ids that end a completion.
        load: loads the weights. Raises a CheckpointError.
    """

    folder: Path
    digests: dict[str, str]
    tokenizer: FolderTokenizer
    end_tokens: tuple[int, ...]
    has_template: bool
    config: dict[str, Any]
    load: Callable[[Placement], PreTrainedModel]

    def encode_suite(
        self, suite: Suite, prompts: list[str], max_tokens: int
    ) -> list[tuple[int, ...]]:
        """The ids of a suite's prompts.

        Raises:
            EvaluationError: a prompt cannot be written, or the context cannot hold it with
                `max_tokens` behind it.
        """
        encoded = []
        for row, prompt in zip(suite.rows, prompts, strict=True):
            try:
                encoded.append(tuple(self.tokenizer.encode_strictly(ask(prompt))))
            except ValueError as error:
                raise EvaluationError(f"{suite.name}, row {row.number}: {error}") from None
        positions = count_positions(self.config)
        if positions is None:
            return encoded
        long = [place for place, ids in enumerate(encoded) if len(ids) + max_tokens > positions]
        if not long:
            return encoded
        place = max(long, key=lambda place: len(encoded[place]))
        longest = len(encoded[place])
        said = (
            f"{suite.name}: {len(long)} of {len(encoded)} prompts do not fit the model's context "
            f"of {positions:,} tokens with {max_tokens:,} behind them; the longest, of row "
            f"{suite.rows[place].number}, has {longest:,}"
        )
        if longest >= positions:
            raise EvaluationError(f"{said}: take fewer --shots, shorter problems or another model")
        raise EvaluationError(f"{said}: use --max-tokens {positions - longest} or less")

    def make_drafter(
        self, model: PreTrainedModel, temperature: int, max_tokens: int
    ) -> tuple[OwnDrafter, int]:
        """A drafter of its completions, and the number of rows that it takes at a time.

        Args:
            temperature: 1024 · T; 0 takes the most probable token.
        """
        device = model.device
        rows = _ROWS_CPU if device.type == "cpu" else _ROWS_GPU
        rules = Rules(temperature, self.end_tokens, max_tokens)
        drafter = OwnDrafter(model, self.tokenizer.drawable, rules, rows)
        if not temperature:
            drafter.sampler = GreedySampler(self.tokenizer.drawable, 1, device)
        return drafter, rows


class GreedySampler(KeyedSampler):
    """Draws the most probable token, the lowest id of equals."""

    def draw(self, logits: Tensor, keys: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """See `KeyedSampler.draw`. The scores are 0."""
        if not bool(torch.isfinite(logits).all()):
            raise NumericalError(BROKEN)
        ids = logits.masked_fill(~self.drawable, -torch.inf).argmax(dim=1)
        return ids, torch.zeros_like(ids)


def open_folder(
    folder: Path, *, is_plain: bool = False, has_weights: bool = True
) -> EvaluatedModel:
    """Open a folder with a manifest, or one as `assay adopt` writes it.

    Args:
        is_plain: without the chat template.
        has_weights: False: its tensors are not looked at; an engine has them.

    Raises:
        CheckpointError: the folder cannot be used.
    """
    config = dict(read_config(folder))
    if (folder / MANIFEST_FILE).exists():
        manifest = load_outline(folder).manifest
        ends, digests = manifest.end_tokens, {"checkpoint": manifest.digest.hex()}

        def load(placement: Placement) -> PreTrainedModel:
            return load_checkpoint(folder, manifest.digest, placement).model
    else:
        found: Any = config["eos_token_id"]
        ends = tuple(found) if isinstance(found, list) else (found,)
        digests = {"config": digest_structure(folder).hex()}
        digests["tokenizer"] = digest_tokenizer(folder).hex()
        if has_weights:
            digests["tensors"] = digest_weights(folder, digest_tensors(folder)).hex()

        def load(placement: Placement) -> PreTrainedModel:
            return load_model(folder, placement.device)

    tokenizer, has_template = _open_tokenizer(folder, config, ends, is_plain)
    return EvaluatedModel(folder, digests, tokenizer, ends, has_template, config, load)


def wrap_checkpoint(checkpoint: Checkpoint, *, is_plain: bool = False) -> EvaluatedModel:
    """The model of a checkpoint that is open already."""
    config = dict(read_config(checkpoint.folder))
    ends, digests = checkpoint.manifest.end_tokens, {"checkpoint": checkpoint.digest.hex()}
    opened = _open_tokenizer(checkpoint.folder, config, ends, is_plain)
    load = lambda placement: checkpoint.model  # noqa: E731
    return EvaluatedModel(checkpoint.folder, digests, opened[0], ends, opened[1], config, load)


def _open_tokenizer(
    folder: Path, config: dict[str, Any], ends: tuple[int, ...], is_plain: bool
) -> tuple[FolderTokenizer, bool]:
    """The tokenizer, and whether it applies a chat template."""
    vocabulary = config["vocab_size"]
    tokenizer = load_tokenizer(folder, vocabulary)
    if is_plain:
        tokenizer.chat_template = None
    has_template = tokenizer.chat_template is not None
    return make_tokenizer(folder, tokenizer, vocabulary, ends), has_template
