"""200 small pure functions that nobody wrote for a model: the problems of `small_pool.py`.

    python bench/registry_pieces.py --out DIR

Packages with permissive licences are fetched from PyPI as wheels into DIR; the standard library is
that of this Python. A function is taken as it stands, or without what a piece cannot have: its
decorators, its defaults, the marks of its parameters, and checks that only raise. Whether it is a
piece says the project's own check, in the sandbox, where all of it runs. The normal form has no
names and no comments of its author. Its inputs are drawn by a seed, of the types that the names and
annotations of its parameters suggest, or else of the first that it takes.

`data/registry_pieces.jsonl` has a row for each, as a pool has it, and beside it the package with
its version, file, line and name, its licence, and what was left out. `data/registry_licences.txt`
has the licences. The same packages give the same rows.
"""

import argparse
import ast
import json
import signal
import subprocess
import sys
import sysconfig
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from itertools import chain, product
from pathlib import Path
from random import Random

from little_programs import inside  # with what it reads of Python 3.12

from assay.environments.pieces.growth import compute_shape
from assay.environments.pieces.piece import Piece, check_piece
from assay.environments.pieces.pool import list_first_pieces

DATA = Path(__file__).with_name("data")
PIECES, LICENCES = DATA / "registry_pieces.jsonl", DATA / "registry_licences.txt"
#: Rows, most pieces that a package is searched for, and inputs of each.
COUNT, SHARE, INPUTS = 200, 45, 4
#: Nodes of a normal form that is small; characters of its inputs and outputs.
SIZE_MOST, VALUE_MOST = 100, 64
#: The standard library.
PYTHON = "python==" + sys.version.split()[0]
#: Package → its licence, as its metadata has it.
PACKAGES = {
    "algorithms==1.0.1": "MIT",
    "boltons==26.2.0": "BSD-3-Clause",
    "funcy==2.1": "BSD-3-Clause",
    "inflection==0.5.1": "MIT",
    "labmath==2.2.0": "MIT",
    "more-itertools==11.2.1": "MIT",
    "mpmath==1.4.1": "BSD-3-Clause",
    "networkx==3.6.1": "BSD-3-Clause",
    "nltk==3.10.4": "Apache-2.0",
    "primefac==2.0.12": "MIT",
    "pydash==8.1.0": "MIT",
    "python-slugify==9.2.0": "MIT",
    "python-string-utils==1.0.0": "MIT",
    "sympy==1.14.0": "BSD-3-Clause",
    "textdistance==4.6.3": "MIT",
    "toolz==1.2.0": "BSD-3-Clause",
    PYTHON: "PSF-2.0",
}
#: Folders of the standard library that have no part in it.
_LEFT = "site-packages", "test", "tests", "idlelib", "lib2to3", "tkinter", "turtledemo"
#: Seconds of a trial.
_SECONDS = 0.05
#: Trials of a function's types.
_TRIALS = 16
_NAMES = frozenset(inside.BUILTINS.split())
_METHODS = frozenset(inside.METHODS.split())
_KNOWN = tuple(getattr(ast, name) for name in inside.NODES.split())
_PARTS = (*_KNOWN, ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a function is from. `changed`: what was left out, besides names and comments."""

    package: str
    file: str
    line: int
    name: str
    licence: str
    changed: tuple[str, ...]


# --- functions of packages


def list_modules(folder: Path, package: str) -> Iterator[tuple[str, str]]:
    """File and text of each of its modules."""
    if package != PYTHON:
        with _open_wheel(folder, package) as wheel:
            for name in sorted(wheel.namelist()):
                if name.endswith(".py") and not set(name.split("/")) & {"test", "tests"}:
                    yield name, wheel.read(name).decode(errors="replace")
        return
    library = Path(sysconfig.get_path("stdlib"))
    for path in sorted(library.rglob("*.py")):
        place = path.relative_to(library)
        if not set(place.parts) & set(_LEFT):
            yield str(place), path.read_text(errors="replace")


def _find_wheel(folder: Path, package: str) -> Path | None:
    name = package.replace("-", "_").replace("==", "-")
    return next(folder.glob(f"{name}-*.whl"), None)


def _open_wheel(folder: Path, package: str) -> zipfile.ZipFile:
    path = _find_wheel(folder, package)
    assert path is not None, package
    return zipfile.ZipFile(path)


def list_functions(folder: Path, package: str) -> Iterator[tuple[ast.FunctionDef, str, Origin]]:
    """Each function that may be a piece, as a tree, as a text, and its origin."""
    licence = PACKAGES[package]
    for name, text in list_modules(folder, package):
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef) or not _is_small(node):
                continue
            bare = deepcopy(node)
            for one, changed in ((node, []), (bare, _strip(bare))):
                if _may_be_piece(one):
                    place = package, name, node.lineno, node.name, licence, tuple(changed)
                    yield one, ast.unparse(one), Origin(*place)
                    break


def _is_small(node: ast.FunctionDef) -> bool:
    """Whether it is worth a copy: few nodes, known methods, no method itself."""
    given = [one.arg for one in node.args.args]
    if not 1 <= len(given) <= inside.PARAMETERS_MAX or given[0] in ("self", "cls"):
        return False
    for number, one in enumerate(ast.walk(node)):
        is_method = not isinstance(one, ast.Attribute) or one.attr in _METHODS
        if not is_method or number > 4 * SIZE_MOST:
            return False
    return True


class _Checks(ast.NodeTransformer):
    """Leaves out checks that only raise."""

    found = False

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt] | None:
        self.generic_visit(node)
        if len(node.body) != 1 or not isinstance(node.body[0], ast.Raise):
            return node
        self.found = True
        return node.orelse or None

    def visit_Assert(self, node: ast.Assert) -> None:
        self.found = True


def _strip(node: ast.FunctionDef) -> list[str]:
    """Leave out what no piece has. Says what."""
    given, changed = node.args, []
    if node.decorator_list:
        node.decorator_list = []
        changed.append("decorators")
    if given.defaults or any(given.kw_defaults):
        given.defaults = []
        changed.append("defaults")
    if given.posonlyargs or given.kwonlyargs:
        given.args = [*given.posonlyargs, *given.args, *given.kwonlyargs]
        given.posonlyargs, given.kwonlyargs, given.kw_defaults = [], [], []
        changed.append("marks of parameters")
    checks = _Checks()
    checks.visit(node)
    if checks.found:
        changed.append("checks that raise")
    return changed


def _may_be_piece(node: ast.FunctionDef) -> bool:
    """Whether it is worth a run: what the check says counts."""
    below = [
        one
        for statement in node.body
        if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
        for one in ast.walk(statement)
    ]
    given = [one.arg for one in node.args.args]
    bound = {node.name, *given}
    bound |= {
        one.id for one in below if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
    }
    bound |= {one.arg for one in below if isinstance(one, ast.arg)}
    bound |= {one.name for one in below if isinstance(one, ast.FunctionDef)}
    return (
        not node.decorator_list
        and any(isinstance(one, ast.Return) and one.value for one in below)
        and all(isinstance(one, (*_PARTS, ast.AnnAssign)) for one in below)
        and all(one.id in bound | _NAMES for one in below if isinstance(one, ast.Name))
    )


# --- inputs

_WORDS = "cat", "hello", "Ada", "level", "x1", "two words", "a-b", "Zebra", "moon", "abba", "", "7"


def _make_values(random: Random) -> dict[str, object]:
    """A value of each type that inputs are drawn of."""
    numbers = [random.randrange(10) for _ in range(random.randrange(2, 6))]
    words = random.sample(_WORDS[:9], random.randrange(2, 4))
    return {
        "int": random.choice(
            [random.randrange(2, 20), random.randrange(10), random.randrange(120)]
        ),
        "small": random.randrange(4),
        "str": random.choice(_WORDS),
        "text": " ".join(random.sample(_WORDS[:9], 2)),
        "digits": str(random.randrange(2, 3_000)),
        "bits": bin(random.randrange(2, 40))[2:],
        "ints": numbers,
        "sorted": sorted(numbers),
        "words": words,
        "matrix": [[random.randrange(10) for _ in range(3)] for _ in range(3)],
        "pairs": [(word, number) for word, number in zip(words, numbers, strict=False)],
        "dict": dict(zip(words, numbers, strict=False)),
        "graph": {1: [2], 2: [3], 3: random.choice([[], [1]])},
        "tuple": (random.randrange(10), random.randrange(10)),
        "bool": random.random() < 0.5,
    }


#: Types → words of names and annotations that suggest them, the likelier type first.
_HINTS = {
    "str text words": "string text word name line sentence path prefix suffix url",
    "str text": "s t s1 s2 str c char key pattern label token",
    "bits int": "binary bits",
    "matrix": "matrix grid board rows mat m",
    "words": "words strings strs tokens names lines",
    "dict": "d dict mapping counts dictionary",
    "graph": "graph adj",
    "pairs ints": "pairs items intervals edges",
    "ints sorted words": "nums numbers arr array lst list l seq sequence iterable values it "
    "collection data p v vec coeffs",
    "int small": "n k i j x y a b num number int size length count index base m q r limit target "
    "value",
    "bool": "bool reverse strict",
}


def _guess(parameter: ast.arg) -> list[str]:
    said = parameter.annotation
    words = {parameter.arg.lower().strip("_")}
    if said is not None:
        text = ast.unparse(said).lower()
        if "list[str]" in text:
            return ["words"]
        if "list[list" in text:
            return ["matrix"]
        words = {"list"} if "list[" in text else {text}
    fitting = (types for types, names in _HINTS.items() if words & set(names.split()))
    return list(chain.from_iterable(types.split() for types in fitting))


def _list_types(node: ast.FunctionDef) -> list[tuple[str, ...]]:
    """Types of the parameters, the likelier first."""
    every = list(_make_values(Random(0)))
    ranked = []
    for parameter in node.args.args:
        own = list(dict.fromkeys(_guess(parameter)))
        ranked.append([*own, *(one for one in every if one not in own)])
    places = product(*(range(len(one)) for one in ranked))
    best = sorted(places, key=lambda each: (sum(each), each))[:_TRIALS]
    return [tuple(one[i] for one, i in zip(ranked, each, strict=True)) for each in best]


def find_piece(node: ast.FunctionDef, text: str) -> Piece | None:
    """The function with inputs whose outputs tell something, or None. It is tried here, where it
    reaches nothing but its arguments; the sandbox has the last word."""
    try:
        form, size = inside.write_form(text)
    except inside.Fault:
        return None
    if not inside.SIZE_MIN <= size <= SIZE_MOST:
        return None
    call, random = inside.load(form), Random(form)
    for types in _list_types(node):
        drawn = [[_make_values(random)[kind] for kind in types] for _ in range(4 * INPUTS)]
        given = list(dict.fromkeys(", ".join(map(ascii, one)) for one in drawn))
        chosen = _choose([(one, out) for one in given if (out := _run(call, one)) is not None])
        if chosen is not None and (piece := check_piece(form, chosen).piece):
            return piece
    return None


class _Late(BaseException):
    """Its time is up: no piece's own code can catch it, since it has no `try`."""


def _stop(*_: object) -> None:
    raise _Late


def _run(call: object, given: str) -> str | None:
    """The output, or None."""
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, _SECONDS)
            arguments = inside.read_input(given, call)
            before, output = inside.write_input(arguments), inside.run_once(call, arguments)
            return output if inside.write_input(arguments) == before else None
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except (inside.Fault, _Late):
        return None


