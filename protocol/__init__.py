"""The protocol's rules: pure functions from bytes and integers to values.

This package holds everything that two strangers must compute alike: encodings, hashes, seeds,
beacons, the keyed noise, selections, the canonical bytes of submissions, manifests and contexts. It
never reads a file, a clock, a socket or the environment, and never draws a random number. Start
with `parameters` and `window`, then read `submission` and `context`. `encoding` gives each of them
its canonical bytes.
"""

from typing import TYPE_CHECKING

from assay.protocol.lazy_names import load_lazily

if TYPE_CHECKING:
    from assay.protocol.beacon import QUICKNET as QUICKNET
    from assay.protocol.beacon import Beacon as Beacon
    from assay.protocol.beacon import BeaconChain as BeaconChain
    from assay.protocol.beacon import Scheme as Scheme
    from assay.protocol.beacon import is_valid_beacon as is_valid_beacon
    from assay.protocol.commitment import Commitment as Commitment
    from assay.protocol.commitment import Tag as Tag
    from assay.protocol.commitment import encode_commitment as encode_commitment
    from assay.protocol.commitment import parse_commitment as parse_commitment
    from assay.protocol.context import Committed as Committed
    from assay.protocol.context import Context as Context
    from assay.protocol.context import Member as Member
    from assay.protocol.context import context_from_json as context_from_json
    from assay.protocol.context import context_to_json as context_to_json
    from assay.protocol.context import find_context_fault as find_context_fault
    from assay.protocol.encoding import EncodingError as EncodingError
    from assay.protocol.hashing import Domain as Domain
    from assay.protocol.hashing import hash_fields as hash_fields
    from assay.protocol.manifest import Calibration as Calibration
    from assay.protocol.manifest import LevelSuccess as LevelSuccess
    from assay.protocol.manifest import LevelWeight as LevelWeight
    from assay.protocol.manifest import Manifest as Manifest
    from assay.protocol.parameters import Parameters as Parameters
    from assay.protocol.prf import Stream as Stream
    from assay.protocol.reason import Reason as Reason
    from assay.protocol.reason import Refusal as Refusal
    from assay.protocol.record import MemberRow as MemberRow
    from assay.protocol.record import Outcome as Outcome
    from assay.protocol.record import SettlementRecord as SettlementRecord
    from assay.protocol.record import WindowRecord as WindowRecord
    from assay.protocol.record import decode_settlement_record as decode_settlement_record
    from assay.protocol.record import decode_window_record as decode_window_record
    from assay.protocol.score_tree import make_score_tree as make_score_tree
    from assay.protocol.ss58 import decode_ss58 as decode_ss58
    from assay.protocol.ss58 import encode_ss58 as encode_ss58
    from assay.protocol.step import DelayedRollout as DelayedRollout
    from assay.protocol.step import StepLeftOut as StepLeftOut
    from assay.protocol.step import StepRecord as StepRecord
    from assay.protocol.step import StepReplay as StepReplay
    from assay.protocol.step import StepSource as StepSource
    from assay.protocol.submission import Header as Header
    from assay.protocol.submission import Rollout as Rollout
    from assay.protocol.window import Block as Block
    from assay.protocol.window import Phase as Phase
else:
    __getattr__ = load_lazily(
        __name__,
        {
            "beacon": ("QUICKNET", "Beacon", "BeaconChain", "Scheme", "is_valid_beacon"),
            "commitment": ("Commitment", "Tag", "encode_commitment", "parse_commitment"),
            "context": (
                "Committed",
                "Context",
                "Member",
                "context_from_json",
                "context_to_json",
                "find_context_fault",
            ),
            "encoding": ("EncodingError",),
            "hashing": ("Domain", "hash_fields"),
            "manifest": ("Calibration", "LevelSuccess", "LevelWeight", "Manifest"),
            "parameters": ("Parameters",),
            "prf": ("Stream",),
            "reason": ("Reason", "Refusal"),
            "record": (
                "MemberRow",
                "Outcome",
                "SettlementRecord",
                "WindowRecord",
                "decode_settlement_record",
                "decode_window_record",
            ),
            "score_tree": ("make_score_tree",),
            "ss58": ("decode_ss58", "encode_ss58"),
            "step": ("StepRecord", "StepLeftOut", "StepReplay", "StepSource", "DelayedRollout"),
            "submission": ("Header", "Rollout"),
            "window": ("Block", "Phase"),
        },
    )
