"""Faults of settings: the place of each, its whole name, and a right value."""

import re
from hashlib import sha256
from pathlib import Path

import pytest

from assay.network.toml_settings import BYTES_MAX, TomlError, describe_allowed, name_place
from assay.settings.learning import make_choice, make_learning
from assay.settings.loading import ConfigError, list_settings, load_settings
from assay.settings.sections import TrainerSettings
from assay.training.rows.reader import READER
from tests.commands import run_command

SECRET = "Hunter2SecretKey"


def fail(file: Path | None, flags: dict[str, dict[str, object]] | None = None) -> list[str]:
    """The lines that are said of settings."""
    with pytest.raises((ConfigError, TomlError)) as caught:
        load_settings(file, flags or {})
    assert caught.value.__cause__ is None  # pydantic's own sentence
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value).splitlines()


def write(folder: Path, text: str | bytes) -> Path:
    file = folder / "own.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[chain]\n\nnetuid = 70000",
            "line 3: chain.netuid is 70000; use a whole number from 0 to 65535",
        ),
        (
            '[chain]\nnetuid = "x"',
            'line 2: chain.netuid is "x"; use a whole number from 0 to 65535',
        ),
        ("chain.netuid = -1", "line 1: chain.netuid is -1; use a whole number from 0 to 65535"),
        (
            '[miner]\nengines = [\n  "auto",\n]\n# few\ngroups = 0',
            "line 6: miner.groups is 0; use a whole number from 1 to 16384",
        ),
        (
            "[trainer]\nclip_low = 1.5",
            "line 2: trainer.clip_low is 1.5; use a number above 0 and below 1",
        ),
        (
            '[trainer]\nprecision = "half"',
            'line 2: trainer.precision is "half"; use "float32" or "bfloat16"',
        ),
        ('[demo]\nfast = "maybe"', 'line 2: demo.fast is "maybe"; use true or false'),
        ("[store]\ncredentials = 5", "line 2: store.credentials is 5; use a path in quotes"),
        (
            "[judge]\nmodel = ''",
            'line 2: judge.model is ""; use text in quotes from 1 to 200 characters',
        ),
        (
            "[chain]\nfallbacks = ['wss://a', 3]",
            "line 2: chain.fallbacks.1 is 3; use a list in brackets, each item text in quotes",
        ),
        ("chain = 5", "line 1: chain is 5; use a section: [chain], and its settings below"),
        ("[chain]\nnetwrk = 1", "line 2: chain.netwrk is not a setting: did you mean 'network'?"),
        ("[chian]\n", "line 1: chian is not a setting: did you mean 'chain'?"),
        ("netuid = 3", "line 1: netuid is not a setting: write it under [chain]"),
        ("[log]\nx = 1", "line 2: log.x is not a setting: there is only 'format'"),
        (
            '[trainer]\nloss = "ppo"',
            'line 2: trainer.loss is "ppo"; use "grpo", "gspo", "cispo", "icepop" or "dppo"',
        ),
        (
            '[trainer.loss]\ntype = "ppo"',
            'line 2: trainer.loss.type is "ppo"; use "grpo", "gspo", "cispo", "icepop" or "dppo"',
        ),
        (
            "[trainer.loss]\nlow = 0.1",
            "line 1: trainer.loss.type is missing; write "
            '"grpo", "gspo", "cispo", "icepop" or "dppo"',
        ),
        (
            '[trainer.loss]\ntype = "dppo"\nlow = 0.1',
            "line 3: trainer.loss.low is not a setting of dppo: there are anchor, cap, fall, rise, "
            "stale_cap, stale_weight, type",
        ),
        (
            '[trainer.loss]\ntype = "dppo"\nfall = 1.5',
            "line 3: trainer.loss.fall is 1.5; use a number above 0 and below 1",
        ),
    ],
)
def test_a_mistake_names_file_line_setting_and_what_is_allowed(
    tmp_path: Path, text: str, said: str
) -> None:
    file = write(tmp_path, text)
    assert fail(file) == [f"{file}, {said}"]


