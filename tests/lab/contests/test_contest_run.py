"""Contests of real checkpoints: the shipped model against itself and against versions of it whose
difference is known."""

import json
import shutil
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from assay.environments.registry import make_environment
from assay.inference.checkpoint import load_checkpoint
from assay.inference.folder import MANIFEST_FILE, MODEL_FILE, digest_tensors, digest_weights
from assay.lab.contests import folder as contest_folder
from assay.lab.contests.answers import ContestRules, draw_answers
from assay.lab.contests.folder import ContestError, ContestFolder
from assay.lab.contests.ranking import PairTally, compare_pairs
from assay.lab.contests.run import Contestant, play_contest
from assay.network.files import hold_folder, write_json
from assay.protocol.encoding import to_json
from assay.training import GENESIS

ENVIRONMENT = make_environment("arithmetic", {})
LEVELS = (5, 6)
#: Tokens of a completion of `shorter`: about one solution of the shipped model in six is longer,
#: which are six problems of a hundred.
SHORTER = 34


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def genesis():
    return load_checkpoint(GENESIS)


@pytest.fixture(scope="session")
def shorter(genesis, tmp_path_factory):
    """The same model, cut off earlier: its texts are beginnings of the shipped model's, so it
    solves the same problems except those with longer solutions."""
    folder = tmp_path_factory.mktemp("models") / "shorter"
    shutil.copytree(GENESIS, folder)
    manifest = replace(genesis.manifest, max_tokens=SHORTER)
    write_json(folder / MANIFEST_FILE, to_json(manifest))
    return load_checkpoint(folder)


@pytest.fixture(scope="session")
def permuted(genesis, tmp_path_factory):
    """The same function in other bytes: neurons within each layer in another order."""
    folder = tmp_path_factory.mktemp("models") / "permuted"
    shutil.copytree(GENESIS, folder)
    tensors = load_file(folder / MODEL_FILE)
    for layer in range(genesis.model.config.num_hidden_layers):
        name = f"model.layers.{layer}.mlp"
        for part, axis in (("gate_proj", 0), ("up_proj", 0), ("down_proj", 1)):
            weight = f"{name}.{part}.weight"
            tensors[weight] = tensors[weight].flip(axis).contiguous()
    save_file(tensors, folder / MODEL_FILE, {"format": "pt"})
    root = digest_weights(folder, digest_tensors(folder))
    write_json(folder / MANIFEST_FILE, to_json(replace(genesis.manifest, tensors=root)))
    return load_checkpoint(folder)


def make_rules(problems, seed=0):
    return ContestRules(LEVELS, 1_024, seed, problems)


def play(folder, checkpoints, rules, judge=None, loaded=None, say=lambda line: None):
    contestants = [
        Contestant(f"c{place}", checkpoint.folder, checkpoint.digest)
        for place, checkpoint in enumerate(checkpoints)
    ]
    opened = ContestFolder(folder, rules, ENVIRONMENT.digest, [c.digest for c in checkpoints])

    def load(path, digest):
        if loaded is not None:
            loaded.append(path)
        return load_checkpoint(path, digest)

    return play_contest(contestants, ENVIRONMENT, opened, load, judge, say)


def tell(first, second):
    """The sign test's tally of two lists of answers."""
    tally = PairTally()
    for one, other in zip(first, second, strict=True):
        tally.count(one.solved - other.solved)
    return tally


def find_winner(tally):
    (result,) = compare_pairs({(0, 1): tally})
    return result.winner


@pytest.mark.slow
def test_a_model_against_itself_has_no_winner_for_any_seed(genesis):
    """Drawn twice by two loads of the same bytes: the keyed draws are the same, so no problem parts
    the two."""
    again = load_checkpoint(GENESIS)
    solved = set()
    for seed in range(4):
        rules = make_rules(40, seed)
        first = draw_answers(genesis, ENVIRONMENT, rules, range(40))
        second = draw_answers(again, ENVIRONMENT, rules, range(40))
        assert first == second
        assert find_winner(tell(first, second)) is None
        solved.add(sum(answer.solved for answer in first))
    assert len(solved) > 1  # other seeds are other problems


@pytest.mark.slow
def test_equals_with_noise_of_their_own_have_no_winner(genesis):
    """The same model on problems of two seeds each: as good and independent. A winner is found in
    one contest of a hundred at most, so in more than six of twenty once in 1e9."""
    winners = 0
    for seed in range(0, 40, 2):
        tally = tell(
            *(draw_answers(genesis, ENVIRONMENT, make_rules(60, s), range(60))
              for s in (seed, seed + 1))
        )  # fmt: skip
        assert tally.ties < 60  # the noise does part them
        winners += find_winner(tally) is not None
    assert winners <= 6


def test_equals_of_other_bytes_have_no_winner(genesis, permuted, tmp_path):
    """One function in two orders of its sums: only a last bit can have them draw another token."""
    assert permuted.digest != genesis.digest
    played = play(tmp_path / "c", [genesis, permuted], make_rules(120))
    assert find_winner(played.by_scorer[0, 1]) is None
    assert min(played.solved) > 20


