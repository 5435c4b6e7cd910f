"""What an adoption did, in lines for its owner."""

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class Notes:
    """What was kept of a source, dropped, converted and guessed: an owner must agree to each."""

    kept: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    converted: list[str] = field(default_factory=list)
    guessed: list[str] = field(default_factory=list)

    def iterate(self) -> Iterator[tuple[str, str]]:
        """The kind of each note, and its text."""
        for kind in ("kept", "dropped", "converted", "guessed"):
            for text in getattr(self, kind):
                yield kind, text

    def to_json(self) -> dict[str, list[str]]:
        """The notes by kind."""
        return {
            kind: list(getattr(self, kind)) for kind in ("kept", "dropped", "converted", "guessed")
        }


def name_some(names: list[str], most: int = 3) -> str:
    """The first names of a list, and how many more there are."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