def _choose(pairs: Sequence[tuple[str, str]]) -> list[str] | None:
    """Inputs with many different outputs, which are not their inputs; None: there are none."""
    short = [pair for pair in pairs if max(map(len, pair)) <= VALUE_MOST and pair[0] != pair[1]]
    first = list({output: (given, output) for given, output in reversed(short)}.values())[::-1]
    if len(short) < INPUTS or len(first) < 2:
        return None
    rest = [pair for pair in short if pair not in first]
    return [given for given, _ in (first + rest)[:INPUTS]]


# --- rows


def collect(folder: Path) -> Iterator[tuple[Piece, Origin]]:
    """The first SHARE pieces of each package, none like one of the first pool or another one."""
    shapes = {compute_shape(piece.function) for piece in list_first_pieces()}
    for package in PACKAGES:
        found = 0
        for node, text, origin in list_functions(folder, package):
            piece = find_piece(node, text)
            if piece is None or (shape := compute_shape(piece.function)) in shapes:
                continue
            shapes.add(shape)
            yield piece, origin
            found += 1
            if found == SHARE:
                break


def choose(found: Sequence[tuple[Piece, Origin]]) -> list[tuple[Piece, Origin]]:
    """Of each package in turn its smallest one that is left, COUNT in all."""
    by_package: dict[str, list[tuple[Piece, Origin]]] = {}
    for piece, origin in sorted(found, key=lambda pair: (pair[0].size, pair[0].function)):
        by_package.setdefault(origin.package, []).append((piece, origin))
    rounds = max(map(len, by_package.values()))
    queues = [by_package[package] for package in sorted(by_package)]
    turns = [queue[turn] for turn in range(rounds) for queue in queues if turn < len(queue)]
    return turns[:COUNT]


