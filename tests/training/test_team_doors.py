"""A team listens to nobody but itself, and unpickles nothing."""

import base64
import os
import pickle
import random
import stat
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from assay.training.team_launch import TeamError
from tests.listening import Door, knock, list_doors
from tests.training.forked_team import run_forked_team
from tests.training.guarded_team import wait_for


@dataclass
class Seen:
    """What was seen of a running team.

    Attributes:
        doors: its listening sockets.
        reached: for each of a stranger's attempts, whether somebody took the connection.
        place: mode and owner of the folder where its processes meet.
    """

    doors: list[Door] = field(default_factory=list)
    reached: list[bool] = field(default_factory=list)
    place: tuple[int, int] = (0, 0)


class Payload:
    """Unpickled, it writes a file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self._file}",)


def make_garbage(folder: Path) -> list[bytes]:
    """What a stranger may send: pickles, bare and as torch's store takes them, and noise."""
    evil = pickle.dumps(Payload(folder / "owned"))
    draw = random.Random(3)
    store = b"\x00" + len(evil).to_bytes(8, "little") + base64.b64encode(evil)
    return [evil, store, b"\x00" * 64, b"\xff" * 4_096, draw.randbytes(1 << 16), b""]


def attack(folder: Path, seen: Seen) -> None:
    """Look at the team between its two steps, and send garbage to each of its ports."""
    wait_for(folder / "ready-0")
    place = os.stat((folder / "place").read_text())
    seen.place = stat.S_IMODE(place.st_mode), place.st_uid
    seen.doors = list_doors(int((folder / f"process-{rank}").read_text()) for rank in range(2))
    for door in seen.doors:
        for data in make_garbage(folder):
            seen.reached.append(knock(door.address, door.port, data))
    (folder / "go-0").touch()
    (folder / "go-1").touch()


@pytest.mark.slow
def test_a_stranger_at_each_port_of_a_team_runs_nothing(tmp_path: Path) -> None:
    """As another user of the machine: other machines reach none of the ports. The team goes on or
    ends with an error."""
    seen = Seen()
    stranger = threading.Thread(target=attack, args=(tmp_path, seen), daemon=True)
    stranger.start()
    with suppress(TeamError):
        assert run_forked_team(2, "tests.training.guarded_team", str(tmp_path)) == 0
        assert (tmp_path / "learned").exists()
    stranger.join(60)
    assert (tmp_path / "ready-0").exists()
    assert seen.doors, "gloo's: else this test looks at nothing"
    assert [door for door in seen.doors if not door.is_private] == []
    assert any(seen.reached)
    assert seen.place == (0o700, os.getuid())
    assert not (tmp_path / "owned").exists()
    assert not (tmp_path / "unpickled").exists()
