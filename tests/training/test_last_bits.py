"""The digest of the code that computes a step covers what a learner loads."""

from pathlib import Path

import pytest

from assay.training import last_bits
from assay.training.last_bits import CODE, compute_code_digest
from tests.commands import run_code

#: What a learner loads besides, by the beginnings of names, and why it changes no step.
OTHERS = {
    "assay.environments": "problems and answers, for the counts of preferences alone",
    "assay.gate": "which models a network takes",
    "assay.inference.draws": "draws",
    "assay.inference.families": "tables of what a model's config may say, which the parent binds",
    "assay.inference.folder": "files, whose digests the record has",
    "assay.inference.model_loading": "files, whose digests the record has",
    "assay.inference.passages": "the judge's passes",
    "assay.inference.plain": "drafts, and what a class's config says, which the parent binds",
    "assay.inference.placing": "devices and their memory, which the record names",
    "assay.inference.reference": "the judge's passes",
    "assay.inference.plain_config": "whether a config.json is read",
    "assay.inference.split": "the judge's passes",
    "assay.inference.split_model": "the judge's passes",
    "assay.network.extras": "what is installed",
    "assay.protocol": "bytes and rules; `episode` weaves replies into rows and is in the list",
    "assay.sandbox": "strangers' code",
    "assay.training.figures": "figures, which change nothing",
    "assay.training.heap": "the allocator's memory",
    "assay.verification": "the judge",
}


def list_loaded() -> set[str]:
    """The modules of this package in a process that has imported of it the learner alone; packages
    say only what they offer."""
    program = (
        "import sys\n"
        "for name in [n for n in sys.modules if n.partition('.')[0] == 'assay']:\n"
        "    del sys.modules[name]\n"
        "import assay.training.learner\n"
        "print(*(n for n, m in sys.modules.items() if n.startswith('assay.')"
        " and not hasattr(m, '__path__')))"
    )
    return set(run_code(program).split())


def is_below(name: str, above: str) -> bool:
    return name == above or name.startswith(f"{above}.")


def test_the_code_is_what_a_learner_loads() -> None:
    loaded, listed = list_loaded(), set(CODE)
    assert listed <= loaded
    unknown = {n for n in loaded - listed if not any(is_below(n, one) for one in OTHERS)}
    assert not unknown, "name it in CODE, or here with the reason why it changes no step"
    idle = {one for one in OTHERS if not any(is_below(name, one) for name in loaded - listed)}
    assert not idle


def test_two_files_of_one_name_are_two(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And exchanged ones are others: files count by their paths."""
    one, other = tmp_path / "1" / "weights.py", tmp_path / "2" / "weights.py"
    for path, text in (one, "1"), (other, "2"):
        path.parent.mkdir()
        path.write_text(text)
    files = {"assay.a.weights": one, "assay.b.weights": other}
    monkeypatch.setattr(last_bits, "CODE", tuple(files))
    digests = []
    for _ in range(2):
        monkeypatch.setattr(last_bits, "_find_file", dict(files).__getitem__)
        digests.append(compute_code_digest())
        files = dict(zip(files, reversed(files.values()), strict=True))
    other.write_text("3")
    digests.append(compute_code_digest())
    assert len(set(digests)) == 3
