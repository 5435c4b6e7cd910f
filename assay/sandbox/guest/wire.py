"""Requests and replies as bytes between a program and its sandboxed child."""

import struct

from assay.sandbox.guest.copies import Budget, Reply, Request

#: Seed, clock, instructions, bytes of output, kind, bytes of the program.
_HEAD = struct.Struct(">QQQIcI")
#: Instructions, bytes of the end's name.
_REPLY = struct.Struct(">QB")
#: Most bytes of a reply besides its output.
REPLY_MORE = _REPLY.size + 32


def write_request(request: Request, budget: Budget) -> bytes:
    numbers = request.seed, request.clock, budget.instructions, budget.output
    head = _HEAD.pack(*numbers, request.kind, len(request.program))
    return head + request.program + request.given


def read_request(data: bytes) -> tuple[Request, Budget]:
    seed, clock, instructions, output, kind, size = _HEAD.unpack_from(data)
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
