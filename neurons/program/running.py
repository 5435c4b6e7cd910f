"""A neuron as a program: opens its log, metrics and session, and runs its loop until it is asked to
stop. Each neuron's `program.py` puts its own parts between the two."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from assay.artifacts.status.program import LoopStatus, NetworkStatus, ProgramStatus
from assay.neurons.ports import Neuron
from assay.neurons.program.counters import LoopHooks
from assay.neurons.program.logs import log_lines, wants_json
from assay.neurons.program.loop import ProgramLoop, catch_signals
from assay.neurons.program.metrics_server import serve_metrics
from assay.neurons.program.neuron import NetworkMonitor, NeuronSession, join_network
from assay.neurons.program.software import get_software
from assay.neurons.program.status import describe_program
from assay.settings.placing import open_placement
from assay.settings.sections import MinerSettings, Settings, TrainerSettings, ValidatorSettings

logger = logging.getLogger("assay")

#: Returns a program's status.json: the network's fields, its own, and those of its loop, see
#: `ProgramLoop`.
Describe = Callable[[NetworkStatus, Callable[[], LoopStatus]], ProgramStatus]


@contextmanager
def open_program(
    settings: Settings,
    program_settings: MinerSettings | ValidatorSettings | TrainerSettings,
    kind: str,
    as_json: bool,
    quiet: bool,
) -> Iterator[tuple[NeuronSession, LoopHooks]]:
    """Open a program's log, metrics and session, for as long as it runs.

    Args:
        program_settings: its section. kind: the program.
        as_json: log lines are JSON. quiet: there are none but of problems.
    """
    placement = open_placement(settings.compute)
    with (
        log_lines(wants_json(settings, as_json), quiet, program=kind),
        serve_metrics(settings.metrics.listen, kind, settings.metrics.hosts) as note,
        join_network(settings, program_settings.dir, kind, placement) as session,
    ):
        _ = session.account.wallet.hotkey  # asks for its password now, and not in a window
        yield session, LoopHooks(note=note)


def run_program(
    session: NeuronSession,
    neuron: Neuron,
    describe: Describe,
    network: NetworkMonitor,
    as_json: bool,
    watch: LoopHooks,
    stop: threading.Event | None = None,
) -> None:
    """Run the loop until it is asked to stop.

    Args:
        describe: see `Describe`.
        as_json: print the last status.json at the end.
        stop: asks to stop; None: Ctrl-C and SIGTERM do.
    """
    program = neuron.name, get_software(), session.account.hotkey
    around = session.sources.checkpoints, session.beacons, network.seen
    begun = session.parameters

    def describe_all(loop: Callable[[], LoopStatus]) -> ProgramStatus:
        head = network.seen.head
        parameters = begun if head is None else session.history.get_at(head.number)
        return describe(describe_program(*program, parameters, *around), loop)

    network.require_seat()
    signals = catch_signals(session.chain.stop_retrying) if stop is None else nullcontext(stop)
    with signals as asked:
        ProgramLoop(neuron, session.folder, asked, describe_all, network.check, watch).run()
    logger.info("stopped on request; the same command continues", extra={"event": "stopped"})
    if as_json:
        print((session.folder / "status.json").read_text())
