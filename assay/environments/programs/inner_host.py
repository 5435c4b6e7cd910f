"""The answers to MicroPython's calls of its host (`assay.sandbox.guest.enclosing`): input,
arguments and output lie in pages of its memory."""

import struct
from collections.abc import Sequence

from assay.sandbox.guest.enclosing import InnerHost

#: Exported globals (i32). Places of: the arguments (`pack_arguments`); the next byte of input, and
#: the end of the input; the next byte of output, and the end of the room for it. Then how the
#: program ended (`EXITED`, `FULL`, else 0), and its exit status.
GLOBALS = ("arguments", "given", "given_end", "written", "written_end", "end", "status")
ARGUMENTS, GIVEN, GIVEN_END, WRITTEN, WRITTEN_END, END, STATUS = (f"assay_{g}" for g in GLOBALS)
#: It has called for its end; it has written more than there is room for.
EXITED, FULL = 1, 2

#: WASI's code for a call that is not supported: the answer to all calls that are not below.
_NOTSUP = 58

#: 8 is WASI's code for a bad descriptor.
_ANSWERS = """
  (func (export "args_sizes_get") (param $count i32) (param $size i32) (result i32)
    (i32.store (local.get $count) (i32.load (global.get $arguments)))
    (i32.store (local.get $size) (i32.load offset=4 (global.get $arguments)))
    (i32.const 0))
  (func (export "args_get") (param $places i32) (param $text i32) (result i32)
    (local $left i32) (local $offset i32)
    (local.set $left (i32.load (global.get $arguments)))
    (local.set $offset (i32.add (global.get $arguments) (i32.const 8)))
    (memory.copy
      (local.get $text)
      (i32.add (local.get $offset) (i32.shl (local.get $left) (i32.const 2)))
      (i32.load offset=4 (global.get $arguments)))
    (block $done (loop $more
      (br_if $done (i32.eqz (local.get $left)))
      (i32.store (local.get $places) (i32.add (local.get $text) (i32.load (local.get $offset))))
      (local.set $places (i32.add (local.get $places) (i32.const 4)))
      (local.set $offset (i32.add (local.get $offset) (i32.const 4)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br $more)))
    (i32.const 0))
  (func (export "environ_sizes_get") (param $count i32) (param $size i32) (result i32)
    (i32.store (local.get $count) (i32.const 0))
    (i32.store (local.get $size) (i32.const 0))
    (i32.const 0))
  (func (export "environ_get") (param i32 i32) (result i32) (i32.const 0))
  (func (export "clock_time_get") (param i32 i64) (param $place i32) (result i32)
    (i64.store (local.get $place) (i64.const 0))
    (i32.const 0))
  (func (export "fd_prestat_get") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_fdstat_get") (param $descriptor i32) (param $place i32) (result i32)
    (if (i32.gt_u (local.get $descriptor) (i32.const 2)) (then (return (i32.const 8))))
    ;; a character device, no flags, every right
    (i64.store (local.get $place) (i64.const 2))
    (i64.store offset=8 (local.get $place) (i64.const -1))
    (i64.store offset=16 (local.get $place) (i64.const -1))
    (i32.const 0))
  (func (export "fd_read")
    (param $descriptor i32) (param $pieces i32) (param $count i32) (param $done i32) (result i32)
    (local $before i32) (local $size i32)
    (if (local.get $descriptor) (then (return (i32.const 8))))
    (local.set $before (global.get $given))
    (block $done (loop $more
      (br_if $done (i32.eqz (local.get $count)))
      (local.set $size (i32.load offset=4 (local.get $pieces)))
      (if (i32.gt_u (local.get $size) (i32.sub (global.get $given_end) (global.get $given)))
        (then (local.set $size (i32.sub (global.get $given_end) (global.get $given)))))
      (memory.copy (i32.load (local.get $pieces)) (global.get $given) (local.get $size))
      (global.set $given (i32.add (global.get $given) (local.get $size)))
      (local.set $pieces (i32.add (local.get $pieces) (i32.const 8)))
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (br $more)))
    (i32.store (local.get $done) (i32.sub (global.get $given) (local.get $before)))
    (i32.const 0))
  (func (export "fd_write")
    (param $descriptor i32) (param $pieces i32) (param $count i32) (param $done i32) (result i32)
    (local $total i32) (local $size i32)
    (if (i32.gt_u (i32.sub (local.get $descriptor) (i32.const 1)) (i32.const 1))
      (then (return (i32.const 8))))
    (block $done (loop $more
      (br_if $done (i32.eqz (local.get $count)))
      (local.set $size (i32.load offset=4 (local.get $pieces)))
      (local.set $total (i32.add (local.get $total) (local.get $size)))
      (if (i32.eq (local.get $descriptor) (i32.const 1)) (then ;; nobody reads standard error
        (if (i32.gt_u (local.get $size) (i32.sub (global.get $written_end) (global.get $written)))
          (then (global.set $end (i32.const 2)) (unreachable)))
        (memory.copy (global.get $written) (i32.load (local.get $pieces)) (local.get $size))
        (global.set $written (i32.add (global.get $written) (local.get $size)))))
      (local.set $pieces (i32.add (local.get $pieces) (i32.const 8)))
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (br $more)))
    (i32.store (local.get $done) (local.get $total))
    (i32.const 0))
  (func (export "sched_yield") (result i32) (i32.const 0))
  (func (export "proc_exit") (param $status i32)
    (global.set $status (local.get $status))
    (global.set $end (i32.const 1))
    (unreachable))
"""
HOST = InnerHost(dict.fromkeys(GLOBALS, "i32"), _ANSWERS, lambda _: _NOTSUP)


def pack_arguments(arguments: Sequence[bytes]) -> bytes:
    """Arguments as the functions above read them, each with a NUL at its end: their number, the
    bytes of all, the place of each among these, and these."""
    texts = [argument + b"\0" for argument in arguments]
    places = [sum(map(len, texts[:n])) for n in range(len(texts))]
    size = sum(map(len, texts))
    return struct.pack(f"<{2 + len(texts)}I", len(texts), size, *places) + b"".join(texts)
