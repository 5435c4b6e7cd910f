"""Words and marks that pages share. Every state has a mark and a word: none is a colour alone."""

from dataclasses import dataclass

from assay.protocol.errors import TroubleKind
from assay.protocol.reason import CHEATING, WITHHELD, Reason
from assay.protocol.window import Phase


@dataclass(frozen=True, slots=True)
class VerdictMark:
    sign: str
    kind: str
    word: str


_ACCEPTED = VerdictMark("✓", "good", "accepted")
_ABSENT = VerdictMark("·", "none", "did not take part")
_CHEATING = VerdictMark("✗", "bad", "refused: the whole settlement is zeroed")
_WITHHELD = VerdictMark(
    "○", "warn", "withheld or unusable: worth nothing, two of them zero a settlement"
)
_OTHER = VerdictMark("◇", "warn", "refused: this window is worth nothing")
_UNKNOWN = VerdictMark("?", "none", "no verdict")
#: The marks, in the order of a legend.
MARKS = (_ACCEPTED, _CHEATING, _WITHHELD, _OTHER, _ABSENT, _UNKNOWN)

#: What became of a trainer's child in a merge, by the finding's name.
FINDINGS = {
    "taken": "it is merged",
    "absent": "its slot on chain had no worker update at the deadline, or its update equals the "
    "parent",
    "withheld": "the worker update, or something that it names, could not be read in time",
    "misfit": "its record names another version, round or trainer, or its weights do not fit",
    "stale": "it began with another checkpoint than the round’s parent",
    "broken": "its steps do not follow from each other",
    "strange": "its steps name windows, parameters or groups that are not its own to learn from",
    "doubled": "another worker update has the same weights",
    "endless": "one of its weights is not a finite number",
    "large": "its weights moved further from the parent than the bound allows",
}

#: What an audit does with a rollout.
ROLLOUT_MARKS = {
    "audited": ("●", "recomputed with the model"),
    "valued": ("○", "read and scored with its group, not run"),
    "sampled": ("◇", "its bytes are compared with the commitment"),
    "unread": ("·", "not looked at"),
    "unknown": ("?", "only the miner’s file shows whether it is recomputed with the model"),
}

#: Why a rollout ended, by a name as other trainers have it.
ENDS = {"stop": "its last token is an end token", "length": "truncated: it is not"}

_ABSENCES = {Reason.NO_COMMITMENT, Reason.NOT_REGISTERED}

PHASES = {
    Phase.CHECKPOINT: "checkpoint fixed",
    Phase.CHALLENGE: "challenge",
    Phase.COMMIT: "commitments",
    Phase.AUDIT: "audit drawn",
    Phase.SAMPLE: "samples drawn",
    Phase.FETCH_END: "fetching from miners ends",
    Phase.MIRROR_END: "fetching from mirrors ends",
    Phase.VERDICT_END: "verdicts final",
}
#: What a window does between a moment and the next one.
DOING = {
    Phase.CHECKPOINT: "about to begin",
    Phase.CHALLENGE: "miners generate",
    Phase.COMMIT: "the audit is awaited",
    Phase.AUDIT: "rollouts are fetched and judged",
    Phase.SAMPLE: "samples are fetched",
    Phase.FETCH_END: "missing files are looked for in mirrors",
    Phase.MIRROR_END: "fetched files are judged",
    Phase.VERDICT_END: "verdicts are final",
}


def get_mark(reason: str | None) -> VerdictMark:
    if reason is None or reason not in set(Reason):
        return _UNKNOWN
    known = Reason(reason)
    if known is Reason.ACCEPTED:
        return _ACCEPTED
    if known in _ABSENCES:
        return _ABSENT
    if known in CHEATING:
        return _CHEATING
    return _WITHHELD if known in WITHHELD else _OTHER


#: Characters that write nothing, turn the direction of what follows, or end a line.
_BLANKS = {"\u115f", "\u1160", "\u17b4", "\u17b5", "\u2800", "\u3164", "\uffa0"}
#: First character → names of those from it on.
_NAMED = {
    "\u00ad": "SHY",
    "\u061c": "ALM",
    "\u200b": "ZWSP ZWNJ ZWJ LRM RLM",
    "\u202a": "LRE RLE PDF LRO RLO",
    "\u2060": "WJ",
    "\u2066": "LRI RLI FSI PDI",
    "\ufeff": "BOM",
}
_HIDDEN = {"\n": "⏎\n", "\t": "⇥", "\r": "⟨CR⟩"} | {
    chr(ord(first) + number): f"⟨{name}⟩"
    for first, names in _NAMED.items()
    for number, name in enumerate(names.split())
}


#: What a trouble of a kind is about, after "Trouble with".
TROUBLES: dict[TroubleKind, str] = {
    TroubleKind.ANEW: "a chain that started again from its first block: restart this explorer",
    TroubleKind.GAUNTLET: "the gauntlet’s table, which is incomplete or not a table",
    TroubleKind.COMPARISON: "the comparison of validators, which cannot be read",
    TroubleKind.PARAMETERS: "the parameters that the owner has announced",
    TroubleKind.WEIGHTS: "setting weights on chain",
    TroubleKind.LEDGER: "the ledger",
    TroubleKind.RECORD: "publishing the record",
    TroubleKind.WINDOW: "judging a window in full",
    TroubleKind.BEACON: "the beacon",
    TroubleKind.CHECKPOINT: "the checkpoint",
    TroubleKind.CHAIN: "the chain",
    TroubleKind.STORE: "a store",
    TroubleKind.DISK: "its own disk",
    TroubleKind.OTHER: "something that the validator’s log explains",
}


def show_hidden(text: str, *, lines: bool = False) -> str:
    """Text in which nothing is invisible and nothing turns the direction of what follows it.

    What writes nothing becomes its name or number in ⟨⟩. A line's end stays one, behind a mark;
    with `lines`, it stays as it is.
    """
    if text.isprintable() and text.isascii():
        return text
    return "".join(c if lines and c == "\n" else _show(c) for c in text)


def _show(character: str) -> str:
    if character in _HIDDEN:
        return _HIDDEN[character]
    code = ord(character)
    is_visible = character == " " or (character.isprintable() and character not in _BLANKS)
    is_visible = is_visible and not 0xFE00 <= code <= 0xFE0F  # variation selectors
    return character if is_visible else f"⟨U+{code:04X}⟩"