def test_each_of_several_mistakes_has_a_line(tmp_path: Path) -> None:
    file = write(tmp_path, "[chain]\nnetuid = -1\n[demo]\nwindows = 3\n[miner]\ndirr = 'x'\n")
    places = [line.removeprefix(f"{file}, ").split(" is ")[0] for line in fail(file)]
    assert sorted(places) == ["line 2: chain.netuid", "line 4: demo.windows", "line 6: miner.dirr"]
    done = run_command("metagraph", "--config", file)
    assert done.returncode == 2
    assert [line[:7] for line in done.stderr.splitlines()] == ["assay: "] * 3


@pytest.mark.parametrize(
    "text",
    [
        f"[store]\nsecret_access_key = ['{SECRET}']",
        f"[judge]\nkey = {{a = '{SECRET}'}}",
        f"[store]\nsecret_acces_key = '{SECRET}'",
        f"[chain]\nfallbacks = 'wss://node.example/{SECRET}'",
        f"[chain]\nfallbacks = '{SECRET}@node.example'",
        f"[judge]\nkey = {SECRET}",
        f"[judge]\nkey = '{SECRET}",
    ],
)
def test_no_secret_is_repeated(tmp_path: Path, text: str) -> None:
    (line,) = fail(write(tmp_path, text))
    assert SECRET not in line
    assert "own.toml, line 2" in line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[chain",
            ", line 1, at its end: not TOML: expected ']' at the end of a table declaration",
        ),
        ("[chain\na = 1", ", line 1, column 7: not TOML: expected ']'"),
        ("a = 1\na = 2", ", line 2, at its end: not TOML: a name is set for the second time"),
        ("a = 1\na = 2\nb = 3", ", line 2, column 6: not TOML: a name is set for the second time"),
        (b"\xff", " is not TOML: it is not text in UTF-8"),
        (b"a = " + b"[" * 100_000, " is not TOML: it has too many brackets"),
        (b"#" * (BYTES_MAX + 1), " is larger than 1 MiB"),
    ],
)
def test_a_file_that_is_no_toml_is_named_with_its_place(
    tmp_path: Path, text: str | bytes, said: str
) -> None:
    file = write(tmp_path, text)
    (line,) = fail(file)
    assert line.startswith(f"{file}{said}")


def test_a_strange_section_is_not_taken_for_a_setting_of_its_name(tmp_path: Path) -> None:
    """`rounds` is a section of parameters, and a setting of the explorer."""
    (line,) = fail(write(tmp_path, "[rounds]\nwindows = 3\n"))
    assert "line 1: rounds is not a setting: there are amend, beacon, " in line


def test_mistakes_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, "[miner]\ngroups = 0\n[log]\nx = 1\n[chain]\nnetuid = -1\ny = 2\n")
    starts = ["2: miner.groups", "4: log.x", "6: chain.netuid", "7: chain.y"]
    assert [line.partition("line ")[2].split(" is ")[0] for line in fail(file)] == starts


def test_variables_and_flags_are_named_as_they_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path, "[chain]\nnetuid = 3\n[demo]\nwindows = 3\n")
    monkeypatch.setenv("ASSAY_CHAIN__NETUID", "x")
    monkeypatch.setenv("ASSAY_MINER__ENGINES", "[1]")
    assert sorted(fail(file, {"demo": {"windows": 4}})) == [
        "--windows is 4; use a whole number from 6 to 100",
        'environment variable ASSAY_CHAIN__NETUID is "x"; use a whole number from 0 to 65535',
        "environment variable ASSAY_MINER__ENGINES is 1; use a list in brackets of at most 64 "
        "items, each item text in quotes",
    ]
    monkeypatch.setenv("ASSAY_MINER__ENGINES", f'["{SECRET}')
    monkeypatch.setenv("ASSAY_MINER__ENGINE", "x")
    said = fail(file)
    assert any("ASSAY_MINER__ENGINES is not a JSON list: use" in line for line in said)
    assert any("ASSAY_MINER__ENGINE is not a setting: did you mean" in line for line in said)
    assert SECRET not in str(said)


