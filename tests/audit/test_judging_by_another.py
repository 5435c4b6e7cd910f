"""Networks whose owners ask in their own manner, and networks of episodes, judged again by the
JavaScript."""

import json
from dataclasses import replace

import pytest

from assay.inference import load_checkpoint
from assay.inference.folder import digest_tokenizer, verify_manifest
from assay.neurons.miner.miner import Miner
from assay.protocol import Domain, Reason, Rollout, hash_fields
from assay.protocol.encoding import to_json
from assay.protocol.manifest import start_levels
from assay.protocol.parameters import Prompts, PromptText
from assay.subnet.presets import DEMO_WORK, parse_environment
from tests.audit.audited import EPOCHS, HOTKEYS, WINDOWS, play_network, read_window
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


#: What a world of `guess` says, and what another number would have made it say.
OPPOSITES = {"higher\n": "lower\n", "lower\n": "higher\n"}


class Misheard:
    """A tokenizer to which worlds say something else."""

    def __init__(self, tokenizer):
        self._tokenizer = tokenizer

    def __getattr__(self, name):
        return getattr(self._tokenizer, name)

    def encode_reply(self, content, frame, most_bytes):
        return self._tokenizer.encode_reply(OPPOSITES.get(content, "?\n"), frame, most_bytes)


class MishearingMiner(Miner):
    """Plays its episodes, and proves them, with replies that no world gave."""

    def make_request(self, work, index):
        request = super().make_request(work, index)
        tokenizer = Misheard(request.play.tokenizer)
        return replace(request, play=replace(request.play, tokenizer=tokenizer))


class SilencedMiner(Miner):
    """Leaves out the last turn of each episode that has several."""

    def generate(self, work, indices):
        ends = work.checkpoint.manifest.end_tokens
        return [
            [self._leave_out(rollout, ends) for rollout in group]
            for group in super().generate(work, indices)
        ]

    def _leave_out(self, rollout, ends):
        turns = [t + 1 for t, token in enumerate(rollout.tokens[:-1].tolist()) if token in ends]
        kept = turns[-1] if turns else len(rollout.tokens)
        return Rollout(rollout.tokens[:kept], rollout.logprobs[:kept], rollout.sketch[:kept])


EPISODES = {"turns": 6, "context": 512, "reply_bytes": 64, "paid_reply": 4_000}
#: Name → reason in each window.
FORGED = {
    "alice": Reason.ACCEPTED,
    "bob": Reason.WRONG_TERMINATION,
    "mallory": Reason.SKETCH_MISMATCH,
}


@pytest.mark.parametrize(
    ("world", "epochs", "groups", "sizes", "values"),
    [
        ("guess", EPOCHS[:1], 2, (3, 2, 1, 1), 60),
        pytest.param("codes", EPOCHS, 5, (4, 3, 2, 1), 200, marks=pytest.mark.nightly),
    ],
    ids=["a window of guess", "codes"],
)
def test_episodes_and_their_forgers_are_judged_alike(
    world, epochs, groups, sizes, values, tmp_path
):
    """Each forger is named by the same test, and honest episodes are paid the same."""
    names = "group_size", "audited_rollouts", "valued_groups", "sampled_rollouts"
    windows = range(1 if len(epochs) == 1 else len(WINDOWS))
    network = play_network(
        tmp_path,
        epochs=epochs,
        windows=windows,
        miners={"alice": Miner, "bob": SilencedMiner, "mallory": MishearingMiner},
        groups=groups,
        environment=parse_environment(world),
        work=replace(DEMO_WORK, **dict(zip(names, sizes, strict=True)), **EPISODES),
    )
    for number in windows:
        found = read_window(network.records, number)
        rows = {row.hotkey: row.reason for row in found.members}
        assert {name: rows[HOTKEYS[name]] for name in FORGED} == FORGED
    assert network.export(tmp_path / "bundle").matched
    done = judge(tmp_path / "bundle", network.models)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[0]) > values
