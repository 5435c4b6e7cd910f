"""Tools: what a model may call within an episode, in the form of calls that it knows.

Every environment of one turn can have a tool by its settings `tool` and `call_form`: a turn that
calls it gets a reply, a turn that does not is the answer, and is scored as it is without a tool.
`calls` reads calls, `json_reader` the JSON in them, and `tool_environment` makes a world of both.
A reply is consensus, so no text of a library reaches one: every error is a fixed sentence.
"""

from assay.environments.tools.calls import CallForm
from assay.environments.tools.proofs import PROOFS
from assay.environments.tools.tool import Tool
from assay.environments.tools.tool_environment import (
    CALL_FORM,
    PARAMS,
    TOOL,
    TOOLS,
    ToolEnvironment,
    add_tool,
    find_tool,
    state_tool,
    write_tools,
)

__all__ = [
    "CALL_FORM",
    "PARAMS",
    "PROOFS",
    "TOOL",
    "TOOLS",
    "CallForm",
    "Tool",
    "ToolEnvironment",
    "add_tool",
    "find_tool",
    "state_tool",
    "write_tools",
]
