"""A team of two of which the second sees something else than the first: another value, then other
code. Each process writes down how the first disagreement ended; the second one ends the team, and
the first one survives every exception.

It is each process of the team: `python -m tests.training.odd_process FOLDER`.
"""

import sys
from pathlib import Path

from assay.training import GENESIS, LearnConfig, team
from assay.training.sharding import agree
from assay.training.team import follow, join_team, make_shared


def main(folder: Path) -> None:
    with join_team() as rank:
        agree({"value": "same"}, None)
        try:
            agree({"value": "same", "own": f"of {rank}"}, None)
        except RuntimeError as error:
            (folder / str(rank)).write_text(str(error))
        if rank:
            team.compute_code_digest = lambda: bytes(32)
            follow()
            return
        try:
            make_shared(GENESIS, LearnConfig(), None, "cpu")
        except Exception:  # noqa: BLE001 - as the outermost loop of a neuron
            (folder / "retried").touch()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
