"""Writes the parts of environments.md that come from the code: versions, tables of reasoning-gym,
proof episodes.

python docs/environments.py          # rewrites them
python docs/environments.py --check  # exit 1 if they differ
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from page_parts import fill, write_or_check

from assay.environments import mixture
from assay.environments.gym.datasets import ALIKE, COUNTED, FORMS, LEVELS, REFUSED, SCORER_UNITS
from assay.environments.pieces import inside
from assay.environments.pieces.piece import FAULTS
from assay.environments.pieces.pool import compute_first_digest
from assay.environments.registry import KINDS
from assay.environments.tools import PROOFS, TOOLS, CallForm
from assay.environments.tools.tool import describe_tool
from assay.environments.tools.proofs import FAULTY_TURNS
from assay.environments.worlds import world

PAGE = Path(__file__).with_name("environments.md")

#: What a comparison ignores → in words.
_ALIKE = {
    "case": "case, in an answer of ASCII only",
    "zeros": "zeros at the end of a decimal, and its point if no other digit follows",
    "blanks": "spaces",
    "ends": "spaces at the ends of lines",
}


def make_versions() -> str:
    """Versions of environments, as their digests name them."""
    versions = {mixture.NAME: mixture.VERSION, **{one.name: one.version for one in KINDS.values()}}
    shown = ", ".join(f"`{name}` {version}" for name, version in sorted(versions.items()))
    return f"- **Versions**: {shown}."


def make_gym_levels() -> str:
    """Legal levels of each dataset of reasoning-gym."""
    by_levels: dict[tuple[int, ...], list[str]] = {}
    for name, levels in LEVELS.items():
        by_levels.setdefault(levels, []).append(name)
    lines = ["| levels | datasets |", "|---|---|"]
    for levels, names in by_levels.items():
        whole = levels == tuple(range(1, len(levels) + 1))
        shown = f"1 … {len(levels)}" if whole and len(levels) > 1 else ", ".join(map(str, levels))
        lines.append(f"| {shown} | {', '.join(f'`{name}`' for name in names)} |")
    return "\n".join(lines)


def make_gym_alike() -> str:
    """What the comparison with the reference ignores, by dataset of reasoning-gym."""
    lines = ["| dataset | ignored |", "|---|---|"]
    for name, alike in ALIKE.items():
        lines.append(f"| `{name}` | {'; '.join(_ALIKE[what] for what in alike)} |")
    return "\n".join(lines)


def make_gym_forms() -> str:
    """Forms of answers by dataset of reasoning-gym, and the text that an answer may not repeat."""
    lines = ["| dataset | form | counted text | `units` |", "|---|---|---|---|"]
    for name, form in FORMS.items():
        shown = form.pattern.replace("|", "\\|")
        item = f"`{COUNTED[name]}`" if name in COUNTED else ""
        lines.append(f"| `{name}` | `{shown}` | {item} | {SCORER_UNITS[name]:,} |")
    return "\n".join(lines)


def make_gym_refused() -> str:
    """Refused datasets of reasoning-gym, and why."""
    lines = ["| dataset | refused because |", "|---|---|"]
    lines += [f"| `{name}` | {why} |" for name, why in sorted(REFUSED.items())]
    return "\n".join(lines)


def make_pieces() -> str:
    """What a piece may consist of, and why something is none."""
    lists = {"Functions": inside.BUILTINS, "Methods": inside.METHODS, "Keywords": inside.KEYWORDS}
    lines = [f"**{what}**: {_list_names(names)}.\n" for what, names in lists.items()]
    lines.append(f"**Nodes**: {_list_names(inside.NODES)}, and operators but `MatMult`.\n")
    lines += ["| fault | why |", "|---|---|"]
    lines += [f"| `{fault}` | {why} |" for fault, why in FAULTS.items()]
    lines.append(f"\nSHA-256 of the first pool: `{compute_first_digest().hex()}`.")
    return "\n".join(lines)


def _list_names(names: str) -> str:
    return ", ".join(f"`{name}`" for name in names.split())


def make_proofs() -> str:
    """Proof episodes: what all worlds are told, and what each one is, with its digest."""
    lines = [f"All worlds: {_list_texts(world.ODD_TURNS)}.", ""]
    lines += ["| world | turns before these | digest of the proof episodes |", "|---|---|---|"]
    plain = (one.drawn for one in KINDS.values() if one.drawn is not None and one.require is None)
    for found in sorted((drawn.make({}) for drawn in plain), key=lambda one: one.name):
        if isinstance(found, world.WorldEnvironment):
            proof = world.compute_proof(found).hex()
            lines.append(f"| `{found.name}` | {_list_texts(found.proof_turns)} | `{proof}` |")
    return "\n".join(lines)


def make_tools() -> str:
    """Each tool as chat templates are told of it, and its proof episodes in each form of calls."""
    lines: list[str] = []
    for tool in TOOLS.values():
        lines += [f"`{describe_tool(tool)}`", ""]
        if tool.proof_arguments:
            lines += [f"Arguments of `{tool.name}`: {_list_texts(tool.proof_arguments)}.", ""]
    lines += [f"Turns of all tools: {_list_texts(FAULTY_TURNS)}.", ""]
    lines += [
        "| tool | version | form of calls | digest of the proof episode |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `{tool.name}` | {tool.version} | `{form.word}` | `{PROOFS[tool.name, form]}` |"
        for tool in TOOLS.values()
        for form in CallForm
        if (tool.name, form) in PROOFS
    ]
    return "\n".join(lines)


def _list_texts(texts: Sequence[str]) -> str:
    return ", ".join(f"`{json.dumps(text)}`" for text in texts)


def main() -> int:
    """Rewrites or checks; the exit code."""
    parts = {
        "versions": make_versions(),
        "gym levels": make_gym_levels(),
        "gym alike": make_gym_alike(),
        "gym forms": make_gym_forms(),
        "gym refused": make_gym_refused(),
        "pieces": make_pieces(),
        "proofs": make_proofs(),
        "tools": make_tools(),
    }
    return write_or_check({PAGE: fill(PAGE.read_text(), parts, PAGE.name)})


if __name__ == "__main__":
    sys.exit(main())
