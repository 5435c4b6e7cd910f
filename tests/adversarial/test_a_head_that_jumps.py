"""A head that jumps by millions of blocks, by a lie or after long: nothing is walked through."""

from assay.network.chain.errors import ForgottenError
from assay.protocol.window import compute_window
from tests.adversarial.mortal import TIMING, Mortal
from tests.adversarial.trainer_bench import Bench, Calls

#: Blocks: some 38 years of them.
JUMP = 100_000_000


class Jumped:
    """A chain whose head may have jumped; nothing before it is known any more then."""

    def __init__(self, chain):
        self._chain = chain
        self.jumped = False
        self.asked = 0

    def __getattr__(self, name):
        forgotten = "get_block", "get_members", "get_commitments", "is_epoch"
        return self._forget if self.jumped and name in forgotten else getattr(self._chain, name)

    def get_head(self):
        return JUMP if self.jumped else self._chain.get_head()

    def _forget(self, *_):
        self.asked += 1
        raise ForgottenError("state is discarded")


class Misled(Mortal):
    """A validator, and nobody else, before such a chain."""

    def look(self, chain):
        self.seen = Jumped(chain)
        return self.seen


def test_the_validator_passes_over_what_is_forgotten_at_once(tmp_path, monkeypatch):
    mortal = Misled(tmp_path, monkeypatch)
    mortal.play(20)
    mortal.seen.jumped = True
    for _ in range(400):
        mortal.validator.step()
    assert mortal.validator.next_window > compute_window(TIMING, JUMP) - 100
    assert mortal.seen.asked < 1_000


def test_the_trainer_passes_over_what_is_forgotten_at_once(fresh_world, tmp_path):
    bench = Bench(fresh_world, tmp_path, Calls())
    bench.step()
    bench.chain = chain = Jumped(bench.chain)
    bench.start(last_window=None)
    bench.step()
    chain.jumped = True
    for _ in range(3):
        bench.trainer.step()
    now = compute_window(fresh_world.parameters.timing, JUMP)
    assert bench.trainer.course.window > now - 100
    assert len(bench.said) < 20
