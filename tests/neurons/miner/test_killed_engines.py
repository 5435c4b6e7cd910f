"""kill −9 of a server, of the miner, or of both, in the middle of a window.

The server is a process of its own and a simulation, see `engine_server`; the miner is ended at a
request, and another one starts on its folder.
"""

import subprocess
from pathlib import Path

import pytest

from assay.neurons.miner.engines import MinerEngines, engine
from assay.neurons.miner.engines import drafter as engine_drafter
from assay.neurons.miner.engines.engine import read_engine
from assay.neurons.miner.miner import Miner, MinerConfig
from assay.protocol.window import Phase, compute_block
from assay.training import GENESIS
from tests.commands import PRELOADED
from tests.neurons.miner_bench import Killed

ROOT = Path(__file__).parents[3]
CONFIG = MinerConfig(2, 1)
POINTS, FATES = 10, ("server", "miner", "both")
_PATIENCE_S = 60.0


_SERVE = (
    "import sys; sys.path.append(sys.argv[1])\n"
    "from tests.neurons.miner.engines.engine_server import serve\n"
    "serve(sys.argv[2], int(sys.argv[3]))"
)


class Server:
    """A process that serves on one port, and can be killed and started again."""

    def __init__(self):
        self.port = 0
        self.start()

    def start(self):
        arguments = [str(ROOT), str(GENESIS), str(self.port)]
        self.process = PRELOADED.popen(_SERVE, arguments, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}"

    def kill(self):
        self.process.kill()
        self.process.wait(_PATIENCE_S)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def server():
    serving = Server()
    yield serving
    serving.kill()


def run_window(subnet, server, at=None, fate=None):
    """Mines a window; the number of requests to the server, and whether somebody died: before one
    of them, or after it where `at` is odd."""
    asked, died, honest = 0, False, engine.Engine.draft

    def die():
        nonlocal died
        died = True
        if fate != "miner":
            server.kill()
            server.start()
        if fate != "server":
            raise Killed

    async def draft(self, *given):
        nonlocal asked
        asked += 1
        is_last, is_late = asked == at, asked % 2
        if is_last and not is_late:
            die()
        answer = await honest(self, *given)
        if is_last and is_late:
            die()
        return answer

    def start():
        engines = MinerEngines([read_engine(server.url)], exact=True)
        return subnet.start(Miner, engines=engines)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(engine.Engine, "draft", draft)
        patched.setattr(engine_drafter, "RETRY_S", 0.0)
        patched.setattr(engine_drafter, "PATIENCE_S", 60.0)  # a busy machine is slow
        miner = start()
        last = compute_block(subnet.parameters.timing, 0, Phase.COMMIT)
        while subnet.chain.get_head() < last:
            subnet.chain.mint()
            more = True
            while more:
                try:
                    more = miner.step()
                except (Killed, BaseExceptionGroup):
                    miner = start()
    return asked, died


def get_result(subnet):
    """The content of the chain's slot and of the store."""
    slot = subnet.get_slot(compute_block(subnet.parameters.timing, 0, Phase.COMMIT))
    return slot, subnet.get_file(0)


@pytest.fixture(scope="module")
def found():
    """The result of an undisturbed window, and its requests, from the first test that asks."""
    return []


@pytest.mark.parametrize("fate", FATES)
@pytest.mark.parametrize("point", range(POINTS))
def test_killed_in_the_middle_of_a_window(make_subnet, server, found, point, fate):
    if not found:
        undisturbed, alone = make_subnet(CONFIG), make_subnet(CONFIG)
        asked, _ = run_window(undisturbed, server)
        alone.run_to(alone.start(), compute_block(alone.parameters.timing, 0, Phase.COMMIT))
        assert get_result(undisturbed) == get_result(alone)  # as without the other drafter
        found += [asked, get_result(undisturbed)]
        assert asked > 2 * POINTS
    subnet = make_subnet(CONFIG)
    _, died = run_window(subnet, server, 1 + point * found[0] // POINTS, fate)
    assert died
    assert get_result(subnet) == found[1]
