"""`assay explain`: why a hotkey's window was accepted or refused, and the fate of its pay."""

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from assay.artifacts.records.run_folder import RunFolder
from assay.audit.explain.explanation import ExplainedGroup, Explanation, explain
from assay.audit.explain.from_folder import find_hotkey, gather_from_folder
from assay.audit.explain.from_network import WindowQuery, gather_from_network
from assay.audit.explain.reproduction import (
    ExplainError,
    Reproduction,
    make_reproduction,
    write_material,
)
from assay.audit.sources import FetchedOutlines
from assay.cli.console import print_result
from assay.network import ObjectStore, open_folder, open_store
from assay.network.chain import ChainError
from assay.protocol import encode_ss58
from assay.protocol.reason import name_cost
from assay.session.resources import open_account
from assay.session.session import open_session
from assay.settings.loading import parse_hotkey
from assay.settings.placing import open_placement
from assay.settings.sections import Settings

ACCEPTED, REFUSED, UNKNOWN = 0, 1, 2


def run_explain(
    settings: Settings,
    hotkey: str | None,
    window: int,
    folder: Path | None,
    model: Path | None,
    validator: str | None,
    records: str | None,
    out: Path | None,
    as_json: bool,
) -> int:
    """Explain a window. Return 0 if accepted, 1 if refused, 2 if nothing decides.

    Args:
        hotkey: SS58, or a miner's name in a demo's folder; None: the wallet's.
        folder: of a demo, a validator or a miner; None: the miner's folder in the settings.
        model: a checkpoint's folder, or a folder of checkpoints.
        validator: SS58: whose record; None: any that is found.
        records: locator, or folder, of its records; None: the one that it names on chain.
        out: folder for context and file.
    """
    placement = open_placement(settings.compute)
    with ExitStack() as stack:
        whose = None if validator is None else parse_hotkey(validator, "--validator")
        if folder is not None and RunFolder(folder).has_contexts:
            if hotkey is None:
                raise ExplainError("whose window? name a hotkey with --hotkey")
            miner = find_hotkey(hotkey, folder)
            facts, material = gather_from_folder(folder, miner, window, model, whose, placement)
        else:
            miner = _find_own_hotkey(settings) if hotkey is None else find_hotkey(hotkey)
            store = None if records is None else _open_records(records)
            home = folder or settings.miner.dir
            asked = WindowQuery(miner, window, home, model, whose, store, placement)
            session = stack.enter_context(open_session(settings))
            outlines = FetchedOutlines(session.folder / "outlines", session.checkpoint_mirrors)
            facts, material = gather_from_network(session, outlines, asked)
        if out is not None:
            material = write_material(out, facts, material)
        explanation = explain(facts)
        reproduction = make_reproduction(facts, material, explanation.reason)
    document = explanation.to_json() | {"reproduce": asdict(reproduction)}
    print_result(document, as_json, render_explanation(explanation, reproduction))
    if explanation.accepted is None:
        return UNKNOWN
    return ACCEPTED if explanation.accepted else REFUSED


def _find_own_hotkey(settings: Settings) -> bytes:
    try:
        return open_account(settings).hotkey
    except ChainError as error:
        raise ExplainError(
            f"whose window? name a hotkey with --hotkey, or its wallet with --wallet ({error})"
        ) from None


def _open_records(place: str) -> ObjectStore:
    """The store at a locator, or a folder of this machine."""
    if "://" in place:
        return open_store(place)
    if not Path(place).is_dir():
        raise ExplainError(f"--records {place}: there is no such folder")
    return open_folder(Path(place))


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
