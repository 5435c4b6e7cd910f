"""The processes of a team: how they start, and that one which sees something else than the others
ends the team in one sentence."""

import re
from pathlib import Path

import pytest

from assay.training.last_bits import compute_code_digest
from assay.training.team_launch import TeamError, run_team
from tests.training.forked_team import run_forked_team


def test_each_is_python_with_these_arguments_and_its_rank(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys\n"
        "rank = os.environ['RANK']\n"
        "pathlib.Path(sys.argv[1], rank).write_text(os.environ['WORLD_SIZE'])\n"
        "sys.exit(int(sys.argv[2]) * int(rank))"
    )
    assert run_team(2, ["-c", code, str(tmp_path), "0"]) == 0
    assert [(tmp_path / rank).read_text() for rank in ("0", "1")] == ["2", "2"]
    with pytest.raises(TeamError, match="process 1 of 2 ended with exit code 7, and so have"):
        run_team(2, ["-c", code, str(tmp_path), "7"])


@pytest.mark.slow
def test_a_process_that_disagrees_ends_the_team_in_one_sentence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Both processes raise the same error, which names only what differs."""
    with pytest.raises(TeamError) as ended:
        run_forked_team(2, "tests.training.odd_process", str(tmp_path))
    said = [(tmp_path / rank).read_text() for rank in ("0", "1")]
    assert said == 2 * ["process 1 sees own of 1, and the first own of 0"]
    (why,) = capfd.readouterr().err.splitlines()
    code = compute_code_digest().hex()
    assert why == (
        f"assay: the team cannot learn: process 1 sees code {'0' * 64}, and the first code {code}"
    )
    assert not (tmp_path / "retried").exists()
    # either may be the first to be found ended
    said_last = "process [01] of 2 ended with exit code 1, and so have the others"
    assert re.fullmatch(said_last, str(ended.value))
