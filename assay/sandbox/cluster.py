"""A child whose work is done elsewhere: it passes requests to one actor of a Ray cluster.

Ray ends a process that has lost its cluster, and waits for minutes for a missing one. So only this
child talks to it, and the parent loses no more than a child. The actor ends with the child. Ray
chooses its host. Without Ray, or without its cluster, the child writes one line and ends.
"""

import logging
import os
import socket
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any, NoReturn

from assay.sandbox.child import clean, serve
from assay.sandbox.parent import Sandbox

#: Seconds for a cluster to answer, for joining it, and for a host to have room for an actor and
#: start it.
CONNECT_S, JOIN_S, PLACE_S = 5.0, 60.0, 120.0
_MISSING = "Ray is not installed here: pip install 'assay[cluster]'"


class RemoteChild:
    """The actor's object, which answers bytes with bytes.

    Args:
        target: `module:class` of an object with a method `answer`.
    """

    def __init__(self, target: str) -> None:
        module, _, name = target.partition(":")
        self._answer: Callable[[bytes], bytes] = getattr(import_module(module), name)().answer

    def answer(self, request: bytes) -> bytes:
        return self._answer(request)

    def is_ready(self) -> bool:
        return True


def make_remote_sandbox(
    name: str, address: str, target: str, cpus: int, gpus: int, seconds: float
) -> Sandbox:
    """A sandbox whose child is an actor of the cluster at `address`: auto, or HOST:PORT.

    Args:
        target: see `RemoteChild`.
        cpus, gpus: numbers that Ray gives the actor, which sees only these GPUs of its host.
        seconds: default limit of a request.
    """
    arguments = f"{address!r}, {target!r}, {cpus}, {gpus}"
    boot = f"from assay.sandbox.cluster import serve_actor; serve_actor({arguments})"
    longest = max(seconds, CONNECT_S + JOIN_S + PLACE_S)
    return Sandbox(name, boot, longest, starts=1, kept=("RAY_",))  # its client's token


def serve_actor(address: str, target: str, cpus: int, gpus: int) -> NoReturn:
    """Run the child: the actor answers its requests. Ends with the actor."""
    answers = os.dup(1)
    os.dup2(2, 1)  # Ray's output is not an answer
    ray = _join(address)
    actor = _place(ray, target, cpus, gpus)
    os.dup2(answers, 1)
    os.close(answers)
    serve(lambda request: ray.get(actor.answer.remote(request)), memory=None)


def _join(address: str) -> Any:
    """Connect and return Ray."""
    if ":" in address:
        _knock(address)
    late = f"the Ray cluster at {address} does not let this machine in within {JOIN_S:g} s"
    patience = threading.Timer(JOIN_S, _give_up, (late,))
    patience.daemon = True
    patience.start()
    try:
        import ray
    except ImportError:
        _give_up(_MISSING)
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        _give_up(f"no Ray cluster at {address}: {clean(str(error))}")
    patience.cancel()
    return ray


def _knock(address: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
    except (OSError, ValueError, OverflowError) as error:
        _give_up(
            f"no Ray cluster answers at {address} ({clean(str(error))}): start it there with `ray "
            "start --head`, or mend address under [cluster]"
        )


def _place(ray: Any, target: str, cpus: int, gpus: int) -> Any:
    """An actor on a host that has room."""
    wanted = f"{cpus} CPU" + (f" and {gpus} GPU" if gpus else "")
    actor = ray.remote(RemoteChild).options(num_cpus=cpus, num_gpus=gpus).remote(target)
    try:
        ray.get(actor.is_ready.remote(), timeout=PLACE_S)
    except ray.exceptions.GetTimeoutError:
        _give_up(
            f"no host of the Ray cluster has had room for {wanted}, and a process started there, "
            f"for {PLACE_S:g} s"
        )
    except ray.exceptions.RayError as error:  # the host lacks this program, or has another version
        lines = [line for line in str(error).splitlines() if line.strip()]
        _give_up(f"a host of the Ray cluster cannot run this program: {clean(lines[-1])}")
    return actor


def _give_up(line: str) -> NoReturn:
    """Write a line that the parent repeats, and end, whatever Ray does."""
    print(line, file=sys.stderr, flush=True)
    os._exit(1)
