"""`assay mine` with another miner inside: one that generates with a cheaper model than asked for.

Flags are `assay mine`'s --wallet, --hotkey, --dir and --config.
"""

import argparse
from pathlib import Path

from assay.neurons.commands.neurons import run_miner
from assay.neurons.config import load_settings
from assay.neurons.gauntlet.drafting import CheapModelMiner


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("wallet", "hotkey", "dir", "config"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--groups", type=int, required=True)
    given = parser.parse_args()
    settings = load_settings(
        Path(given.config),
        {
            "wallet": {"name": given.wallet, "hotkey": given.hotkey},
            "miner": {"dir": Path(given.dir), "groups": given.groups, "threads": 1},
        },
    )
    raise SystemExit(run_miner(settings, as_json=False, quiet=False, kind=CheapModelMiner))


if __name__ == "__main__":
    main()
