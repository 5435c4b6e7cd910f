"""Canonical encodings: a dataclass becomes its fields in order, integers big endian. What is hashed
has no floats.

A field's annotation says how it is written (`U32`, `Digest`, `Many(Integer(4), 16)` …). The same
table gives the binary form that is hashed and the JSON form that people read. Decoding accepts
exactly what encoding produces: each value has one sequence of bytes. Specification, section 1.
"""

import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from math import isfinite
from typing import Annotated, Any, Protocol, TypeVar, get_args, get_origin, get_type_hints

from assay.protocol.ss58 import decode_ss58, encode_ss58

_D = TypeVar("_D")

Json = Any  # what json.loads returns
#: Most levels of objects and lists in JSON, and digits of an integer. Both are far below what the
#: stack of a process or a setting of Python could refuse.
JSON_DEPTH, JSON_DIGITS = 64, 64
_MARK = b"\xff\xff\xff\xff"
_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
#: Bytes up to which it is quicker to look at each integer than at the text.
_SHORT = 1 << 12
_TOO_DEEP = f"is not JSON: nested deeper than {JSON_DEPTH} levels"


class EncodingError(ValueError):
    """Bytes or JSON that are not a valid encoding. The message says which field and why."""


class Codec(Protocol):
    """Writes and reads one kind of value, as bytes and as JSON."""

    def write(self, value: Any) -> bytes: ...
    def read(self, data: bytes, offset: int) -> tuple[Any, int]: ...
    def to_json(self, value: Any) -> Json: ...
    def from_json(self, value: Json) -> Any: ...


def _take(data: bytes, offset: int, size: int) -> bytes:
    if offset + size > len(data):
        raise EncodingError(f"ends after {len(data)} bytes where {offset + size} are needed")
    return data[offset : offset + size]


@dataclass(frozen=True)
class Integer:
    """`width` bytes, big endian; two's complement when signed."""

    width: int
    signed: bool = False

    def write(self, value: int) -> bytes:
        if type(value) is not int:
            raise EncodingError(f"{value!r} is not an integer")
        try:
            return value.to_bytes(self.width, "big", signed=self.signed)
        except OverflowError:
            raise EncodingError(f"does not fit {self.width} bytes") from None

    def read(self, data: bytes, offset: int) -> tuple[int, int]:
        raw = _take(data, offset, self.width)
        return int.from_bytes(raw, "big", signed=self.signed), offset + self.width

    def to_json(self, value: int) -> Json:
        return value

    def from_json(self, value: Json) -> int:
        self.write(value)
        return int(value)


@dataclass(frozen=True)
class Numeral(Integer):
    """An integer that is a decimal numeral in JSON, and so can be a key of an object."""

    def to_json(self, value: int) -> Json:
        return str(value)

    def from_json(self, value: Json) -> int:
        digits = value.removeprefix("-") if isinstance(value, str) else ""
        if len(digits) > 40 or not (digits.isascii() and digits.isdigit()):
            raise EncodingError(f"{value!r} is not a decimal numeral")
        if str(int(value)) != value:
            raise EncodingError(f"{value!r} is not the shortest numeral of its integer")
        return super().from_json(int(value))


@dataclass(frozen=True)
class Flag:
    """u8 0 or 1; false or true in JSON."""

    def write(self, value: bool) -> bytes:
        if type(value) is not bool:
            raise EncodingError(f"{value!r} is neither true nor false")
        return bytes([value])

    def read(self, data: bytes, offset: int) -> tuple[bool, int]:
        number = _take(data, offset, 1)[0]
        if number > 1:
            raise EncodingError(f"{number} is neither true nor false")
        return bool(number), offset + 1

    def to_json(self, value: bool) -> Json:
        return bool(value)

    def from_json(self, value: Json) -> bool:
        self.write(value)
        return bool(value)


