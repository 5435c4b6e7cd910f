"""Units that may stand behind an answer in mathematics, by every spelling of them that is known.

A closed list: words that change a number, such as `million` or `dozen`, must not pass for one.
"""

from collections.abc import Mapping
from types import MappingProxyType

#: Symbol → its names; a name of several letters also stands with an s.
_NAMES = {
    "%": ("percent",),
    "$": ("dollar",),
    "\u00b0": ("degree", "deg"),
    "cent": ("cent",),
    "unit": ("unit",),
    "mm": ("mm", "millimeter"),
    "cm": ("cm", "centimeter"),
    "m": ("m", "meter"),
    "km": ("km", "kilometer"),
    "in": ("in", "inch", "inches"),
    "ft": ("ft", "foot", "feet"),
    "yd": ("yd", "yard"),
    "mi": ("mi", "mile"),
    "mph": ("mph", "miles per hour"),
    "s": ("s", "sec", "second"),
    "min": ("min", "minute"),
    "h": ("h", "hr", "hour"),
    "day": ("day",),
    "week": ("week",),
    "month": ("month",),
    "year": ("year",),
    "g": ("g", "gram"),
    "kg": ("kg", "kilogram"),
    "lb": ("lb", "pound"),
    "oz": ("oz", "ounce"),
    "l": ("l", "liter"),
    "ml": ("ml", "milliliter"),
    "gal": ("gal", "gallon"),
}
_LENGTHS = ("unit", "mm", "cm", "m", "km", "in", "ft", "yd", "mi")
_POWERS = {"square": "^2", "sq": "^2", "cubic": "^3", "cu": "^3"}


def _list_units() -> dict[str, str]:
    found = {}
    for symbol, names in _NAMES.items():
        for name in names:
            found[name] = symbol
            if len(name) > 1 and not name.endswith("s"):
                found[f"{name}s"] = symbol
    for name, symbol in list(found.items()):
        if symbol in _LENGTHS:
            found.update({f"{word} {name}": symbol + power for word, power in _POWERS.items()})
    return found


#: Words → the unit: `square inches` is `in^2`.
UNITS: Mapping[str, str] = MappingProxyType(_list_units())
