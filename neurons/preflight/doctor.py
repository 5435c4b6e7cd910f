"""Opens everything that a program would open, and reports each problem."""

from collections.abc import Callable
from contextlib import suppress

from assay.network.beacon import QUICKNET_ENDPOINTS
from assay.network.beacon.relay_clock import ClockReading, read_relay_clocks
from assay.network.chain.subtensor import SubtensorChain
from assay.network.text import name_host
from assay.neurons.preflight.check_results import CheckState, Note, OpenAttempt, PreflightCheck
from assay.neurons.preflight.clock import find_offset, judge_clock, read_block_clock
from assay.protocol.errors import OperatorError
from assay.session.resources import now_ms
from assay.session.session import Session


def diagnose(session: Session, role: str, show: Note, load: Callable[[], None]) -> bool:
    """Check everything that the program of a role needs. Return whether nothing must be fixed.

    Args:
        show: gets each finding, as soon as it is known.
        load: called before PyTorch is loaded, which takes seconds.
    """
    results: list[PreflightCheck] = []

    def note(*checks: PreflightCheck) -> None:
        results.extend(checks)
        show(*checks)

    chain = _look_at_clock(session, note)
    clock = results[0].state
    is_off = clock is CheckState.FAIL
    load()
    from assay.neurons.preflight.examination import examine, list_hidden
    from assay.neurons.preflight.machine_fences import check_fences
    from assay.neurons.preflight.machine_sandbox import check_sandbox
    from assay.neurons.preflight.surroundings import open_surroundings

    # a wrong clock would make parameters and chain fail
    around = open_surroundings(
        session,
        role,
        OpenAttempt(note),
        None if is_off else chain,
        is_clock_right=clock is CheckState.OK,
    )
    for check in examine(around, now_ms()):
        note(check)
    rules = around.parameters
    note(check_fences())
    note(check_sandbox(None if rules is None else rules.environment))
    faults = [check for check in results if check.state is CheckState.FAIL]
    first = "fix the other problems" if faults else "wait for the checkpoint"
    first = "set the clock first" if is_off else first
    note(*list_hidden(role, results, f"{first}, then check again"))
    return all(check.state is not CheckState.FAIL for check in results)


def _look_at_clock(session: Session, note: Note) -> SubtensorChain | None:
    """Check the clock first: by relays, and by the chain if these do not decide. Return the chain,
    or None if it cannot be opened."""
    urls = session.settings.beacon.endpoints or QUICKNET_ENDPOINTS
    failures: list[PreflightCheck] = []
    try:
        readings = read_relay_clocks(urls, now_ms)
    except OperatorError:  # the opening of relays reports such an address
        readings = []
    settled = find_offset(readings) is not None
    if settled:
        note(judge_clock(readings))
    opening = OpenAttempt(failures.append)
    remedy = "fix the node, or name another node"
    chain = opening.open("chain", remedy, lambda: session.chain)
    if not settled:
        if chain is not None:
            with suppress(OperatorError):  # the check of the chain reports it
                readings.append(_read_block_clock(session, chain))
        note(judge_clock(readings))
    note(*failures)
    return chain


def _read_block_clock(session: Session, chain: SubtensorChain) -> ClockReading:
    """The clock of the node's newest block."""
    network = session.settings.chain.network
    place = name_host(network) if "://" in network else network
    return read_block_clock(place, chain.get_time_ms(), now_ms())
