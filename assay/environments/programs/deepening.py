"""A larger stack for MicroPython, whose build refuses to nest a hundred calls.

Two constants of the module say where its stack ends and when it is too deep. The added pages are
above those that the module starts with. Its allocator asks for more memory, and never looks there.
"""

from assay.sandbox.guest.wasm import (
    ModuleError,
    pack_signed,
    pack_unsigned,
    read_sections,
    write_section,
)

#: The instruction with the bytes of stack after which MicroPython refuses: i32.const 40000.
_REFUSES = b"\x41" + pack_signed(40_000)
_MEMORY, _GLOBAL, _CODE = 5, 6, 10
#: The stack pointer, the module's first global: a variable i32 that starts with a constant.
_POINTER = b"\x7f\x01\x41"


def deepen(module: bytes, pages: int, limit: int) -> bytes:
    """The module with `pages` of 64 KiB of stack, of which it uses `limit` bytes.

    Raises:
        ModuleError: the module is not built like MicroPython's.
    """
    sections = list(read_sections(module))
    memory, pointer, code = (dict(sections).get(n, b"") for n in (_MEMORY, _GLOBAL, _CODE))
    number = b"\x41" + pack_signed(limit)
    plain = len(memory) == 3 and memory[:2] == b"\1\0" and pointer[1:4] == _POINTER
    if not plain or code.count(_REFUSES) != 1 or len(number) != len(_REFUSES):
        raise ModuleError("its stack is not where MicroPython's is")
    end = pointer.index(b"\x0b")
    top = memory[2] + pages
    changed = {
        _MEMORY: b"\1\0" + pack_unsigned(top),
        _GLOBAL: pointer[:4] + pack_signed(top << 16) + pointer[end:],
        _CODE: code.replace(_REFUSES, number),
    }
    return module[:8] + b"".join(write_section(n, changed.get(n, body)) for n, body in sections)
