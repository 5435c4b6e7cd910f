"""The drawable ids of a checkpoint: those with an entry in its tokenizer, padding left out.

Read from the files of the folder that is served, since a tokenizer's class may change them.
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def find_drawable(folder: str, vocabulary: int) -> Tensor:
    """Bool [V].

    Args:
        folder: of the checkpoint.
        vocabulary: V, ids that logits have.

    Raises:
        ValueError: it is no checkpoint's.
    """
    tokenizer = _read(folder, "tokenizer.json")
    config, manifest = _read(folder, "tokenizer_config.json"), _read(folder, "manifest.json")
    known = tokenizer["model"]["vocab"]  # text → id, or a list by id
    ids = dict(
        known if isinstance(known, dict) else ((text, i) for i, (text, _) in enumerate(known))
    )
    ids |= {token["content"]: token["id"] for token in tokenizer.get("added_tokens", ())}
    padding = config.get("pad_token")
    padding = ids.get(padding["content"] if isinstance(padding, dict) else padding)
    drawable = torch.zeros(vocabulary, dtype=torch.bool)
    drawable[[i for i in ids.values() if i < vocabulary]] = True
    if padding is not None and padding not in manifest["end_tokens"]:
        drawable[padding] = False
    return drawable


def _read(folder: str, name: str) -> Any:
    try:
        return json.loads((Path(folder) / name).read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder} is not a folder of an Assay checkpoint: {error}") from None