@dataclass(frozen=True)
class Float:
    """A float64 that is a number, exact: 8 bytes, big endian; C's hexadecimal literal in JSON."""

    def write(self, value: float) -> bytes:
        return struct.pack(">d", self._check(value))

    def read(self, data: bytes, offset: int) -> tuple[float, int]:
        (value,) = struct.unpack(">d", _take(data, offset, 8))
        return self._check(value), offset + 8

    def to_json(self, value: float) -> Json:
        return self._check(value).hex()

    def from_json(self, value: Json) -> float:
        try:
            number = float.fromhex(value)
        except (TypeError, ValueError, OverflowError):
            raise EncodingError(f"{value!r} is not a hexadecimal float") from None
        if number.hex() != value:
            raise EncodingError(f"{value!r} is not the hexadecimal float {number.hex()}")
        return self._check(number)

    @staticmethod
    def _check(value: float) -> float:
        if value != value:
            raise EncodingError("is not a number")
        return float(value)


@dataclass(frozen=True)
class FixedBytes:
    """Exactly `size` bytes, no prefix; lower-case hex in JSON."""

    size: int

    def write(self, value: bytes) -> bytes:
        if len(value) != self.size:
            raise EncodingError(f"has {len(value)} bytes, not {self.size}")
        return value

    def read(self, data: bytes, offset: int) -> tuple[bytes, int]:
        return _take(data, offset, self.size), offset + self.size

    def to_json(self, value: bytes) -> Json:
        return value.hex()

    def from_json(self, value: Json) -> bytes:
        return self.write(read_hex(value))


@dataclass(frozen=True)
class Address(FixedBytes):
    """A public key of 32 bytes; its SS58 address in JSON."""

    size: int = 32

    def to_json(self, value: bytes) -> Json:
        return encode_ss58(value)

    def from_json(self, value: Json) -> bytes:
        if not isinstance(value, str):
            raise EncodingError(f"{value!r} is not an SS58 address")
        try:
            return decode_ss58(value)
        except ValueError as error:
            raise EncodingError(str(error)) from None


@dataclass(frozen=True)
class Prefixed:
    """u32 length, then at most `limit` bytes: raw bytes, or UTF-8 when `text`."""

    limit: int
    text: bool = False

    def write(self, value: Any) -> bytes:
        try:
            raw = value.encode() if self.text else bytes(value)
        except UnicodeEncodeError:  # a lone surrogate, which JSON can spell
            raise EncodingError("is not Unicode text") from None
        if len(raw) > self.limit:
            raise EncodingError(f"has {len(raw)} bytes, more than {self.limit}")
        return len(raw).to_bytes(4, "big") + raw

    def read(self, data: bytes, offset: int) -> tuple[Any, int]:
        size = int.from_bytes(_take(data, offset, 4), "big")
        if size > self.limit:
            raise EncodingError(f"says {size} bytes, more than {self.limit}")
        raw = _take(data, offset + 4, size)
        if not self.text:
            return raw, offset + 4 + size
        try:
            return raw.decode(), offset + 4 + size
        except UnicodeDecodeError:
            raise EncodingError("is not UTF-8") from None

    def to_json(self, value: Any) -> Json:
        return value if self.text else value.hex()

    def from_json(self, value: Json) -> Any:
        if self.text and not isinstance(value, str):
            raise EncodingError(f"{value!r} is not a string")
        decoded = value if self.text else read_hex(value)
        self.write(decoded)
        return decoded


_NAME = Prefixed(64, text=True)


@dataclass(frozen=True)
class Many:
    """u32 count, then at most `limit` items."""

    item: Codec
    limit: int

    def write(self, value: tuple[Any, ...]) -> bytes:
        if len(value) > self.limit:
            raise EncodingError(f"has {len(value)} items, more than {self.limit}")
        return len(value).to_bytes(4, "big") + b"".join(map(self.item.write, value))

    def read(self, data: bytes, offset: int) -> tuple[tuple[Any, ...], int]:
        count = int.from_bytes(_take(data, offset, 4), "big")
        offset += 4
        if count > self.limit:
            raise EncodingError(f"says {count} items, more than {self.limit}")
        items = []
        for _ in range(count):
            item, offset = self.item.read(data, offset)
            items.append(item)
        return tuple(items), offset

    def to_json(self, value: tuple[Any, ...]) -> Json:
        return [self.item.to_json(item) for item in value]

    def from_json(self, value: Json) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) > self.limit:
            raise EncodingError(f"is not a list of at most {self.limit} items")
        return tuple(self.item.from_json(item) for item in value)


