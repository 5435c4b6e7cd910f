"""Which host of a team is the first, and what each says that does not fit."""

import re
import socket
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.distributed import HashStore  # type: ignore[attr-defined] # as `Store`

from assay.neurons.trainer.program import run_follower
from assay.settings.loading import ConfigError
from assay.settings.sections import Settings
from assay.training.sharding import DisagreementError, load_tensors
from assay.training.team_launch import TeamError
from assay.training.team_meeting import Member, find_first, meet
from tests.training.forked_team import run_forked_team


def test_the_first_is_where_nobody_follows() -> None:
    """torchrun orders hosts by their addresses, and gives a host's processes ranks in a row."""
    leading, following = Member("a", 2, follows=False), Member("b", 0, follows=True)
    assert find_first([following, following, leading, leading]) == 2
    assert find_first([leading, leading]) == 0


def test_one_host_is_the_first() -> None:
    with pytest.raises(TeamError, match=r"^all hosts of the team follow"):
        find_first([Member("a", 0, follows=True), Member("b", 1, follows=True)])
    both = [Member("a", 0, follows=False), Member("b", 1, follows=False)]
    with pytest.raises(TeamError, match=r"^the hosts a and b would both be the team's first"):
        find_first(both)


def test_members_meet_in_a_new_store_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "here")
    store = HashStore()
    assert meet(store, 0, 1, 0, follows=False) == [Member("here", 0, follows=False)]
    with pytest.raises(TeamError, match="TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1"):
        meet(store, 0, 1, 0, follows=False)
    store = HashStore()
    store.set_timeout(timedelta(milliseconds=1))
    with pytest.raises(TeamError, match=r"^process 0 of the team's 4 does not come$"):
        meet(store, 3, 4, 1, follows=True)


def test_torchrun_starts_a_host_that_follows() -> None:
    with pytest.raises(ConfigError, match=r"torchrun … -m assay train --follow$"):
        run_follower(Settings())


@pytest.mark.slow
def test_a_host_with_other_settings_is_named(tmp_path: Path) -> None:
    with pytest.raises(TeamError, match="with exit code 1"):
        run_forked_team(2, "tests.training.odd_host", str(tmp_path))
    said = [(tmp_path / rank).read_text() for rank in ("0", "1")]
    assert said == 2 * [
        "the team has different settings: process 1 on host-0 sees learning_rate 0.5, "
        "and the first learning_rate 0.25"
    ]


@pytest.mark.parametrize(
    ("stored", "why"),
    [
        ({}, "it has no tensor a"),
        ({"a": torch.zeros(3)}, "its tensor a is of size [3], not [2]"),
        ({"a": torch.zeros(2, dtype=torch.int8)}, "its tensor a has numbers of type I8"),
    ],
)
def test_the_first_says_what_a_file_lacks(
    tmp_path: Path, stored: dict[str, torch.Tensor], why: str
) -> None:
    """In words, and before any tensor is changed."""
    file = tmp_path / "state.safetensors"
    save_file({**stored, "b": torch.ones(1)}, file)
    here = {"b": torch.zeros(1), "a": torch.zeros(2)}
    with pytest.raises(DisagreementError, match=re.escape(f"{file} cannot be read: {why}")):
        load_tensors(here, file)
    assert not here["b"].any()
