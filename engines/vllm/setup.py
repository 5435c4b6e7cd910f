"""Copies the reference's kernels of the draw into the package. An sdist has the copies already."""

import shutil
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent
DRAWS = HERE.parents[1] / "assay" / "inference" / "draws"

for name in ("kernels.py", "card_kernels.py"):
    if (DRAWS / name).is_file():
        shutil.copyfile(DRAWS / name, HERE / "assay_vllm" / name)

setup()
