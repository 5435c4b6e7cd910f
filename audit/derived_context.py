"""What the chain says of a window, as the audit gets it: from state where a node still has it, else
from what old blocks and later state prove, else at the validator's word, which is then said.

Where state is there, the functions are the validators' own (`assay.neurons.session.window_reader`).
"""

from dataclasses import replace
from functools import partial

from assay.artifacts.discovery import fetch_parameters, fetch_predecessors
from assay.artifacts.store_objects import UnavailableError
from assay.audit.findings import Aspect, Findings
from assay.audit.ports import Public, PublicChain
from assay.environments import open_environment
from assay.network.chain import ForgottenError
from assay.network.chain.block_bodies import find_signed
from assay.network.store import StoreError
from assay.neurons.session.window_reader import (
    BeaconError,
    get_beacon,
    get_checkpoint_digest,
    get_steady_members,
    get_window_commitments,
    select_commitments,
)
from assay.protocol import (
    Beacon,
    Block,
    Commitment,
    Committed,
    Context,
    Member,
    Parameters,
    Phase,
    Tag,
    encode_ss58,
    parse_commitment,
)
from assay.protocol.amendment import (
    ParameterHistory,
    UnknownParametersError,
    compute_decision_block,
    find_amendment_fault,
)
from assay.protocol.beacon import is_valid_beacon
from assay.protocol.record import Moment, WindowRecord, make_record_context
from assay.protocol.window import compute_block, compute_round

#: What is said where a node had forgotten a block's state.
FORGOTTEN = "the nodes asked have forgotten block {}'s state: it needs an archive endpoint"


def derive_context(public: Public, record: WindowRecord, found: Findings) -> Context | None:
    """The window's context by public data, and in `found` where the record differs from it; None
    where the record names no inputs. What cannot be derived is the record's.

    Raises:
        ChainError: the chain cannot be read.
    """
    context = make_record_context(record, public.parameters)
    if context is None:
        return None
    challenge_block, challenge = _derive_moment(public, record, context, Phase.CHALLENGE, found)
    audit_block, audit = _derive_moment(public, record, context, Phase.AUDIT, found)
    sample_block, sample = context.sample_block, context.sample
    if record.sample is not None:
        sample_block, sample = _derive_moment(public, record, context, Phase.SAMPLE, found)
    members = _derive_members(public.chain, record, context, found)
    return replace(
        context,
        challenge_block=challenge_block,
        challenge=challenge,
        audit_block=audit_block,
        audit=audit,
        sample_block=sample_block,
        sample=sample,
        checkpoint=_derive_checkpoint(public, record, found),
        members=members if record.audit is not None else {},
        commitments=_derive_commitments(public.chain, record, context, found),
    )


def _derive_moment(
    public: Public, record: WindowRecord, context: Context, phase: Phase, found: Findings
) -> tuple[Block, Beacon]:
    """The block of a phase and the beacon it names."""
    parameters, name = public.parameters, phase.name.lower()
    number = compute_block(parameters.timing, record.window, phase)
    block = public.chain.get_block(number)
    said = {
        Phase.CHALLENGE: record.challenge,
        Phase.AUDIT: record.audit,
        Phase.SAMPLE: record.sample,
    }[phase]
    if said is None:  # it abstained, and what it did not know binds nobody
        found.notes.append(f"the record names no {name} block")
        return block, context.challenge
    found.look(Aspect.BLOCKS)
    if said.block_hash != block.hash:
        found.differ(
            Aspect.BLOCKS,
            f"the {name} block {number} has hash {block.hash.hex()[:16]}…, and the record says "
            f"{said.block_hash.hex()[:16]}…",
        )
    if said.timestamp_ms != block.timestamp_ms:
        found.differ(
            Aspect.BLOCKS,
            f"the {name} block {number} was made at {block.timestamp_ms} ms, and the record says "
            f"{said.timestamp_ms}",
        )
    return block, _derive_beacon(public, said, block, name, found)