@dataclass(frozen=True)
class Table:
    """A mapping in ascending order of its keys: u32 count, then keys and values in turn. An object
    in JSON, so keys are of a codec whose JSON is text."""

    key: Codec
    value: Codec

    def write(self, value: Mapping[Any, Any]) -> bytes:
        pairs = (self.key.write(k) + self.value.write(v) for k, v in sorted(value.items()))
        return len(value).to_bytes(4, "big") + b"".join(pairs)

    def read(self, data: bytes, offset: int) -> tuple[dict[Any, Any], int]:
        count = int.from_bytes(_take(data, offset, 4), "big")
        offset += 4
        table: dict[Any, Any] = {}
        last = None
        for _ in range(count):
            key, offset = self.key.read(data, offset)
            if last is not None and key <= last:
                raise EncodingError("its keys do not ascend")
            table[key], offset = self.value.read(data, offset)
            last = key
        return table, offset

    def to_json(self, value: Mapping[Any, Any]) -> Json:
        return {self.key.to_json(k): self.value.to_json(v) for k, v in sorted(value.items())}

    def from_json(self, value: Json) -> dict[Any, Any]:
        if not isinstance(value, Mapping):
            raise EncodingError("is not an object")
        return {
            self.key.from_json(k): _at(str(k)[:64], self.value.from_json, v)
            for k, v in value.items()
        }


@dataclass(frozen=True)
class Maybe:
    """u8 0 for None; u8 1, then the item. null in JSON."""

    item: Codec

    def write(self, value: Any) -> bytes:
        return b"\0" if value is None else b"\1" + self.item.write(value)

    def read(self, data: bytes, offset: int) -> tuple[Any, int]:
        presence = _take(data, offset, 1)[0]
        if presence > 1:
            raise EncodingError(f"is neither there nor not: {presence}")
        return self.item.read(data, offset + 1) if presence else (None, offset + 1)

    def to_json(self, value: Any) -> Json:
        return None if value is None else self.item.to_json(value)

    def from_json(self, value: Json) -> Any:
        return None if value is None else self.item.from_json(value)


@dataclass(frozen=True)
class Last:
    """A last field that was added later: None takes no bytes, anything else is the item. JSON
    leaves the field out where it is None. Values written before the field existed keep their bytes
    and digest."""

    item: Codec

    def write(self, value: Any) -> bytes:
        return b"" if value is None else self.item.write(value)

    def read(self, data: bytes, offset: int) -> tuple[Any, int]:
        return (None, offset) if offset == len(data) else self.item.read(data, offset)

    def to_json(self, value: Any) -> Json:
        return self.item.to_json(value)

    def from_json(self, value: Json) -> Any:
        return self.item.from_json(value)


@dataclass(frozen=True)
class Marked:
    """A field that was added later before one that is `Last`: None takes no bytes, anything else is
    four bytes of ones and the item. What follows begins with no such bytes: a count of so many
    items is legal nowhere. JSON leaves the field out where it is None. Values written before the
    field existed keep their bytes and digest."""

    item: Codec

    def write(self, value: Any) -> bytes:
        return b"" if value is None else _MARK + self.item.write(value)

    def read(self, data: bytes, offset: int) -> tuple[Any, int]:
        if data[offset : offset + len(_MARK)] != _MARK:
            return None, offset
        return self.item.read(data, offset + len(_MARK))

    def to_json(self, value: Any) -> Json:
        return self.item.to_json(value)

    def from_json(self, value: Json) -> Any:
        return self.item.from_json(value)


