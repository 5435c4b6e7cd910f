"""Requests and replies as bytes between a program and its sandboxed child."""

import struct
from collections.abc import Iterable, Iterator, Sequence

from assay.sandbox.guest.copies import Budget, Image, Reply, Request
from assay.sandbox.guest.turns import KEPT_MAX, TURN, State, TurnsBudget, take_turns

#: Kind, seed, clock, instructions, bytes of output, bytes of the program.
_HEAD = struct.Struct(">cQQQII")
#: Of turns: kind, instructions and bytes of output of each, instructions of all, whether the state
#: is to have its pages.
_TURNS = struct.Struct(">cQIQ?")
#: Seed, clock, turns, instructions; whether the pages that follow are known.
_STATE = struct.Struct(">QQIQ?")
#: Instructions, bytes of the end's name.
_REPLY = struct.Struct(">QB")
_SIZE = struct.Struct(">I")
#: Most bytes of a reply besides its output, and of a state.
REPLY_MORE = _REPLY.size + 32
STATE_MAX = _STATE.size + KEPT_MAX + (1 << 20)


def answer(image: Image, data: bytes) -> bytes:
    """A child's reply to a request."""
    if data[:1] == TURN:
        return write_outcome(*take_turns(image, *read_turns(data)))
    return write_reply(image.run(*read_request(data)))


def write_request(request: Request, budget: Budget) -> bytes:
    numbers = request.seed, request.clock, budget.instructions, budget.output
    head = _HEAD.pack(request.kind, *numbers, len(request.program))
    return head + request.program + request.given


def read_request(data: bytes) -> tuple[Request, Budget]:
    kind, seed, clock, instructions, output, size = _HEAD.unpack_from(data)
    program = data[_HEAD.size : _HEAD.size + size]
    given = data[_HEAD.size + size :]
    return Request(program, given, kind, seed, clock), Budget(instructions, output)


def write_reply(reply: Reply) -> bytes:
    end = reply.end.encode()
    return _REPLY.pack(reply.instructions, len(end)) + end + reply.output


def read_reply(data: bytes) -> Reply:
    instructions, size = _REPLY.unpack_from(data)
    output = _REPLY.size + size
    return Reply(data[output:], data[_REPLY.size : output].decode(), instructions)


def write_turns(texts: Sequence[bytes], budget: TurnsBudget, state: State, keep: bool) -> bytes:
    each = budget.turn
    head = _TURNS.pack(TURN, each.instructions, each.output, budget.instructions, keep)
    return head + _join([_write_state(state), *texts])


def read_turns(data: bytes) -> tuple[list[bytes], TurnsBudget, State, bool]:
    _, instructions, output, whole, keep = _TURNS.unpack_from(data)
    state, *texts = _split(data[_TURNS.size :])
    return texts, TurnsBudget(Budget(instructions, output), whole), _read_state(state), keep


def write_outcome(replies: Sequence[Reply], state: State) -> bytes:
    return _join([_write_state(state), *map(write_reply, replies)])


def read_outcome(data: bytes) -> tuple[list[Reply], State]:
    state, *replies = _split(data)
    return list(map(read_reply, replies)), _read_state(state)


def _write_state(state: State) -> bytes:
    numbers = state.seed, state.clock, state.turns, state.instructions
    return _STATE.pack(*numbers, state.pages is not None) + (state.pages or b"")


def _read_state(data: bytes) -> State:
    seed, clock, turns, instructions, is_kept = _STATE.unpack_from(data)
    return State(seed, clock, turns, instructions, data[_STATE.size :] if is_kept else None)


def _join(parts: Iterable[bytes]) -> bytes:
    return b"".join(_SIZE.pack(len(part)) + part for part in parts)


def _split(data: bytes) -> Iterator[bytes]:
    place = 0
    while place < len(data):
        (size,) = _SIZE.unpack_from(data, place)
        place += _SIZE.size + size
        yield data[place - size : place]
