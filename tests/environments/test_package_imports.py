"""A package's own modules import each other as Python would let them, and find nothing else."""

import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from assay.environments.foreign import pack_folder
from assay.environments.foreign.package_environment import PackageChild
from assay.environments.foreign.package_file import find_fault

#: The import by which a module finds the list that every module writes into.
LOGGED = "from .log import order\n"
TOP = """
from pack.log import order
order.append("pack begins")
import pack.first
from . import second as again
from .inner.deep import DEPTH
import pack.inner.deep as deep
for _ in range(2):
    try:
        from pack import broken
    except ZeroDivisionError:
        order.append("broken is caught")
    try:
        import pack.absent
    except ImportError:
        order.append("absent is caught")
    for number in range(6):
        try:
            if number == 0:
                from . import absent
            elif number == 1:
                from pack import absent
            elif number == 2:
                from .absent import nothing
            elif number == 3:
                from pack.absent import nothing
            elif number == 4:
                from .inner import absent
            else:
                import pack.inner.absent as absent
        except ModuleNotFoundError as error:
            order.append(f"{number}: no module {error.name}: {error}")
        except ImportError as error:
            order.append(f"{number}: no name {error.name}")
    try:
        from .first import nothing
    except ImportError:
        order.append("nothing is caught")
    try:
        import pack.first.part
    except ImportError:
        order.append("a part of no package is caught")
    try:
        from ..late import LATE
    except ImportError:
        order.append("what is beyond is caught")
order.append("pack ends")

LEVELS = [1]

def make_problem(draw, level):
    return str(draw(1 << 60)), 0

def solve(task):
    from .late import LATE
    from pack.late import LATE as same
    here = pack.first.again is again.first.again, deep.DEPTH == DEPTH == 2, LATE is same
    return "; ".join([*order, *map(str, here)])

def score(task, answer):
    return False

def list_wrong(task):
    return []
"""
MODULES = {
    "__init__.py": TOP,
    "log.py": "order = []\n",
    "first/part.py": LOGGED + "order.append('part')\n",
    "first.py": LOGGED + "from . import second\nagain = order\norder.append('first')\n",
    # In a circle: `first` is begun and has none of its names yet.
    "second.py": LOGGED + "from pack import first\norder.append('second')\n",
    "inner/__init__.py": "from ..log import order\norder.append('inner')\n",
    "inner/deep.py": "from . import order\norder.append('deep')\nDEPTH = 2\n",
    "broken.py": LOGGED + "order.append('broken')\n1 / 0\n",
    "late.py": LOGGED + "order.append('late')\nLATE = ['late']\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, MODULES)
    return tmp_path / "pack"


@pytest.mark.parametrize("copies", [True, False])
def test_modules_run_in_the_order_of_pythons_own_import(folder: Path, copies: bool) -> None:
    script = f"import sys; sys.path.insert(0, {str(folder.parent)!r}); "
    script += "import pack, json; print(json.dumps(pack.solve(0)))"
    wanted = json.loads(subprocess.check_output([sys.executable, "-c", script]))
    assert wanted.endswith("True; True; True")
    assert wanted.count("broken is caught") == 2
    file = folder.parent / "pack.zip"
    file.write_bytes(pack_folder(folder))
    child = PackageChild(file, sha256(file.read_bytes()).hexdigest(), copies=copies)
    try:
        for _ in range(2):  # nothing is kept from one request to the next
            assert child.decide("solve", 1, 7)["answer"] == wanted
    finally:
        child.close()


ENDING = "\ndef make_problem(draw, level):\n    return ascii(X)[:99], 1\n"
#: Attributes that Python's import reads after a package has changed them. Each led to all of
#: Python.
WAYS_OUT = {
    "a module with another name": {
        "inner/__init__.py": "__name__ = 'os'\n",
        "__init__.py": "from .inner import path\nX = path.sys",
    },
    "a module with another name, read as a": {
        "path.py": "",
        "__init__.py": (
            "import pack.path\ndel pack.path\npack.__name__ = 'os'\n"
            "import pack.path as path\nX = path.sys"
        ),
    },
    "a module with a lying name": {
        "inner/__init__.py": (
            "class S(str):\n    def __eq__(self, other):\n        return True\n"
            "    def __ne__(self, other):\n        return False\n__name__ = S('os')\n"
        ),
        "__init__.py": "from .inner import path\nX = path.sys",
    },
    "a class in a module's place": {
        "inner/__init__.py": "",
        "inner/path.py": "",
        "__init__.py": (
            "import pack.inner.path\nclass os: ...\npack.inner = os\n"
            "import pack.inner.path as path\nX = path.sys"
        ),
    },
    "text in a module's place": {
        "inner/__init__.py": "",
        "inner/format.py": "",
        "__init__.py": (
            "import pack.inner.format\npack.inner = '{0._' + '_class_' + '_}'\n"
            "import pack.inner.format as form\nX = form(1)"
        ),
    },
    "all of a module, by a name of Python's": {
        "inner/__init__.py": "__all__ = ['_' + '_loader_' + '_']\n",
        "__init__.py": "from .inner import *\nX = 1",
    },
    "all of a module, by a lying name": {
        "inner/__init__.py": (
            "class S(str):\n    def __hash__(self):\n        asked.append(1)\n"
            "        name = '_' + '_loader_' + '_' if len(asked) < 3 else 'found'\n"
            "        return name.__hash__()\n"
            "    def __eq__(self, other):\n        return True\n"
            "    def startswith(self, *_):\n        return False\n"
            "asked = []\n__all__ = [S('_' + '_loader_' + '_')]\n"
        ),
        "__init__.py": "from .inner import *\nX = found.find_spec",
    },
    "all of a module, by a list that lies": {
        "inner/__init__.py": (
            "class L(list):\n    def __iter__(self):\n        return iter(())\n"
            "__all__ = L(['_' + '_loader_' + '_'])\n"
        ),
        "__init__.py": "from .inner import *\nX = 1",
    },
}


@pytest.mark.parametrize("copies", [True, False])
@pytest.mark.parametrize("name", WAYS_OUT)
def test_an_import_leads_nowhere_else(name: str, copies: bool, tmp_path: Path) -> None:
    said = ask(tmp_path, WAYS_OUT[name], copies)
    assert str(said.get("error")).startswith("ImportError: pack"), said


@pytest.mark.parametrize("copies", [True, False])
def test_all_of_a_module_is_what_it_names(copies: bool, tmp_path: Path) -> None:
    texts = {
        "inner/__init__.py": "__all__ = ['deep', 'found']\nfound = 1\nhidden = 2\n",
        "inner/deep.py": "",
        "__init__.py": "hidden = 3\nfrom .inner import *\nX = deep.__name__, found, hidden",
    }
    assert ask(tmp_path, texts, copies)["prompt"] == "('pack.inner.deep', 1, 3)"


@pytest.mark.parametrize("name", ["__loader__", "__dict__", "__builtins__", "gi_frame"])
def test_no_module_is_found_by_a_name_of_pythons_own(name: str, tmp_path: Path) -> None:
    """While such a module loads, its name says what Python keeps there."""
    texts = {
        f"{name}.py": f"import pack.{name} as kept\nfound = kept\n",
        "__init__.py": f"from pack.{name} import found\nX = found",
    }
    write(tmp_path, texts)
    assert f"{name} is a name of Python's own" in str(find_fault(pack_folder(tmp_path / "pack")))


@pytest.mark.parametrize("top", ["sys", "assay", "verifiers"])
def test_no_package_is_named_as_what_is_there(top: str, tmp_path: Path) -> None:
    write(tmp_path, {"__init__.py": ""}, top)
    assert f"{top} is the name of a module" in str(find_fault(pack_folder(tmp_path / top)))


def write(folder: Path, texts: dict[str, str], top: str = "pack") -> None:
    for name, text in texts.items():
        (folder / top / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / top / name).write_text(text)


def ask(folder: Path, texts: dict[str, str], copies: bool) -> dict[str, object]:
    """The reply of a package whose prompt is the value of `X`."""
    write(folder, {**texts, "__init__.py": f"{texts['__init__.py']}{ENDING}"})
    file = folder / "pack.zip"
    file.write_bytes(pack_folder(folder / "pack"))
    child = PackageChild(file, sha256(file.read_bytes()).hexdigest(), copies=copies)
    try:
        return child.decide("make", 1, 0)
    finally:
        child.close()
