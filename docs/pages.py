"""Writes what pages have from the code: runs the scripts of this folder, PyTorch loaded once.

python docs/pages.py
python docs/pages.py --check  # names the scripts whose pages differ; exit 1 if any does
"""

import sys
from pathlib import Path
from runpy import run_path

#: In the order of running: `paths` comes last, because it puts bench/ before this folder.
SCRIPTS = (
    "specification",
    "programs",
    "environments",
    "layers",
    "hardware",
    "recipes",
    "chain_settings",
    "pipelines",
    "figures",
    "clients",
    "commands",
    "paths",
)


def main() -> int:
    here = Path(__file__).parent
    # no imports by name: scripts of bench/ have the same names
    stale = [name for name in SCRIPTS if run_path(f"{here / name}.py", run_name=name)["main"]()]
    for name in stale:
        print(f"a page is not what docs/{name}.py writes: make pages", file=sys.stderr)
    return int(bool(stale))


if __name__ == "__main__":
    sys.exit(main())
