"""The longest context that a model was made for, by its config.json.

A longer one breaks nothing: angles of positions that no training has seen give text without sense.
"""

from collections.abc import Iterator, Mapping
from typing import Any

#: Rotary types whose `factor` stretches the positions that are named beside it. With the others
#: `max_position_embeddings` is the length that there is.
_STRETCHED = ("linear", "yarn")


def count_positions(config: Mapping[str, Any]) -> int | None:
    """The tokens of the longest context, from a legal config.json; None: it does not say."""
    named = config.get("max_position_embeddings")
    if named is None:
        return None
    original = [
        rope["original_max_position_embeddings"]
        for rope in _iterate_ropes(config)
        if rope.get("rope_type", rope.get("type")) == "longrope"  # by its short factors
    ]
    if original:
        return min(named, *original)
    stretched = (
        int(rope.get("factor", 1) * (rope.get("original_max_position_embeddings") or named))
        for rope in _iterate_ropes(config)
        if rope.get("rope_type", rope.get("type")) in _STRETCHED
    )
    return max(named, *stretched, 0)


def _iterate_ropes(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The rotary settings: one, or one for each type of layer."""
    for name in ("rope_parameters", "rope_scaling"):
        given = config.get(name) or {}
        parts = [part for part in given.values() if isinstance(part, Mapping)]
        yield from parts or [given]


def find_context_fault(
    config: Mapping[str, Any], prompt: int, max_tokens: int, context: int = 0
) -> str | None:
    """Why a rollout does not fit behind a prompt in the model's context, and the number that would,
    in one line; None: it fits.

    Args:
        prompt: tokens of the longest prompt.
        max_tokens: of a completion.
        context: most tokens of prompt, turns and replies that the rules allow; 0: none replies.
    """
    positions = count_positions(config)
    if positions is None or max(prompt + max_tokens, context) <= positions:
        return None
    named = f"the model's context is {positions:,} tokens (max_position_embeddings in config.json)"
    if prompt + max_tokens <= positions:
        return (
            f"{named}, and episodes may have {context:,}: set context = {positions} under "
            "[parameters.work] or less"
        )
    said = (
        f"{named}, and a prompt of {prompt:,} with max_tokens = {max_tokens:,} needs "
        f"{prompt + max_tokens:,}"
    )
    if prompt >= positions:
        return f"{said}: take shorter problems, or a model with a longer context"
    return f"{said}: set max_tokens = {positions - prompt} under [parameters.work] or less"