@dataclass(frozen=True)
class Choice:
    """A member of an enumeration, written as its value: text of at most 64 bytes."""

    of: type[Enum]
    what: str  # one of them, for messages: "a beacon scheme"

    def write(self, value: Enum) -> bytes:
        return _NAME.write(value.value)

    def read(self, data: bytes, offset: int) -> tuple[Enum, int]:
        name, end = _NAME.read(data, offset)
        return self.from_json(name), end

    def to_json(self, value: Enum) -> Json:
        return value.value

    def from_json(self, value: Json) -> Enum:
        try:
            return self.of(value)
        except ValueError:
            raise EncodingError(f"{value!r} is not {self.what}") from None


@dataclass(frozen=True)
class Record:
    """A dataclass: its fields in order of declaration, with nothing between them."""

    of: type[Any]

    def write(self, value: Any) -> bytes:
        return b"".join(
            _at(name, codec.write, getattr(value, name)) for name, codec in get_fields(self.of)
        )

    def read(self, data: bytes, offset: int) -> tuple[Any, int]:
        values = {}
        for name, codec in get_fields(self.of):
            values[name], offset = _at(name, codec.read, data, offset)
        return self.of(**values), offset

    def to_json(self, value: Any) -> Json:
        return {
            name: codec.to_json(getattr(value, name))
            for name, codec in get_fields(self.of)
            if not (isinstance(codec, Last | Marked) and getattr(value, name) is None)
        }

    def from_json(self, value: Json) -> Any:
        if not isinstance(value, Mapping):
            raise EncodingError("is not an object")
        wanted = {
            name: codec
            for name, codec in get_fields(self.of)
            if name in value or not isinstance(codec, Last | Marked)
        }
        for problem, names in (
            ("unknown", set(value) - set(wanted)),
            ("no", set(wanted) - set(value)),
        ):
            if names:
                raise EncodingError(f"{problem} field {min(map(str, names))!r}")
        return self.of(**{n: _at(n, codec.from_json, value[n]) for n, codec in wanted.items()})


@dataclass(frozen=True)
class Row(Record):
    """The same as a `Record`, but an array of the fields' values in JSON."""

    def to_json(self, value: Any) -> Json:
        return list(super().to_json(value).values())

    def from_json(self, value: Json) -> Any:
        codecs = get_fields(self.of)
        if not isinstance(value, list) or len(value) != len(codecs):
            raise EncodingError(f"is not an array of {len(codecs)} values")
        return super().from_json(dict(zip(dict(codecs), value, strict=True)))


def _at(name: str, step: Any, *arguments: Any) -> Any:
    """Run one field's step. An error names the path to the field."""
    try:
        return step(*arguments)
    except EncodingError as error:
        raise EncodingError(f"{name}: {error}") from None


_FIELDS: dict[type[Any], tuple[tuple[str, Codec], ...]] = {}


def get_fields(of: type[Any]) -> tuple[tuple[str, Codec], ...]:
    """Names and codecs of a dataclass's fields, in order. Computed once for each class."""
    if of not in _FIELDS:
        hints = get_type_hints(of, include_extras=True)
        _FIELDS[of] = tuple((f.name, _get_codec(of, f.name, hints[f.name])) for f in fields(of))
    return _FIELDS[of]


def _get_codec(of: type[Any], name: str, hint: Any) -> Codec:
    if get_origin(hint) is Annotated:
        codec: Codec = get_args(hint)[1]
        return codec
    if is_dataclass(hint) and isinstance(hint, type):
        return Record(hint)
    raise TypeError(f"{of.__name__}.{name} does not say how it is encoded")


def encode(value: Any) -> bytes:
    """Canonical bytes of a dataclass instance."""
    return Record(type(value)).write(value)


