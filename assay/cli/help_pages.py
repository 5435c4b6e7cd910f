"""Pages of `--help`: their sections, how they break lines, and how they name values.

Options stand in panels, the common ones first, and commands in groups. Typer draws such sections
with rich, which takes a tenth of a second to load and drops what stands in brackets. So these
pages write the same panels (`rich_help_panel`) with typer's plain formatter.

Typer wraps text at hyphens, too, and names values by Python's types. So a default value was cut in
two (`[default: assay-` and `demo]`), and a folder was a `list[Path]`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

#: The hyphen at which nothing wraps. It is as wide as the usual one.
_WHOLE_HYPHEN = "\N{NON-BREAKING HYPHEN}"
_Formatter: Any = typer.Context.formatter_class
#: Headings of a page's options, in their order. An option without a panel is a command's own.
NETWORK, OWN = "Network, wallet and store", "Options"
DETAILS, MACHINE, GENERAL = "More of the network", "Machine", "General"
PANELS = ("Arguments", NETWORK, OWN, DETAILS, MACHINE, GENERAL)
#: Widest names beside which their texts begin, columns.
_NAMES_MAX = 30


def find_panel(parameter: Any) -> str:
    """The heading of an argument or an option."""
    if isinstance(parameter, TyperArgument):
        return PANELS[0]
    return GENERAL if parameter.name == "help" else parameter.rich_help_panel or OWN


def name_value(word: str) -> str:
    """An argument without Python's type: `FILE <path>` becomes `FILE`. An option that has only the
    type, as in `--seed <int range>`, keeps it without the range, which its text gives."""
    if not word.startswith("-"):
        return word.partition(" <")[0]
    return re.sub(r"<(int|float) range>$", r"<\1>", word)


class _WholeWords(_Formatter):  # type: ignore[misc] # a class that is found at run time
    """Wraps lines only at spaces: names, paths and default values stay whole. Headings and names
    have colours, which typer leaves out where no terminal reads them."""

    def write_heading(self, heading: str) -> None:
        super().write_heading(typer.style(heading, fg=typer.colors.GREEN, bold=True))

    def write_text(self, text: str) -> None:
        super().write_text(text.replace("-", _WHOLE_HYPHEN))

    def write_sections(self, sections: Mapping[str, Sequence[tuple[str, str]]]) -> None:
        """Lists of names and their texts, which begin in the same column in all of them."""
        names = [word for rows in sections.values() for word, _ in rows]
        width = max((len(word) for word in names if len(word) <= _NAMES_MAX), default=0)
        for heading, rows in sections.items():
            if rows:
                with self.section(heading):
                    self.write_dl(
                        [
                            (
                                typer.style(word.ljust(width), fg=typer.colors.CYAN),
                                text.replace("-", _WHOLE_HYPHEN),
                            )
                            for word, text in rows
                        ],
                        width,
                    )

    def getvalue(self) -> str:
        text: str = super().getvalue()
        return text.replace(_WHOLE_HYPHEN, "-")


class PagedContext(typer.Context):
    """A call of a command with such a page."""

    formatter_class = _WholeWords


class _Page:
    """What the pages of commands and of their groups share. An epilog is an example."""

    context_class: Any = PagedContext

    def get_help_option_names(self, ctx: Any) -> list[str]:
        """The same for every command: click keeps the option that it makes first, and a command may
        be asked without its groups."""
        ctx.help_option_names = ["--help", "-h"]
        names: list[str] = super().get_help_option_names(ctx)  # type: ignore[misc] # of typer's class
        return names

    def format_panels(self, ctx: Any, formatter: Any) -> None:
        """Write the options."""
        panels: dict[str, list[tuple[str, str]]] = {name: [] for name in PANELS}
        for parameter in self.get_params(ctx):  # type: ignore[attr-defined] # of typer's class
            record = parameter.get_help_record(ctx)
            if record is not None:
                panels[find_panel(parameter)].append((name_value(record[0]), record[1]))
        formatter.write_sections(panels)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the example, whose lines stay as they are."""
        epilog: str | None = self.epilog  # type: ignore[attr-defined] # of typer's class
        if epilog:
            with formatter.section("Example"):
                for line in epilog.splitlines():
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


class PagedCommand(_Page, TyperCommand):
    """A command with such a page."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        self.format_panels(ctx, formatter)


class PagedGroup(_Page, TyperGroup):
    """A list of commands with such a page. `groups`: heading → names, in this order."""

    groups: Mapping[str, Sequence[str]] = {}

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write options and commands, the commands first where the group alone does nothing."""
        parts = self.format_panels, self.format_commands
        for write in parts if self.invoke_without_command else reversed(parts):
            write(ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        groups = self.groups or {"Commands": list(self.commands)}
        formatter.write_sections(
            {
                heading: [(name, self.commands[name].get_short_help_str()) for name in names]
                for heading, names in groups.items()
            }
        )
