"""Where the processes of a team meet, and which of them is the first."""

import json
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import torch.distributed as dist
from torch.distributed import FileStore  # type: ignore[attr-defined] # as `Store`
from torch.distributed.distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous

from assay.training.team_launch import STORE_FILE, Seat, TeamError, end_with_parent, find_seat
from assay.training.team_network import TeamNetwork, bind_links, end_torchrun
from assay.training.team_watch import FileSigns, Signs, StoreSigns

#: Longest wait for the first one's store at the start.
_START = timedelta(minutes=10)
#: Prefix of the keys under which the team's members stand in its store.
_MEMBER = "assay-member-"


def is_member() -> bool:
    """Return whether this process was started as one of a team."""
    return find_seat() is not None or dist.is_torchelastic_launched()


@dataclass(frozen=True, slots=True)
class Member:
    """A process of a team, as it was started.

    Attributes:
        host: its name.
        eldest: the lowest rank on that host that it was started with.
        follows: it does not want to be the first.
    """

    host: str
    eldest: int
    follows: bool


def meet(store: Store, rank: int, size: int, local_rank: int, follows: bool) -> list[Member]:
    """All members of a team by the rank that they were started with, of which this process is one.
    Raises a TeamError: one does not come, or the store is that of an earlier start."""
    mine = f"{_MEMBER}{rank}"
    if store.check([mine]):  # with the addresses of processes that are gone
        raise TeamError(
            "torchrun gives a restarted team the store of the one before: set "
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in its environment, on every host"
        )
    store.set(mine, json.dumps([socket.gethostname(), rank - local_rank, follows]))
    members = []
    for other in range(size):
        try:
            members.append(Member(*json.loads(store.get(f"{_MEMBER}{other}"))))
        except RuntimeError:  # of a file; else a DistError
            raise TeamError(f"process {other} of the team's {size} does not come") from None
    return members


def find_first(members: Sequence[Member]) -> int:
    """torchrun's rank of the process that is the team's first. torchrun orders hosts as it likes.
    Raises a TeamError: no host can be the first, or more than one."""
    leading = [rank for rank, member in enumerate(members) if not member.follows]
    if not leading:
        raise TeamError("all hosts of the team follow: start the one with the wallet without it")
    eldest = {members[rank].eldest: members[rank].host for rank in leading}
    if len(eldest) > 1:
        raise TeamError(
            f"the hosts {' and '.join(eldest.values())} would both be the team's first: start all "
            "but the one with the wallet with --follow"
        )
    return leading[0]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the processes of a team meet.

    Attributes:
        connect: opens their store.
    """

    rank: int
    size: int
    connect: Callable[[], Store]
    signs: Signs


def open_place(network: TeamNetwork, local_rank: int) -> Place:
    """The place that this process was started for. Raises SystemExit: others would reach it."""
    seat = find_seat()
    if seat is not None:
        end_with_parent()
        return Place(seat.rank, seat.size, partial(_open_file, seat), FileSigns(seat.folder))
    try:
        bind_links(network)
    except TeamError as error:
        if local_rank == 0:
            say(str(error))
            end_torchrun()
        raise SystemExit(1) from None
    store, rank, size = next(rendezvous("env://", timeout=_START))
    return Place(rank, size, _connect, StoreSigns(store))


def _open_file(seat: Seat) -> Store:
    store = FileStore(str(seat.folder / STORE_FILE), seat.size)
    store.set_timeout(_START)
    return store


def _connect() -> Store:
    store, _, _ = next(rendezvous("env://", timeout=_START))
    return store


def say(what: str) -> None:
    """Write a line for a person."""
    print(f"assay: {what}", file=sys.stderr, flush=True)
