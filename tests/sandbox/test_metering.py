"""What counts beside instructions: memory that was got, and loops that follow pointers."""

from importlib.util import find_spec

import pytest

if find_spec("wasmtime") is None:
    pytest.skip("needs the extra `envs`", allow_module_level=True)

import wasmtime
from wasmtime import wat2wasm

from assay.sandbox.guest.instructions import LOOP, read_instructions
from assay.sandbox.guest.metering import FUEL, RATE, Limits, meter
from assay.sandbox.guest.walks import Arities, find_walks
from assay.sandbox.guest.wasm import (
    CODE,
    FUNCTION,
    TYPE,
    ModuleReader,
    read_codes,
    read_sections,
    read_types,
)

GROW = (
    '(module (memory (export "memory") 3) (global (mut i32) (i32.const 0))'
    ' (func (export "grow") (param i32) (drop (memory.grow (local.get 0)))))'
)
#: What a call of `grow` counts for a page, and beside the pages.
PAGE, CALL = 1 << 14, 3
BEGIN = 10**9


@pytest.mark.parametrize(
    ("asked", "rate"),
    [([31], 1), ([32], 2), ([31, 1], 2), ([100], 4), ([32, 32, 32, 32], 5), ([1_000], 5)],
)
def test_an_instruction_counts_more_once_memory_has_grown(asked: list[int], rate: int) -> None:
    machine = wasmtime.Engine()
    held = wasmtime.Store(machine)
    metered = wasmtime.Module(machine, meter(bytes(wat2wasm(GROW)), Limits(2_000, 1 << 15)))
    exports = wasmtime.Instance(held, metered, []).exports(held)
    exports[FUEL].set_value(held, BEGIN)
    left = BEGIN
    for pages in asked:
        each = exports[RATE].value(held)
        left -= (pages * PAGE + CALL) * each
        exports["grow"](held, pages)
        assert 0 <= left - exports[FUEL].value(held) * exports[RATE].value(held) < 5
        left = exports[FUEL].value(held) * exports[RATE].value(held)
    assert exports[RATE].value(held) == rate


#: Bodies of a function with the parameter $p, the locals $q, $i and $b, and a function $next.
LOOPS = {
    "a list": (True, "(loop $l (br_if $l (local.tee $p (i32.load offset=4 (local.get $p)))))"),
    "an index in an array": (
        True,
        "(loop $l (local.set $i (i32.load (i32.add (local.get $p)"
        " (i32.shl (local.get $i) (i32.const 2))))) (br_if $l (local.get $i)))",
    ),
    "two pointers that take turns": (
        True,
        "(loop $l (local.set $q (i32.load (local.get $p))) (local.set $p (local.get $q))"
        " (br_if $l (local.get $q)))",
    ),
    "a pointer to a pointer": (
        True,
        "(loop $l (br_if $l (local.tee $p (i32.load (i32.load (local.get $p))))))",
    ),
    "in one of two ways": (
        True,
        "(loop $l (if (i32.load8_u (local.get $p)) (then (local.set $p (i32.load (local.get $p))))"
        " (else (local.set $p (i32.add (local.get $p) (i32.const 4))))) (br $l))",
    ),
    "by a block's result": (
        True,
        "(loop $l (local.set $p (block $b (result i32)"
        " (br_if $b (i32.load (local.get $p)) (local.get $i)) (drop) (i32.const 0))) (br $l))",
    ),
    "by a function": (True, "(loop $l (br_if $l (local.tee $p (call $next (local.get $p)))))"),
    "around another loop": (
        True,
        "(loop $l (loop $m (br_if $m (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))"
        " (br_if $l (local.tee $p (i32.load (local.get $p)))))",
    ),
    "an array": (
        False,
        "(loop $l (local.set $i (i32.add (local.get $i) (i32.load (local.get $p))))"
        " (br_if $l (local.tee $p (i32.add (local.get $p) (i32.const 4)))))",
    ),
    "an array of pointers": (
        False,
        "(loop $l (local.set $q (i32.load (i32.load (local.get $p))))"
        " (br_if $l (local.tee $p (i32.add (local.get $p) (i32.const 4)))))",
    ),
    "a number that is doubled": (
        False,
        "(loop $l (br_if $l (local.tee $i (i32.shl (local.get $i) (i32.const 1)))))",
    ),
    "a load that ends it": (
        False,
        "(block $e (loop $l (br_if $e (i32.load (local.get $p)))"
        " (br_if $l (local.tee $p (i32.add (local.get $p) (i32.const 4))))))",
    ),
    "a pointer that is kept for the end": (
        False,
        "(block $e (loop $l (local.set $q (i32.load (local.get $p))) (br_if $e (local.get $q))"
        " (br_if $l (local.tee $p (i32.add (local.get $p) (i32.const 4)))))"
        " (local.set $p (local.get $q)))",
    ),
}


@pytest.mark.parametrize("name", LOOPS)
def test_loops_that_follow_pointers_are_told_from_others(name: str) -> None:
    follows, body = LOOPS[name]
    module = bytes(
        wat2wasm(
            "(module (memory 1) (func $next (param i32) (result i32) (local.get 0))"
            f" (func (param $p i32) (local $q i32) (local $i i32) {body}))"
        )
    )
    sections = dict(read_sections(module))
    reader = ModuleReader(sections[FUNCTION])
    kinds = [reader.unsigned() for _ in range(reader.unsigned())]
    types = [(len(given), len(results)) for given, results in read_types(sections[TYPE])]
    code = ModuleReader(read_codes(sections[CODE])[1])
    for _ in range(code.unsigned()):  # its locals
        code.take(2)
    found = read_instructions(code)
    outer = next(number for number, one in enumerate(found) if one.opcode == LOOP)
    assert find_walks(found, 3, Arities(types, kinds)) == ({outer} if follows else set())
