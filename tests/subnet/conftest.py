"""Recipes as they are shipped, and one with a change."""

import pytest

from assay.environments import problem_file
from assay.subnet.recipes import RECIPES

GOOD = (RECIPES / "qwen2.5-0.5b-gsm.toml").read_text()
MATH = (RECIPES / "qwen2.5-1.5b-math.toml").read_text()


def change(text, before, after):
    assert text.count(before) >= 1, before
    return text.replace(before, after, 1)


@pytest.fixture
def forget_files(monkeypatch):
    monkeypatch.setattr(problem_file, "_known", {})


@pytest.fixture
def write(tmp_path):
    def write(text):
        file = tmp_path / "own.toml"
        file.write_text(text)
        return str(file)

    return write
