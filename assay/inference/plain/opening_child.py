"""The child of `opening`: a config.json on stdin, what its class is as JSON on stdout."""

import json
import os
import resource
import sys
from math import ceil
from time import process_time
from typing import Any

from assay.inference.folder import CONFIG_FILE, hold_alone
from assay.inference.plain.opening import get_library_version
from assay.inference.plain_config import PLAIN_SIZES

#: Bytes of the file that the library reads a config from.
_FILE = 1 << 24
#: What a complete config names beside a class's own fields, if the class has it under any name.
_NAMED = (*PLAIN_SIZES, "max_position_embeddings")


def describe_class(config: bytes) -> dict[str, Any]:
    """What `OpenedClass` holds; or `lacks`: there is no such class here; or `memory`: it does not
    suffice; or `fault`: why it cannot be built."""
    import torch
    from transformers import CONFIG_MAPPING, AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    from assay.inference.plain.tracing import trace_outline

    kind = json.loads(config)["model_type"]
    here = kind in CONFIG_MAPPING and CONFIG_MAPPING[kind] in MODEL_FOR_CAUSAL_LM_MAPPING
    if not here:
        return {
            "lacks": f"transformers {get_library_version()} has no causal language model of the "
            f"type {kind}"
        }
    try:
        with hold_alone({CONFIG_FILE: config}) as alone:
            made: Any = AutoConfig.from_pretrained(alone, trust_remote_code=False)
        kind_of_model: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(made)]
        with torch.device("meta"):
            model = kind_of_model(made)
    except MemoryError:
        return {"memory": True}
    except Exception as error:  # noqa: BLE001 - a class may raise anything
        line = str(error).replace("\n", " ")[:300]
        return {"fault": f"{type(error).__name__}: {line}"}
    for name, tensor in model.state_dict().items():
        if not tensor.is_floating_point():
            return {"fault": f"its files hold {name} in {tensor.dtype}, and weights are bf16"}
    names = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    tied = names - {name for name, _ in model.named_parameters()}
    shapes = {
        name: list(tensor.shape) for name, tensor in model.state_dict().items() if name not in tied
    }
    fields = json.loads(made.to_json_string(use_diff=False))
    sizes = {name: getattr(made, name, None) for name in _NAMED}
    return {
        "name": type(model).__name__,
        "shapes": shapes,
        "tied": sorted(tied),
        "choices": [str(finding) for finding in trace_outline(model.eval())],
        "ignored": list(model._keys_to_ignore_on_load_unexpected or ()),  # noqa: SLF001
        "fields": fields | {name: size for name, size in sizes.items() if size is not None},
    }


def main() -> None:
    """Read, build, answer. What a class or a library below it prints goes to stderr."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    seconds, memory = map(int, sys.argv[1:])
    seconds += ceil(process_time())  # to load the library is no work of the class
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))  # ends by a signal of its own
    for kind, most in (
        (resource.RLIMIT_DATA, memory),
        (resource.RLIMIT_FSIZE, _FILE),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))
    config = sys.stdin.buffer.read()
    with answer:
        json.dump(describe_class(config), answer)


if __name__ == "__main__":
    main()
