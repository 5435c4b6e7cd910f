"""Scores replies with verifiers itself, for tests to compare.

Standard input: JSON of `taskset` (an importable name), `paths` (to import from), `config`, `rows`
(of the data set that it loads, or null) and `replies` (pairs of a task's index and a text, or the
texts of a talk: a user's, and in turn the model's). Output: JSON, name → [score, weight] of each
reply, and the prompts that were asked.
"""

import asyncio
import itertools
import json
import sys


def main() -> None:
    job = json.load(sys.stdin)
    sys.path[:0] = job["paths"]
    import verifiers.v1 as vf
    from verifiers.v1.configs.agent import AgentConfig
    from verifiers.v1.graph import MessageNode
    from verifiers.v1.state import state_cls

    if job["rows"] is not None:
        import datasets

        made = datasets.Dataset.from_list(job["rows"])
        every = datasets.DatasetDict(train=made, test=made)
        datasets.load_dataset = lambda *_, split=None, **__: every if split is None else made
    config = vf.taskset_config_type(job["taskset"])(id=job["taskset"], **job["config"])
    taskset = vf.load_taskset(config)
    count = 1 + max(index for index, _ in job["replies"])
    tasks = list(itertools.islice(iter(taskset), count))

    async def score(index: int, said: str | list[str]) -> dict[str, list[float]]:
        task = tasks[index]
        texts = [task.data.prompt_text, said] if isinstance(said, str) else said
        nodes = [
            MessageNode(
                parent=place - 1 if place else None,
                message=(vf.AssistantMessage if place % 2 else vf.UserMessage)(content=text),
                sampled=bool(place % 2),
            )
            for place, text in enumerate(texts)
        ]
        trace = vf.Trace(
            task=vf.TraceTask(type=type(task).__name__, data=task.data),
            agent=vf.AgentInfo(config=AgentConfig()),
            nodes=nodes,
            state=state_cls(type(task))(),
        )
        await task.score(trace)
        return {name: [one.score, one.weight] for name, one in trace.rewards.items()}

    async def score_all() -> list[dict[str, list[float]]]:
        return [await score(index, text) for index, text in job["replies"]]

    scores = asyncio.run(score_all())
    prompts = [task.data.prompt_text for task in tasks]
    json.dump({"scores": scores, "prompts": prompts}, sys.stdout)


main()
