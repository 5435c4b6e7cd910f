"""Checks that a record uses the parameters that held for its window, according to the slot of the
owner, or of the amender that the parameters name."""

from dataclasses import replace
from functools import partial

from assay.artifacts.discovery import fetch_parameters, fetch_predecessors, read_amendment
from assay.artifacts.store_objects import UnavailableError
from assay.audit.findings import FORGOTTEN, Aspect, Findings
from assay.audit.ports import Public
from assay.environments.registry import open_environment
from assay.network.chain.errors import ForgottenError
from assay.network.chain.ports import BlockReader
from assay.network.store.base import StoreError
from assay.protocol.amendment import (
    ParameterHistory,
    UnknownParametersError,
    compute_decision_block,
    find_amendment_fault,
)
from assay.protocol.commitment import Commitment
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.parameters import Parameters


def choose_parameters(public: Public, window: int, findings: Findings) -> Public | None:
    """The inputs with a window's parameters. None if they cannot be read here; `findings` then says
    why."""
    try:
        return replace(public, parameters=public.history.get(window))
    except UnknownParametersError as error:
        findings.miss(Aspect.PARAMETERS, str(error))
        return None


def check_parameters(
    public: Public, record_digest: bytes, window: int, number: int, findings: Findings
) -> Public | None:
    """Check that a record uses the parameters that held for a window.

    Args:
        window: the last window of the record.
        number: the block whose state shows the network at that time.

    Returns:
        The inputs for the further checks: with the window's parameters, or with the former
        network's if the owner has replaced the whole network since; None if these are
        unavailable. A change of the network, and verdicts before it, are no lie.
    """
    then = choose_parameters(public, window, findings)
    if then is None or not is_decided_so(then, findings):
        return None
    identity = public.history.first.identity
    is_known = record_digest in _list_digests(public.history)
    try:
        slot = read_amendment(public.chain, identity, number)
        if slot is None and identity.amender != ZERO_DIGEST:
            if is_known:  # an amender need not announce anything, and nobody else can
                _compare_parameters(then, record_digest, window, findings)
                return then
            # before it, its owner's slot named another network
            slot = read_amendment(public.chain, replace(identity, amender=ZERO_DIGEST), number)
    except ForgottenError:
        if is_known:
            _compare_parameters(then, record_digest, window, findings)
            return then
        findings.miss(
            Aspect.PARAMETERS,
            f"it used {record_digest.hex()[:16]}…, and whether these were the network's then: "
            + FORGOTTEN.format(number),
        )
        return None
    if slot is None:
        findings.differ(
            Aspect.PARAMETERS, f"the owner had published no parameters at block {number}"
        )
        findings.look(Aspect.PARAMETERS)
        return then
    if _was_decided(public, slot, record_digest, window):
        findings.miss(
            Aspect.PARAMETERS,
            f"it used {record_digest.hex()[:16]}…, which the {_name_amender(then.parameters)}'s "
            "slot had named where that was decided; it has led elsewhere since, and nothing of it "
            "is derived again",
        )
        return None
    if slot.digest in _list_digests(public.history):
        _compare_parameters(then, record_digest, window, findings)
        return then
    if not slot.number and slot.digest != record_digest:  # another network's first parameters
        findings.differ(
            Aspect.PARAMETERS,
            f"the owner had published parameters {slot.digest.hex()[:16]}… at block {number}, and "
            f"the record used {record_digest.hex()[:16]}…",
        )
        findings.look(Aspect.PARAMETERS)
        return then
    return _look_at_slot(then, slot, record_digest, window, number, findings)


def is_decided_so(public: Public, findings: Findings) -> bool:
    """Return whether the current parameters hold by the content of the amender's slot at their
    decision."""
    start, digest = public.parameters.start, public.parameters.digest
    before = next((p for p in public.history.all if p.digest == start.predecessor), None)
    if before is None:  # the network's first
        return True
    number = compute_decision_block(before, start.window)
    try:
        slot = read_amendment(public.chain, before.identity, number)
    except ForgottenError:
        note = (
            f"that parameters {digest.hex()[:16]}… hold from window {start.window} on is their "
            f"{_name_amender(before)}'s word: " + FORGOTTEN.format(number)
        )
        if note not in findings.notes:
            findings.notes.append(note)
        return True
    if slot is not None and (slot.digest, slot.number) == (digest, start.window):
        return True
    findings.miss(
        Aspect.PARAMETERS,
        f"those looked with here, {digest.hex()[:16]}…, were not in the {_name_amender(before)}'s "
        f"slot at block {number}, which decides what holds from window {start.window} on",
    )
    return False


def _name_amender(parameters: Parameters) -> str:
    return "owner" if parameters.identity.amender == ZERO_DIGEST else "amender"


