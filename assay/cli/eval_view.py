"""What `assay eval` prints."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.text import Text

from assay.cli.console import FIGURES, make_table, print_result
from assay.evaluation.folder import RESULTS
from assay.network.text import make_printable

#: Longest bar of a histogram, in letters.
_BAR = 30


def show_evaluation(results: Mapping[str, Any], out: Path, as_json: bool) -> None:
    """Show the figures."""
    print_result({**results, "out": str(out)}, as_json, _render(results, out), FIGURES)


def _render(document: Mapping[str, Any], out: Path) -> Group:
    parts: list[Any] = []
    many = document["samples"] > 1
    bos = " with BOS" * document["bos"]
    for suite in document["suites"]:
        own = "" if suite["prompts"] is None else " with your own words"
        head = (
            f"{make_printable(suite['name'])}: {suite['asked']:,} of {suite['rows']:,} problems, "
            f"asked as {suite['convention']}{own}, {document['prompt']} prompt{bos}, "
            f"{len(document['shots'])} examples, {document['samples']} samples at temperature "
            f"{document['temperature']:g}"
        )
        parts.append(Text(head, style="bold"))
        for reason, rows in suite["left_out"].items():
            first = ", ".join(map(str, rows["first"][:5]))
            more = ", …" if rows["rows"] > 5 else ""
            text = f"  {rows['rows']:,} filtered out: {make_printable(reason)} (row {first}{more})"
            parts.append(Text(text))
        for file, why in suite["uncompared"].items():
            line = f"  not all compared with the training file {file}: {why}"
            parts.append(Text(make_printable(line)))
        table = make_table("scorer", "figure", "value", "95 %", "by", left={"scorer", "figure"})
        for scorer in suite["scorers"]:
            for name, figure in _list_figures(scorer):
                low, high = (100 * figure[bound] for bound in ("low", "high"))
                cells = f"{100 * figure['value']:.1f} %", f"{low:.1f}–{high:.1f} %"
                table.add_row(Text(scorer["name"]), name, *cells, figure["method"])
        parts.append(table)
        if many:
            parts += [_draw_histogram(scorer) for scorer in suite["scorers"]]
        parts.append(
            Text(
                f"{suite['tokens']:,} tokens, {suite['mean_tokens']:g} a completion; "
                f"{suite['cut']:,} completions ended at {document['max_tokens']:,} tokens\n"
            )
        )
    parts.append(Text(f"{RESULTS} is in {out}"))
    return Group(*parts)


def _list_figures(scorer: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for kind in ("pass", "maj"):
        for k, figure in scorer[kind].items():
            yield f"{kind}@{k}", figure


def _draw_histogram(scorer: Mapping[str, Any]) -> Text:
    """The number of problems by their right samples."""
    counts = scorer["histogram"]
    most = max(counts)
    wide = len(str(len(counts) - 1))
    lines = [
        f"  {right:>{wide}} right  {'█' * round(_BAR * count / most)} {count:,}"
        for right, count in enumerate(counts)
        if count
    ]
    return Text("\n".join([f"problems by right samples, {scorer['name']}:", *lines, ""]))
