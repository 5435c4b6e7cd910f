"""Finds the loops that follow pointers.

A round of such a loop loads the address from which the next one loads: a list of nodes, each of
which may lie anywhere. A processor can begin no round before the last one's load is done, so when
the nodes are in none of its caches a round takes a hundred times as long as its few instructions.
Other loops know their addresses before, and their loads overlap.

The values of one round are followed to the next: from which locals of its start each derives, and
whether through a load. What a function returns may have been loaded by way of its arguments.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce

from assay.sandbox.guest.instructions import (
    BLOCK,
    BR,
    BR_IF,
    BR_TABLE,
    CALL,
    CALL_INDIRECT,
    CONSTANTS,
    DROP,
    ELSE,
    EMPTY,
    END,
    GLOBAL_SET,
    I32_LOAD,
    IF,
    LOADS,
    LOCAL_GET,
    LOCAL_SET,
    LOCAL_TEE,
    LOOP,
    MEMORY_GROW,
    MEMORY_SIZE,
    MORE,
    RETURN,
    SELECT,
    STORES,
    TRY_TABLE,
    UNREACHABLE,
    Instruction,
)

#: Number of the parameters, and of the results, of a type.
Arity = tuple[int, int]
#: Sets of locals as bits: those that a value derives from without a load, and through one.
_Sources = tuple[int, int]
#: What each local derives from.
_Locals = list[_Sources]

#: The longest loops, in instructions, that are looked at. A longer one is that of an interpreter,
#: whose rounds are long as well.
_LONG = 12_000
_NOTHING = (0, 0)
_FREE = frozenset([*CONSTANTS, MEMORY_SIZE, 0x23, 0xD0, 0xD2])  # leave what derives from no local
_TESTS = range(0x45, 0x67)
_ONE_OPERAND = frozenset(
    [0x45, 0x50, *range(0x67, 0x6A), *range(0x79, 0x7C), *range(0x8B, 0x92), *range(0x99, 0xA0)]
) | frozenset(range(0xA7, 0xC5))


@dataclass(frozen=True, slots=True)
class Arities:
    """Those of a module: of its types by number, and the types of its functions."""

    types: Sequence[Arity]
    functions: Sequence[int]

    def of_block(self, kind: int) -> Arity:
        if kind >= 0:
            return self.types[kind]
        return (0, 0) if kind == EMPTY else (0, 1)

    def of_call(self, call: Instruction) -> Arity:
        kind = call.operands[0]
        return self.types[self.functions[kind] if call.opcode == CALL else kind]


def find_walks(code: Sequence[Instruction], locals_: int, arities: Arities) -> set[int]:
    """The loops of a function that follow pointers, as numbers of its instructions. Where it
    catches exceptions, each loop may.

    Args:
        locals_: number of its locals, parameters included.
    """
    loops = [number for number, one in enumerate(code) if one.opcode == LOOP]
    if not loops or any(one.opcode == TRY_TABLE for one in code):
        return set(loops)
    flow = _Flow(code, locals_, arities, *_match(code))
    return {number for number in loops if flow.is_walk(number)}


def _match(code: Sequence[Instruction]) -> tuple[dict[int, int], dict[int, int]]:
    """Number of an instruction that opens a block → that of its end; of its `else`."""
    ends, elses = {}, {}
    opened: list[int] = []
    for number, one in enumerate(code):
        if one.opcode in (BLOCK, LOOP, IF):
            opened.append(number)
        elif one.opcode == ELSE:
            elses[opened[-1]] = number
        elif one.opcode == END and opened:
            ends[opened.pop()] = number
    return ends, elses


@dataclass(slots=True)
class _Label:
    """Where branches go: what the locals and the results derive from there. None: no branch
    did."""

    results: int
    found: _Locals | None = None
    value: _Sources = _NOTHING


@dataclass(slots=True)
class _Place:
    """What is known at one place: locals, and operands on the stack."""

    locals: _Locals
    stack: list[_Sources] = field(default_factory=list)

    def pop(self, count: int = 1) -> _Sources:
        """Take operands. Returns what they derive from together."""
        taken = self.stack[len(self.stack) - count :] if count else []
        del self.stack[len(self.stack) - len(taken) :]
        return reduce(_join, taken, _NOTHING)


def _join(a: _Sources, b: _Sources) -> _Sources:
    return a[0] | b[0], a[1] | b[1]


def _join_locals(a: _Locals | None, b: _Locals | None) -> _Locals | None:
    if a is None or b is None:
        return a if b is None else b
    return list(map(_join, a, b))


@dataclass(frozen=True, slots=True)
class _Flow:
    """Values of a function's code."""

    code: Sequence[Instruction]
    locals: int
    arities: Arities
    ends: Mapping[int, int]
    elses: Mapping[int, int]

    def is_walk(self, loop: int) -> bool:
        if self.ends[loop] - loop > _LONG:
            return False
        start = [(1 << local, 0) for local in range(self.locals)]
        again = _Label(0)
        self._follow(loop + 1, self.ends[loop], _Place(start), [again])
        return again.found is not None and _recurs(again.found)

    def _follow(self, start: int, end: int, at: _Place, labels: list[_Label]) -> bool:
        """Go through instructions. Returns whether control comes to the end."""
        number = start
        while number < end:
            one = self.code[number]
            if one.opcode in (BLOCK, LOOP, IF):
                if not self._enter(number, at, labels):
                    return False
                number = self.ends[number]
            elif one.opcode in (BR, BR_IF, BR_TABLE):
                at.pop(one.opcode != BR)
                for label in set(one.operands):
                    _branch(at, labels, label)
                if one.opcode != BR_IF:
                    return False
            elif one.opcode in (RETURN, UNREACHABLE):
                return False
            else:
                self._do(one, at)
            number += 1
        return True

    def _enter(self, number: int, at: _Place, labels: list[_Label]) -> bool:
        """Go through a block. Returns whether control comes to its end."""
        one, end = self.code[number], self.ends[number]
        given, results = self.arities.of_block(one.operands[0])
        at.pop(one.opcode == IF)
        arguments = [at.pop() for _ in range(given)][::-1]
        middle = self.elses.get(number, end)
        before = at.locals
        if one.opcode == LOOP:  # a second time, with what a round leaves
            again = _Label(0)
            self._follow(number + 1, end, _Place([*before], [*arguments]), [*labels, again])
            before = _join_locals(before, again.found) or before
        label = _Label(0 if one.opcode == LOOP else results)
        parts = [(number + 1, middle)]
        if one.opcode == IF:
            parts.append((middle + (middle < end), end))
        after, value = None, _NOTHING
        for first, last in parts:
            part = _Place([*before], [*arguments])
            if self._follow(first, last, part, [*labels, label]):
                after, value = _join_locals(after, part.locals), _join(value, part.pop(results))
        if one.opcode != LOOP:
            after, value = _join_locals(after, label.found), _join(value, label.value)
        at.locals = after or before
        at.stack += [value] * results
        return after is not None

    def _do(self, one: Instruction, at: _Place) -> None:
        """An instruction that goes on to the next."""
        opcode = one.opcode
        if opcode == LOCAL_GET:
            at.stack.append(at.locals[one.operands[0]])
        elif opcode in (LOCAL_SET, LOCAL_TEE):
            at.locals[one.operands[0]] = value = at.pop()
            at.stack += [value] * (opcode == LOCAL_TEE)
        elif opcode in LOADS:
            direct, loaded = at.pop()
            at.stack.append((0, direct | loaded) if opcode == I32_LOAD else _NOTHING)
        elif opcode in (CALL, CALL_INDIRECT):
            given, results = self.arities.of_call(one)
            at.pop(opcode == CALL_INDIRECT)
            direct, loaded = at.pop(given)
            at.stack += [(0, direct | loaded)] * results
        elif opcode in _FREE:
            at.stack.append(_NOTHING)
        elif opcode == SELECT:
            at.pop()
            at.stack.append(at.pop(2))
        elif opcode in STORES:
            at.pop(2)
        elif opcode in (DROP, GLOBAL_SET):
            at.pop()
        elif opcode == MORE and one.operands[0] > 7:
            at.pop(3)
        elif opcode == MEMORY_GROW:
            at.pop()
            at.stack.append(_NOTHING)
        elif opcode in _TESTS:
            at.pop(1 + (opcode not in _ONE_OPERAND))
            at.stack.append(_NOTHING)
        elif 0x67 <= opcode <= 0xA6 and opcode not in _ONE_OPERAND:
            at.stack.append(at.pop(2))


def _branch(at: _Place, labels: list[_Label], number: int) -> None:
    if number < len(labels):  # not out of the loop
        label = labels[-1 - number]
        label.found = _join_locals(label.found, [*at.locals])
        for value in at.stack[len(at.stack) - label.results :]:
            label.value = _join(label.value, value)


def _recurs(after: _Locals) -> bool:
    """Whether a local derives from itself, by way of others perhaps, through a load."""
    sources = {local: direct | loaded for local, (direct, loaded) in enumerate(after)}
    changed = True
    while changed:  # those of sources are sources
        changed = False
        for local, found in sources.items():
            more = found
            for source in range(found.bit_length()):
                if found >> source & 1:
                    more |= sources[source]
            if more != found:
                sources[local], changed = more, True
    return any(
        loaded >> source & 1 and (source == local or sources[source] >> local & 1)
        for local, (_, loaded) in enumerate(after)
        for source in range(loaded.bit_length())
    )
