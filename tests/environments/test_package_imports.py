"""A package's own modules import each other as Python would let them."""

import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from assay.environments.foreign import pack_folder
from assay.environments.foreign.package_environment import PackageChild

#: How a module finds the list that every module writes into.
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
    try:
        from .first import nothing
    except ImportError:
        order.append("nothing is caught")
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
    package = tmp_path / "pack"
    for name, text in MODULES.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    return package


@pytest.mark.parametrize("copies", [True, False])
def test_modules_run_in_the_order_of_pythons_own_import(folder: Path, copies: bool) -> None:
    script = "import pack, json; print(json.dumps(pack.solve(0)))"
    wanted = json.loads(subprocess.check_output([sys.executable, "-c", script], cwd=folder.parent))
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
