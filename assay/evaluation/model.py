"""The model that is evaluated: a checkpoint's folder, or one that `assay adopt` wrote.

Prompts are made from its small files. Its tensors are read only if this program draws itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from assay.environments.base import Conversation
from assay.evaluation.sampling import OwnSampler
from assay.evaluation.suite import EvaluationError, Suite
from assay.gate.chat_template import TemplateFault
from assay.gate.tokenizer import FolderTokenizer
from assay.inference.checkpoint import Checkpoint, load_checkpoint, load_outline
from assay.inference.context_length import count_positions
from assay.inference.draft import OwnDrafter, Rules
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
from assay.inference.placement import Placement
from assay.inference.tokenizing.folder_tokenizer import load_tokenizer, make_tokenizer

#: Rows that are decoded together on a CPU, and on a GPU.
_ROWS_CPU, _ROWS_GPU = 32, 256


@dataclass(frozen=True, slots=True)
class EvaluatedModel:
    """A model, without its weights.

    Attributes:
        folder: of its files. digests: of their parts, hex; part → digest.
        tokenizer: makes prompts.
        end_tokens: ids that end a completion.
        load: loads the weights. Raises a CheckpointError.
    """

    folder: Path
    digests: dict[str, str]
    tokenizer: FolderTokenizer
    end_tokens: tuple[int, ...]
    config: dict[str, Any]
    load: Callable[[Placement], PreTrainedModel]

    @property
    def has_template(self) -> bool:
        """Whether it has a chat template."""
        return self.tokenizer.has_template

    def encode_suite(
        self, suite: Suite, asked: Sequence[Conversation], max_tokens: int
    ) -> list[tuple[int, ...]]:
        """The ids of a suite's rows as they are asked.

        Raises:
            EvaluationError: a prompt cannot be written, or the context cannot hold it with
                `max_tokens` behind it.
        """
        encoded = []
        for row, one in zip(suite.rows, asked, strict=True):
            try:
                encoded.append(tuple(self.tokenizer.encode_strictly(one)))
            except TemplateFault as error:
                raise EvaluationError(
                    f"{suite.name}, row {row.number}: {error}: name other words with --prompts, or "
                    "leave the template out with --plain"
                ) from None
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

    def count_room(self, prompt: int) -> int | None:
        """Tokens that the context holds behind a prompt of so many; None: nothing bounds them."""
        positions = count_positions(self.config)
        return None if positions is None else positions - prompt

    def make_sampler(
        self, model: PreTrainedModel, temperature: int, max_tokens: int, rows: int | None = None
    ) -> OwnSampler:
        """A sampler of its completions.

        Args:
            model: its weights.
            temperature: 1024 · T; 0 takes the most probable token.
            rows: that it draws at a time; None: as many as suit the device.
        """
        device = model.device
        rows = rows or (_ROWS_CPU if device.type == "cpu" else _ROWS_GPU)
        rules = Rules(temperature, self.end_tokens, max_tokens)
        drafter = OwnDrafter(model, self.tokenizer.drawable, rules, rows)
        if not temperature:
            drafter.sampler = GreedySampler(self.tokenizer.drawable, 1, device)
        return OwnSampler(drafter, self.tokenizer, rows)


class GreedySampler(KeyedSampler):
    """Draws the most probable token, the lowest id of equals."""

    def draw(self, logits: Tensor, keys: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """See `KeyedSampler.draw`. The scores are 0."""
        if not bool(torch.isfinite(logits).all()):
            raise NumericalError(BROKEN)
        ids = logits.masked_fill(~self.drawable, -torch.inf).argmax(dim=1)
        return ids, torch.zeros_like(ids)


def open_folder(folder: Path, *, has_weights: bool = True) -> EvaluatedModel:
    """Open a folder with a manifest, or one as `assay adopt` writes it.

    Args:
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

    vocabulary = config["vocab_size"]
    tokenizer = make_tokenizer(folder, load_tokenizer(folder, vocabulary), vocabulary, ends)
    return EvaluatedModel(folder, digests, tokenizer, ends, config, load)


def wrap_checkpoint(checkpoint: Checkpoint) -> EvaluatedModel:
    """The model of a checkpoint that is open already."""
    folder, ends = checkpoint.folder, checkpoint.manifest.end_tokens
    digests, config = {"checkpoint": checkpoint.digest.hex()}, dict(read_config(folder))
    load = lambda placement: checkpoint.model  # noqa: E731
    return EvaluatedModel(folder, digests, checkpoint.tokenizer, ends, config, load)
