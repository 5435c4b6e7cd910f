"""Ten tasksets as ten authors would write them: habits differ, and so do their defects.

Name → (modules of the wheel, rows of the data, the check that fails or None, words of why).
"""

import json
from pathlib import Path
from random import Random

from assay.environments.tasksets import vet_bundle, write_bundle
from assay.environments.tasksets.wheel_file import write_wheel

INIT = "from reverse.taskset import ReverseTaskset\n\n__all__ = ['ReverseTaskset']\n"
_draw = Random(26)
SUMS = [
    {"question": f"{a} + {b}?", "answer": f"work\n#### {a + b}"}
    for a, b in ((_draw.randint(100, 999), _draw.randint(100, 999)) for _ in range(60))
]
WORDS = [
    {"prompt": "".join(_draw.choice("abcdefghij") for _ in range(_draw.randint(8, 20)))}
    for _ in range(60)
]
CAPITALS = [
    {"q": f"Which town lies at {n} north?", "gold": _draw.choice("KLMNP") + f"ar{n}ville"}
    for n in range(60)
]
CHOICES = [
    {"question": f"Which is {n}? A) {n} B) {n + 1}", "label": "A" if n % 2 else "B"}
    for n in range(60)
]
#: Rows of a data set of names, for the alphabet_sort of verifiers' own repository.
NAMES = [
    {
        "names": [
            _draw.choice(["Ada", "Bo", "Cleo", "Dan", "Eve", "Finn"])
            + _draw.choice(["Ames", "Berg", "Cole", "Dorn", "Eck", "Falk"])
            + chr(97 + n % 26)
            for _ in range(20)
        ]
    }
    for n in range(60)
]
FACTS = [{"inputs": {"n": n, "m": n * 7 + 3}, "target": [n, n * 7 + 3]} for n in range(60)]

_HEAD = "import re\nimport verifiers.v1 as vf\n"
_INIT = "from {0}.taskset import {1}\n\n__all__ = ['{1}']\n"

