"""A trainer of several processes: the first is the neuron, the others learn with it.

    assay train --processes 2 …                       # on one machine
    torchrun --nproc-per-node 2 … -m assay train …    # on the first of several hosts
    torchrun --nproc-per-node 2 … -m assay train --follow …         # on each of the others

The first process talks to chain and store, judges and publishes, and alone reads and writes files.
Each request to its learner goes to all processes, in the same order, so that each holds its part of
weights, gradients and moments (`assay.training.sharding`). If one ends, fails, or falls silent
(`assay.training.team_watch`), all end, and the next start resumes from the trainer's folder, with
the same number of processes or another. A host that follows keeps nothing.

On one machine the processes meet in a private folder and listen on loopback alone. Several hosts
use torch's own store, which authenticates nobody (`assay.training.team_network`). What the
processes send each other is JSON and arrays (`assay.training.team_messages`).
"""

import os
import re
import signal
import traceback
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from assay.inference.folder import CONFIG_FILE, MANIFEST_FILE, read_small_file, verify_manifest
from assay.inference.low_rank import Factors, decode_adapter
from assay.inference.model_loading import outline_config
from assay.inference.placing.devices import is_out_of_memory
from assay.protocol.errors import OperatorError
from assay.protocol.hashing import ZERO_DIGEST
from assay.training.config import LearnConfig
from assay.training.imitation import Example
from assay.training.last_bits import compute_code_digest, describe_engine
from assay.training.learner import Learner, UpdateStats
from assay.training.lesson import Group, LearnStats, LessonError
from assay.training.objectives import Objective
from assay.training.preferences import Preferred
from assay.training.sharding import DisagreementError, agree, get_team, tell_bytes
from assay.training.team_launch import TeamError
from assay.training.team_meeting import find_first, is_member, meet, open_place, say
from assay.training.team_messages import (
    REQUEST_BYTES_MAX,
    Plan,
    Request,
    decode_request,
    encode_request,
)
from assay.training.team_network import TeamNetwork
from assay.training.team_watch import watch_team

_M = TypeVar("_M")
#: Longest wait of a process for the first one's next request: windows without a lesson are not a
#: fault, and a lost process is detected by its silence.
_PATIENCE = timedelta(days=7)
#: Errors that a request raises in every process alike, when none waits for another any more: all
#: survive them. RuntimeError is none of these: a lack of memory is one, and may be one process's.
_SHARED_FAULTS = defaultdict[str, tuple[type[Exception], ...]](
    tuple,
    make=(TeamError,),
    learn=(LessonError,),
    update=(LessonError,),
    measure=(LessonError,),
    sum_logprobs=(LessonError,),
    bf16_state=(LessonError,),
    export_factors=(LessonError,),
    load_state=(DisagreementError, LookupError, OSError, ValueError),
    save_state=(OSError,),
)
#: What the first process may ask for.
_REQUESTS = frozenset({*_SHARED_FAULTS, "export_state", "end"})


@contextmanager
def join_team(
    settings: Mapping[str, str] = MappingProxyType({}),
    follows: bool = False,
    network: TeamNetwork | None = None,
) -> Iterator[int]:
    """This process's rank: 0 for the neuron, and without a team.

    Args:
        settings: by name, which all processes should have alike.
        follows: the neuron is on another host.
        network: between the hosts, under torchrun.

    Raises:
        TeamError: no process or more than one would be the neuron, one does not come, or they have
            other settings.
        SystemExit: the team would be open to others than its hosts, and it has been said.
    """
    if not is_member():
        yield 0
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    local_rank = dist.get_node_local_rank()
    place = open_place(network or TeamNetwork(), local_rank)
    rank, size = place.rank, place.size
    members = meet(place.connect(), rank, size, local_rank, follows)
    first = find_first(members)
    here = sum(member.eldest == members[rank].eldest for member in members)
    rank = (rank - first) % size
    hosts = list({member.eldest: member.host for member in members}.values())
    speaks = len(hosts) > 1 and local_rank == 0
    with watch_team(place.signs, rank, size):
        links = place.connect()
        links.set_timeout(_PATIENCE)
        dist.init_process_group(backend, timeout=_PATIENCE, store=links, rank=rank, world_size=size)
        # each gets its share of the cores, as under torchrun
        cores = (os.cpu_count() or 1) // here
        torch.set_num_threads(max(1, min(torch.get_num_threads(), cores)))
        try:
            with _together():
                try:
                    agree(settings, None)
                except DisagreementError as error:
                    raise TeamError(f"the team has different settings: {error}") from None
            if speaks:
                say(f"{size} processes on {' and '.join(hosts)}; {members[first].host} is first")
            yield rank
            with _together():
                _ask("end")
        except _LostError as error:
            if speaks:
                say(
                    f"another process of the team on {' and '.join(hosts)} is gone ({error.why}); "
                    "when all are back, it goes on after the last lesson"
                )
            raise
        finally:
            dist.destroy_process_group()


