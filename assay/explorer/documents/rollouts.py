"""Documents of the rollout browser: a list of rollouts, and a group side by side."""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from assay.explorer.documents.shared import (
    CommandDocument,
    Count,
    Hotkey,
    ListPart,
    Millionths,
    Verdict,
    Window,
)
from assay.explorer.documents.windows import ReadingLack


class Excerpt(TypedDict):
    """A part of a text: around what was searched for, or its beginning."""

    text: str
    first: Annotated[int, Field(description="characters before it", ge=0)]
    cut: Annotated[bool, Field(description="whether more follows")]
    match: Annotated[
        list[int] | None,
        Field(description="first and last character of a match, the last excluded"),
    ]


class RolloutFigures(TypedDict):
    """What is known of a rollout beside its text."""

    rollout: Annotated[int, Field(description="number within its group", ge=0)]
    reward: Millionths
    advantage: Annotated[
        float | None,
        Field(description="in whole rewards; null: the rewards of its group are all equal"),
    ]
    tokens: Annotated[int, Field(description="its own, without replies", ge=0)]
    surprise: Annotated[
        float | None, Field(description="mean −ln p of its tokens, in nats; null: not known")
    ]
    end: Annotated[str | None, Field(description="finish reason: stop or length; null: not known")]
    tools: Annotated[list[str], Field(description="names of tools that it called")]


class GroupFigures(TypedDict):
    """What is known of a group."""

    window: Window
    hotkey: Hotkey
    name: str | None
    group: Annotated[int, Field(description="number among the hotkey's", ge=0)]
    level: Count | None
    environment: str
    step: Annotated[
        Count | None, Field(description="number of the checkpoint whose step learned from it")
    ]
    source: Annotated[str, Field(description="step, export, or record: an audited group")]
    verdict: Annotated[
        Verdict | None, Field(description="of its miner in this window; null: the record has none")
    ]
    size: Annotated[int, Field(description="rollouts of the group", ge=0)]


class RolloutRow(GroupFigures, RolloutFigures):
    """One rollout of a list."""

    prompt: Excerpt
    completion: Excerpt


class FilterChoice(TypedDict):
    value: str
    count: Annotated[int, Field(description="of groups, or of rollouts", ge=0)]


class FilterChoices(TypedDict):
    """Values that filters can have."""

    level: list[FilterChoice]
    environment: list[FilterChoice]
    verdict: list[FilterChoice]
    end: list[FilterChoice]
    tool: list[FilterChoice]


class SearchScan(TypedDict):
    """A search without an index of trigrams: how many of the rollouts it looked at."""

    looked: Count
    whole: Count


class UnreadFiles(TypedDict):
    why: str
    count: Count


class IndexedSources(TypedDict):
    """Where the rollouts come from, and how far they are read."""

    rollouts: Count
    files: Annotated[int, Field(description="steps, and files of an export", ge=0)]
    read: Annotated[int, Field(description="files that are read whole", ge=0)]
    unread: list[UnreadFiles]
    left_out: Annotated[int, Field(description="files for which there is no room", ge=0)]
    windows: Annotated[int, Field(description="whose audited groups were looked for", ge=0)]
    audited: Annotated[int, Field(description="groups that their audits drew", ge=0)]
    served: Annotated[
        int, Field(description="of these: those that a store served, or a step has", ge=0)
    ]
    done: Annotated[bool, Field(description="whether nothing is left to read now")]
    trigrams: Annotated[bool, Field(description="whether texts are found by an index")]


class RolloutsDocument(CommandDocument):
    """Rollouts by filter and order, with a search in prompts and completions."""

    lack: ReadingLack | None
    sources: IndexedSources
    asked: Annotated[dict[str, str], Field(description="the filters in force, by their names")]
    faults: Annotated[list[str], Field(description="filters that are not understood")]
    order: str
    orders: list[str]
    choices: FilterChoices
    scan: SearchScan | None
    rows: list[RolloutRow]
    paging: ListPart


class ComparedRollout(RolloutFigures):
    """One column of a group."""

    completion: Excerpt


class GroupPlace(TypedDict):
    window: Window
    hotkey: Hotkey
    group: Count


class RolloutGroupDocument(CommandDocument, GroupFigures):
    """A group's rollouts side by side, with rewards and advantages."""

    asked: Annotated[dict[str, str], Field(description="filters of the list that led here")]
    prompt: Excerpt
    mean: Annotated[float | None, Field(description="reward of the group, mean")]
    order: str
    orders: list[str]
    rows: list[ComparedRollout]
    paging: ListPart
    before: GroupPlace | None
    after: GroupPlace | None
    recorded: Annotated[bool, Field(description="whether the record has its window")]
