"""A window's context: the public facts that judging needs, and the seeds that follow from them.

This module looks nothing up. Chain state and beacons come from a live validator or from a JSON file
(docs/auditor.md shows its shape). Beacons are always verified again, whatever their source.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from typing import Annotated, Any

from assay.protocol.beacon import SIGNATURE, Beacon, BeaconChain, is_valid_beacon
from assay.protocol.commitment import LOCATOR_BYTES
from assay.protocol.encoding import (
    U16,
    U32,
    U64,
    Address,
    Digest,
    EncodingError,
    Integer,
    Json,
    Last,
    Maybe,
    Prefixed,
    Record,
    Table,
    from_json,
    to_json,
)
from assay.protocol.parameters import Name, Parameters, find_parameters_fault
from assay.protocol.seeds import compute_audit_seed, compute_challenge_seed, compute_sample_seed
from assay.protocol.window import Block, Phase, compute_block, compute_round

CONTEXT_VERSION = 4
#: Name of the network's beacon chain in a context's table.
BEACON_NAME = "beacon"


@dataclass(frozen=True, slots=True)
class Member:
    """A hotkey's place in the subnet: its uid, and the block at which the hotkey registered it."""

    uid: U16
    registered_at: U64


@dataclass(frozen=True, slots=True)
class Committed:
    """A miner's commitment as state held it at the commitment block."""

    root: Digest
    groups: U32
    block: U64  # block at which it was read
    locator: Annotated[str, Prefixed(LOCATOR_BYTES, text=True)]


#: hotkey → place
Members = Annotated[Mapping[bytes, Member], Table(Address(), Record(Member))]
#: hotkey → its commitment
Commitments = Annotated[Mapping[bytes, Committed], Table(Address(), Record(Committed))]


@dataclass(frozen=True)
class Context:
    """Facts of one window. Untrusted until `find_context_fault` returns None."""

    window: U64
    challenge_block: Block  # names the beacon round of the challenge
    #: these two name the beacon rounds of the audit and the samples. Their hashes enter no seed,
    #: and are zeros in a context that came from JSON.
    audit_block: Block
    sample_block: Block
    challenge: Beacon
    #: None before it is known; a context without it cannot be used to judge
    audit: Annotated[Beacon | None, Maybe(Record(Beacon))]
    #: None before it is known; without it, nothing is accepted for good
    sample: Annotated[Beacon | None, Maybe(Record(Beacon))]
    #: the hotkeys that hold a uid at both the challenge and the commitment block
    members: Members
    commitments: Commitments
    checkpoint: Digest  # digest of the checkpoint in force
    parameters: Parameters

    @cached_property
    def challenge_seed(self) -> bytes:
        """Seed of all work of this window, 32 bytes."""
        return compute_challenge_seed(
            self.parameters.digest,
            self.parameters.environment.digest,
            self.window,
            self.checkpoint,
            self.challenge_block.hash,
            self.challenge.randomness,
        )

    @cached_property
    def audit_seed(self) -> bytes:
        """Seed of the audit's selection, 32 bytes. Raises a ValueError where the audit's beacon is
        not known yet."""
        if self.audit is None:
            raise ValueError(f"window {self.window} has no audit beacon yet")
        return compute_audit_seed(self.challenge_seed, self.audit.randomness)

    @cached_property
    def sample_seed(self) -> bytes:
        """Seed of the samples' selection, 32 bytes. Raises a ValueError where its beacon is not
        known yet."""
        if self.sample is None:
            raise ValueError(f"window {self.window} has no beacon of its samples yet")
        return compute_sample_seed(self.challenge_seed, self.sample.randomness)


def find_context_fault(context: Context) -> str | None:
    """The first fault of a context, or None. Checks rounds by formula and signatures by the key.

    Without a chain this cannot check whether the block hash, members and commitments are real.
    """
    fault = find_parameters_fault(context.parameters)
    if fault is not None:
        return f"parameters: {fault}"
    timing, beacon = context.parameters.timing, context.parameters.beacon
    named = (context.challenge_block, context.audit_block, context.sample_block)
    phases = (Phase.CHALLENGE, Phase.AUDIT, Phase.SAMPLE)
    if [block.number for block in named] != [
        compute_block(timing, context.window, phase) for phase in phases
    ]:
        return "block numbers are not those of the window"
    if context.audit is None and context.sample is not None:
        return "the samples' beacon is there, and the audit's, which comes before it, is not"
    members = context.members.values()
    if len({member.uid for member in members}) != len(members):
        return "two hotkeys hold one uid"
    if any(member.registered_at > context.challenge_block.number for member in members):
        return "a member registered after the window's first block"
    committed_at = compute_block(timing, context.window, Phase.COMMIT)
    if any(committed.block != committed_at for committed in context.commitments.values()):
        return f"a commitment was not read at the window's commitment block {committed_at}"
    for name, block, claimed in (
        ("challenge", context.challenge_block, context.challenge),
        ("audit", context.audit_block, context.audit),
        ("sample", context.sample_block, context.sample),
    ):
        if claimed is None:
            continue
        due = compute_round(timing, beacon, block.timestamp_ms)
        if claimed.round != due:
            return f"{name} beacon is round {claimed.round}, but its block names round {due}"
        if len(claimed.signature) != beacon.scheme.signature_bytes:
            return f"{name} beacon's signature has {len(claimed.signature)} bytes"
        if not is_valid_beacon(beacon, claimed):
            return f"{name} beacon's signature of round {claimed.round} is not the pinned chain's"
    return None


