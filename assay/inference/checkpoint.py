"""A model folder, opened: a window only begins with tensors that hash to the manifest.

Specification, section 7. Formats: safetensors and Hugging Face's config and tokenizer files.
"""

import copy
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from pathlib import Path
from threading import RLock

import torch
from transformers import PreTrainedModel

from assay.environments.base import Environment
from assay.environments.registry import open_environment_of
from assay.gate.tokenizer import FolderTokenizer
from assay.inference.draft import OwnDrafter, Rules
from assay.inference.families import get_expert_bounds
from assay.inference.folder import (
    MANIFEST_FILE,
    CheckpointError,
    UnusableCheckpointError,
    find_tensors,
    read_config,
    read_pool_file,
    verify_manifest,
    verify_small_files,
    verify_tensors,
)
from assay.inference.implementations import (
    APPEAL_IMPLEMENTATION,
    DEFAULT_IMPLEMENTATION,
    SPLIT_IMPLEMENTATION,
    ImplementationError,
    PlainReference,
    make_model,
)
from assay.inference.model_loading import load_model
from assay.inference.placement import Placement
from assay.inference.placing.devices import CPU
from assay.inference.placing.memory_plan import MemoryBudget, plan_memory
from assay.inference.placing.model_sizes import BF16_WEIGHTS, ModelShape, measure_shape
from assay.inference.plain_config import is_plain
from assay.inference.reading import CausalModel
from assay.inference.reference import Reference
from assay.inference.tokenizing.folder_tokenizer import open_tokenizer
from assay.protocol.manifest import Calibration, Manifest
from assay.protocol.parameters import EXPERT_BITS, EnvironmentChoice
from assay.verification import Forward

#: Names a sampler's memory in messages for people.
_TABLES = "the tables of a sampler"


@dataclass(frozen=True)
class Outline:
    """A checkpoint without its tensors: enough to make its problems, decode its text and know its
    bounds, but not to run it."""

    manifest: Manifest
    calibration: Calibration
    tokenizer: FolderTokenizer
    #: the file of problems that the network wrote itself; no bytes: there is none
    piece_pool: bytes = field(default=b"", kw_only=True, repr=False)
    #: whether no family describes the model
    is_plain: bool = field(default=False, kw_only=True)

    def open_environment(self, choice: EnvironmentChoice) -> Environment:
        """The environment of a network with this checkpoint's problems. Raises ValueError: see
        `open_environment_of`."""
        return open_environment_of(choice, self.manifest, self.piece_pool)

    def open(self, folder: Path, models: "FolderModels") -> "Checkpoint":
        """The checkpoint, with the models of its folder."""
        parts = self.manifest, self.calibration, self.tokenizer
        pool = self.piece_pool
        return Checkpoint(*parts, folder, models, piece_pool=pool, is_plain=self.is_plain)


class FolderModels:
    """A folder's tensors as models of a placement. Each model is made once, when it is first
    requested, and shares its weights with the others where it can. Safe to use from several
    threads.

    Args:
        plain: the model in fp32 on the placement's device, if it is in memory.
    """

    def __init__(
        self,
        folder: Path,
        placement: Placement,
        router_ramp: int,
        plain: PreTrainedModel | None = None,
    ) -> None:
        self.placement = placement
        self._folder = folder
        self._router_ramp = router_ramp
        self._made: dict[str, CausalModel] = {}
        self._plain = plain
        self._lock = RLock()  # one for each folder: `cached_property` has one lock for all folders

    @property
    def plain(self) -> PreTrainedModel:
        """The model in fp32. Raises a CheckpointError: see `load_model`."""
        with self._lock:
            if self._plain is not None:
                return self._plain
            device = self.placement.device
            if self.placement.implementation in BF16_WEIGHTS:  # besides the bf16 weights
                stored = sum(path.stat().st_size for path in self._folder.glob("*.safetensors"))
                device = device if self.placement.has_room_for(2 * stored) else CPU
            self._plain = load_model(self._folder, device, router_ramp=self._router_ramp)
            return self._plain

    @property
    def has_plain(self) -> bool:
        """Return whether it is in memory."""
        return self._plain is not None

    @property
    def shared(self) -> PreTrainedModel | None:
        """`plain`, if it is on the CPU; None otherwise."""
        placement = self.placement
        here = placement.device == CPU and placement.implementation not in BF16_WEIGHTS
        return self.plain if here else None

    def get(self, implementation: str) -> CausalModel:
        """An implementation of the reference.

        Raises:
            ImplementationError: there is none of that name, or it cannot run this model.
            CheckpointError: see `load_model`.
        """
        with self._lock:
            if implementation not in self._made:
                # fp32 weights that are in memory anyway serve both
                model = self.plain if self.has_plain else self._load_for(implementation)
                self._made[implementation] = make_model(model, implementation)
            return self._made[implementation]

    def _load_for(self, implementation: str) -> PreTrainedModel:
        if implementation not in BF16_WEIGHTS:
            return self.plain
        return load_model(self._folder, self.placement.device, torch.bfloat16, self._router_ramp)


