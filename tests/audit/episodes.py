"""Networks of episodes, and miners who forge them."""

import shutil
from dataclasses import replace

from assay.network.files import write_json
from assay.neurons.miner.miner import Miner
from assay.protocol.context import context_to_json
from assay.protocol.reason import Reason
from assay.protocol.record import make_record_context
from assay.protocol.ss58 import encode_ss58
from assay.protocol.submission import Rollout
from assay.subnet.presets import DEMO_WORK, parse_environment
from tests.audit.audited import EPOCHS, LIAR, play_network, read_window

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


#: Group size; audited, valued and sampled rollouts.
SIZES = (3, 2, 1, 1)
EPISODES = {"turns": 6, "context": 512, "reply_bytes": 64, "paid_reply": 4_000}
#: Name → reason in each window.
FORGED = {
    "alice": Reason.ACCEPTED,
    "bob": Reason.WRONG_TERMINATION,
    "mallory": Reason.SKETCH_MISMATCH,
}


def play_episodes(folder, world, epochs=EPOCHS[:1], windows=range(1), groups=2, sizes=SIZES):
    """A network as `audited.py` plays it, of an honest miner and two who forge their episodes."""
    names = "group_size", "audited_rollouts", "valued_groups", "sampled_rollouts"
    return play_network(
        folder,
        epochs=epochs,
        windows=windows,
        miners={"alice": Miner, "bob": SilencedMiner, "mallory": MishearingMiner},
        groups=groups,
        environment=parse_environment(world),
        work=replace(DEMO_WORK, **dict(zip(names, sizes, strict=True)), **EPISODES),
    )


def write_run(network, folder):
    """The network's only window, as a validator's folder has it."""
    shutil.copytree(network.folder / "store", folder / "store")
    shutil.copytree(network.folder / "models", folder / "models")
    address = encode_ss58(LIAR)
    shutil.copytree(network.folder / "records" / address, folder / "record" / address)
    record = read_window(network.records, 0)
    context = make_record_context(record, network.history.get(0))
    write_json(folder / "contexts" / "window-0.json", context_to_json(context))