def test_a_flag_of_another_kind_is_told_what_it_may_be() -> None:
    done = run_command("metagraph", "--netuid", "x")
    assert done.returncode == 2
    assert "'--netuid': use a whole number from 0 to 65535" in done.stderr
    assert "there is no such file" in run_command("env", "list", "--file", "nowhere").stderr


def test_every_setting_has_a_description_of_its_legal_values() -> None:
    start = re.compile(r'true or|text in|a path|a (whole |finite )?number|a list in brackets|"')
    for fields in list_settings().values():
        for name, field in fields.items():
            said = describe_allowed(field, name)
            assert start.match(said), name
            assert "None" not in said


def test_every_line_of_a_file_is_found(tmp_path: Path) -> None:
    text = '''
# comment
"top level" = 1  # [not.a.section]
[a.b]  # a header
x = """
[c]
y = 1
"""
y.z = { u = [ 1,
  2 ] }
[[d]]
e = 2
'''
    file = tmp_path / "x"
    for path, line in (
        (("top level",), 3),
        (("a",), 4),
        (("a", "b"), 4),
        (("a", "b", "x"), 5),
        (("a", "b", "y", "z", "u"), 9),
        (("a", "b", "y", "z", "u", "1"), 9),
        (("a", "b", "missing"), 4),
        (("d", "e"), 12),
    ):
        assert name_place(file, text, path) == f"{file}, line {line}: {'.'.join(path)}"
    assert name_place(file, text, ("nowhere",)) == f"{file}: nowhere"
    assert name_place(None, "", ("a", "b")) == "a.b"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"external_groups": 0}, "external_groups: 0, with local_groups = 0, leaves no group"),
        ({"clip_high": 3.5}, "clip_cap: 4.0 is below 1 + clip_high, 4.5"),
    ],
)
def test_a_trainers_settings_that_contradict_each_other_are_told(given, said) -> None:
    """It is told before it starts: otherwise its first step would end it, or nobody could learn at
    all."""
    with pytest.raises(ConfigError, match=re.escape(f"[trainer] {said}")):
        make_learning(TrainerSettings(**given))
    make_learning(TrainerSettings(**given, local_groups=1, clip_cap=5.0))


def test_replays_are_of_older_checkpoints() -> None:
    given = {"replay_share": 0.5, "sync": "sequential"}
    with pytest.raises(ConfigError, match="replay_share: replayed groups are of older checkpoints"):
        make_learning(TrainerSettings(**given))
    make_learning(TrainerSettings(replay_share=0.5))


def test_delayed_groups_are_of_older_checkpoints() -> None:
    given = {"proposal_tries": 8, "sync": "sequential"}
    with pytest.raises(ConfigError, match="proposal_tries: delayed groups are of older checkpoint"):
        make_learning(TrainerSettings(**given))
    assert make_choice(TrainerSettings(proposal_tries=8)).proposal_tries == 8


def test_examples_and_their_weight_belong_together(tmp_path: Path) -> None:
    file = tmp_path / "said.jsonl"
    for given in ({"sft": file}, {"sft_weight": 0.5}):
        with pytest.raises(ConfigError, match="needs sft_weight above 0"):
            make_learning(TrainerSettings(**given))
    with pytest.raises(ConfigError, match=r"sft: .*said\.jsonl"):
        make_choice(TrainerSettings(sft=file, sft_weight=0.5))
    file.write_bytes(b"{}")
    choice = make_choice(TrainerSettings(sft=file, sft_weight=0.5))
    assert choice.sft_sha256 == sha256(b"{}").hexdigest()
    assert choice.sft_reader == READER


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"optimizer": "adamw8bit", "processes": 2}, "adamw8bit would round each process's part"),
        ({"optimizer": "muon", "offload": True}, "muon needs whole matrices"),
        ({"optimizer": "muon", "lora_rank": 8}, "muon makes the update of a whole matrix"),
    ],
)
def test_an_optimiser_that_cannot_learn_so_is_told_at_once(given, said) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"[trainer] optimizer: {said}")) as caught:
        make_learning(TrainerSettings(**given))
    assert 'or optimizer = "adamw"' in str(caught.value)
    make_learning(TrainerSettings(**{**given, "optimizer": "adamw"}))
