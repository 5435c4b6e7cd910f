"""A loss by its own table, and by the flat form that all losses shared."""

import json
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from assay.artifacts.steps.config import StepConfig, decode_config, encode_config
from assay.settings.learning import make_learning, read_config
from assay.settings.loading import ConfigError, load_settings
from assay.settings.losses import LOSS_TABLES, STALE, list_bounds
from assay.settings.sections import TrainerSettings
from assay.training import Cispo, Dppo, Grpo, Gspo, Icepop, LearnConfig, LossConfig
from assay.training.grpo import LOSSES, StaleWeight
from tests.commands import run_command
from tests.protocol.test_step import RECORD
from tests.tree import ROOT


def load(folder: Path, text: str, below: dict[str, dict[str, Any]] | None = None) -> Any:
    file = folder / "own.toml"
    file.write_text(text)
    return load_settings(file, {}, below).trainer


@pytest.mark.parametrize("name", LOSSES)
def test_a_table_has_the_bounds_of_its_loss(name: Any) -> None:
    table, kind = LOSS_TABLES[name], LOSSES[name]
    assert list_bounds(table) == [f.name for f in fields(kind)]
    assert table.model_validate({"type": name}).model_dump(exclude={"type", *STALE}) == {
        f.name: f.default for f in fields(kind)
    }


@pytest.mark.parametrize("name", LOSSES)
def test_each_loss_can_be_asked_for_and_recorded(name: Any, tmp_path: Path) -> None:
    """By its table and by its name alone, with bounds that are not the default ones; a record has
    each of them under a name of its own, and gives the same settings."""
    kind = LOSSES[name]
    values = {f.name: float(f.default) * 1.03125 for f in fields(kind)}
    table = "\n".join(f"{bound} = {value}" for bound, value in values.items())
    config = make_learning(load(tmp_path, f'[trainer.loss]\ntype = "{name}"\n{table}'))
    assert config.loss == kind(**values)
    told = json.loads(encode_config(StepConfig(config)))["loss"]
    assert told["name"] == name
    assert set(values.values()) <= set(told.values())
    assert decode_config(encode_config(StepConfig(config))) == StepConfig(config)
    assert make_learning(load(tmp_path, f'[trainer]\nloss = "{name}"')).loss == kind()
    page = (ROOT / "docs" / "owner.md").read_text()
    assert f"`{name}`" in page[page.index("- **Loss.**") :].split("\n- **")[0]


def test_no_bound_is_called_as_something_else_of_a_record() -> None:
    """`level` is how older records name a loss, and the others stand beside the bounds."""
    for kind in LOSSES.values():
        assert not {"level", "name", "kl_weight", *STALE} & {f.name for f in fields(kind)}, kind


@pytest.mark.parametrize("name", LOSSES)
def test_older_rollouts_are_anchored_at_the_step_where_no_paper_says_else(name: Any) -> None:
    table = LOSS_TABLES[name].model_validate({"type": name})
    assert table.anchor == ("behaviour" if name in ("cispo", "dppo") else "step")
    # a record names them whatever the loss is
    config = make_learning(TrainerSettings(loss=table))
    assert (config.stale_weight, config.stale_cap) == ("sequence", 3.0)


@pytest.mark.parametrize("name", LOSSES)
def test_a_table_takes_the_weights_that_its_loss_has(name: Any) -> None:
    table, kind = LOSS_TABLES[name], LOSSES[name]
    taken = []
    for weight in get_args(StaleWeight):
        try:
            read = table.model_validate({"type": name, "anchor": "step", "stale_weight": weight})
        except ValidationError:
            continue
        taken += [weight] if read.find_conflict() is None else []
    assert tuple(taken) == kind.stale_weights


@pytest.mark.parametrize(
    ("loss", "weight", "cap"), [("icepop", "none", 2.0), ("gspo", "token", 1.0)]
)
def test_a_record_of_a_weight_that_no_setting_says_is_read(
    loss: Any, weight: Any, cap: float
) -> None:
    """It was once written, and ignored as it is now: whoever repeats the step learns the same."""
    learning = LearnConfig(loss=LOSSES[loss](), anchor="step", stale_weight=weight, stale_cap=cap)
    config = StepConfig(learning)
    assert read_config(replace(RECORD, config=encode_config(config))) == config


