"""A window's context: the public facts that judging needs, and the seeds that follow from them.

This module looks nothing up. Chain state and beacons come from a live validator or from a JSON file
(docs/auditor.md shows its shape). Beacons are always verified again, whatever their source.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from assay.protocol.beacon import Beacon, BeaconChain, is_valid_beacon
from assay.protocol.commitment import LOCATOR_BYTES
from assay.protocol.encoding import (
    U16,
    U32,
    U64,
    Digest,
    EncodingError,
    Json,
    Prefixed,
    from_json,
    read_hex,
    to_json,
)
from assay.protocol.hashing import DIGEST_BYTES
from assay.protocol.parameters import Parameters, Timing, find_parameters_fault
from assay.protocol.seeds import compute_audit_seed, compute_challenge_seed, compute_sample_seed
from assay.protocol.ss58 import decode_ss58, encode_ss58
from assay.protocol.window import Block, Phase, compute_block, compute_round

CONTEXT_VERSION = 2
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


@dataclass(frozen=True)
class Context:
    """Facts of one window. Untrusted until `find_context_fault` returns None."""

    window: int
    challenge_block: Block  # names the beacon round of the challenge
    #: these two name the beacon rounds of the audit and the samples. Their hashes enter no seed,
    #: and are zeros in a context that came from JSON.
    audit_block: Block
    sample_block: Block
    challenge: Beacon
    audit: Beacon | None  # None before it is known; a context without it cannot be used to judge
    sample: Beacon | None  # None before it is known; without it, nothing is accepted for good
    #: hotkey → place, of the hotkeys that hold a uid at both the challenge and the commitment block
    members: Mapping[bytes, Member]
    commitments: Mapping[bytes, Committed]  # hotkey → its commitment
    checkpoint: bytes  # digest of the checkpoint in force
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


def _beacon_to_json(chain: BeaconChain, beacon: Beacon | None) -> Json:
    if beacon is None:
        return None
    value = {
        "chain_hash": chain.chain_hash.hex(),
        "round": beacon.round,
        "signature": beacon.signature.hex(),
    }
    if beacon.previous_signature:
        value["previous_signature"] = beacon.previous_signature.hex()
    return value


def _beacon_from_json(chain: BeaconChain, value: Json) -> Beacon | None:
    if value is None:
        return None
    fields = {"previous_signature": "", **_object(value)}
    if fields.pop("chain_hash", None) != chain.chain_hash.hex():
        raise EncodingError("the beacon's chain_hash is not the parameters' chain")
    return from_json(Beacon, fields)


def _object(value: Json) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise EncodingError("is not an object")
    return value


def _hotkey(address: str) -> bytes:
    try:
        return decode_ss58(address)
    except ValueError as error:
        raise EncodingError(str(error)) from None


def context_to_json(context: Context) -> dict[str, Json]:
    """The context's JSON form: public data only, as hex and SS58."""
    parameters = context.parameters
    choice = parameters.environment
    return {
        "version": CONTEXT_VERSION,
        "genesis_hash": parameters.identity.genesis_hash.hex(),
        "netuid": parameters.identity.netuid,
        "window": context.window,
        "block_hash": context.challenge_block.hash.hex(),
        "block_timestamp": context.challenge_block.timestamp_ms,
        "audit_block_timestamp": context.audit_block.timestamp_ms if context.audit else None,
        "sample_block_timestamp": context.sample_block.timestamp_ms if context.sample else None,
        "beacons": {BEACON_NAME: to_json(parameters.beacon)},
        "members": {encode_ss58(k): to_json(m) for k, m in sorted(context.members.items())},
        "challenge": _beacon_to_json(parameters.beacon, context.challenge),
        "audit": _beacon_to_json(parameters.beacon, context.audit),
        "sample": _beacon_to_json(parameters.beacon, context.sample),
        "checkpoint": context.checkpoint.hex(),
        "environment": {
            "name": choice.name,
            "params": {setting.name: setting.value for setting in choice.settings},
            "digest": choice.digest.hex(),
        },
        "commitments": {encode_ss58(k): to_json(c) for k, c in sorted(context.commitments.items())},
        "parameters": parameters.to_json(),
    }


def context_from_json(value: Json) -> Context:
    """The context with this JSON form. It is not checked yet: see `find_context_fault`.

    Raises:
        EncodingError: says which part is wrong or missing.
    """
    try:
        fields = _object(value)
        parameters = Parameters.from_json(fields["parameters"])
        window = fields["window"]
        if type(window) is not int or not 0 <= window < 2**63:
            raise EncodingError(f"window {window!r} is not a window's number")
        timing = parameters.timing
        challenge = _beacon_from_json(parameters.beacon, fields["challenge"])
        if challenge is None:
            raise EncodingError("challenge: is null")
        context = Context(
            window=window,
            challenge_block=Block(
                compute_block(timing, window, Phase.CHALLENGE),
                _digest("block_hash", fields["block_hash"]),
                _milliseconds(fields["block_timestamp"]),
            ),
            audit_block=_late_block(timing, window, Phase.AUDIT, fields["audit_block_timestamp"]),
            sample_block=_late_block(
                timing, window, Phase.SAMPLE, fields["sample_block_timestamp"]
            ),
            challenge=challenge,
            audit=_beacon_from_json(parameters.beacon, fields["audit"]),
            sample=_beacon_from_json(parameters.beacon, fields["sample"]),
            members={
                _hotkey(k): from_json(Member, m) for k, m in _object(fields["members"]).items()
            },
            commitments={
                _hotkey(k): from_json(Committed, c)
                for k, c in _object(fields["commitments"]).items()
            },
            checkpoint=_digest("checkpoint", fields["checkpoint"]),
            parameters=parameters,
        )
    except KeyError as error:
        raise EncodingError(f"the context has no field {error}") from None
    canonical = context_to_json(context)
    for name in sorted({*canonical, *fields}):
        if name not in canonical:
            raise EncodingError(f"unknown field {name!r}")
        if name not in fields:
            raise EncodingError(f"the context has no field {name!r}")
        if not _is_same(canonical[name], fields[name]):
            raise EncodingError(f"{name} does not agree with the rest of the context")
    return context


def _late_block(timing: Timing, window: int, phase: Phase, timestamp: Json) -> Block:
    """A block whose hash is not needed, and whose time may be unknown so far."""
    at = 0 if timestamp is None else _milliseconds(timestamp)
    return Block(compute_block(timing, window, phase), bytes(32), at)


def _is_same(ours: Json, theirs: Json) -> bool:
    """Return whether two JSON values are equal, where 1, 1.0 and true all differ."""
    if type(ours) is not type(theirs):
        return False
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(_is_same(ours[k], theirs[k]) for k in ours)
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(_is_same, ours, theirs))
    return bool(ours == theirs)


def _digest(name: str, value: Json) -> bytes:
    digest = read_hex(value)
    if len(digest) != DIGEST_BYTES:
        raise EncodingError(f"{name} has {len(digest)} bytes, not {DIGEST_BYTES}")
    return digest


def _milliseconds(value: Json) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise EncodingError(f"{value!r} is not a timestamp in milliseconds")
    return value
