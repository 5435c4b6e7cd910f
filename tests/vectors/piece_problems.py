"""Vectors of the problems that pieces make (docs/environments.md, Pieces), of the first pool, of a
checkpoint's and of a file's.

What is drawn takes no sandbox, but opening the environments does.
"""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pools import make_pool
from subjects import digest

from assay.environments.answer_form import NAME as FORM
from assay.environments.pieces.growth import read_pool
from assay.environments.pieces.piece_environment import PieceEnvironment
from assay.environments.pieces.propose import Propose
from assay.environments.problem_file import add_problem_files
from assay.environments.registry import make_environment
from assay.protocol.parameters import UNITS

Json = Any

_FAMILIES = "deduce", "abduce", "induce"
#: Problems of each environment and choice of levels. The first of them is there as text.
_SEEDS = 6


def make_problems() -> Json:
    """A pool's file, and of environments their digests and problems: of the first pool alone, with
    that file as a checkpoint's pool, and of it alone."""
    text = make_pool()["pool"]
    data = text.encode()
    with TemporaryDirectory() as folder:
        file = Path(folder) / "pool.jsonl"
        file.write_bytes(data)
        add_problem_files([file])
        opened = list(_open_all(f":{sha256(data).hexdigest()}"))
    grown = [one.with_pool(read_pool(data)) for one in opened[: len(_FAMILIES) + 1]]
    return {
        "pool": text,
        "first": [_describe(one) for one in opened if one.known],
        "checkpoint": [_describe(one) for one in grown],
        "file": [_describe(one) for one in opened if not one.known],
    }


def _open_all(file: str) -> Iterator[PieceEnvironment]:
    yield Propose({})
    for suffix, forms in (("", (0,)), (file, (0,)), ("", (1, 2, 3))):
        for family in _FAMILIES:
            for form in forms:
                if family == "induce" and form:
                    continue
                settings = {FORM: form, UNITS: 100 + form} if form else {}
                environment = make_environment(family + suffix, settings)
                assert isinstance(environment, PieceEnvironment)
                yield environment


def _describe(environment: PieceEnvironment) -> Json:
    problems, every = [], environment.levels
    for levels in (every, every[:1], every[3:5], every[-1:]):
        for i in range(_SEEDS):
            seed = digest(f"piece {i}")
            problem = environment.make_problem(seed, levels)
            hashed = sha256(problem.prompt.encode()).hexdigest()
            shown = {} if i else {"prompt": problem.prompt}
            made = {"seed": seed.hex(), "levels": levels, "level": problem.level}
            problems.append(made | shown | {"prompt_sha256": hashed})
    return {
        "name": environment.name,
        "settings": dict(environment.params),
        "digest": environment.digest.hex(),
        "problems": problems,
    }