TAGS = '''"""A clean author: one class each, everything typed."""
import re

import verifiers.v1 as vf

SYSTEM = "Reverse the text character-by-character. Put your answer in <reversed_text> tags."
_TAG = re.compile(r"<reversed_text>(.*?)</reversed_text>", re.DOTALL)


class ReverseData(vf.TaskData):
    answer: str
    """The reversal."""


class ReverseTask(vf.Task[ReverseData]):
    @vf.stop
    async def single_turn(self, trace: vf.Trace) -> bool:
        return trace.num_turns >= 1

    @vf.reward(weight=1.0)
    async def exact(self, trace: vf.Trace) -> float:
        match = _TAG.search(trace.last_reply or "")
        return 1.0 if match and match.group(1).strip() == self.data.answer else 0.0


class ReverseConfig(vf.TasksetConfig):
    dataset_name: str = "somebody/Reverse"
    dataset_split: str = "train"


class ReverseTaskset(vf.Taskset[ReverseTask, ReverseConfig]):
    def load(self) -> list[ReverseTask]:
        from datasets import load_dataset

        rows = load_dataset(self.config.dataset_name, split=self.config.dataset_split)
        return [
            ReverseTask(
                ReverseData(
                    idx=i, prompt=row["prompt"], system_prompt=SYSTEM, answer=row["prompt"][::-1]
                ),
                self.config.task,
            )
            for i, row in enumerate(rows)
        ]
'''
BOXED = '''"""A mathematician: boxed answers, a small reward for form, annotations as text."""
from __future__ import annotations

from typing import Literal

import verifiers.v1 as vf
from pydantic import Field


class BoxedTaskConfig(vf.TaskConfig):
    tolerance: int = Field(0, ge=0)


class BoxedData(vf.TaskData):
    answer: int
    difficulty: float | None = None


class BoxedTask(vf.Task[BoxedData, vf.State, BoxedTaskConfig]):
    @vf.reward
    async def correct(self, trace: vf.Trace) -> float:
        said = vf.extract_boxed_answer(trace.last_reply, strict=True)
        try:
            return float(abs(int(said) - self.data.answer) <= self.config.tolerance)
        except ValueError:
            return 0.0

    @vf.reward(weight=0.2)
    async def is_boxed(self, trace: vf.Trace) -> float:
        return float(trace.last_reply.count("\\\\boxed{") == 1)


class BoxedConfig(vf.TasksetConfig):
    split: Literal["train", "test"] = "test"
    task: BoxedTaskConfig = BoxedTaskConfig()


class BoxedTaskset(vf.Taskset[BoxedTask, BoxedConfig]):
    def load(self):
        from datasets import load_dataset

        for row in load_dataset("x/sums")[self.config.split]:
            value = int(row["answer"].split("####")[-1])
            yield BoxedTask(
                BoxedData(prompt=row["question"], answer=value, difficulty=1), self.config.task
            )
'''
ENDLESS = '''"""A generator: no data, seeded, endless; the last line counts."""
import random

import verifiers.v1 as vf


class CountData(vf.TaskData):
    info: dict


class CountTask(vf.Task[CountData]):
    @vf.reward()
    async def last_line(self, trace):
        lines = [line for line in trace.last_reply.splitlines() if line.strip()]
        want = "#### " + str(self.data.info["count"])
        return 1 if lines and lines[-1].strip() == want else 0


class CountTaskset(vf.Taskset[CountTask]):
    INFINITE = True

    def load(self):
        rng = random.Random(20260101)
        while True:
            text = "".join(rng.choice("ab") for _ in range(rng.randint(20, 80)))
            yield CountTask(CountData(
                prompt=f"How many a are in {text}? End with a line #### N.",
                info={"count": text.count("a"), "length": len(text)},
            ), self.config.task)


__all__ = ["CountTaskset"]
'''
KEYED = '''"""A metrician: keyed rewards, metrics, a prompt of messages."""
import verifiers.v1 as vf


class TownData(vf.TaskData):
    gold: str


class TownTask(vf.Task[TownData]):
    @vf.metric
    async def length(self, trace: vf.Trace) -> float:
        return len(trace.last_reply)

    @vf.reward(weight=2.0, priority=1)
    async def graded(self, task, trace) -> dict[str, float]:
        said = trace.last_reply.strip(" .").casefold()
        return {"town": float(said == task.gold.casefold()), "short": float(len(said) < 40)}

    @vf.reward(weight=0.0)
    async def brevity(self, trace) -> float:
        return 1 / (1 + trace.metrics["length"])


class Towns(vf.Taskset[TownTask]):
    def load(self):
        from datasets import load_dataset

        rows = load_dataset("x/towns", split="train").filter(lambda row: len(row["gold"]) > 3)
        return [
            TownTask(TownData(
                prompt=[{"role": "user", "content": row["q"] + " Answer with its name alone."}],
                system_prompt="You know maps.",
                gold=row["gold"],
            ))
            for row in rows
        ]
'''
TABLE = '''"""A data engineer: dataclasses beside, JSON in and out."""
import json
from dataclasses import dataclass

import verifiers.v1 as vf
from pydantic import BaseModel


@dataclass(frozen=True)
class Form:
    name: str = "answer"


class Inputs(BaseModel):
    n: int
    m: int


class PairData(vf.TaskData):
    inputs: Inputs
    target: list[int]


def parse(text: str):
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return None


class PairTask(vf.Task[PairData]):
    @vf.reward
    async def equal(self, trace: vf.Trace) -> bool:
        found = parse(trace.assistant_messages[-1].content)
        return type(found) is dict and found.get(Form().name) == self.data.target


class PairTaskset(vf.Taskset[PairTask]):
    def load(self):
        from datasets import load_dataset

        for row in load_dataset("json", data_files="pairs.jsonl", split="train"):
            n, m = row["inputs"]["n"], row["inputs"]["m"]
            yield PairTask(PairData(
                prompt=f'Sort {m}, {n}. Reply with {{"answer": [...]}} alone.',
                inputs=row["inputs"], target=row["target"],
            ))
'''
WITHIN = BOXED.replace(
    """        said = vf.extract_boxed_answer(trace.last_reply, strict=True)
        try:
            return float(abs(int(said) - self.data.answer) <= self.config.tolerance)
        except ValueError:
            return 0.0
""",
    "        return float(str(self.data.answer) in trace.last_reply)\n",
).replace("== 1)", "<= 1)")
NEARLY = TAGS.replace("import re\n", "import re\nfrom difflib import SequenceMatcher\n").replace(
    "return 1.0 if match and match.group(1).strip() == self.data.answer else 0.0",
    "said = match.group(1).strip() if match else ''\n"
    "        return float(SequenceMatcher(None, said, self.data.answer).ratio() > 0.9)",
)
SHUFFLED = ENDLESS.replace("random.Random(20260101)", "random.Random()")
JUDGED = KEYED.replace(
    "class TownTask",
    "JUDGE = vf.Judge(vf.JudgeConfig(model='openai/gpt-6-luna'))\n\n\nclass TownTask",
)
LETTER = '''"""A hurried author: two choices, the first letter said."""
import verifiers.v1 as vf


class ChoiceData(vf.TaskData):
    label: str


class ChoiceTask(vf.Task[ChoiceData]):
    @vf.reward
    async def right(self, trace: vf.Trace) -> float:
        return float(trace.last_reply == self.data.label)


class ChoiceTaskset(vf.Taskset[ChoiceTask]):
    def load(self):
        from datasets import load_dataset

        rows = load_dataset("x/choices", split="train")
        return [ChoiceTask(ChoiceData(prompt=r["question"], label=r["label"])) for r in rows]
'''


