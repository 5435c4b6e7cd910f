"""Makes and scores entries of reasoning-gym in native Python: what the sandbox's image must equal.

python -P native_gym.py DATASET [[LEVEL, NUMBER], …]

Writes a line for each: question, reference, and whether the scorer takes the reference, with a
letter more, and backwards; or the error, as text, that making it raises. With PYTHONHASHSEED=0, as
in the sandbox.
"""

import contextlib
import decimal
import importlib.resources
import io
import json
import random
import sys
from typing import Any

import numpy as np
import pyfiglet

EXAMPLES = "example_answer", "example_correct_answer", "possible_answer"


def list_fonts() -> list[str]:
    """All fonts in order of name: pyfiglet has them in that of a folder's listing."""
    folder = importlib.resources.files("pyfiglet.fonts")
    names = sorted(file.name for file in folder.iterdir() if file.is_file())
    return [n.split(".", 2)[0] for n in names if pyfiglet.FigletFont.isValidFont(n)]


pyfiglet.FigletFont.getFonts = list_fonts

from reasoning_gym.factory import CURRICULA, DATASETS, create_curriculum  # noqa: E402


def make(name: str, level: int, number: int) -> tuple[Any, Any]:
    random.seed(number)
    np.random.seed(number)
    decimal.setcontext(decimal.DefaultContext.copy())
    made, config = DATASETS[name]
    sizes = {"seed": number, "size": 1}
    if name in CURRICULA:
        curriculum = create_curriculum(name)
        curriculum.set_global_level(level - 1)
        dataset = made(config=curriculum.generate_configuration(sizes))
    else:
        dataset = made(config=config(**sizes))
    return dataset, dataset[0]


def score(dataset: Any, entry: Any, text: str) -> bool:
    try:
        return float(dataset.score_answer(text, entry)) >= 1.0
    except Exception:  # noqa: BLE001 - such an answer is wrong
        return False


def describe(name: str, level: int, number: int) -> list[Any] | str:
    try:
        dataset, entry = make(name, level, number)
    except Exception as error:  # noqa: BLE001 - it makes none there either
        return f"{type(error).__name__}: {error}"
    known = entry["answer"], *(entry["metadata"].get(one) for one in EXAMPLES)
    found = next(one for one in known if one is not None)
    reference = found if isinstance(found, str) else json.dumps(found)
    texts = reference, reference + "x", reference[::-1]
    return [entry["question"], reference, [score(dataset, entry, text) for text in texts]]


def main() -> None:
    name, asked = sys.argv[1], json.loads(sys.argv[2])
    for level, number in asked:
        with contextlib.redirect_stdout(io.StringIO()):  # some datasets print
            line = describe(name, level, number)
        print(json.dumps(line))


main()