def _was_decided(public: Public, slot: Commitment, digest: bytes, window: int) -> bool:
    """Return whether unknown parameters still hold for a window: their amender's slot had named
    them until their decision, and then others that do not lead to them. A later program cannot
    know."""
    known = {parameters.digest: parameters for parameters in public.history.all}
    if digest in known or public.rules is None:
        return False
    try:
        path = fetch_predecessors(partial(fetch_parameters, public.rules(slot)), digest, known)
    except (StoreError, UnavailableError):
        return False
    before = known.get(path[0].start.predecessor)
    for parameters in path:
        if before is None or parameters.start.window > window:
            return False
        decision = compute_decision_block(before, parameters.start.window)
        if find_amendment_fault(before, parameters) is not None or not _was_named(
            public.chain, parameters, decision
        ):
            return False
        before = parameters
    return True


def _compare_parameters(
    public: Public, record_digest: bytes, window: int, findings: Findings, network: str = ""
) -> None:
    """Compare a record's parameters with those of its window, which are known."""
    findings.look(Aspect.PARAMETERS)
    digest, known = public.parameters.digest, public.history.all
    if record_digest == digest:
        return
    place = next((n for n, p in enumerate(known) if p.digest == record_digest), None)
    if place is None:
        when = ""
    elif known[place].start.window > window:
        when = f", which hold from window {known[place].start.window} on"
    else:
        when = f", which held up to window {known[place + 1].start.window - 1}"
    findings.differ(
        Aspect.PARAMETERS,
        f"parameters {digest.hex()[:16]}… hold for window {window}{network}, and the record used "
        f"{record_digest.hex()[:16]}…{when}",
    )


def _list_digests(history: ParameterHistory) -> set[bytes]:
    return {parameters.digest for parameters in history.all}


def _look_at_slot(
    public: Public,
    slot: Commitment,
    record_digest: bytes,
    window: int,
    number: int,
    findings: Findings,
) -> Public | None:
    """The same as `check_parameters` where the owner's slot named unknown parameters at a block:
    the owner had announced an amendment that did not hold, or the network was another one."""
    known = _list_digests(public.history)
    path: list[Parameters] = []
    problem: str | None = "no store is asked for them"
    if public.rules is not None:
        try:
            path = fetch_predecessors(
                partial(fetch_parameters, public.rules(slot)), slot.digest, known
            )
            problem = None
        except (StoreError, UnavailableError) as error:
            problem = str(error)
    if path and path[0].start.predecessor in known:
        _compare_parameters(public, record_digest, window, findings)
        return public
    if (
        problem is not None and record_digest in known
    ):  # a program that lacks them continues without
        findings.notes.append(
            f"what the owner's slot named at block {number}, {slot.digest.hex()[:16]}…, is not "
            f"looked at: {problem}"
        )
        _compare_parameters(public, record_digest, window, findings)
        return public
    then = public
    if path:
        try:
            then = _look_back(public, path, window)
        except ValueError as error:
            problem = str(error)
    if problem is not None:
        findings.miss(
            Aspect.PARAMETERS,
            f"it used {record_digest.hex()[:16]}…, and the network's were "
            f"{slot.digest.hex()[:16]}… at block {number}; those looked with here are "
            f"{public.parameters.digest.hex()[:16]}…, and nothing of it is derived "
            f"again: {problem}",
        )
        return None
    _compare_parameters(then, record_digest, window, findings, " of the network of then")
    return then


def _look_back(public: Public, path: list[Parameters], window: int) -> Public:
    """The inputs of a network that the owner has since replaced, as far as blocks and beacons mean
    the same by its parameters as by the current ones. The chain binds their digests. Raises a
    ValueError: nothing can be derived by them."""
    history = ParameterHistory(path[0])
    for parameters in path[1:]:
        decision = compute_decision_block(history.latest, parameters.start.window)
        if parameters.start.window > window or not _was_named(public.chain, parameters, decision):
            break
        history.add(parameters)
    then, now = history.get(window), public.parameters
    chains = [(p.identity.genesis_hash, p.identity.netuid) for p in (then, now)]
    if chains[0] != chains[1] or (then.timing, then.beacon) != (now.timing, now.beacon):
        raise ValueError("they are another network's, or have other windows or beacons")
    open_environment(then.environment)  # of an older version, or with a file that is not here
    return replace(public, parameters=then, history=history)


def _was_named(chain: BlockReader, parameters: Parameters, number: int) -> bool:
    """Return whether their amender's slot named parameters at a block. If no node has that state
    any more, trust the amender."""
    try:
        slot = read_amendment(chain, parameters.identity, number)
    except ForgottenError:
        return True
    named = parameters.digest, parameters.start.window
    return slot is not None and (slot.digest, slot.number) == named
