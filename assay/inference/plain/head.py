"""What a class does behind its output matrix: found by running it, and compared to the bit.

It is given products of our own there, the same for every model of the class. So weights decide
nothing: a trainer cannot have another head found, and no sum of a machine refuses one.

Known are a scale and a soft cap, whose number stands in the config, and a bias, which is the output
matrix's own. A class that does anything else there is refused: a judge would measure other
probabilities than it draws from.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from assay.inference.head import Finisher
from assay.inference.plain.states import PlainHead, find_output, see_states

#: Tokens of the row by which a head is found.
_TOKENS = 8
_RULES: tuple[Literal["divide", "multiply", "cap"], ...] = ("divide", "multiply", "cap")


class UnknownHeadError(ValueError):
    """A class whose logits are not what is known here."""


def find_head(model: Any) -> PlainHead:
    """What follows a class's output matrix. Runs it on a few tokens.

    Raises:
        UnknownHeadError: something that is not known.
    """
    place, output = find_output(model)
    wanted = model.config.vocab_size, model.config.hidden_size
    found: Any = output.weight
    if tuple(found.shape) != wanted:
        raise UnknownHeadError(
            f"its output matrix is {tuple(found.shape)}, and its config says {wanted}"
        )
    ids = torch.arange(_TOKENS, device=model.device)[None] % model.config.vocab_size
    products, logits = _finish_products(model, output, ids)
    for finisher in _list_finishers(model.config):
        made = finisher.apply(products.to(logits.dtype).clone())
        if torch.equal(made, logits):
            see_states(model, place)
            return PlainHead(place, finisher)
    apart = float((products.float() - logits.float()).abs().max())
    raise UnknownHeadError(
        "its logits are not its output matrix's products, scaled or capped by a number of its "
        f"config: they differ by {apart:.2g}"
    )


def _make_products(wanted: Tensor) -> Tensor:
    """Products of all sizes, from 2^-7 to 2^7, of both signs, in the place of others."""
    count = wanted.numel()
    places = torch.arange(count, dtype=torch.float64)
    signs = 1 - 2 * (torch.arange(count) % 2)
    made = signs * torch.exp2(14 * ((places * 0.6180339887498949) % 1) - 7)
    return made.to(wanted.dtype).view(wanted.shape).to(wanted.device)


def _finish_products(model: Any, output: nn.Module, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Products that are put into the place of the output matrix's, and what the class makes of
    them, [1, T, V]."""
    seen: list[Tensor] = []

    def put(_: Any, __: Any, found: Tensor) -> Tensor:
        seen.append(_make_products(found))
        return seen[-1].clone()

    handle = output.register_forward_hook(put)
    try:
        with torch.inference_mode():
            logits = model(input_ids=ids, use_cache=False).logits
    except (RuntimeError, ValueError, TypeError, AttributeError, LookupError) as error:
        raise UnknownHeadError(f"its class does not read tokens: {_say(error)}") from None
    finally:
        handle.remove()
    if len(seen) != 1 or not isinstance(logits, Tensor):
        raise UnknownHeadError("its class does not multiply by its output matrix once")
    if seen[0].shape != logits.shape or logits.shape[:2] != ids.shape:
        raise UnknownHeadError("its logits have another shape than its output matrix's products")
    return seen[0], logits


def _say(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}"


def _list_finishers(config: Any) -> Iterator[Finisher]:
    """Nothing, then each rule with each number of a config: the same config gives the same
    order."""
    yield Finisher(None)
    fields: Mapping[str, Any] = config.to_dict()
    numbers = {value for value in fields.values() if type(value) in (int, float)}
    for number in sorted(float(value) for value in numbers):
        if number not in (0.0, 1.0):
            yield from (Finisher(rule, number) for rule in _RULES)
