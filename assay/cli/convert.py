"""`assay convert`: writes a miner's file as a table that other programs open."""

from pathlib import Path

from assay.artifacts.submissions.table import COLUMNS, WrittenTable, write_table
from assay.cli.console import print_result
from assay.neurons.settings.sections import Settings


def run_convert(_: Settings, file: Path, to: str, out: Path | None, as_json: bool) -> None:
    """Write a file as Parquet and print its content."""
    written = write_table(file, out or file.with_suffix(f".{to}"))
    print_result(written.to_json(), as_json, _render(written))


def _render(written: WrittenTable) -> str:
    header = written.header
    return (
        f"{written.rollouts:,} rollouts of {header.groups:,} groups, {written.tokens:,} tokens, "
        f"window {header.window}: {written.out}\n"
        f"columns: {', '.join(COLUMNS)}; the file's metadata describes them and has the header"
    )
