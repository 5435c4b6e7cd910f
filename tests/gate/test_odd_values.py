"""No value of any type, at any place of a model folder's JSON, gets an error out of the gate that
is not its own: it would end every program."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from assay.gate import tokenizer_files
from assay.gate.rules import UnfitError
from assay.gate.tokenizer_file import find_tokenizer_fault
from assay.gate.tokenizer_settings import (
    DECODER_TABLE,
    OTHERS,
    SPECIAL_LISTS,
    SPECIAL_NAMES,
    SPECIAL_TABLES,
    read_settings,
)
from assay.inference import folder
from assay.inference.context_length import find_context_fault
from assay.inference.families import (
    FAMILIES,
    count_tensors,
    find_config_fault,
    find_misfit,
    get_expert_bounds,
    list_fields,
)
from assay.inference.folder import UnusableCheckpointError, read_config
from assay.inference.tokenizing import folder_tokenizer
from assay.inference.tokenizing.folder_tokenizer import load_tokenizer
from assay.training import GENESIS
from tests.hub_folders import VOCABULARY, Content, make_llama, make_qwen
from tests.inference.family_models import make_config, write_config

#: One of each type and form that JSON has, and what Python's own types trip over.
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 3, 10**400, 0.5, -0.0, 1e308, "", "x", "\ud800", "full_attention"),
    *([], [None], [[]], [0], ["x"], {}, {"": None}, {"0": 1}, {"type": "x"}, {"type": []}),
)
#: Members of a list or an object that are changed: a vocabulary's are alike.
MOST = 40


def iterate_odd(whole: Any, part: Any, more: Iterable[str] = ()) -> Iterator[Any]:
    """A document with each value at each place of a part, and as further members, one after the
    other: the same object, changed for the time being."""
    members = part.items() if isinstance(part, dict) else enumerate(part)
    for name, before in [*members][:MOST]:
        for value in VALUES:
            part[name] = value
            yield whole
        part[name] = before
        if isinstance(before, dict | list):
            yield from iterate_odd(whole, before)
    for name in more:
        for value in VALUES:
            yield {**whole, name: value}


def try_all(check: Callable[[Any], object], document: Any, more: Iterable[str] = ()) -> None:
    """The gate refuses some and takes others, with no other error than its own."""
    said = set()
    for odd in iterate_odd(document, document, {*more} - document.keys()):
        try:
            said.add(check(odd) is None)
        except UnfitError:
            said.add(False)
        except Exception as error:
            error.add_note(json.dumps(odd)[-1_000:])
            raise
    assert False in said


@pytest.mark.parametrize("kind", FAMILIES)
def test_of_a_config(kind: str, tmp_path: Path) -> None:
    config = write_config(make_config(kind), tmp_path)
    assert find_config_fault(config) is None
    try_all(look_at_config, config, list_fields(FAMILIES[kind]))


def look_at_config(config: Any) -> str | None:
    """What is computed of a config before any tensor is read."""
    fault = find_config_fault(config) or find_misfit(config, {})
    if find_config_fault(config) is None:
        count_tensors(config)
        get_expert_bounds(config)
        find_context_fault(config, 1, 1)
    return fault


def test_a_defect_of_the_gate_ends_no_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everybody has the same defect, so the checkpoint is of no use to anybody."""
    write_config(make_config("llama"), tmp_path)
    monkeypatch.setattr(folder, "find_config_fault", lambda config: config["none"])
    with pytest.raises(UnusableCheckpointError, match="breaks the gate: KeyError"):
        read_config(tmp_path)
    for name, gate in (("read_settings", {}), ("find_tokenizer_fault", None)):
        monkeypatch.setattr(folder_tokenizer, "_last", None)  # the gate has passed these files
        monkeypatch.setattr(tokenizer_files, name, lambda *_, gate=gate: gate["none"])
        with pytest.raises(UnusableCheckpointError, match=r"breaks the gate: (Key|Type)Error"):
            load_tokenizer(GENESIS, 98)
        monkeypatch.undo()


@pytest.mark.parametrize("make", [make_qwen, make_llama])
def test_of_a_tokenizer(make: Callable[[], Content]) -> None:
    content = make()
    assert content.core is not None
    assert find_tokenizer_fault(content.core, VOCABULARY) is None
    try_all(lambda odd: find_tokenizer_fault(odd, VOCABULARY), content.core)
    token = {"content": "<x>", "special": True, "__type": "AddedToken"}
    settings = {**(content.settings or {}), DECODER_TABLE: {"0": {**token}}, "bos_token": token}
    del settings[DECODER_TABLE]["0"]["__type"]
    settings["additional_special_tokens"] = [token, "<y>"]
    read_settings(settings, VOCABULARY)
    more = (*OTHERS, *SPECIAL_NAMES, *SPECIAL_LISTS, *SPECIAL_TABLES)
    try_all(lambda odd: read_settings(odd, VOCABULARY), settings, more)
