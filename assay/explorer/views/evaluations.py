"""Results of evaluations on suites."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from assay.explorer.documents.training import EvaluationRow, EvaluationsDocument, SuccessHistogram
from assay.explorer.page_reader import PageReader
from assay.explorer.views.common import FIGURE_MAX, Query, describe_trouble, read_number, read_text
from assay.protocol.errors import Trouble, TroubleKind

#: Most rows of the page; suites of a result, scorers of a suite, figures of a scorer; counts.
_ROWS_MAX, _SUITES, _SCORERS, _FIGURES, _COUNTS = 1_024, 64, 8, 32, 1_025
_DIGEST = re.compile("[0-9a-f]{64}")
_BROKEN = Trouble(
    TroubleKind.OTHER, "a result of an evaluation is not as `assay eval` writes it: run it again"
)


def view_evaluations(reader: PageReader, query: Query) -> EvaluationsDocument:
    """Show the results of evaluations, the newest first. What is readable of a damaged one is
    shown, with a word that some of it is missing."""
    results = reader.sources.read_evaluations()
    rows, histograms, sound = list[EvaluationRow](), list[SuccessHistogram](), True
    for result in results:
        before, number = len(rows), _find_number(reader, read_text(result, "name"))
        for suite, scorer in _list_scorers(result):
            rows += _list_rows(result, suite, scorer, number)
            histograms += _list_histogram(result, suite, scorer)
        sound &= len(rows) > before
    return EvaluationsDocument(
        title="Evaluations",
        known=bool(results),
        trouble=None if sound else describe_trouble(_BROKEN),
        rows=rows[:_ROWS_MAX],
        histograms=histograms[:_ROWS_MAX],
        command=None,
    )


def _find_number(reader: PageReader, name: str) -> int | None:
    """The number of a checkpoint whose digest is the model's name."""
    if not _DIGEST.fullmatch(name):
        return None
    origin = reader.sources.read_manifest(bytes.fromhex(name))
    return None if origin is None else origin.number


def _list_scorers(
    result: Mapping[str, Any],
) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    for suite in _list_tables(result, "suites")[:_SUITES]:
        for scorer in _list_tables(suite, "scorers")[:_SCORERS]:
            yield suite, scorer


def _list_tables(table: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    value = table.get(name)
    return [row for row in value if type(row) is dict] if type(value) is list else []


def _list_rows(
    result: Mapping[str, Any],
    suite: Mapping[str, Any],
    scorer: Mapping[str, Any],
    number: int | None,
) -> Iterator[EvaluationRow]:
    for kind in ("pass", "maj"):
        figures = scorer.get(kind)
        for k, figure in islice(figures.items() if type(figures) is dict else (), _FIGURES):
            if type(figure) is not dict or not k.isdecimal():
                continue
            yield EvaluationRow(
                model=read_text(result, "name"),
                checkpoint=number,
                suite=read_text(suite, "name"),
                convention=read_text(suite, "convention"),
                prompt=_describe_prompt(result, suite),
                scorer=read_text(scorer, "name"),
                figure=f"{kind}@{k[:8]}",
                value=read_number(figure, "value"),
                low=read_number(figure, "low"),
                high=read_number(figure, "high"),
                method=read_text(figure, "method"),
                asked=read_number(suite, "asked"),
                samples=read_number(result, "samples"),
                temperature=read_number(result, "temperature"),
                mean_tokens=read_number(suite, "mean_tokens"),
            )


def _describe_prompt(result: Mapping[str, Any], suite: Mapping[str, Any]) -> str:
    """How problems were put: `chat`, or `plain with BOS and own words`."""
    more = ["BOS"] * (result.get("bos") is True) + ["own words"] * bool(suite.get("prompts"))
    put = read_text(result, "prompt")
    return f"{put} with {' and '.join(more)}" if more else put


def _list_histogram(
    result: Mapping[str, Any], suite: Mapping[str, Any], scorer: Mapping[str, Any]
) -> Iterator[SuccessHistogram]:
    counts = scorer.get("histogram")
    if type(counts) is not list or not 0 < len(counts) <= _COUNTS:
        return
    if all(type(count) is int and 0 <= count <= FIGURE_MAX for count in counts):
        yield SuccessHistogram(
            model=read_text(result, "name"),
            suite=read_text(suite, "name"),
            scorer=read_text(scorer, "name"),
            problems=counts,
        )
