"""How much text of rollouts a helper hands over at once, and of what is made of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from assay.explorer.rollout_index import TEXT_MAX, clean_text

#: Rollouts of a part, about: it ends with a group. Rollouts of a group; characters of a name.
PART_ROLLOUTS, GROUP_MAX, CHARACTERS = 1_000, 4_096, 64
#: Characters of a part's texts, and of each one behind that.
PART_TEXT, LITTLE = 1 << 22, 200


#: What stands before a reply of an episode's world.
_REPLY = "→ "


def write_talk(turns: Sequence[str], replies: Sequence[str]) -> str:
    """Turns of a model, and between them the replies to them, on lines of their own."""
    parts = [turns[0]]
    for reply, turn in zip(replies, turns[1:], strict=True):
        parts += [_REPLY + reply.strip(), turn]
    return "\n".join(parts)


@dataclass(slots=True)
class TextBudget:
    """The characters that a part may still have. A group that has more keeps the beginnings of its
    texts."""

    left: int = PART_TEXT

    def take(self, text: str) -> str:
        """What is kept of a text."""
        kept = clean_text(text[: TEXT_MAX if self.left > 0 else LITTLE])
        self.left -= len(kept)
        return kept
