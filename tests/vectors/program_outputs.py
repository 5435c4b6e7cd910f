"""Vectors of `code`: whether a program's output agrees with the expected one as text."""

from typing import Any

from assay.environments.programs.outputs import agree_as_text

Json = Any

#: (expected, output, whether they agree)
OUTPUTS = (
    *(("6", "6 \t\r\n\n", True), ("a\nb", "a\r\nb", True), ("1 2", "1 \t\r 2", True)),
    *(("6", "\n6", False), ("6", " 6", True), ("12", "1 2", False), ("", " \n", True)),
    # no other character is a blank
    *(("6", "6\u00a0", False), ("6", "6\x0c", False), ("6", "6\u0085", False)),
    *(("a b", "a\u00a0b", False), ("a b", "a\u3000b", False), ("a b", "a\x1cb", False)),
    *(("0.5\u2003x", "0.50\u2003x", False), ("0.5 x", "0.50 x", True), ("\ufeff6", "6", False)),
    # numbers: a millionth for those that are not whole
    *(("0.333333", "0.3333333333", True), ("1000000.5", "1000001", True), ("0.5", ".5e0", True)),
    *(("0.5", "0.50001", False), ("6", "6.0", False), ("+6", "6", False), ("6e0", "6", True)),
    *(("1.5", "\u0661.5", False), ("1e999", "1.0000001e999", True), ("0.5", "1e-999", False)),
    *(("0.5", "+.", False), ("0." + "3" * 41, "0." + "3" * 40, False), ("0.5", "-0.5", False)),
)


def make_outputs() -> Json:
    found = [agree_as_text(expected, output.encode()) for expected, output, _ in OUTPUTS]
    assert found == [agrees for *_, agrees in OUTPUTS]
    return [
        {"expected": expected, "output": output, "agrees": agrees}
        for expected, output, agrees in OUTPUTS
    ]
