"""Networks whose owners ask in their own manner, and networks of episodes, judged again by the
JavaScript."""

import json
from dataclasses import replace

import pytest

from assay.inference.checkpoint import load_checkpoint
from assay.inference.folder import digest_tokenizer, verify_manifest
from assay.protocol.encoding import to_json
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.manifest import start_levels
from assay.protocol.parameters import Prompts, PromptText
from assay.subnet.presets import DEMO_WORK
from tests.audit.audited import EPOCHS, HOTKEYS, WINDOWS, play_network, read_window
from tests.audit.episodes import FORGED, SIZES, play_episodes
from tests.protocol.test_second_implementation import NODE, judge
from tests.small_genesis import make_small_genesis
from tests.vectors.subjects import choose

pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed")

#: A template that this model has ids for, by which nothing is as it is without one.
TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}\n{% endfor %}{{ mark }}"


def make_templated(folder):
    """A checkpoint with a template and a BOS, and with `gsm`'s levels in force."""
    make_small_genesis(folder, levels=start_levels((1, 2)))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings |= {"bos_token": "^", "chat_template": TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    manifest = replace(
        verify_manifest(folder),
        tokenizer=digest_tokenizer(folder),
        chat_template=hash_fields(Domain.CHAT_TEMPLATE, TEMPLATE.encode()),
    )
    (folder / "manifest.json").write_text(json.dumps(to_json(manifest)))


@pytest.mark.parametrize(
    ("settings", "texts"),
    [
        (
            {"answer_form": 1, "bos": 1},
            {"arguments": '{"mark":"<a>"}', "before": "Q: ", "system": "Be brief."},
        ),
        ({"answer_form": 2, "plain": 1}, {}),
    ],
    ids=["templated", "plain"],
)
def test_owners_ask_in_their_own_manner(settings, texts, tmp_path):
    """A network with a template, prompts, boxes and a BOS, and one without them."""
    records = (Prompts("gsm", tuple(PromptText(*one) for one in texts.items())),) if texts else ()
    sizes = {"group_size": 4, "audited_rollouts": 2, "valued_groups": 1, "sampled_rollouts": 1}
    make_templated(tmp_path / "genesis")
    network = play_network(
        tmp_path,
        epochs=(48,),
        windows=range(2),
        first=load_checkpoint(tmp_path / "genesis"),
        environment=choose("gsm", settings, records),
        work=replace(DEMO_WORK, **sizes),
    )
    assert network.export(tmp_path / "bundle").matched
    done = judge(tmp_path / "bundle", network.models)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[0]) > 60


@pytest.mark.parametrize(
    ("world", "epochs", "groups", "sizes", "values"),
    [
        ("guess", EPOCHS[:1], 2, SIZES, 60),
        pytest.param("codes", EPOCHS, 5, (4, 3, 2, 1), 200, marks=pytest.mark.nightly),
    ],
    ids=["a window of guess", "codes"],
)
def test_episodes_and_their_forgers_are_judged_alike(
    world, epochs, groups, sizes, values, tmp_path
):
    """Each forger is named by the same test, and honest episodes are paid the same."""
    windows = range(1 if len(epochs) == 1 else len(WINDOWS))
    network = play_episodes(tmp_path, world, epochs, windows, groups, sizes)
    for number in windows:
        rows = {row.hotkey: row.reason for row in read_window(network.records, number).members}
        assert {name: rows[HOTKEYS[name]] for name in FORGED} == FORGED
    assert network.export(tmp_path / "bundle").matched
    done = judge(tmp_path / "bundle", network.models)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[0]) > values
