"""The document of the page about proposals."""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from assay.explorer.documents.curves import Curve
from assay.explorer.documents.shared import (
    CommandDocument,
    Count,
    Hex,
    Hotkey,
    ListPart,
    Share,
    Window,
)
from assay.explorer.documents.windows import ReadingLack

#: Characters of a function, and of an input or output, that a document has.
FUNCTION_SHOWN, VALUE_SHOWN = 600, 120
#: Newest proposals of a pool, and solvers of a proposal, that a document has.
PROPOSALS_SHOWN, SOLVERS_SHOWN = 1_000, 8


class PoolSummary(TypedDict):
    """How diverse a pool of proposals is."""

    proposals: Count
    shapes: Annotated[int, Field(description="without their texts and numbers", ge=0)]
    largest: Annotated[int, Field(description="proposals of the most frequent shape", ge=0)]
    size: Annotated[float, Field(description="nodes of a proposal, mean", ge=0)]
    inputs: Annotated[float, Field(description="of a proposal, mean", ge=0)]


class ProposalRow(TypedDict):
    """A proposal, its author, and how hard it was for those that were asked it."""

    digest: Hex
    function: Annotated[str, Field(description=f"the first {FUNCTION_SHOWN} characters")]
    length: Annotated[int, Field(description="characters of the whole function", ge=0)]
    given: Annotated[str, Field(description=f"its first input, {VALUE_SHOWN} characters")]
    output: Annotated[str, Field(description="for this input, cut in the same way")]
    inputs: Count
    size: Annotated[int, Field(description="nodes of its syntax tree", ge=0)]
    checkpoint: Annotated[
        Count | None, Field(description="that its step made; null, as the next ones: not read")
    ]
    window: Window | None
    author: Hotkey | None
    name: str | None
    group: Count | None
    rollout: Count | None
    tries: Annotated[int, Field(description="rollouts that were asked it", ge=0)]
    solves: Count
    solved: Share | None
    solvers: Annotated[list[Hotkey], Field(description=f"at most {SOLVERS_SHOWN}")]
    solver_count: Count


class ProposalStep(TypedDict):
    """What a step's rollouts proposed and solved, and the pool that it made."""

    checkpoint: Annotated[int, Field(description="that it made", ge=0)]
    window: Window
    proposed: Annotated[int, Field(description="rollouts that were asked for a proposal", ge=0)]
    valid: Count
    added: Annotated[int, Field(description="valid ones that the newest pool has", ge=0)]
    tries: Annotated[int, Field(description="rollouts that were asked a piece of a pool", ge=0)]
    solves: Count
    pool: PoolSummary


class ProposalsDocument(CommandDocument):
    """The newest proposals of a network that writes its own problems, and who solved them."""

    lack: ReadingLack | None
    proposes: Annotated[bool, Field(description="whether the network's problems have `propose`")]
    checkpoint: Annotated[Count | None, Field(description="the newest, whose pool this is")]
    only: Annotated[Count | None, Field(description="rows of this checkpoint's step alone")]
    sentence: str | None
    pool: PoolSummary | None
    listed: Annotated[int, Field(description="newest proposals that can be shown", ge=0)]
    waiting: Annotated[int, Field(description="steps that are still being read", ge=0)]
    unread: Annotated[list[int], Field(description="checkpoints whose steps cannot be read")]
    rows: list[ProposalRow]
    paging: ListPart
    steps: list[ProposalStep]
    curves: list[Curve]
