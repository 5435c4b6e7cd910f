"""Writes the tables of specification.md that the code is the source of.

python docs/tables.py          # rewrites them
python docs/tables.py --check  # exit 1 if they differ
"""

import re
import sys
from pathlib import Path

from assay.protocol.hashing import Domain
from assay.protocol.parameters import DEMO_TIMING, MAIN_TIMING
from assay.protocol.reason import CHEATING, WITHHELD, Reason
from assay.protocol.window import WINDOW_SCHEDULE, Phase

SPECIFICATION = Path(__file__).with_name("specification.md")


def make_schedule() -> str:
    """WINDOW_SCHEDULE with the offsets of both networks."""
    lines = ["| moment | block, main network | demo | what it decides |", "|---|---|---|---|"]
    for phase, decides in WINDOW_SCHEDULE.items():
        offsets = []
        for timing in (MAIN_TIMING, DEMO_TIMING):
            offset = 0 if phase is Phase.CHALLENGE else getattr(timing, phase.value)
            sign = "−" if phase is Phase.CHECKPOINT else "+"
            offsets.append(f"{timing.window_blocks}w" + (f" {sign} {offset}" if offset else ""))
        lines.append(f"| {phase.name} | {offsets[0]} | {offsets[1]} | {decides} |")
    return "\n".join(lines)


def make_labels() -> str:
    """All domain labels."""
    names = ", ".join(f"`{domain.value.decode()}`" for domain in Domain)
    return f"  {names}."


def make_reasons() -> str:
    """Reasons in their order, and what each costs."""
    lines = ["| reason | costs |", "|---|---|"]
    for reason in Reason:
        if reason in CHEATING:
            costs = "the settlement"
        elif reason in WITHHELD:
            costs = "the window; twice, the settlement"
        elif reason is Reason.ACCEPTED:
            costs = "nothing: paid"
        elif reason is Reason.INTERNAL:
            costs = "our own fault: the validator abstains"
        else:
            costs = "the window"
        lines.append(f"| {reason.value} | {costs} |")
    return "\n".join(lines)


def main() -> int:
    """Rewrites or checks; the exit code."""
    old = new = SPECIFICATION.read_text()
    for name, text in (
        ("schedule", make_schedule()),
        ("labels", make_labels()),
        ("reasons", make_reasons()),
    ):
        pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
        new, count = re.subn(pattern, lambda m, t=text: f"{m[1]}{t}\n{m[2]}", new, flags=re.S)
        if count != 1:
            sys.exit(f"specification.md has {count} places for {name!r}")
    if "--check" in sys.argv[1:]:
        return int(new != old)
    SPECIFICATION.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
