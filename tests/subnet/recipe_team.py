"""A shipped recipe, shrunk, whose trainer is a team of two: the first process plays all of
`test_recipe_runs`, the other follows its learner.

python -m tests.subnet.recipe_team RECIPE FOLDER
"""

import sys
from pathlib import Path

import pytest
import torch

from assay.training import team
from assay.training.team import TeamError, follow, join_team
from assay.training.team_launch import run_team
from assay.training.team_meeting import is_member
from tests.subnet.test_recipe_runs import play_recipe


def main(name: str, folder: Path) -> None:
    torch.set_num_threads(1)
    with join_team() as rank:
        if rank:
            follow()
            (folder / "followed").touch()
            return
        learn, asked = team.SharedLearner.learn, []

        def count(self, groups, **told):
            asked.append(len(groups))
            return learn(self, groups, **told)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(team.SharedLearner, "learn", count)
            lesson = play_recipe(name, folder, patch)
        assert asked == [lesson.stats.groups]
        (folder / "learned").touch()


if __name__ == "__main__":
    if is_member():
        main(sys.argv[1], Path(sys.argv[2]))
    else:
        try:
            run_team(2, ["-m", "tests.subnet.recipe_team", *sys.argv[1:]])
        except TeamError as error:
            sys.exit(str(error))
