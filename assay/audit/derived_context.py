"""Derives the chain's facts of a window for an audit: from state if a node still has it, else from
old blocks and later state, else from the validator's claims, which is then reported.

If there is state, the functions are the validators' own (`assay.session.window_reader`).
"""

from dataclasses import replace

from assay.audit.findings import FORGOTTEN, Aspect, Findings
from assay.audit.ports import Public
from assay.network.chain.block_bodies import find_signed
from assay.network.chain.errors import ForgottenError
from assay.network.chain.ports import BlockReader
from assay.protocol.beacon import Beacon, is_valid_beacon
from assay.protocol.context import Committed, Context, Member
from assay.protocol.record import Moment, WindowRecord, make_record_context
from assay.protocol.ss58 import encode_ss58
from assay.protocol.window import Block, Phase, compute_block, compute_round
from assay.rounds.in_force import get_checkpoint_digest
from assay.session.window_reader import (
    BeaconError,
    get_beacon,
    get_steady_members,
    get_window_commitments,
    select_commitments,
)


def derive_context(public: Public, record: WindowRecord, findings: Findings) -> Context | None:
    """The window's context from public data. Differences of the record are added to `findings`.
    None if the record has no inputs. Facts that cannot be derived are taken from the record.

    Raises:
        ChainError: the chain cannot be read.
    """
    context = make_record_context(record, public.parameters)
    if context is None:
        return None
    challenge_block, challenge = _derive_moment(public, record, context, Phase.CHALLENGE, findings)
    audit_block, audit = _derive_moment(public, record, context, Phase.AUDIT, findings)
    sample_block, sample = context.sample_block, context.sample
    if record.sample is not None:
        sample_block, sample = _derive_moment(public, record, context, Phase.SAMPLE, findings)
    members = _derive_members(public.chain, record, context, findings)
    return replace(
        context,
        challenge_block=challenge_block,
        challenge=challenge,
        audit_block=audit_block,
        audit=audit,
        sample_block=sample_block,
        sample=sample,
        checkpoint=_derive_checkpoint(public, record, findings),
        members=members if record.audit is not None else {},
        commitments=_derive_commitments(public.chain, record, context, findings),
    )


def _derive_moment(
    public: Public, record: WindowRecord, context: Context, phase: Phase, findings: Findings
) -> tuple[Block, Beacon]:
    """The block of a phase, and the beacon that it names."""
    parameters, name = public.parameters, phase.name.lower()
    number = compute_block(parameters.timing, record.window, phase)
    block = public.chain.get_block(number)
    moment = {
        Phase.CHALLENGE: record.challenge,
        Phase.AUDIT: record.audit,
        Phase.SAMPLE: record.sample,
    }[phase]
    if moment is None:  # it abstained, and facts that it did not know bind nobody
        findings.notes.append(f"the record names no {name} block")
        return block, context.challenge
    findings.look(Aspect.BLOCKS)
    if moment.block_hash != block.hash:
        findings.differ(
            Aspect.BLOCKS,
            f"the {name} block {number} has hash {block.hash.hex()[:16]}…, and the record says "
            f"{moment.block_hash.hex()[:16]}…",
        )
    if moment.timestamp_ms != block.timestamp_ms:
        findings.differ(
            Aspect.BLOCKS,
            f"the {name} block {number} was made at {block.timestamp_ms} ms, and the record says "
            f"{moment.timestamp_ms}",
        )
    return block, _derive_beacon(public, moment, block, name, findings)


def _derive_beacon(
    public: Public, moment: Moment, block: Block, name: str, findings: Findings
) -> Beacon:
    """The record's beacon if it is the right one: a round has only one valid signature, so no
    source need be asked. Otherwise the right one."""
    timing, chain = public.parameters.timing, public.parameters.beacon
    due = compute_round(timing, chain, block.timestamp_ms)
    findings.look(Aspect.BEACONS)
    if moment.beacon.round != due:
        findings.differ(
            Aspect.BEACONS,
            f"block {block.number} names beacon round {due} for the {name}, and the record used "
            f"round {moment.beacon.round}",
        )
    elif is_valid_beacon(chain, moment.beacon):
        return moment.beacon
    else:
        findings.differ(
            Aspect.BEACONS,
            f"the {name} beacon's signature of round {due} is not the pinned beacon chain's",
        )
    try:
        right = get_beacon(public.beacons, public.parameters, block)
    except BeaconError as error:
        right = None
        findings.miss(Aspect.BEACONS, str(error))
    return moment.beacon if right is None else right


