"""Vetting of tasksets: ten styles of the hub, one defect each, nearly right answers."""

from pathlib import Path

import pytest

from assay.environments.foreign.hostile_answers import list_near_numbers
from assay.environments.tasksets.environment import TasksetArchive
from assay.environments.tasksets.vetting import list_near
from tests.absent import has_sandbox
from tests.environments.hub_styles import (
    STYLES,
    TAGS,
    WORDS,
    find_failed,
    pack_bundle,
    write_taskset,
)

if not has_sandbox():
    pytest.skip("no sandbox: assay sandbox prepare", allow_module_level=True)

pytestmark = pytest.mark.usefixtures("few_texts")


@pytest.mark.parametrize("name", STYLES)
def test_ten_authors_and_what_vetting_says(name: str, tmp_path: Path) -> None:
    texts, rows, check, words = STYLES[name]
    file = tmp_path / "taskset.zip"
    file.write_bytes(pack_bundle(texts, rows))
    failed = find_failed(file)
    if check is None:
        assert failed == {}
    else:
        assert check in failed, failed
        assert words in failed[check]


#: Name → (the replaced text, its replacement, the check that fails, words of the reason).
DEFECTS = {
    "waits": (
        "match = _TAG",
        "import types\n        await types.coroutine(lambda: (yield))()\n        match = _TAG",
        "right answers",
        "waits for something",
    ),
    "reads the network": ("import re\n", "import requests\nimport re\n", "loads", "requests"),
    "opens a file": ('SYSTEM = "', 'open("/etc/hostname")\nSYSTEM = "', "loads", "FileNotFound"),
    "reads beside itself": ('SYSTEM = "', 'HERE = __file__\nSYSTEM = "', "loads", "__file__"),
    "has tools": ("class ReverseConfig", "vf.Toolset\nclass ReverseConfig", "loads", "needs tools"),
    "has agents": ("class ReverseConfig", "vf.Env\nclass ReverseConfig", "loads", "other agents"),
    "is of before 0.4": (
        "import verifiers.v1 as vf",
        "import verifiers as vf\nvf.Rubric",
        "loads",
        "",
    ),
    "needs a runtime": (
        "async def exact(self, trace: vf.Trace)",
        "async def exact(self, trace, runtime: vf.Runtime)",
        "right answers",
        "reward exact needs a runtime",
    ),
    "prepares a runtime": (
        "    @vf.stop\n",
        "    async def setup(self, trace, runtime):\n        pass\n\n    @vf.stop\n",
        "loads",
        "setup: it needs a runtime",
    ),
    "needs a container": ("idx=i,", "idx=i, image='python:3.11',", "loads", "image"),
    "has no prompt": ('prompt=row["prompt"]', "prompt=None", "loads", "no prompt"),
    "has no reward": ("@vf.reward(weight=1.0)", "", "right answers", "earns in full"),
    "is not async": ("async def exact", "def exact", "right answers", "not an async method"),
    "pays a share alone": ("return 1.0 if", "return 0.9 if", "right answers", "at best exact 0.9"),
    "pays more than all": ("return 1.0 if", "return 10.0 if", "right answers", "10.0"),
    "earns by saying the prompt": (
        "_TAG.search(trace.last_reply or",
        "_TAG.search(f'<reversed_text>{self.data.answer}</reversed_text>' "
        "if trace.last_reply == self.data.prompt else trace.last_reply or",
        "wrong answers",
        "earns",
    ),
    "takes the first and the last": (
        'match = _TAG.search(trace.last_reply or "")',
        "match = next((m for m in _TAG.finditer(trace.last_reply) "
        "if m.group(1) == self.data.answer), None)",
        "hostile answers",
        "earns",
    ),
    "prints gigabytes": (
        "match = _TAG",
        "while True: print('x' * 10**5)\n        match = _TAG",
        "right answers",
        "writes too much",
    ),
    "never ends": (
        "match = _TAG",
        "x = 0\n        while x >= 0:\n            x += 1\n        match = _TAG",
        "right answers",
        "instructions",
    ),
    "works too long on some": (
        "match = _TAG",
        "sum(1 for _ in range(10**7 * (len(trace.last_reply) > 2000)))\n        match = _TAG",
        "bounded",
        "instructions",
    ),
    "asks by addresses": (
        'prompt=row["prompt"]',
        'prompt=row["prompt"] + str(id(row))',
        "same twice",
        "is another",
    ),
    "scores differently twice": (
        "return 1.0 if match",
        "import random\n        return 1.0 if random.random() < 0.5 or match",
        "same twice",
        "is another",
    ),
    "converts what pydantic would": (
        "answer: str",
        "answer: int",
        "loads",
        "answer is str, not int",
    ),
    "keeps what is not in its data": (
        "    @vf.stop\n",
        "    def __init__(self, data, config=None):\n        super().__init__(data, config)\n\n"
        "    @vf.stop\n",
        "loads",
        "not in its data",
    ),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_one_defect_and_it_is_not_fit(name: str, tmp_path: Path) -> None:
    before, after, check, words = DEFECTS[name]
    assert before in TAGS
    failed = find_failed(write_taskset(tmp_path, TAGS.replace(before, after, 1), WORDS))
    assert check in failed, failed
    assert words in failed[check]


SEVERAL = [{"prompt": f"{row['prompt']} some more words"} for row in WORDS[:20]]
EXACT = "match.group(1).strip() == self.data.answer"
#: Rewards that accept nearly right answers of several words.
NEARLY = {
    "begins alike": "match.group(1).startswith(self.data.answer)",
    "nothing": "match.group(1) in ('', self.data.answer)",
    "how alike": "ratio(match.group(1), self.data.answer) > 0.9",
    "ends alike": "match.group(1).endswith(self.data.answer)",
    "as long": "len(match.group(1)) == len(self.data.answer)",
    "within the answer": "match.group(1) in self.data.answer",
    "a constant": "match.group(1) in ('null', self.data.answer)",
    "the same question": "match.group(1) in (self.data.prompt, self.data.answer)",
}


RATIO = """import difflib

def ratio(a, b):
    return difflib.SequenceMatcher(None, a, b).ratio()

"""


def test_an_exact_answer_of_several_words_is_one(tmp_path: Path) -> None:
    text = TAGS.replace("SYSTEM =", f"{RATIO}SYSTEM =")
    assert find_failed(write_taskset(tmp_path, text, SEVERAL)) == {}


@pytest.mark.parametrize("name", NEARLY)
def test_a_nearly_right_answer_of_several_words_is_no_answer(name: str, tmp_path: Path) -> None:
    text = TAGS.replace("SYSTEM =", f"{RATIO}SYSTEM =").replace(EXACT, NEARLY[name])
    failed = find_failed(write_taskset(tmp_path, text, SEVERAL))
    assert "earns" in failed["hostile answers"]


#: Python reads no number of so many digits.
LONG = f"1{',000' * 2_000}"


@pytest.mark.parametrize(
    ("bare", "near"),
    [
        ("5", ["15", "51", "6"]),
        ("05", ["105", "051", "15", "0"]),
        ("-9", ["-19", "-91", "-1", "-"]),
        ("1,000", ["11,000", "1,0001", "1,100", "1,0"]),
        ("3.25", ["13.25", "31.25", "4.25"]),
        (".25", []),
        ("New York", ["qNew York", "New Yorkq", "New qork", "New "]),
        ("Q", ["qQ", "Qq", "x"]),
        ("ACD", ["qACD", "ACDq", "AqD", "A"]),
        ("abcdefgh", ["qabcdefgh", "abcdefghq", "abcdqfgh", "abcd", "hgfedcba"]),
        ("abcddcba", ["qabcddcba", "abcddcbaq", "abcdqcba", "abcd"]),
        ('{"a": [1, 2]}', ['{"qa": [1, 2]}', '{"a": [1, 21]}', '{"a": [2, 2]}', '{"a": [']),
        ("(()", ["((()", "(())", "(q)", "("]),
        ("", []),
        (" ", []),
        (LONG, [f"1{LONG}", f"{LONG}1", f"{LONG[:3998]}1{LONG[3999:]}", LONG[:4000]]),
    ],
)
def test_near_answers(bare: str, near: list[str]) -> None:
    assert list(list_near(bare)) == near


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("42", ["42.42", "41.58", "84", "-42", "42.1", "41.9", "43", "41"]),
        ("-0.05", ["-0.0505", "-0.0495", "-0.10", "0.05", "-0.04", "-0.06"]),
        ("1,999.50 m", ["2019.4950 m", "1979.5050 m", "3999.00 m", "-1999.50 m"]),
        ("4 + 5 = 9\n#### 0", [f"4 + 5 = 9\n#### {n}" for n in ("0.1", "-0.1", "1", "-1")]),
        ("2, 3", []),
        ("two", []),
        (LONG, []),
    ],
)
def test_what_is_nearly_a_number(text: str, near: list[str]) -> None:
    assert [one for _, one in list_near_numbers(text)] == near


