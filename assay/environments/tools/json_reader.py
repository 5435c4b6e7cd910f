"""JSON as it is in a call: read by rules of our own, with a fixed sentence for each fault.

Python's own reader has limits of recursion and of digits that differ between its versions, and
words that do. Here are objects, lists, strings, whole numbers of at most 18 digits, true, false and
null, nested at most `DEPTH_MAX` deep. There is no fraction, no half of a surrogate pair without the
other, and no name twice. What is read here, `json.loads` reads alike.

    read_json('{"name": "calculator", "arguments": {"expression": "6*7"}}')
"""

import re

from assay.environments.base import BLANKS

#: Objects and lists within one another.
DEPTH_MAX = 8
Value = dict[str, "Value"] | list["Value"] | str | int | bool | None

_SPACE = re.compile(f"[{BLANKS}]*")
#: Characters of a string as they are: no quote, no backslash and no control character.
_PLAIN = re.compile(r'[^"\\\x00-\x1f]*')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?![0-9.eE])")
_CODE = re.compile(r"[0-9a-fA-F]{4}")
#: The second of two escapes that are one character.
_SECOND = re.compile(r"\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_ESCAPES = {
    **{'"': '"', "\\": "\\", "/": "/"},
    **{"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"},
}
_WORDS: tuple[tuple[str, Value], ...] = (("true", True), ("false", False), ("null", None))


class JsonFault(ValueError):
    """What is wrong with a text, as the rest of a fixed sentence."""


def read_json(text: str) -> Value:
    """The value that a text has. Blanks may be around it.

    Raises:
        JsonFault: the text is not of the form above.
    """
    reader = _Reader(text)
    found = reader.read(0)
    reader.skip()
    if reader.at < len(text):
        raise JsonFault("goes on behind its end")
    return found


def read_json_start(text: str) -> tuple[Value, int]:
    """The value with which a text begins, and its end. Blanks may be before it.

    Raises:
        JsonFault: the text does not begin with one of the form above.
    """
    reader = _Reader(text)
    return reader.read(0), reader.at


class _Reader:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def skip(self) -> None:
        found = _SPACE.match(self.text, self.at)
        assert found is not None, "it may be empty"
        self.at = found.end()

    def take(self) -> str:
        """The next character, which is read; none at the end."""
        self.at += 1
        return self.text[self.at - 1 : self.at]

    def read(self, depth: int) -> Value:
        """The next value, `depth` objects and lists deep."""
        self.skip()
        first = self.text[self.at : self.at + 1]
        if not first:
            raise JsonFault("is cut off")
        if first in "{[":
            if depth == DEPTH_MAX:
                raise JsonFault("is nested too deep")
            self.at += 1
            return self._read_object(depth + 1) if first == "{" else self._read_list(depth + 1)
        if first == '"':
            self.at += 1
            return self._read_string()
        for word, meaning in _WORDS:
            if self.text.startswith(word, self.at):
                self.at += len(word)
                return meaning
        number = _NUMBER.match(self.text, self.at)
        if number is None:
            raise JsonFault("has a value that cannot be read")
        self.at = number.end()
        return int(number[0])

    def _read_object(self, depth: int) -> dict[str, Value]:
        found: dict[str, Value] = {}
        self.skip()
        if self.text.startswith("}", self.at):
            self.at += 1
            return found
        while True:
            self.skip()
            if self.take() != '"':
                raise JsonFault("has a name that is no string")
            name = self._read_string()
            if name in found:
                raise JsonFault("has a name twice")
            self.skip()
            if self.take() != ":":
                raise JsonFault("lacks a colon")
            found[name] = self.read(depth)
            if self._ends("}"):
                return found

    def _read_list(self, depth: int) -> list[Value]:
        found: list[Value] = []
        self.skip()
        if self.text.startswith("]", self.at):
            self.at += 1
            return found
        while True:
            found.append(self.read(depth))
            if self._ends("]"):
                return found

    def _ends(self, closing: str) -> bool:
        self.skip()
        mark = self.take()
        if mark != closing and mark != ",":
            raise JsonFault("lacks a comma")
        return mark == closing

    def _read_string(self) -> str:
        parts: list[str] = []
        while True:
            plain = _PLAIN.match(self.text, self.at)
            assert plain is not None, "it may be empty"
            parts.append(plain[0])
            self.at = plain.end()
            mark = self.take()
            if mark == '"':
                return "".join(parts)
            if not mark:
                raise JsonFault("has a string without an end")
            if mark != "\\":
                raise JsonFault("has a control character in a string")
            parts.append(self._read_escape())

    def _read_escape(self) -> str:
        mark = self.take()
        code = _CODE.match(self.text, self.at) if mark == "u" else None
        if code is not None:
            number, end = int(code[0], 16), code.end()
            if 0xD800 <= number < 0xE000:
                second = _SECOND.match(self.text, end) if number < 0xDC00 else None
                if second is None:
                    raise JsonFault("has half of a surrogate pair")
                number = 0x10000 + ((number - 0xD800) << 10) + (int(second[1], 16) - 0xDC00)
                end = second.end()
            self.at = end
            return chr(number)
        if mark not in _ESCAPES:
            raise JsonFault("has an escape that is not known")
        return _ESCAPES[mark]
