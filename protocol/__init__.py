"""The protocol's rules: pure functions from bytes and integers to values.

This room holds everything that two strangers must compute alike: encodings, hashes, seeds, beacons,
the keyed noise, selections, the canonical bytes of submissions, manifests and contexts. It never
reads a file, a clock, a socket or the environment, and never draws a random number. Start with
`parameters` and `window`, then read `submission` and `context`. `encoding` gives each of them its
canonical bytes.
"""

from typing import TYPE_CHECKING

from assay.protocol.lazy_door import open_lazily

if TYPE_CHECKING:
    from assay.protocol.beacon import QUICKNET, Beacon, BeaconChain, Scheme, is_valid_beacon
    from assay.protocol.commitment import Commitment, Tag, encode_commitment, parse_commitment
    from assay.protocol.context import (
        Committed,
        Context,
        Member,
        context_from_json,
        context_to_json,
        find_context_fault,
    )
    from assay.protocol.encoding import EncodingError
    from assay.protocol.hashing import Domain, hash_fields
    from assay.protocol.manifest import Calibration, Manifest
    from assay.protocol.parameters import Parameters
    from assay.protocol.prf import Stream
    from assay.protocol.reason import Reason, Refusal
    from assay.protocol.record import (
        MemberRow,
        Outcome,
        SettlementRecord,
        WindowRecord,
        decode_settlement_record,
        decode_window_record,
    )
    from assay.protocol.score_tree import make_score_tree
    from assay.protocol.ss58 import decode_ss58, encode_ss58
    from assay.protocol.step import StepRecord, StepSource, StepSuccess
    from assay.protocol.submission import Header, Rollout
    from assay.protocol.window import Block, Phase

__all__ = [
    "QUICKNET",
    "Beacon",
    "BeaconChain",
    "Block",
    "Calibration",
    "Commitment",
    "Committed",
    "Context",
    "Domain",
    "EncodingError",
    "Header",
    "Manifest",
    "Member",
    "MemberRow",
    "Outcome",
    "Parameters",
    "Phase",
    "Reason",
    "Refusal",
    "Rollout",
    "Scheme",
    "SettlementRecord",
    "StepRecord",
    "StepSource",
    "StepSuccess",
    "Stream",
    "Tag",
    "WindowRecord",
    "context_from_json",
    "context_to_json",
    "decode_settlement_record",
    "decode_ss58",
    "decode_window_record",
    "encode_commitment",
    "encode_ss58",
    "find_context_fault",
    "hash_fields",
    "is_valid_beacon",
    "make_score_tree",
    "parse_commitment",
]

if not TYPE_CHECKING:
    __getattr__ = open_lazily(__name__)