@dataclass(frozen=True)
class Checkpoint(Outline):
    """A verified checkpoint, ready to run."""

    folder: Path
    models: FolderModels

    @property
    def digest(self) -> bytes:
        """The checkpoint digest, 32 bytes."""
        return self.manifest.digest

    @cached_property
    def shape(self) -> ModelShape:
        """The model's size."""
        places = [place for _, place in find_tensors(self.folder).values()]
        config = self.get_model(self.models.placement.implementation).config
        return measure_shape(config, sum(prod(place.shape) for place in places))

    @cached_property
    def budget(self) -> MemoryBudget:
        """The amount that is computed together, from the free memory at the first use."""
        placement = self.models.placement
        plan = plan_memory(self.shape, placement.device, placement.memory_share)
        model = f"the model in {self.folder}"
        return MemoryBudget(plan, placement.device, self.shape.vocabulary, model)

    @property
    def model(self) -> PreTrainedModel:
        """The model in fp32, on the checkpoint's device."""
        return self.models.plain

    def load_trainable(self) -> PreTrainedModel:
        """A copy of the model on the CPU, whose weights take gradients."""
        model = self.load_plain()
        return (copy.deepcopy(model) if model is self.models.shared else model).requires_grad_(True)

    def load_plain(self) -> PreTrainedModel:
        """The model in fp32 on the CPU, where a learner's weights are between lessons. Shared if it
        is in memory anyway."""
        return self.models.shared or load_model(self.folder, router_ramp=self.manifest.router_ramp)

    def get_rules(self, temperature: int) -> Rules:
        """The rules by which completions under this checkpoint are drawn and end."""
        return Rules(temperature, self.manifest.end_tokens, self.manifest.max_tokens)

    def get_model(self, implementation: str) -> CausalModel:
        """See `FolderModels.get`."""
        return self.models.get(implementation)

    def get_reference(self, temperature: int, implementation: str | None = None) -> Reference:
        """The judge's forward pass over this checkpoint.

        Args:
            implementation: None: the placement's.

        Raises:
            ImplementationError: see `get_model`.
        """
        model = self.get_model(implementation or self.models.placement.implementation)
        drawable = self.tokenizer.drawable
        return self.budget.build(
            lambda: Reference(model, drawable, temperature, self.budget), _TABLES
        )

    def get_forward(self, temperature: int) -> Forward:
        """The forward pass that the judge measures with: the reference, in this process or in
        workers."""
        return self.get_reference(temperature)

    def get_appeal(self, temperature: int) -> Forward:
        """A second opinion on a rejection: another implementation in fp32, one completion and its
        prompt at a time. Beside weights in bf16 it is loaded at the first rejection, on the CPU
        where the GPU lacks room."""
        implementation = self.models.placement.implementation
        appealed = SPLIT_IMPLEMENTATION if self.is_plain else APPEAL_IMPLEMENTATION
        other = DEFAULT_IMPLEMENTATION if implementation == appealed else appealed
        model = self.get_model(other)
        drawable = self.tokenizer.drawable
        return self.budget.build(
            lambda: PlainReference(model, drawable, temperature, self.budget), _TABLES
        )

    def get_drafter(
        self, temperature: int, model: PreTrainedModel | None = None, batch: int = 256
    ) -> OwnDrafter:
        """A drafter that uses this checkpoint, or another `model` over the same vocabulary."""
        rules = self.get_rules(temperature)
        drawable = self.tokenizer.drawable
        return self.budget.build(
            lambda: OwnDrafter(model or self.model, drawable, rules, batch), _TABLES
        )


def load_outline(folder: Path, expected: bytes | None = None) -> Outline:
    """Open everything of a folder but its tensors, which may be missing, and check it against the
    manifest. Does not check whether the tensors make a model.

    Raises:
        CheckpointError: as `load_checkpoint`.
    """
    manifest = verify_manifest(folder, expected)
    calibration = verify_small_files(folder, manifest)
    config = read_config(folder)
    if len(manifest.centre) != config["hidden_size"]:
        raise UnusableCheckpointError(f"μ in {folder} has another width than the model's states")
    plain = is_plain(config)
    least, most = (0, 0) if plain else get_expert_bounds(config)
    if not least << EXPERT_BITS <= manifest.experts <= most << EXPERT_BITS:
        raise UnusableCheckpointError(
            f"{folder / MANIFEST_FILE} says that a token needs {manifest.experts} / "
            f"{1 << EXPERT_BITS} experts, and it takes {least} to {most}"
        )
    if most and not manifest.router_ramp:
        raise UnusableCheckpointError(f"{folder} holds a mixture of experts, without router_ramp")
    tokenizer = open_tokenizer(folder, manifest, config["vocab_size"])
    pool = read_pool_file(folder, manifest)
    return Outline(manifest, calibration, tokenizer, piece_pool=pool, is_plain=plain)


def load_checkpoint(
    folder: Path, expected: bytes | None = None, placement: Placement | None = None
) -> Checkpoint:
    """Open a folder, check the hash of every tensor against its manifest, and load the model.

    Args:
        expected: the digest on chain, if the caller knows it.
        placement: where and how it runs; None: on the CPU, as the reference is defined.

    Raises:
        CheckpointError: a file is missing or differs from the manifest, memory does not suffice, or
            the placement's implementation cannot run this model.
    """
    placement = placement or Placement()
    outline = load_outline(folder, expected)  # before the long work: most faults are there
    manifest = outline.manifest
    for tensor in verify_tensors(folder, manifest):
        if tensor.dtype != "BF16":
            raise UnusableCheckpointError(
                f"{folder} stores tensor {tensor.name} in {tensor.dtype}, not in bf16"
            )
    models = FolderModels(folder, placement, manifest.router_ramp)
    try:
        models.get(placement.implementation)
    except ImplementationError as error:
        raise CheckpointError(f"{folder}: {error}; name another implementation") from None
    return outline.open(folder, models)
