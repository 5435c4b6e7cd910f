"""What `assay env sample` prints."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from assay.network.text import make_printable
from assay.subnet.problem_samples import SampledProblem


def show_samples(samples: Sequence[SampledProblem], as_json: bool) -> None:
    """Show problems, and what a model sees of them."""
    documents = [_to_json(index, sample) for index, sample in enumerate(samples)]
    if as_json:
        print(json.dumps(documents))
        return
    console = Console(highlight=False)
    for document in documents:
        _print(console, document)
    for line in dict.fromkeys(line for one in samples for line in one.frames or ()):
        console.print(Text(make_printable(line)), soft_wrap=True)


def _to_json(index: int, sample: SampledProblem) -> dict[str, Any]:
    problem, seen = sample.problem, sample.seen
    messages = problem.conversation.messages
    document: dict[str, Any] = {
        "index": index,
        "prompt": problem.prompt,
        "level": problem.level,
        "messages": [{"role": one.role, "content": one.content} for one in messages],
    }
    if seen is not None:
        warnings = list(seen.warnings.values())
        document |= {"text": seen.text, "ids": seen.ids, "warnings": warnings}
    return document if sample.frames is None else document | {"frames": sample.frames}


def _print(console: Console, sample: Mapping[str, Any]) -> None:
    console.print(Text(f"{sample['index']}  level {sample['level']}", style="bold"))
    if "text" in sample:
        console.print(Text(make_printable(sample["text"])), soft_wrap=True)
        ids = f"{len(sample['ids'])} ids: {' '.join(map(str, sample['ids']))}"
        console.print(ids, soft_wrap=True)
    elif len(sample["messages"]) == 1:
        console.print(Text(make_printable(sample["prompt"])), soft_wrap=True)
    else:
        for message in sample["messages"]:
            console.print(Text(f"{message['role']}:", style="italic"))
            console.print(Text(make_printable(message["content"])), soft_wrap=True)
    for warning in sample.get("warnings", ()):
        line = Text(f"warning: {make_printable(warning)}", style="yellow")
        console.print(line, soft_wrap=True)