def test_a_cap_below_one_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"trainer.loss.stale_cap is 0.5; use a number from 1"):
        load(tmp_path, '[trainer.loss]\ntype = "grpo"\nstale_cap = 0.5')


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("grpo high = inf", "high is Infinity; use a finite number above 0"),
        ("grpo cap = inf", "cap is Infinity; use a finite number above 1"),
        ("gspo cap = nan", "cap is NaN; use a finite number above 1"),
        ("cispo high = nan", "high is NaN; use a finite number above 0"),
        ("icepop high = inf", "high is Infinity; use a finite number above 0"),
        ("icepop low = nan", "low is NaN; use a number above 0 and below 1"),
        ("dppo rise = inf", "rise is Infinity; use a finite number above 0"),
        ("dppo cap = inf", "cap is Infinity; use a finite number above 1"),
        ("grpo stale_cap = inf", "stale_cap is Infinity; use a number from 1 to 1000000.0"),
        ("grpo stale_cap = nan", "stale_cap is NaN; use a number from 1 to 1000000.0"),
        (
            "icepop stale_cap = 2",
            "stale_cap is not a setting of icepop: there are anchor, high, low, type",
        ),
        (
            'icepop stale_weight = "none"',
            "stale_weight is not a setting of icepop: there are anchor, high, low, type",
        ),
    ],
)
def test_a_bound_that_bounds_nothing_is_one_line(tmp_path: Path, table: str, said: str) -> None:
    name, _, bound = table.partition(" ")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f'[trainer.loss]\ntype = "{name}"\n{bound}')
    assert str(caught.value) == f"{tmp_path / 'own.toml'}, line 3: trainer.loss.{said}"


@pytest.mark.parametrize("name", ["clip_high", "clip_cap"])
def test_a_former_bound_that_bounds_nothing_is_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=f"trainer.{name} is Infinity; use a finite number above"):
        load(tmp_path, f"[trainer]\n{name} = inf")


def test_a_record_of_before_has_todays_anchor(tmp_path: Path) -> None:
    """What a setting says now is written, and what a record does not say is the former loss."""
    config = make_learning(load(tmp_path, '[trainer.loss]\ntype = "grpo"\nanchor = "behaviour"'))
    assert "anchor" not in encode_config(StepConfig(config))
    assert '"anchor":"step"' in encode_config(StepConfig(make_learning(load(tmp_path, ""))))


FORMS: list[tuple[str, str, LossConfig]] = [
    ('loss = "gspo"', 'type = "gspo"', Gspo()),
    ("clip_low = 0.1\nclip_cap = 3.0", 'type = "grpo"\nlow = 0.1\ncap = 3.0', Grpo(0.1, cap=3.0)),
    ('loss = "cispo"\nclip_high = 4.0', 'type = "cispo"\nhigh = 4', Cispo(4.0)),
    ('loss = "icepop"\nclip_low = 0.5', 'type = "icepop"\nlow = 0.5', Icepop(0.5)),
    (
        'loss = "dppo"\nclip_low = 0.1\nclip_high = 0.3',
        'type = "dppo"\nfall = 0.1\nrise = 0.3',
        Dppo(0.1, 0.3),
    ),
]


@pytest.mark.parametrize(("flat", "table", "loss"), FORMS)
def test_both_forms_are_one_loss_and_one_record(
    tmp_path: Path, flat: str, table: str, loss: LossConfig
) -> None:
    old, new = load(tmp_path, f"[trainer]\n{flat}"), load(tmp_path, f"[trainer.loss]\n{table}")
    assert make_learning(old) == make_learning(new)
    assert make_learning(new).loss == loss
    texts = [encode_config(StepConfig(make_learning(each))) for each in (old, new)]
    assert texts[0] == texts[1]
    assert new.describe_flat() is None
    said = old.describe_flat()
    assert said is not None
    written = re.search(r"a former way to write (loss = .*)$", said)
    assert written is not None
    assert make_learning(load(tmp_path, f"[trainer]\n{written[1]}")).loss == loss