def _derive_beacon(
    public: Public, said: Moment, block: Block, name: str, found: Findings
) -> Beacon:
    """The record's beacon where it is the right one: a signature has one valid value for a round,
    so nothing need be asked for. Else the one that should stand there."""
    timing, chain = public.parameters.timing, public.parameters.beacon
    due = compute_round(timing, chain, block.timestamp_ms)
    found.look(Aspect.BEACONS)
    if said.beacon.round != due:
        found.differ(
            Aspect.BEACONS,
            f"block {block.number} names beacon round {due} for the {name}, and the record used "
            f"round {said.beacon.round}",
        )
    elif is_valid_beacon(chain, said.beacon):
        return said.beacon
    else:
        found.differ(
            Aspect.BEACONS,
            f"the {name} beacon's signature of round {due} is not the pinned beacon chain's",
        )
    try:
        right = get_beacon(public.beacons, public.parameters, block)
    except BeaconError as error:
        right = None
        found.miss(Aspect.BEACONS, str(error))
    return said.beacon if right is None else right


def _derive_checkpoint(public: Public, record: WindowRecord, found: Findings) -> bytes:
    parameters = public.parameters
    try:
        digest = get_checkpoint_digest(public.chain, parameters, record.window)
    except ForgottenError:
        lead = compute_block(parameters.timing, record.window, Phase.CHECKPOINT)
        found.miss(Aspect.CHECKPOINT, FORGOTTEN.format(lead))
        return record.checkpoint
    found.look(Aspect.CHECKPOINT)
    if digest != record.checkpoint:
        found.differ(
            Aspect.CHECKPOINT,
            f"checkpoint {digest.hex()[:16]}… was in force, and the record used "
            f"{record.checkpoint.hex()[:16]}…",
        )
    return digest


# --- members


def _derive_members(
    chain: PublicChain, record: WindowRecord, context: Context, found: Findings
) -> dict[bytes, Member]:
    said = dict(context.members)
    first = context.challenge_block.number
    last = compute_block(context.parameters.timing, context.window, Phase.COMMIT)
    if record.audit is None:
        return said
    try:
        members = dict(get_steady_members(chain, first, last))
    except ForgottenError:
        _prove_members(chain, said, first, found)
        return said
    found.look(Aspect.MEMBERS)
    for hotkey in sorted(members.keys() | said.keys()):
        right, wrong = members.get(hotkey), said.get(hotkey)
        if right == wrong:
            continue
        name = encode_ss58(hotkey)
        if wrong is None:
            fault = f"{name} held uid {members[hotkey].uid} in blocks {first} to {last}, and the "
            fault += "record leaves it out"
        elif right is None:
            fault = f"the record has {name}, who did not hold one uid in blocks {first} to {last}"
        else:
            fault = f"{name} held uid {right.uid} since block {right.registered_at}, and the "
            fault += f"record says uid {wrong.uid} since block {wrong.registered_at}"
        found.differ(Aspect.MEMBERS, fault)
    return members


def _prove_members(
    chain: PublicChain, said: dict[bytes, Member], first: int, found: Findings
) -> None:
    """A seat keeps its registration block for as long as it lasts, so whoever holds it now with one
    before the window held it then; but for swaps of hotkeys, which state has forgotten. A uid that
    was taken since may have been somebody's whom the record leaves out."""
    now = chain.get_members(chain.get_head())
    proven = {h for h, m in said.items() if now.get(h) == m and m.registered_at <= first}
    kept = {h for h, m in now.items() if m.registered_at <= first}
    taken = {m.uid for m in now.values() if m.registered_at > first}
    doubtful = len((said.keys() | kept) - proven) + len(taken - {m.uid for m in said.values()})
    found.look(Aspect.MEMBERS)
    if doubtful:
        found.miss(
            Aspect.MEMBERS,
            f"{len(proven)} of {len(said)} members are proven by later state, {doubtful} are not: "
            + FORGOTTEN.format(first),
        )
    else:
        found.notes.append("members are proven by the seats that they still hold")


# --- commitments