class _LostError(SystemExit):
    """Another process is gone: this one ends without a message. The program that started them
    reports which. `why` is the library's reason."""

    def __init__(self, why: str) -> None:
        super().__init__(1)
        self.why = why


@contextmanager
def _together() -> Iterator[None]:
    """Let all processes meet. Raises a `_LostError`: one is gone."""
    try:
        yield
    except RuntimeError as error:
        if _is_lost(error):
            # a library's place in its code, its words, and its advice
            why = re.sub(r"^\[\S*\] ", "", str(error).partition("\n")[0])
            raise _LostError(why.partition(". ")[0]) from error
        raise


def _is_lost(error: BaseException) -> bool:
    """Return whether an error says that another process is gone."""
    if not isinstance(error, RuntimeError) or isinstance(error, DisagreementError):
        return False
    return isinstance(error, dist.DistError) or "gloo" in str(error)


@contextmanager
def _ending(name: str) -> Iterator[None]:
    """End this process, and so the team, by an error that it may have alone: the others are in the
    middle of the request and can take no more of them. `_SHARED_FAULTS` and lost processes pass."""
    try:
        yield
    except Exception as error:
        if isinstance(error, _SHARED_FAULTS[name]) or _is_lost(error):
            raise
        rank, size = get_team()
        say(f"process {rank} of {size} has failed: {_describe(error)}")
        raise SystemExit(1) from error


def _describe(error: Exception) -> str:
    """A failure in a line, or a defect with its place in the code."""
    if isinstance(error, OperatorError | OSError) or is_out_of_memory(error):
        return str(error).partition("\n")[0] or type(error).__name__
    return "\n" + "".join(traceback.format_exception(error)).rstrip()


def follow(leaves: bool = False) -> None:
    """Run a process other than the first: execute the first one's requests, until it ends.

    Args:
        leaves: on a signal it ends at once, because the first is on another host. Else the first
            ends it.

    Raises:
        TeamError: this process has another request than the first, or another number of steps.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        # Python's own handlers would not run while it waits for the first
        signal.signal(number, signal.SIG_DFL if leaves else signal.SIG_IGN)
    learner: Learner | None = None
    with _together():
        while True:
            name, arguments = _hear(learner)
            if name == "end":
                return
            with suppress(*_SHARED_FAULTS[name]), _ending(name):
                if name == "make":
                    learner = None  # there is room for one
                    learner = _make(*arguments)
                else:
                    _do(getattr(learner, name), arguments)


def _hear(learner: Learner | None) -> tuple[str, Sequence[Any]]:
    """The first process's next request: its name and arguments. Raises TeamError: it has another
    one, or another number of steps, or it is none."""
    asked, fault = b"", None
    try:
        asked = tell_bytes(b"", REQUEST_BYTES_MAX)
        request = decode_request(asked)
    except ValueError as error:
        raise TeamError(f"the team cannot go on: {error}") from None
    if request.name not in _REQUESTS:
        raise TeamError(f"the team cannot go on: the first asks for {request.name!r}")
    step = request.step
    if step is not None and (learner is None or learner.step != step):
        fault = f"has another number of steps behind it than the first, {step}"
    try:
        agree({"request": sha256(asked).hexdigest()}, fault)
    except DisagreementError as error:
        raise TeamError(f"the team cannot go on: {error}") from None
    return request.name, request.arguments


def _do(method: Callable[..., object], arguments: Sequence[object]) -> None:
    done = method(*arguments)
    if isinstance(done, Iterator):
        deque(done, maxlen=0)  # the first process iterates over all of it


class SharedLearner(Learner):
    """The first process's learner, which makes all others do the same."""

    def learn(
        self, groups: Sequence[Group], examples: Sequence[Example] | None = None, earlier: int = 0
    ) -> LearnStats:
        """See `Learner.learn`."""
        drawn = self.draw_examples(groups) if examples is None else list(examples)
        with _request("learn", list(groups), drawn, earlier, step=self.step):
            return super().learn(groups, drawn, earlier)

    def update(self, material: Sequence[_M], objective: Objective[_M], rate: float) -> UpdateStats:
        """See `Learner.update`."""
        with _request("update", list(material), objective, rate, step=self.step):
            return super().update(material, objective, rate)

    def measure(
        self, material: Sequence[_M], objective: Objective[_M]
    ) -> tuple[float, Preferred | None]:
        """See `Learner.measure`."""
        with _request("measure", list(material), objective, step=self.step):
            return super().measure(material, objective)

    def sum_logprobs(self, examples: Sequence[Example]) -> list[float]:
        """See `Learner.sum_logprobs`."""
        with _request("sum_logprobs", list(examples), step=self.step):
            return super().sum_logprobs(examples)

    def bf16_state(self) -> dict[str, Tensor]:
        """See `Learner.bf16_state`."""
        with _request("bf16_state"):
            return super().bf16_state()

    def export_factors(self) -> dict[str, Factors]:
        """See `Learner.export_factors`."""
        with _request("export_factors"):
            return super().export_factors()

    def export_state(self) -> Iterator[tuple[str, Tensor]]:
        """See `Learner.export_state`. The iteration must be completed."""
        with _request("export_state"):
            yield from super().export_state()

    def save_state(self, path: Path) -> None:
        """See `Learner.save_state`."""
        with _request("save_state", path):
            super().save_state(path)

    def load_state(self, path: Path) -> None:
        """See `Learner.load_state`."""
        with _request("load_state", path):
            super().load_state(path)