def decode(of: type[_D], data: bytes) -> _D:
    """The `of` whose canonical bytes are `data`.

    Raises:
        EncodingError: too short, too long, or a field out of its bounds.
    """
    value, end = Record(of).read(data, 0)
    if end != len(data):
        raise EncodingError(f"has {len(data) - end} bytes after its end")
    return value  # type: ignore[no-any-return]


def to_json(value: Any) -> dict[str, Json]:
    """The JSON form of a dataclass instance: bytes as lower-case hex, everything else unchanged."""
    return Record(type(value)).to_json(value)  # type: ignore[no-any-return]


def from_json(of: type[_D], value: Json) -> _D:
    """The `of` whose JSON form is `value`. Unknown and missing fields are errors.

    Raises:
        EncodingError: names the field.
    """
    return Record(of).from_json(value)  # type: ignore[no-any-return]


def read_json(data: bytes) -> Json:
    """JSON from a stranger, parsed. It must be UTF-8, name each member of an object once, have no
    NaN and no infinite number, no integer of more than `JSON_DIGITS` digits, and no value more than
    `JSON_DEPTH` levels deep. Otherwise two readers could read one file in two different ways.

    Raises:
        EncodingError: the data is anything else.
    """
    try:
        is_short = len(data) <= _SHORT
        value = _DECODERS[is_short or _has_long_digits(data)].decode(data.decode())
    except ValueError as error:
        raise EncodingError(f"is not JSON: {error}") from None
    except RecursionError:
        if _count_levels(data) <= JSON_DEPTH:
            raise  # our own stack is full: no fault of the data
        raise EncodingError(_TOO_DEEP) from None
    if data.count(b"[") + data.count(b"{") > JSON_DEPTH:
        _require_shallow(value)
    return value


def _has_long_digits(data: bytes) -> bool:
    """Return whether more digits than an integer may have stand together, perhaps within a text."""
    return b"0" * (JSON_DIGITS + 1) in data.translate(_ZEROS)


def _require_shallow(value: Json) -> None:
    """Raises EncodingError for a value that is nested too deeply."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(JSON_DEPTH):
        level = [
            part
            for outer in level
            for part in (outer.values() if isinstance(outer, dict) else outer)
            if type(part) is dict or type(part) is list
        ]
        if not level:
            return
    raise EncodingError(_TOO_DEEP)


def _count_levels(data: bytes) -> int:
    """The deepest nesting of objects and lists, from the text alone."""
    depth = deepest = 0
    for found in _BRACKET.finditer(data):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(found[0], 0)
        deepest = max(deepest, depth)
    return deepest


def _read_float(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise EncodingError(f"{text[:20]} is not a finite number")
    return number


def _read_int(text: str) -> int:
    if len(text.lstrip("-")) > JSON_DIGITS:
        raise EncodingError(f"an integer has more than {JSON_DIGITS} digits")
    return int(text)


def _refuse_repeats(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise EncodingError("a name occurs twice")
    return members


def _refuse_constant(name: str) -> Json:
    raise EncodingError(f"{name} is not a number")


#: Decoders, without and with a limit of an integer's digits.
_DECODERS = tuple(
    json.JSONDecoder(
        object_pairs_hook=_refuse_repeats,
        parse_constant=_refuse_constant,
        parse_float=_read_float,
        parse_int=parse_int,
    )
    for parse_int in (None, _read_int)
)


def read_hex(value: Json) -> bytes:
    """The bytes of lower-case hex.

    Raises:
        EncodingError: the value is anything else, including upper-case hex and white space.
    """
    if not isinstance(value, str) or value.strip("0123456789abcdef") or len(value) % 2:
        raise EncodingError("is not lower-case hex")
    return bytes.fromhex(value)


U8 = Annotated[int, Integer(1)]
U16 = Annotated[int, Integer(2)]
U32 = Annotated[int, Integer(4)]
U64 = Annotated[int, Integer(8)]
U128 = Annotated[int, Integer(16)]
I64 = Annotated[int, Integer(8, signed=True)]
Digest = Annotated[bytes, FixedBytes(32)]