@pytest.mark.parametrize(
    ("tolerance", "is_fit"), [("0.5", False), ("1e-6", True), ("0.01 * abs(number)", False)]
)
def test_a_tolerance_that_takes_another_number_is_no_reward(
    tolerance: str, is_fit: bool, tmp_path: Path
) -> None:
    texts, rows, _, _ = STYLES["boxed"]
    path = "boxed_sums/taskset.py"
    text = texts[path].replace("int(said)", "float(said)").replace("self.config.tolerance", "most")
    text = text.replace(
        "        try:\n",
        f"        number = self.data.answer\n        most = {tolerance}\n        try:\n",
    )
    file = tmp_path / "taskset.zip"
    file.write_bytes(pack_bundle({**texts, path: text}, rows))
    failed = find_failed(file)
    assert failed == {} if is_fit else "earns" in failed["hostile answers"]


SCORE = "import verifiers.v1 as vf"


@pytest.mark.parametrize(
    "imported", ["import verifiers.v1.utils.score as score", "from verifiers.v1.utils import score"]
)
def test_each_form_of_import_finds_what_scores(imported: str, tmp_path: Path) -> None:
    text = TAGS.replace(
        SCORE, f"{SCORE}\n{imported}\nassert score.extract_boxed_answer('x') == 'x'"
    )
    file = write_taskset(tmp_path, text, WORDS)
    assert len(TasksetArchive(file.read_bytes(), 200).tasks) == len(WORDS)


def test_signs_in_another_order_are_no_answer(tmp_path: Path) -> None:
    assert EXACT in TAGS
    text = TAGS.replace(EXACT, "sorted(match.group(1)) == sorted(self.data.answer)")
    assert "earns" in find_failed(write_taskset(tmp_path, text, WORDS))["hostile answers"]
