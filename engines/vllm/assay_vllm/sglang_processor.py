"""SGLang's interface: a class that each request names, called with the logits of its rows."""

from functools import cache
from typing import Any

import torch
from sglang.srt.sampling.custom_logit_processor import CustomLogitProcessor
from sglang.srt.server_args import get_global_server_args
from torch import Tensor

from assay_vllm.drawable import find_drawable
from assay_vllm.keyed_draw import KeyedDraw, choose, read_row


@cache
def _open_draw(folder: str, vocabulary: int, device: torch.device) -> KeyedDraw:
    return KeyedDraw(find_drawable(folder, vocabulary), device)


class SglangProcessor(CustomLogitProcessor):
    """Draws the tokens of requests that name a rollout in their `custom_params`.

    The server runs with `--disable-overlap-schedule`: otherwise a request's newest token is not
    known yet when the next is drawn.
    """

    def __call__(
        self, logits: Tensor, custom_param_list: list[dict[str, Any]] | None = None
    ) -> Tensor:
        """Makes each keyed row's id its largest logit. logits: [rows, V]."""
        rows = [read_row(params, 0) for params in custom_param_list or ()]
        draw = _open_draw(get_global_server_args().model_path, logits.shape[1], logits.device)
        for temperature in {row.temperature for row in rows if row is not None}:
            chosen = [
                (i, row, params["__req__"])
                for i, (row, params) in enumerate(zip(rows, custom_param_list or (), strict=True))
                if row is not None and row.temperature == temperature
            ]
            keys = torch.tensor([row.key for _, row, _ in chosen], device=logits.device)
            made = [row.at + len(request.output_ids) for _, row, request in chosen]
            positions = torch.tensor(made, device=logits.device)
            places = torch.tensor([i for i, _, _ in chosen], device=logits.device)
            ids = draw.draw(logits[places].float(), keys, positions, temperature)
            choose(logits, places, ids)
        return logits