def write_licences(folder: Path, packages: Sequence[str]) -> str:
    """The licence of each package, as it ships."""
    parts = []
    for package in packages:
        if package == PYTHON:
            text = (Path(sysconfig.get_path("stdlib")) / "LICENSE.txt").read_text()
        else:
            with _open_wheel(folder, package) as wheel:
                names = [
                    name
                    for name in wheel.namelist()
                    if ".dist-info/" in name and "LICEN" in name.upper() and not name.endswith("/")
                ]
                text = "\n".join(wheel.read(name).decode() for name in sorted(names))
        parts.append(f"{'=' * 8} {package}\n\n{text.strip()}\n")
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of wheels")
    folder: Path = parser.parse_args().out
    warnings.simplefilter("ignore")  # of texts that are parsed
    signal.signal(signal.SIGALRM, _stop)
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:"]
    if missing := [one for one in PACKAGES if one != PYTHON and not _find_wheel(folder, one)]:
        subprocess.run([*pip, "--dest", folder, *missing], check=True)
    found = list(collect(folder))
    chosen = choose(found)
    if len(chosen) < COUNT:
        sys.exit(f"only {len(chosen)} of these functions are pieces")
    DATA.mkdir(exist_ok=True)
    rows = (json.dumps(asdict(piece) | {"origin": asdict(origin)}) for piece, origin in chosen)
    PIECES.write_text("\n".join(rows) + "\n")
    LICENCES.write_text(write_licences(folder, sorted({one.package for _, one in chosen})))
    print(f"{len(found)} pieces found, {len(chosen)} kept in {PIECES}")


if __name__ == "__main__":
    main()