@contextmanager
def _request(name: str, *arguments: object, step: int | None = None) -> Iterator[None]:
    """Let all processes do something in which each takes part. `step`: see `_ask`."""
    with _together(), _ending(name):
        _ask(name, *arguments, step=step)
        yield


def make_shared(
    parent: Path,
    config: LearnConfig,
    reference: Path | None,
    device: str,
    router_ramp: int = 0,
    factors: Path | None = None,
    examples: Sequence[Example] = (),
    base: bytes = ZERO_DIGEST,
) -> Learner:
    """A learner that begins with a checkpoint's weights, in every process of the team.

    Args:
        parent, reference: folders of checkpoints. Only the first process reads them.
        device: of the first process. If it is a GPU, each process takes its own one.
        router_ramp: of a folder without a manifest, which is as `assay adopt` writes it.
        factors: an adapter's file: LoRA's factors begin with it.
        examples, base: of the first process's learner, see `Learner`.

    Raises:
        TeamError: the first one cannot read the folders, or they are no model's.
        SystemExit: the processes have other code, another PyTorch or other GPUs, or one has failed
            alone: all end, and it has been said.
    """
    try:
        folders = (parent,) if reference is None else (parent, reference)
        outlines = tuple(_read_outline(folder, router_ramp) for folder in folders)
        adapter = None if factors is None else factors.read_bytes()
    except (OperatorError, OSError) as error:
        raise TeamError(f"the team cannot learn: {error}") from None
    plan = Plan(parent, config, reference, device, outlines, adapter)
    with _request("make", plan):
        return _make(plan, partial(SharedLearner, examples=examples, base=base))


def _read_outline(folder: Path, router_ramp: int) -> tuple[bytes, int]:
    """A model's config, and its ramp. Raises CheckpointError."""
    if (folder / MANIFEST_FILE).exists():
        router_ramp = verify_manifest(folder).router_ramp
    return read_small_file(folder, CONFIG_FILE), router_ramp


def _make(plan: Plan, make: Callable[..., Learner] = Learner) -> Learner:
    device, fault, models, adapter = _settle(plan.device), None, [], None
    try:
        models = [outline_config(*outline) for outline in plan.outlines]
        if plan.adapter is not None:
            adapter = decode_adapter(plan.adapter)
    except (OperatorError, OSError, ValueError) as error:
        fault = str(error)
    try:
        agree({}, fault)
        learner = make(models[0], plan.config, models[1] if models[1:] else None, device)
        learner.load_weights(plan.parent, plan.reference)
        if adapter is not None:
            learner.take_factors(adapter.factors)
    except (DisagreementError, OSError, ValueError) as error:  # in all processes alike
        raise TeamError(f"the team cannot learn: {error}") from None
    return learner


def _settle(device: str) -> str:
    """The device of this process. Ends all processes where they have other code, another PyTorch or
    other GPUs, which no second attempt changes."""
    seen, fault = {"code": compute_code_digest().hex()}, None
    try:
        if device.startswith("cuda"):
            device = _take_card()
        seen["machine"] = describe_engine(torch.device(device))
    except (OperatorError, OSError, ValueError) as error:
        fault = str(error)
    try:
        agree(seen, fault)
    except DisagreementError as error:
        if dist.get_node_local_rank() == 0:
            say(f"the team cannot learn: {error}")
        agree({}, None)  # torchrun ends the others once one has ended: not before it is said
        raise SystemExit(1) from None
    return device


def _take_card() -> str:
    """A GPU for this process. Raises TeamError: there are fewer GPUs than processes."""
    rank, cards = dist.get_node_local_rank(), torch.cuda.device_count()
    if rank >= cards:
        raise TeamError(f"this machine has {cards} GPUs: take no more processes")
    torch.cuda.set_device(rank)
    return f"cuda:{rank}"


def _ask(name: str, *arguments: object, step: int | None = None) -> None:
    """Make a request to all processes, as the first one. All must have received the same.

    Args:
        step: steps behind this process's learner. All must have as many; None: it does not matter.
    """
    if get_team()[0] == 0:
        asked = encode_request(Request(name, arguments, step))
        tell_bytes(asked, REQUEST_BYTES_MAX)
        try:
            agree({"request": sha256(asked).hexdigest()}, None)
        except DisagreementError as error:  # the others have ended
            say(f"the team cannot go on: {error}")
            raise SystemExit(1) from None