@pytest.mark.slow
def test_five_points_are_found_with_500_problems(genesis, shorter, tmp_path):
    """`shorter` fails where the other's solution is longer and nowhere else, which is counted here
    from the texts. Of 500 problems at five points, all in one direction, 25 part the two and eight
    suffice. The seed says which they are, so only last bits differ between machines."""
    played = play(tmp_path / "c", [shorter, genesis], make_rules(500))
    tally = played.by_scorer[0, 1]
    folder = ContestFolder(
        tmp_path / "c", make_rules(500), ENVIRONMENT.digest, [shorter.digest, genesis.digest]
    )
    whole = [a for block in folder.blocks for a in folder.read_answers(1, block)]
    longer = sum(answer.solved and len(answer.text) > SHORTER for answer in whole)
    assert 20 <= longer <= 45
    assert (tally.wins, tally.losses) == (0, longer)
    assert played.solved[1] - played.solved[0] == longer
    assert find_winner(tally) == 1
    assert played.preferences == longer


def test_a_contest_leaves_the_same_bytes_whether_it_was_stopped_or_not(
    genesis, shorter, tmp_path, monkeypatch
):
    monkeypatch.setattr(contest_folder, "BLOCK", 48)
    rules = make_rules(48 + 16)
    play(tmp_path / "whole", [genesis, shorter], rules)

    class StoppedError(Exception):
        pass

    def stop(line):
        raise StoppedError(line)

    loaded = []
    for _ in range(4):  # two blocks of two contestants
        with pytest.raises(StoppedError):
            play(tmp_path / "cut", [genesis, shorter], rules, loaded=loaded, say=stop)
        assert not (tmp_path / "cut" / "data").exists()
    play(tmp_path / "cut", [genesis, shorter], rules, loaded=loaded)
    assert loaded == [GENESIS, GENESIS, shorter.folder, shorter.folder]
    names = sorted(p.relative_to(tmp_path / "cut") for p in (tmp_path / "cut").rglob("*.*"))
    assert len(names) == 7
    for name in names:
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_preferences_are_what_a_reader_of_dpo_expects(genesis, shorter, tmp_path):
    played = play(tmp_path / "c", [genesis, shorter], make_rules(120))
    rows = pq.read_table(tmp_path / "c" / "data" / "preferences.parquet").to_pylist()
    assert len(rows) == played.preferences > 0
    for row in rows:
        assert list(row)[:3] == ["prompt", "chosen", "rejected"]
        assert row["chosen"] != row["rejected"]
        assert row["chosen"].startswith(row["rejected"])  # it was cut off
        assert row["chosen_checkpoint"] == genesis.digest.hex()
        assert row["decided_by"] == "scorer"
    assert f"{len(rows)} pairs" in (tmp_path / "c" / "README.md").read_text()


@pytest.mark.slow
def test_trl_learns_from_them(genesis, shorter, tmp_path):
    """`datasets` reads the folder, and TRL's `DPOTrainer`, unmodified, does a step on it."""
    pytest.importorskip("trl", reason="TRL is of the extra `train`")
    import datasets
    from trl import DPOConfig, DPOTrainer

    from assay.training.genesis_model import make_tokenizer

    out = tmp_path / "c"
    play(out, [genesis, shorter], make_rules(120))
    loaded = datasets.load_dataset(str(out), split="train", cache_dir=str(tmp_path / "cache"))
    config = DPOConfig(
        output_dir=str(tmp_path / "dpo"),
        use_cpu=True,
        bf16=False,
        report_to=[],
        max_steps=1,
        per_device_train_batch_size=2,
        save_strategy="no",
    )
    model = load_checkpoint(GENESIS).load_trainable()
    before = model.lm_head.weight.detach().clone()
    trainer = DPOTrainer(
        model,
        ref_model=load_checkpoint(GENESIS).load_plain(),  # it would ask a hub for one
        args=config,
        train_dataset=loaded,
        processing_class=make_tokenizer(),
    )
    assert trainer.train().training_loss > 0
    assert not torch.equal(before, model.lm_head.weight)


def test_a_folder_is_one_contests(genesis, shorter, tmp_path):
    rules, both = make_rules(8), [genesis.digest, shorter.digest]
    digest = ENVIRONMENT.digest
    place = tmp_path / "c"
    folder = ContestFolder(place, rules, digest, both)
    ContestFolder(place, rules, digest, both)
    for other, word in (
        ((replace(rules, seed=1), digest, both), "seed"),
        ((replace(rules, levels=(6,)), digest, both), "levels"),
        ((rules, bytes(32), both), "environment"),
        ((rules, digest, both[::-1]), "checkpoints"),
    ):
        with pytest.raises(ContestError, match=f"other {word}: name another folder"):
            ContestFolder(place, *other)
    with hold_folder(place), pytest.raises(ContestError, match="is in use"):
        play(place, [genesis, shorter], rules)
    for name, data in (
        ("answers/0/000000.json", b"[["),
        ("answers/0/000000.json", json.dumps([["text", 1]] * 8).encode()),
        ("answers/0/000000.json", json.dumps([["text", True]]).encode()),
        ("answers/0/000000.json", b'{"a": 1}'),
    ):
        (place / "answers" / "0").mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
        with pytest.raises(ContestError, match="is damaged: delete it"):
            folder.read_answers(0, range(8))
    (place / "contest.json").write_bytes(b"\xff")
    with pytest.raises(ContestError, match="damaged"):
        ContestFolder(place, rules, digest, both)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(ContestError, match="holds other things"):
        ContestFolder(tmp_path / "other", rules, digest, both)
