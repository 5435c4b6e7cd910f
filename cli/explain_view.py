"""An explanation drawn for a terminal: what, where, by how much, why, what to do, what it pays."""

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from assay.audit.explain.explanation import Explanation
from assay.audit.explain.material import Reproduction
from assay.neurons.miner.mining_history import name_cost
from assay.protocol import encode_ss58


def render_explanation(explanation: Explanation, reproduction: Reproduction) -> RenderableType:
    """Sections that have nothing to say are left out."""
    parts: list[RenderableType] = [_render_head(explanation)]
    text = explanation.text
    if text is not None:
        parts += _render("Rule", [f"{text.rule} (specification, section {text.section})"])
    parts += _render("What was found", explanation.seen)
    parts += _render("Figures", _list_figures(explanation))
    if text is not None:
        parts += _render("Usual causes, most likely first", text.causes)
        parts += _render("What to do", text.remedies)
    parts += _render("What it earned", _list_earnings(explanation))
    cost = name_cost(explanation.reason)
    pay = [f"this reason costs {cost}", *explanation.pay] if cost else explanation.pay
    parts += _render("Pay", pay)
    parts += _render("Also", explanation.notes)
    parts += _render_reproduction(reproduction)
    return Group(*parts)


def _render_head(explanation: Explanation) -> RenderableType:
    facts = explanation.facts
    where = "".join(f", {name} {number}" for name, number in explanation.where.items())
    head = Text()
    if explanation.reason is None:
        head.append("UNKNOWN", style="bold yellow")
    else:
        style = "bold green" if explanation.accepted else "bold red"
        head.append(explanation.reason.value, style=style)
    head.append(f"  {encode_ss58(facts.hotkey)}, window {facts.context.window}{where}")
    if explanation.who:
        head.append(f"\n  by {explanation.who}", style="dim")
    return head


def _render(title: str, lines: Iterable[str]) -> list[RenderableType]:
    items = [_hang(line) for line in lines]
    return [Text(f"\n{title}", style="bold"), *items] if items else []


def _hang(line: str) -> RenderableType:
    return Padding(Text(line), (0, 0, 0, 2), expand=False)


def _list_figures(explanation: Explanation) -> list[str]:
    return [
        f"{'✗' if measure.exceeded else '✓'} {measure.name}: {measure.words}"
        for measure in explanation.measures
    ]


def _list_earnings(explanation: Explanation) -> list[str]:
    committed = explanation.facts.context.commitments.get(explanation.facts.hotkey)
    if not explanation.accepted or committed is None or not explanation.groups:
        return []
    lines = [f"group {index}: value {value:,}" for index, value in explanation.groups.items()]
    if explanation.score is not None:
        mean = sum(explanation.groups.values()) / len(explanation.groups)
        lines.append(
            f"{committed.groups} groups committed, worth {mean:,.2f} each on average over those "
            f"audited: score {explanation.score:,}"
        )
    return lines


def _render_reproduction(reproduction: Reproduction) -> list[RenderableType]:
    if reproduction.command is None and reproduction.note is None:
        return []
    parts: list[RenderableType] = [Text("\nSee for yourself", style="bold")]
    if reproduction.command is not None:
        # on one line whatever the terminal's width: it is copied
        command = Text(f"  {reproduction.command}", no_wrap=True, overflow="ignore")
        parts.append(command)
    if reproduction.note is not None:
        parts.append(_hang(reproduction.note))
    return parts