def _derive_commitments(
    chain: PublicChain, record: WindowRecord, context: Context, found: Findings
) -> dict[bytes, Committed]:
    said = dict(context.commitments)
    if record.audit is None:
        return said
    number = compute_block(context.parameters.timing, context.window, Phase.COMMIT)
    try:
        right = dict(get_window_commitments(chain, context.window, number))
    except ForgottenError:
        _prove_commitments(chain, record, context, found)
        return said
    found.look(Aspect.COMMITMENTS)
    for row in record.members:
        wanted, stated = right.get(row.hotkey), said.get(row.hotkey)
        if wanted == stated:
            continue
        found.differ(
            Aspect.COMMITMENTS,
            f"at block {number} {encode_ss58(row.hotkey)} had committed to {_name(wanted)}, and "
            f"the record says {_name(stated)}",
        )
    return right


def _prove_commitments(
    chain: PublicChain, record: WindowRecord, context: Context, found: Findings
) -> None:
    """A commitment is signed by its hotkey in the body of some block of the window's."""
    first = context.challenge_block.number
    number = compute_block(context.parameters.timing, context.window, Phase.COMMIT)
    signed = find_signed(chain.get_body(block) for block in range(first, number + 1))
    right = select_commitments(signed, context.window, number)
    rows = record.members
    found.look(Aspect.COMMITMENTS)
    proven = [row for row in rows if right.get(row.hotkey) == context.commitments.get(row.hotkey)]
    if len(proven) < len(rows):
        found.miss(
            Aspect.COMMITMENTS,
            f"{len(proven)} of {len(rows)} commitments are proven by what blocks {first} to "
            f"{number} hold, {len(rows) - len(proven)} are not: " + FORGOTTEN.format(number),
        )
    else:
        found.notes.append(f"commitments are proven by the bodies of blocks {first} to {number}")


def _name(committed: Committed | None) -> str:
    if committed is None:
        return "nothing"
    return (
        f"{committed.groups} groups of root {committed.root.hex()[:16]}… at {committed.locator!r}"
    )


# --- parameters


def choose_parameters(public: Public, window: int, found: Findings) -> Public | None:
    """The same with the parameters of a window; None, and in `found` why, where they cannot be
    read here."""
    try:
        return replace(public, parameters=public.history.get(window))
    except UnknownParametersError as error:
        found.miss(Aspect.PARAMETERS, str(error))
        return None


def check_parameters(
    public: Public, record_digest: bytes, window: int, number: int, found: Findings
) -> Public | None:
    """Whether a record is of the parameters that held for a window.

    Args:
        window: the last that the record is of.
        number: the block whose state says what the network was then.

    Returns:
        What the rest is derived again from: by the window's parameters, or where the owner has
        replaced the whole network since by those of then; None where these are not to be had. A
        network's change, and what was judged before it, is no lie.
    """
    then = choose_parameters(public, window, found)
    if then is None or not is_decided_so(then, found):
        return None
    try:
        slot = _read_slot(public.chain, number)
    except ForgottenError:
        if record_digest in _list_digests(public.history):
            _compare_parameters(then, record_digest, window, found)
            return then
        found.miss(
            Aspect.PARAMETERS,
            f"it used {record_digest.hex()[:16]}…, and whether these were the network's then: "
            + FORGOTTEN.format(number),
        )
        return None
    if slot is None:
        found.differ(Aspect.PARAMETERS, f"the owner had published no parameters at block {number}")
        found.look(Aspect.PARAMETERS)
        return then
    if _was_decided(public, slot, record_digest, window):
        found.miss(
            Aspect.PARAMETERS,
            f"it used {record_digest.hex()[:16]}…, which the owner's slot had named where that was "
            f"decided; it has led elsewhere since, and nothing of it is derived again",
        )
        return None
    if slot.digest in _list_digests(public.history):
        _compare_parameters(then, record_digest, window, found)
        return then
    if not slot.number and slot.digest != record_digest:  # another network's, and its first
        found.differ(
            Aspect.PARAMETERS,
            f"the owner had published parameters {slot.digest.hex()[:16]}… at block {number}, and "
            f"the record used {record_digest.hex()[:16]}…",
        )
        found.look(Aspect.PARAMETERS)
        return then
    return _look_at_slot(then, slot, record_digest, window, number, found)