@dataclass(frozen=True)
class _Number(Integer):
    """An integer below 2^63, which every language has a type for."""

    what: str = ""  # for messages

    def write(self, value: int) -> bytes:
        if type(value) is not int or not 0 <= value < 2**63:
            raise EncodingError(f"{value!r} is not {self.what}")
        return super().write(value)


_WINDOW = _Number(8, what="a window's number")
_MOMENT = _Number(8, what="a timestamp in milliseconds")
_NAME = Prefixed(128, text=True)


@dataclass(frozen=True)
class _PublicBeacon:
    chain_hash: Digest
    round: U64
    signature: Annotated[bytes, SIGNATURE]
    previous_signature: Annotated[bytes | None, Last(SIGNATURE)] = None  # the scheme has none


@dataclass(frozen=True)
class _PublicEnvironment:
    name: Name
    params: Annotated[Mapping[str, int], Table(_NAME, Integer(8, signed=True))]
    digest: Digest


@dataclass(frozen=True)
class _PublicContext:
    """The JSON form of a context. Whatever follows from its parameters must agree with them."""

    version: U16
    genesis_hash: Digest
    netuid: U16
    window: Annotated[int, _WINDOW]
    block_hash: Digest
    block_timestamp: Annotated[int, _MOMENT]
    #: none where the beacon is not known yet
    audit_block_timestamp: Annotated[int | None, Maybe(_MOMENT)]
    sample_block_timestamp: Annotated[int | None, Maybe(_MOMENT)]
    beacons: Annotated[Mapping[str, BeaconChain], Table(_NAME, Record(BeaconChain))]
    members: Members
    challenge: _PublicBeacon
    audit: Annotated[_PublicBeacon | None, Maybe(Record(_PublicBeacon))]
    sample: Annotated[_PublicBeacon | None, Maybe(Record(_PublicBeacon))]
    checkpoint: Digest
    environment: _PublicEnvironment
    commitments: Commitments
    parameters: Parameters


def _publish(context: Context) -> _PublicContext:
    parameters = context.parameters
    choice, chain = parameters.environment, parameters.beacon
    params = {setting.name: setting.value for setting in choice.settings}
    return _PublicContext(
        version=CONTEXT_VERSION,
        genesis_hash=parameters.identity.genesis_hash,
        netuid=parameters.identity.netuid,
        window=context.window,
        block_hash=context.challenge_block.hash,
        block_timestamp=context.challenge_block.timestamp_ms,
        audit_block_timestamp=context.audit_block.timestamp_ms if context.audit else None,
        sample_block_timestamp=context.sample_block.timestamp_ms if context.sample else None,
        beacons={BEACON_NAME: chain},
        members=context.members,
        challenge=_publish_beacon(chain, context.challenge),
        audit=None if context.audit is None else _publish_beacon(chain, context.audit),
        sample=None if context.sample is None else _publish_beacon(chain, context.sample),
        checkpoint=context.checkpoint,
        environment=_PublicEnvironment(choice.name, params, choice.digest),
        commitments=context.commitments,
        parameters=parameters,
    )


def _publish_beacon(chain: BeaconChain, beacon: Beacon) -> _PublicBeacon:
    previous = beacon.previous_signature or None
    return _PublicBeacon(chain.chain_hash, beacon.round, beacon.signature, previous)


def _restore(public: _PublicContext) -> Context:
    def place(phase: Phase, hash_: bytes, timestamp: int | None) -> Block:
        number = compute_block(public.parameters.timing, public.window, phase)
        return Block(number, hash_, timestamp or 0)

    return Context(
        window=public.window,
        challenge_block=place(Phase.CHALLENGE, public.block_hash, public.block_timestamp),
        audit_block=place(Phase.AUDIT, bytes(32), public.audit_block_timestamp),
        sample_block=place(Phase.SAMPLE, bytes(32), public.sample_block_timestamp),
        challenge=_restore_beacon(public.challenge),
        audit=None if public.audit is None else _restore_beacon(public.audit),
        sample=None if public.sample is None else _restore_beacon(public.sample),
        members=public.members,
        commitments=public.commitments,
        checkpoint=public.checkpoint,
        parameters=public.parameters,
    )


def _restore_beacon(public: _PublicBeacon) -> Beacon:
    return Beacon(public.round, public.signature, public.previous_signature or b"")


def context_to_json(context: Context) -> dict[str, Json]:
    """The context's JSON form: public data only, as hex and SS58."""
    return to_json(_publish(context))


def context_from_json(value: Json) -> Context:
    """The context with this JSON form. It is not checked yet: see `find_context_fault`.

    Raises:
        EncodingError: says which part is wrong or missing.
    """
    try:
        public = from_json(_PublicContext, value)
    except EncodingError as error:  # "window: -1 is not …": a sentence about the context's part
        part, _, fault = str(error).partition(": ")
        raise EncodingError(f"{part} {fault}".rstrip()) from None
    context = _restore(public)
    again = _publish(context)
    if again != public:
        where = _find_difference(again, public)
        raise EncodingError(f"{where} does not agree with the rest of the context")
    return context


def _find_difference(ours: Any, theirs: Any) -> str:
    """The path to the first field in which two values of one dataclass differ."""
    for field in fields(ours):
        pair = getattr(ours, field.name), getattr(theirs, field.name)
        if pair[0] != pair[1]:
            inner = all(map(is_dataclass, pair))
            return f"{field.name}: {_find_difference(*pair)}" if inner else field.name
    raise AssertionError("they do not differ")
