"""A team of two hosts, whose first has another learning rate. torchrun gives it the higher rank.

It is each process of the team: `python -m tests.training.odd_host FOLDER`.
"""

import os
import socket
import sys
from pathlib import Path

from assay.settings.learning import describe_learning
from assay.settings.sections import TrainerSettings
from assay.training.team import TeamError, join_team


def main(folder: Path) -> None:
    rank = os.environ["RANK"]  # noqa: TID251 - torchrun says it there
    os.environ["LOCAL_RANK"] = "0"  # noqa: TID251 - each is alone on its host
    socket.gethostname = lambda: f"host-{rank}"
    settings = TrainerSettings(learning_rate=0.25 if rank == "1" else 0.5)
    try:
        with join_team(describe_learning(settings), follows=rank == "0"):
            pass
    except TeamError as error:
        (folder / rank).write_text(str(error))
        sys.exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
