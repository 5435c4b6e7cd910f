"""What `assay explain` prints."""

from collections.abc import Iterable
from dataclasses import asdict

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from assay.audit.explain.explanation import ExplainedGroup, Explanation
from assay.audit.explain.reproduction import Reproduction
from assay.cli.console import print_result
from assay.protocol.reason import name_cost
from assay.protocol.ss58 import encode_ss58


def show_explanation(explanation: Explanation, reproduction: Reproduction, as_json: bool) -> None:
    """Show an explanation, and how to see it for oneself."""
    document = explanation.to_json() | {"reproduce": asdict(reproduction)}
    print_result(document, as_json, render_explanation(explanation, reproduction))


def render_explanation(explanation: Explanation, reproduction: Reproduction) -> RenderableType:
    """Render the explanation. Empty sections are left out."""
    parts: list[RenderableType] = [_render_head(explanation)]
    text = explanation.text
    if text is not None:
        parts += _render("Rule", [f"{text.rule} (specification, section {text.section})"])
    parts += _render("What was found", explanation.seen)
    marked = [("✗" if each.exceeded else "✓", each) for each in explanation.measures]
    parts += _render("Figures", [f"{mark} {each.name}: {each.words}" for mark, each in marked])
    if text is not None:
        parts += _render("Usual causes, most likely first", text.causes)
        parts += _render("What to do", text.remedies)
    parts += _render("What was audited", map(_describe_group, explanation.groups))
    parts += _render("What it earned", _list_earnings(explanation))
    parts += _render("Levels asked", [standing.describe() for standing in explanation.levels])
    parts += _render("How problems are put", explanation.prompts)
    if explanation.accepted:
        parts += _render("What a completion is rewarded for", explanation.rewards)
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


def _describe_group(group: ExplainedGroup) -> str:
    """A group's rollouts that went through the model, and those that were only read."""
    if group.audited:
        plural = "s" if len(group.audited) > 1 else ""
        audited = f"rollout{plural} {', '.join(map(str, group.audited))}"
    else:
        audited = f"{group.rollouts} of its rollouts"
    read = "all its completions were" if group.valued else "no other completion was"
    value = "" if group.value is None else f" and valued: {group.value:,}"
    return f"group {group.index}: {audited} went through the model, {read} read{value}"


def _list_earnings(explanation: Explanation) -> list[str]:
    committed = explanation.facts.context.commitments.get(explanation.facts.hotkey)
    values = [group.value for group in explanation.groups if group.value is not None]
    if committed is None or not values or explanation.score is None:
        return []
    mean = sum(values) / len(values)
    return [
        f"{committed.groups} groups committed, worth {mean:,.2f} each on average over those "
        f"valued: score {explanation.score:,}"
    ]


def _render_reproduction(reproduction: Reproduction) -> list[RenderableType]:
    if reproduction.command is None and reproduction.note is None:
        return []
    parts: list[RenderableType] = [Text("\nSee for yourself", style="bold")]
    if reproduction.command is not None:
        # on one line at any width, since people copy it
        parts.append(Text(f"  {reproduction.command}", no_wrap=True, overflow="ignore"))
    if reproduction.note is not None:
        parts.append(_hang(reproduction.note))
    return parts
