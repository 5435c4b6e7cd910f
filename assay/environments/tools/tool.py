"""What a tool is: a name, one argument, and a reply to each value of it."""

import json
from collections.abc import Hashable, Sequence
from typing import Protocol


class Tool(Hashable, Protocol):
    """A tool of one text argument. All of it is consensus: see `environments.worlds.world`."""

    @property
    def name(self) -> str:
        """ASCII letters."""

    @property
    def version(self) -> int:
        """Increases whenever any reply would change."""

    @property
    def argument(self) -> str:
        """The argument's name: ASCII letters."""

    @property
    def about(self) -> str:
        """What it does, in a sentence for the model."""

    @property
    def argument_about(self) -> str:
        """What the argument is, in words for the model that can follow `a space and`."""

    @property
    def is_one_line(self) -> bool:
        """Whether an argument may be written in one line."""

    @property
    def proof_arguments(self) -> Sequence[str]:
        """Arguments for which proof episodes call it: one for each kind of reply."""

    @property
    def identity(self) -> tuple[bytes, ...]:
        """What else its replies depend on: further fields of an environment's digest."""

    @property
    def scorers(self) -> int:
        """As of `Environment`: calls that may run at once and take less time then."""

    def require(self) -> None:
        """Raises a ValueError if this machine lacks what the tool needs."""

    def call(self, argument: str, memory: object) -> tuple[str, object]:
        """The reply to an argument, and what the episode's next call gets as its memory. Any text
        has a reply, after bounded work, and none raises an error.

        Args:
            memory: an immutable value of the call before; None at first.
        """


def describe_tool(tool: Tool) -> str:
    """The tool as JSON, as chat templates take it: a list of one function with a schema."""
    argument = {"type": "string", "description": tool.argument_about}
    parameters = {
        "type": "object",
        "properties": {tool.argument: argument},
        "required": [tool.argument],
    }
    function = {"name": tool.name, "description": tool.about, "parameters": parameters}
    return json.dumps([{"type": "function", "function": function}])
