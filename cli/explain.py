"""`assay explain`: why a hotkey's window was accepted or refused, and what became of its pay."""

import json
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from assay.artifacts.parquet import ParquetWorker
from assay.artifacts.records.run_folder import RunFolder
from assay.audit.explain.explanation import Explanation, explain
from assay.audit.explain.from_folder import gather_from_folder, parse_hotkey
from assay.audit.explain.from_network import WindowQuery, gather_from_network
from assay.audit.explain.reproduction import (
    ExplainError,
    Material,
    Reproduction,
    make_reproduction,
    write_material,
)
from assay.audit.explain.window_case import WindowCase
from assay.audit.sources import FetchedOutlines
from assay.cli.console import open_console
from assay.network import ObjectStore, open_folder, open_store
from assay.network.chain import ChainError
from assay.neurons.miner.mining_history import name_cost
from assay.neurons.session.resources import open_account
from assay.neurons.session.session import open_session
from assay.neurons.settings.sections import Settings
from assay.protocol import encode_ss58

ACCEPTED, REFUSED, UNKNOWN = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked.

    Attributes:
        hotkey: SS58, or a miner's name in a demo's folder; None: the wallet's.
        folder: of a demo, a validator or a miner; None: the settings' own miner's.
        model: a checkpoint's folder, or a folder of such.
        validator: SS58: whose record; None: any that is found.
        records: locator, or folder, of its records; None: the one that it names on chain.
        out: where context and file are left.
    """

    hotkey: str | None
    window: int
    folder: Path | None
    model: Path | None
    validator: str | None
    records: str | None
    out: Path | None


def run_explain(settings: Settings, question: Question, as_json: bool) -> int:
    """Explains; 0 accepted, 1 refused, 2 where nothing decides."""
    with ExitStack() as stack:
        worker = stack.enter_context(ParquetWorker())
        facts, material = _gather(settings, question, worker, stack)
        if question.out is not None:
            material = write_material(question.out, facts, material)
        explanation = explain(facts)
        reproduction = make_reproduction(facts, material, explanation.reason)
    if as_json:
        document = explanation.to_json()
        document["reproduce"] = {
            "command": reproduction.command,
            "works": reproduction.works,
            "note": reproduction.note,
        }
        print(json.dumps(document))
    else:
        open_console().print(render_explanation(explanation, reproduction))
    if explanation.accepted is None:
        return UNKNOWN
    return ACCEPTED if explanation.accepted else REFUSED


def _gather(
    settings: Settings, question: Question, worker: ParquetWorker, stack: ExitStack
) -> tuple[WindowCase, Material]:
    validator = None if question.validator is None else parse_hotkey(question.validator)
    folder = question.folder
    if folder is not None and RunFolder(folder).has_contexts:
        if question.hotkey is None:
            raise ExplainError("whose window? name a hotkey with --hotkey")
        hotkey = parse_hotkey(question.hotkey, folder)
        return gather_from_folder(
            folder, hotkey, question.window, question.model, validator, worker
        )
    if folder is not None and not folder.is_dir():
        raise ExplainError(f"there is no folder {folder}")
    if question.hotkey is None:
        try:
            hotkey = open_account(settings).hotkey
        except ChainError as error:
            raise ExplainError(
                f"whose window? name a hotkey with --hotkey, or its wallet with --wallet ({error})"
            ) from None
    else:
        hotkey = parse_hotkey(question.hotkey)
    asked = WindowQuery(
        hotkey,
        question.window,
        folder or settings.miner.dir,
        question.model,
        validator,
        None if question.records is None else _open_records(question.records),
    )
    session = stack.enter_context(open_session(settings))
    outlines = FetchedOutlines(session.folder / "outlines", session.checkpoint_mirrors)
    return gather_from_network(session, outlines, worker, asked)


def _open_records(place: str) -> ObjectStore:
    """A locator, or a folder of this machine."""
    if "://" in place:
        return open_store(place)
    if not Path(place).is_dir():
        raise ExplainError(f"--records {place}: there is no such folder")
    return open_folder(Path(place))


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