def _derive_checkpoint(public: Public, record: WindowRecord, findings: Findings) -> bytes:
    parameters = public.parameters
    try:
        digest = get_checkpoint_digest(public.chain, parameters, record.window)
    except ForgottenError:
        lead = compute_block(parameters.timing, record.window, Phase.CHECKPOINT)
        findings.miss(Aspect.CHECKPOINT, FORGOTTEN.format(lead))
        return record.checkpoint
    findings.look(Aspect.CHECKPOINT)
    if digest != record.checkpoint:
        findings.differ(
            Aspect.CHECKPOINT,
            f"checkpoint {digest.hex()[:16]}… was in force, and the record used "
            f"{record.checkpoint.hex()[:16]}…",
        )
    return digest


# --- members


def _derive_members(
    chain: BlockReader, record: WindowRecord, context: Context, findings: Findings
) -> dict[bytes, Member]:
    stated = dict(context.members)
    first = context.challenge_block.number
    last = compute_block(context.parameters.timing, context.window, Phase.COMMIT)
    if record.audit is None:
        return stated
    try:
        members = dict(get_steady_members(chain, first, last))
    except ForgottenError:
        _prove_members(chain, stated, first, findings)
        return stated
    findings.look(Aspect.MEMBERS)
    for hotkey in sorted(members.keys() | stated.keys()):
        right, wrong = members.get(hotkey), stated.get(hotkey)
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
        findings.differ(Aspect.MEMBERS, fault)
    return members


def _prove_members(
    chain: BlockReader, stated: dict[bytes, Member], first: int, findings: Findings
) -> None:
    """Prove members from later state. A seat keeps its registration block for as long as it lasts.
    The current holder of a seat registered before the window therefore held it then, except after
    swaps of hotkeys, which state has forgotten. A uid that was taken since may have been a hotkey's
    that the record leaves out."""
    now = chain.get_members(chain.get_head())
    proven = {h for h, m in stated.items() if now.get(h) == m and m.registered_at <= first}
    remaining = {h for h, m in now.items() if m.registered_at <= first}
    newer = {m.uid for m in now.values() if m.registered_at > first}
    doubtful = len((stated.keys() | remaining) - proven) + len(
        newer - {m.uid for m in stated.values()}
    )
    findings.look(Aspect.MEMBERS)
    if doubtful:
        findings.miss(
            Aspect.MEMBERS,
            f"{len(proven)} of {len(stated)} members are proven by later state, "
            f"{doubtful} are not: " + FORGOTTEN.format(first),
        )
    else:
        findings.notes.append("members are proven by the seats that they still hold")


# --- commitments


def _derive_commitments(
    chain: BlockReader, record: WindowRecord, context: Context, findings: Findings
) -> dict[bytes, Committed]:
    recorded = dict(context.commitments)
    if record.audit is None:
        return recorded
    number = compute_block(context.parameters.timing, context.window, Phase.COMMIT)
    try:
        right = dict(get_window_commitments(chain, context.window, number))
    except ForgottenError:
        _prove_commitments(chain, record, context, findings)
        return recorded
    findings.look(Aspect.COMMITMENTS)
    for row in record.members:
        wanted, stated = right.get(row.hotkey), recorded.get(row.hotkey)
        if wanted == stated:
            continue
        findings.differ(
            Aspect.COMMITMENTS,
            f"at block {number} {encode_ss58(row.hotkey)} had committed to {_name(wanted)}, and "
            f"the record says {_name(stated)}",
        )
    return right


def _prove_commitments(
    chain: BlockReader, record: WindowRecord, context: Context, findings: Findings
) -> None:
    """Prove commitments: each is signed by its hotkey in the body of some block of the window."""
    first = context.challenge_block.number
    number = compute_block(context.parameters.timing, context.window, Phase.COMMIT)
    signed = find_signed(chain.get_body(block) for block in range(first, number + 1))
    right = select_commitments(signed, context.window, number)
    rows = record.members
    findings.look(Aspect.COMMITMENTS)
    proven = [row for row in rows if right.get(row.hotkey) == context.commitments.get(row.hotkey)]
    if len(proven) < len(rows):
        findings.miss(
            Aspect.COMMITMENTS,
            f"{len(proven)} of {len(rows)} commitments are proven by what blocks {first} to "
            f"{number} hold, {len(rows) - len(proven)} are not: " + FORGOTTEN.format(number),
        )
    else:
        findings.notes.append(f"commitments are proven by the bodies of blocks {first} to {number}")


def _name(committed: Committed | None) -> str:
    if committed is None:
        return "nothing"
    return (
        f"{committed.groups} groups of root {committed.root.hex()[:16]}… at {committed.locator!r}"
    )