def is_decided_so(public: Public, found: Findings) -> bool:
    """Whether the parameters at hand hold by what the owner's slot said where that was decided."""
    start, digest = public.parameters.start, public.parameters.digest
    before = next((p for p in public.history.all if p.digest == start.predecessor), None)
    if before is None:  # the network's first
        return True
    number = compute_decision_block(before, start.window)
    try:
        slot = _read_slot(public.chain, number)
    except ForgottenError:
        note = (
            f"that parameters {digest.hex()[:16]}… hold from window {start.window} on is their "
            "owner's word: " + FORGOTTEN.format(number)
        )
        if note not in found.notes:
            found.notes.append(note)
        return True
    if slot is not None and (slot.digest, slot.number) == (digest, start.window):
        return True
    found.miss(
        Aspect.PARAMETERS,
        f"those looked with here, {digest.hex()[:16]}…, were not in the owner's slot at block "
        f"{number}, which decides what holds from window {start.window} on",
    )
    return False


def _was_decided(public: Public, slot: Commitment, digest: bytes, window: int) -> bool:
    """Whether parameters that are not known hold for a window all the same: their owner had named
    them up to their decision, and then what does not lead to them. Who came later cannot know."""
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
    public: Public, record_digest: bytes, window: int, found: Findings, network: str = ""
) -> None:
    """A record's with those of its window, which are known."""
    found.look(Aspect.PARAMETERS)
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
    found.differ(
        Aspect.PARAMETERS,
        f"parameters {digest.hex()[:16]}… hold for window {window}{network}, and the record used "
        f"{record_digest.hex()[:16]}…{when}",
    )


def _read_slot(chain: PublicChain, number: int) -> Commitment | None:
    """What the owner's slot says of parameters at a block; None: nothing."""
    slot = parse_commitment(chain.get_commitments(number).get(chain.get_owner(number), b""))
    return slot if slot is not None and slot.tag is Tag.PARAMETERS else None


def _list_digests(history: ParameterHistory) -> set[bytes]:
    return {parameters.digest for parameters in history.all}


def _look_at_slot(
    public: Public,
    slot: Commitment,
    record_digest: bytes,
    window: int,
    number: int,
    found: Findings,
) -> Public | None:
    """The same where the owner's slot named parameters at a block that are not known: it had
    announced an amendment that did not hold, or its network was another one."""
    known = _list_digests(public.history)
    path: list[Parameters] = []
    lack: str | None = "no store is asked for them"
    if public.rules is not None:
        try:
            path = fetch_predecessors(
                partial(fetch_parameters, public.rules(slot)), slot.digest, known
            )
            lack = None
        except (StoreError, UnavailableError) as error:
            lack = str(error)
    if path and path[0].start.predecessor in known:
        _compare_parameters(public, record_digest, window, found)
        return public
    if lack is not None and record_digest in known:  # whoever cannot read them goes on without
        found.notes.append(
            f"what the owner's slot named at block {number}, {slot.digest.hex()[:16]}…, is not "
            f"looked at: {lack}"
        )
        _compare_parameters(public, record_digest, window, found)
        return public
    then = public
    if path:
        try:
            then = _look_back(public, path, window)
        except ValueError as error:
            lack = str(error)
    if lack is not None:
        found.miss(
            Aspect.PARAMETERS,
            f"it used {record_digest.hex()[:16]}…, and the network's were "
            f"{slot.digest.hex()[:16]}… at block {number}; those looked with here are "
            f"{public.parameters.digest.hex()[:16]}…, and nothing of it is derived again: {lack}",
        )
        return None
    _compare_parameters(then, record_digest, window, found, " of the network of then")
    return then


def _look_back(public: Public, path: list[Parameters], window: int) -> Public:
    """The same as of a network that the owner has replaced since, as far as blocks and beacons mean
    by its parameters what they mean by those at hand; the chain binds their digests. Raises a
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
    open_environment(then.environment)  # an older version's, or one of a file that is not here
    return replace(public, parameters=then, history=history)


def _was_named(chain: PublicChain, parameters: Parameters, number: int) -> bool:
    """Whether the owner's slot named parameters at a block. Where no node knows that state any
    more, the owner's word is taken."""
    try:
        slot = _read_slot(chain, number)
    except ForgottenError:
        return True
    named = parameters.digest, parameters.start.window
    return slot is not None and (slot.digest, slot.number) == named
