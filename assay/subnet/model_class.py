"""What a network's parameters say of a model that no family describes: written once, by its owner.
Specification, section 7."""

from assay.inference.checkpoint import Checkpoint
from assay.inference.folder import digest_structure, find_tensors
from assay.inference.implementations import find_pair
from assay.inference.plain.opening import digest_shapes, get_library_version
from assay.protocol.parameters import ModelClass


def make_class(checkpoint: Checkpoint) -> ModelClass | None:
    """The class of a checkpoint's model; None: a family describes it."""
    if not checkpoint.is_plain:
        return None
    folder = checkpoint.folder
    shapes = {name: place.shape for name, (_, place) in find_tensors(folder).items()}
    first, second = find_pair(checkpoint.model)
    return ModelClass(
        digest_structure(folder), digest_shapes(shapes), get_library_version(), first, second
    )


def describe_class(made: ModelClass) -> str:
    """What an owner should know of such a network, in one line."""
    return (
        "no family describes this model: every program needs exactly transformers "
        f"{made.library}, and reads one row at a time, each with its prompt; its rates compare "
        f"{made.first} and {made.second}"
    )