def test_the_default_says_nothing(tmp_path: Path) -> None:
    assert load(tmp_path, '[trainer]\nloss = "grpo"\nclip_low = 0.2').describe_flat() is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '[trainer]\nloss = "cispo"\nclip_low = 0.3',
            "clip_low: cispo has no such bound, but high",
        ),
        (
            '[trainer]\nclip_high = 0.3\n[trainer.loss]\ntype = "dppo"',
            "clip_high: loss is a table: write its bounds there, fall, rise, cap",
        ),
        ('[trainer.loss]\ntype = "gspo"\nhigh = 3.5', "loss.cap: 4.0 is below 1 + high, 4.5"),
        (
            '[trainer.loss]\ntype = "gspo"\nstale_weight = "token"',
            "loss.stale_weight: gspo has one ratio for a whole completion, and none by token",
        ),
        (
            '[trainer.loss]\ntype = "cispo"\nstale_cap = 2.0',
            'loss.stale_cap: anchor = "behaviour" has no such weight',
        ),
        (
            '[trainer.loss]\ntype = "grpo"\nanchor = "behaviour"\nstale_weight = "none"',
            'loss.stale_weight: anchor = "behaviour" has no such weight',
        ),
    ],
)
def test_bounds_that_do_not_belong_together(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_learning(load(tmp_path, text))
    assert str(caught.value) == f"[trainer] {said}"


def test_a_whole_table_takes_no_bounds_from_below(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a recipe's: they are another loss's. A table without a type changes one below."""
    recipe = {"trainer": {"loss": {"type": "dppo", "fall": 0.3}, "seed": 5}}
    own = load(tmp_path, '[trainer.loss]\ntype = "grpo"\nlow = 0.1', recipe)
    assert (make_learning(own).loss, own.seed) == (Grpo(0.1), 5)
    changed = load(tmp_path, "[trainer.loss]\nrise = 0.5", recipe)
    assert make_learning(changed).loss == Dppo(0.3, 0.5)
    flat = {"trainer": {"loss": "icepop", "clip_low": 0.3}}
    assert make_learning(load(tmp_path, '[trainer.loss]\ntype = "cispo"', flat)).loss == Cispo()
    named = load(tmp_path, '[trainer]\nloss = "gspo"', recipe)
    assert make_learning(named).loss == Gspo()
    other = load(tmp_path, '[trainer]\nloss = "grpo"\nclip_high = 0.4', flat)
    assert make_learning(other).loss == Grpo(high=0.4)
    assert make_learning(load(tmp_path, '[trainer]\nloss = "icepop"', flat)).loss == Icepop(0.3)
    for name, value in (("LOSS", "dppo"), ("LOSS", ' {"type": "dppo"}')):
        with monkeypatch.context() as patch:
            patch.setenv(f"ASSAY_TRAINER__{name}", value)
            assert make_learning(load(tmp_path, "[trainer]", flat)).loss == Dppo()
    with monkeypatch.context() as patch:
        patch.setenv("assay_trainer__loss__type", "dppo")
        assert make_learning(load(tmp_path, "[trainer]", flat)).loss == Dppo()
    monkeypatch.setenv("ASSAY_TRAINER__LOSS__TYPE", "icepop")
    monkeypatch.setenv("ASSAY_TRAINER__LOSS__HIGH", "4")
    assert make_learning(load(tmp_path, "[trainer.loss]\ntype = 'dppo'")).loss == Icepop(0.2, 4.0)
    monkeypatch.delenv("ASSAY_TRAINER__LOSS__TYPE")
    monkeypatch.delenv("ASSAY_TRAINER__LOSS__HIGH")
    monkeypatch.setenv("ASSAY_TRAINER__LOSS", '{"type": "dppo", "rise": 0.5}')
    assert make_learning(load(tmp_path, "[trainer]\nclip_low = 0.3")).loss == Dppo(rise=0.5)


def test_an_unknown_variable_of_a_table_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_TRAINER__LOSS__FALLS", "0.1")
    with pytest.raises(ConfigError, match="did you mean ASSAY_TRAINER__LOSS__FALL"):
        load_settings(None, {})


def test_a_trainer_is_told_the_new_form(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(
        '[trainer]\nloss = "dppo"\nclip_low = 0.1\n[chain]\nnetwork = "ws://127.0.0.1:1"'
    )
    done = run_command("train", "--config", file)
    (said,) = [line for line in done.stderr.splitlines() if "former" in line]
    assert said == (
        "assay: [trainer] clip_low and loss: a former way to write "
        'loss = { type = "dppo", fall = 0.1, rise = 0.28, cap = 4.0 }'
    )
