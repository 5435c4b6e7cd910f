"""Helpers that the environments' tests share."""

from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from itertools import islice

import pytest

from assay.environments import problem_file
from assay.environments.foreign import vetting, world_vetting
from assay.environments.foreign.hostile_answers import write_hostile, write_long
from assay.environments.tasksets import vetting as taskset_vetting
from assay.sandbox import share_preloaded


def make_seed(number: int) -> bytes:
    """A problem's seed."""
    return sha256(number.to_bytes(4, "big")).digest()


@pytest.fixture(scope="module", autouse=True)
def _warm_readers() -> Iterator[None]:
    """Children that read Parquet are forks of a process that has loaded what they load."""
    loaded = share_preloaded("assay.environments.problem_file", "pyarrow.parquet")
    with pytest.MonkeyPatch.context() as patch:
        warm = partial(problem_file.Sandbox, preloaded=loaded)
        patch.setattr(problem_file, "Sandbox", warm)
        yield


@pytest.fixture(autouse=True)
def forget_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test knows another's files of problems."""
    monkeypatch.setattr(problem_file, "_known", {})


@pytest.fixture(autouse=True)
def few_constants(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vetting asks constant answers of eight problems: of forty they are half of its work."""
    for module in (vetting, world_vetting):
        monkeypatch.setattr(module, "CONSTANTS", 8)


@pytest.fixture
def few_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    thin_texts(monkeypatch)


def thin_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vetting shows each twentieth of its hostile texts: all are some hundreds, and the package on
    the page is shown all."""
    for module, texts in (
        (vetting, write_hostile),
        (vetting, write_long),
        (world_vetting, write_long),
        (taskset_vetting, write_long),
    ):
        thin = lambda *given, texts=texts: islice(texts(*given), 0, None, 20)  # noqa: E731
        monkeypatch.setattr(module, texts.__name__, thin)
    monkeypatch.setattr(world_vetting, "FILLINGS", world_vetting.FILLINGS[::20])
    monkeypatch.setattr(taskset_vetting, "FILLINGS", taskset_vetting.FILLINGS[::20])
    monkeypatch.setattr(taskset_vetting, "SEPARATORS", taskset_vetting.SEPARATORS[:4])


#: Of these, what is no trick to `gsm`: blanks may follow a number.
BLANKS_AFTER = {"blank at the end", "newline at the end"}
#: Texts around a right answer `{}`, none of which is an answer. Every environment is shown them.
TRICKS: dict[str, Callable[[str], str]] = {
    "nothing": lambda right: "",
    "no mark": lambda right: right,
    "mark alone": lambda right: "#### ",
    "no space": lambda right: f"####{right}",
    "two spaces": lambda right: f"####  {right}",
    "tab": lambda right: f"####\t{right}",
    "no-break space": lambda right: f"####\u00a0{right}",
    "blank at the end": lambda right: f"#### {right} ",
    "newline at the end": lambda right: f"#### {right}\n",
    "zero-width at the end": lambda right: f"#### {right}\u200b",
    "NUL at the end": lambda right: f"#### {right}\x00",
    "twice": lambda right: f"#### {right}\n#### {right}",
    "wrong, then right": lambda right: f"#### 1\n#### {right}",
    "right, then wrong": lambda right: f"#### {right}\n#### 1",
    "in one line": lambda right: f"#### 1 #### {right}",
    "mark twice": lambda right: f"#### #### {right}",
    "longer mark": lambda right: f"##### {right}",
    "shorter mark": lambda right: f"### {right}",
    "mark in the middle of a line": lambda right: f"so #### {right}",
    "carriage return": lambda right: f"so\r#### {right}",
    "line separator": lambda right: f"so\u2028#### {right}",
    "prose": lambda right: f"#### the answer is {right}",
    "tags": lambda right: f"<answer>{right}</answer>",
    "both": lambda right: f"#### <answer>{right}</answer>",
    "braces": lambda right: f"\\boxed{{{right}}}",
    "NaN": lambda right: "#### NaN",
    "infinity": lambda right: "#### inf",
    "a hedge": lambda right: f"#### 1 or {right}",
    "echo of a mark": lambda right: f"End with a line of ####.\n#### {right}",
    "10 MB of digits": lambda right: "#### " + "9" * 10**7,
    "10 MB of marks": lambda right: "#" * 10**7 + right,
    "10 MB of lines": lambda right: f"#### {right}\n" * (10**7 // 8),
    "10 MB after it": lambda right: f"#### {right}" + " " * 10**7,
}
#: The same for a whole number.
NUMBER_TRICKS: dict[str, Callable[[str], str]] = {
    "leading zero": lambda right: f"#### 0{right}",
    "plus": lambda right: f"#### +{right}",
    "decimals": lambda right: f"#### {right}.0",
    "full stop": lambda right: f"#### {right}.",
    "underscore": lambda right: f"#### {right[0]}_{right[1:]}",
    "comma": lambda right: f"#### {right[0]},{right[1:]}",
    "dollars": lambda right: f"#### ${right}",
    "unit": lambda right: f"#### {right} apples",
    "percent": lambda right: f"#### {right}%",
    "full-width digits": lambda right: "#### " + "".join(chr(ord(c) + 0xFEE0) for c in right),
    "arabic digits": lambda right: "#### " + "".join(chr(ord(c) + 0x630) for c in right),
    "superscript": lambda right: f"#### {right}\u00b2",
    "hexadecimal": lambda right: f"#### {int(right):#x}",
    "exponent": lambda right: f"#### {right}e0",
    "expression": lambda right: f"#### {right}+0",
    "negative": lambda right: f"#### -{right}",
    "10 MB of zeros": lambda right: "#### " + "0" * 10**7 + right,
}
