"""The caged child behind `reasoning_gym`: makes entries of its datasets and asks their scorers.

It alone imports reasoning_gym. A request is a JSON list, an answer a JSON object. Every source of
chance is seeded before a dataset is asked, since some reach for the global one; what still depends
on the process is refused by `gym_datasets`.
"""

import decimal
import json
import random
import sys
from functools import lru_cache
from typing import Any, NoReturn

from assay.cage import child

#: Bytes of address space beyond what the imports take. Tuning.
MEMORY_BYTES = 1 << 30
#: Entries kept, so that the rollouts of a group are scored without making it again. Tuning.
_ENTRIES = 256
#: Where entries without an answer of their own keep one that is right.
_EXAMPLES = "example_answer", "example_correct_answer", "possible_answer"
#: What no dataset does and no scorer may: a stranger's answer must not reach any of it.
_FORBIDDEN = (
    "socket.",
    "subprocess.",
    "os.system",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.spawn",
    "os.kill",
    "ctypes.",
)


def main() -> NoReturn:
    import numpy
    import reasoning_gym
    import sympy

    del numpy, reasoning_gym, sympy  # their memory counts as the imports'
    sys.addaudithook(_refuse)
    child.serve(answer, MEMORY_BYTES)


def answer(request: bytes) -> bytes:
    """`["levels", name]`, `["make", name, level, number]` or `["score", …, text]`."""
    kind, name, *rest = json.loads(request)
    if kind == "levels":
        return _pack({"levels": count_levels(name)})
    try:
        dataset, entry = _make_entry(name, rest[0], rest[1])
        reference = _get_reference(entry)
    except Exception as error:  # noqa: BLE001 - whatever a foreign generator does not survive
        return _pack({"error": f"{type(error).__name__}: {error}"[:300]})
    if kind == "make":
        return _pack({"question": entry["question"], "answer": reference})
    try:
        return _pack({"right": float(dataset.score_answer(rest[2], entry)) >= 1.0})
    except Exception:  # noqa: BLE001 - what breaks a foreign scorer is no answer to its question
        return _pack({"right": False})


def count_levels(name: str) -> int:
    """Levels of a dataset: its curriculum's longest attribute's, or 1."""
    from reasoning_gym.factory import CURRICULA, create_curriculum

    if name not in CURRICULA:
        return 1
    return max(len(a.levels) for a in create_curriculum(name).attributes.values())


@lru_cache(_ENTRIES)
def _make_entry(name: str, level: int, number: int) -> tuple[Any, Any]:
    import numpy as np
    from reasoning_gym.factory import CURRICULA, DATASETS, create_curriculum

    random.seed(number)
    np.random.seed(number)
    decimal.setcontext(decimal.DefaultContext.copy())  # some leave theirs behind
    made, config = DATASETS[name]
    sizes = {"seed": number, "size": 1}
    if name in CURRICULA:
        curriculum = create_curriculum(name)
        curriculum.set_global_level(level - 1)
        dataset = made(config=curriculum.generate_configuration(sizes))
    else:
        dataset = made(config=config(**sizes))
    return dataset, dataset[0]


def _get_reference(entry: dict[str, Any]) -> str:
    """The answer that an entry gives itself, or an example of one."""
    known = entry["answer"], *(entry["metadata"].get(name) for name in _EXAMPLES)
    found = next(reference for reference in known if reference is not None)
    return found if isinstance(found, str) else json.dumps(found)


def _pack(reply: dict[str, Any]) -> bytes:
    return json.dumps(reply).encode()


def _refuse(event: str, arguments: object) -> None:
    if event.startswith(_FORBIDDEN):
        raise PermissionError(f"{event} is not for a caged child")