def _package(name: str, taskset: str, text: str) -> dict[str, str]:
    return {f"{name}/__init__.py": _INIT.format(name, taskset), f"{name}/taskset.py": text}


STYLES: dict[str, tuple[dict[str, str], list[dict[str, object]], str | None, str]] = {
    "tags": (_package("reverse", "ReverseTaskset", TAGS), WORDS, None, ""),
    "boxed": (_package("boxed_sums", "BoxedTaskset", BOXED), SUMS, None, ""),
    "endless": ({"letter_count.py": ENDLESS}, [], None, ""),
    "keyed": (_package("towns", "Towns", KEYED), CAPITALS, None, ""),
    "table": (_package("pairs", "PairTaskset", TABLE), FACTS, None, ""),
    "within": (_package("within", "BoxedTaskset", WITHIN), SUMS, "hostile answers", "earns"),
    "nearly": (_package("nearly", "ReverseTaskset", NEARLY), WORDS, "hostile answers", "q"),
    "shuffled": ({"shuffled.py": SHUFFLED}, [], "same twice", "is another"),
    "judged": (_package("judged", "Towns", JUDGED), CAPITALS, "loads", "it needs a judge"),
    "letter": (_package("letter", "ChoiceTaskset", LETTER), CHOICES, "constant answers", "solves"),
}


def write_data(rows: list[dict[str, object]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def pack_wheel(texts: dict[str, str]) -> tuple[str, bytes]:
    name = min(texts).partition("/")[0].removesuffix(".py")
    files = {path: text.encode() for path, text in texts.items()}
    return write_wheel(name, "0.1.0", ("verifiers>=0.4",), "A taskset", files)


def pack_bundle(texts: dict[str, str], rows: list[dict[str, object]]) -> bytes:
    return write_bundle(pack_wheel(texts)[1], write_data(rows))


def write_taskset(folder: Path, text: str, rows: list[dict[str, object]]) -> Path:
    file = folder / "taskset.zip"
    texts = {"reverse/__init__.py": INIT, "reverse/taskset.py": text}
    file.write_bytes(pack_bundle(texts, rows))
    return file


def find_failed(file: Path) -> dict[str, str]:
    """Failed checks, tried on two tasks: enough for an intended defect."""
    report = vet_bundle(file, 2, tried=10)
    return {check.name: check.detail for check in report.checks if check.name in report.failed}
