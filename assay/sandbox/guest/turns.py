"""A Python tool for several turns: each runs in the module in which the turns before it ran.

The turns' texts define the result. Whoever has all of them replays them in one live copy of the
interpreter. Whoever gets them one by one replays them too, or goes on from a `State`, which is a
cache of that: the pages of memory that differ from a fresh copy's. All say the same. A state is for
the machine that made it: whoever writes one chooses what the next turns say.

A turn that does not return has broken the interpreter: it ran out of something, or ended it. Its
output is always `LOST`, and the next turn begins in a fresh copy.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from assay.sandbox.guest.copies import RETURNED, Budget, Copy, Image, Reply

#: The kind of a request that is a turn (`boot`).
TURN = b"T"
#: What a turn says that did not return.
LOST = b"The interpreter was lost, with all names. The next call starts a new one.\n"
#: Most turns of one request, and bytes of memory that a state keeps, unpacked.
TURNS_MAX, KEPT_MAX = 256, 32 << 20
#: What a turn may take is a multiple of this, which each count of an instruction divides. So no
#: count is rounded otherwise, and no clock reads otherwise, where a replay may take more.
EVEN = 60
#: Bytes of memory that are kept together, and that are compared first.
_PAGE, _PART = 1 << 12, 1 << 18
#: Of a copy: its seed, clock and rate, and bytes of its memory. Of a page: its number.
_COPY, _NUMBER = struct.Struct(">QQQQ"), struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class TurnsBudget:
    """What turns may take: each of them, and all together. A turn counts once, however often it is
    replayed. The least that one may take of both is rounded down to a multiple of `EVEN`.

    Attributes:
        turn: of each turn.
        instructions: of all turns.
    """

    turn: Budget
    instructions: int


@dataclass(frozen=True, slots=True)
class State:
    """What turns have left.

    Attributes:
        seed: of all that is random: a copy that starts at turn k, from 0, has this and k.
        clock: the time at the start, in nanoseconds since 1970. A copy that starts later begins at
            this and the instructions that were counted before.
        turns, instructions: before now.
        pages: a packed copy of the interpreter, to go on with; empty: the next turn starts a fresh
            one; None: they are not kept, or too many, and turns are replayed.
    """

    seed: int = 0
    clock: int = 0
    turns: int = 0
    instructions: int = 0
    pages: bytes | None = b""


def take_turns(
    image: Image, texts: Sequence[bytes], budget: TurnsBudget, state: State, keep: bool
) -> tuple[list[Reply], State]:
    """Each turn's outcome, and the state behind the last.

    Args:
        keep: whether the state is to have its pages.

    Raises:
        wasmtime.Trap, MemoryError: see `Copy.ask`.
    """
    replies = []
    copy = _restore(image, state)
    for text in texts:
        if copy is None:
            copy = image.open()
            copy.seed = state.seed + state.turns
            copy.clock = state.clock + state.instructions
        left = min(budget.turn.instructions, max(0, budget.instructions - state.instructions))
        left -= left % EVEN
        data = TURN + len(text).to_bytes(4, "little") + text
        reply = copy.ask(data, Budget(left, budget.turn.output))
        if reply.end != RETURNED:
            image.close(copy)
            copy, reply = None, replace(reply, output=LOST)
        replies.append(reply)
        taken = state.instructions + reply.instructions
        state = replace(state, turns=state.turns + 1, instructions=taken)
    pages = (_save(image, copy) if copy else b"") if keep else None
    if copy:
        image.close(copy)
    return replies, replace(state, pages=pages)


def _save(image: Image, copy: Copy) -> bytes | None:
    """The pages of a copy that differ from a fresh one's; None: they are too many."""
    packer, left = zlib.compressobj(1), KEPT_MAX
    parts = [_COPY.pack(copy.seed, copy.clock, copy.rate, copy.size)]
    for start in range(0, copy.size, _PART):
        held = copy.read(start, min(start + _PART, copy.size))
        known = image.read_fresh(start, start + len(held))
        if held == known:
            continue
        for at in range(0, len(held), _PAGE):
            page = held[at : at + _PAGE]
            if page == known[at : at + _PAGE]:
                continue
            left -= _PAGE
            if left < 0:
                return None
            parts.append(packer.compress(_NUMBER.pack((start + at) // _PAGE) + page))
    return b"".join([*parts, packer.flush()])


def _restore(image: Image, state: State) -> Copy | None:
    """The copy whose pages a state has, or none."""
    if not state.pages:
        return None
    seed, clock, rate, size = _COPY.unpack_from(state.pages)
    unpacker, step = zlib.decompressobj(), _NUMBER.size + _PAGE
    pages = unpacker.decompress(state.pages[_COPY.size :], 2 * KEPT_MAX)
    copy = image.open()
    copy.grow(size)
    for start in range(0, len(pages), step):
        (number,) = _NUMBER.unpack_from(pages, start)
        copy.write(number * _PAGE, pages[start + _NUMBER.size : start + step])
    copy.seed, copy.clock, copy.rate = seed, clock, rate
    return copy
