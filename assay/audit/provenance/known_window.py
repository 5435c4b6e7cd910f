"""What is known of a window that a step learned from: by the chain, a validator's record, and the
checkpoint in force."""

from collections.abc import Sequence
from dataclasses import dataclass

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.records.reader import RecordFault, open_reader
from assay.artifacts.steps.file import ConsumedGroup
from assay.audit.derived_context import derive_context
from assay.audit.findings import Aspect, Findings
from assay.audit.ports import Public
from assay.audit.window_parameters import check_parameters
from assay.inference.checkpoint import Outline
from assay.inference.folder import CheckpointError
from assay.network.chain.errors import ForgottenError
from assay.network.store.base import StoreError
from assay.protocol.context import Context
from assay.protocol.record import MemberRow, WindowRecord
from assay.protocol.step import StepRecord
from assay.protocol.window import Phase, compute_block
from assay.rounds import compute_share
from assay.session.window_reader import BeaconError, get_challenge, get_context


@dataclass(frozen=True, slots=True)
class KnownWindow:
    """The inputs for checking all of a step's sources."""

    context: Context
    public: Public
    #: of the checkpoint in force, or the whole checkpoint; None if it is unavailable
    outline: Outline | None
    #: of the validator's record, by hotkey; None if there is no record
    rows: dict[bytes, MemberRow] | None
    trainer: bytes | None  # whose share of a round's groups the step learned from; None: no rounds
    left_out: frozenset[bytes]  # hotkeys with groups that the step has left out for a fault

    def list_own(self, hotkey: bytes, count: int) -> list[int]:
        """The indices of a miner's groups that the step could learn from."""
        rounds, seed = self.context.parameters.rounds, self.context.audit_seed
        if rounds is None:
            return list(range(count))
        shares = (compute_share(rounds.trainers, seed, hotkey, index) for index in range(count))
        return [index for index, share in enumerate(shares) if share == self.trainer]


def open_window(
    then: Public | None,
    record: StepRecord,
    window: int,
    groups: Sequence[ConsumedGroup],
    left_out: frozenset[bytes],
    validator: bytes,
    checkpoints: CheckpointFolder,
    findings: Findings,
) -> KnownWindow | None:
    """The inputs for checking a step's groups of a window; None: not all are known.

    Args:
        then: with the parameters of that window, if these are known.
    """
    if then is None:
        return None
    number = compute_block(then.parameters.timing, window, Phase.COMMIT)
    by_then = check_parameters(then, record.parameters, window, number, findings)
    if by_then is None or by_then.parameters.digest != record.parameters:
        return None
    verdicts_record = _read_record(by_then, validator, window, findings)
    context = _derive_context(by_then, verdicts_record, window, findings)
    if context is None:
        return None
    rows = None if verdicts_record is None else {row.hotkey: row for row in verdicts_record.members}
    outline = _open_outline(by_then, context, checkpoints, findings)
    return KnownWindow(context, by_then, outline, rows, _find_share(groups, context), left_out)


def _read_record(
    public: Public, validator: bytes, window: int, findings: Findings
) -> WindowRecord | None:
    why = "another record lies under its name"
    try:
        record = open_reader(public.records, validator, public.history).read_window(window)
        if isinstance(record, RecordFault):
            why = record.sentence
        elif record.validator == validator:
            return record
    except StoreError as error:
        why = str(error)
    findings.miss(Aspect.VERDICTS, f"which files were accepted: {why}")
    return None


def _derive_context(
    public: Public, record: WindowRecord | None, window: int, findings: Findings
) -> Context | None:
    """The context from the chain, with a validator's record for state that nodes have forgotten;
    None: not known."""
    if record is not None and record.audit is not None:
        probe = Findings(window)
        context = derive_context(public, record, probe)
        for check in probe.checked:
            findings.look(check)
        findings.unknown += probe.unknown
        if probe.differences:
            findings.notes.append(
                f"the validator's record is not what public data say: {probe.differences[0][1]}; "
                "`assay audit` says more"
            )
        return context
    why, context = "the window's audit beacon is not out", None
    try:
        challenge = get_challenge(public.chain, public.beacons, public.parameters, window)
        if challenge is not None:
            context = get_context(public.chain, public.beacons, public.parameters, challenge)
    except (ForgottenError, BeaconError) as error:
        why = str(error)
    if context is None:
        findings.miss(Aspect.COMMITMENTS, f"the chain's state for window {window}: {why}")
        return None
    findings.look(Aspect.COMMITMENTS)
    return context


def _open_outline(
    public: Public, context: Context, checkpoints: CheckpointFolder, findings: Findings
) -> Outline | None:
    """The checkpoint in force, or what is known of it."""
    try:
        return checkpoints.get(context.checkpoint, context.parameters)
    except CheckpointError as error:
        findings.miss(Aspect.LOGPROBS, f"no forward pass is run again: {error}")
    try:
        return public.outlines.get(context.checkpoint)
    except CheckpointError as error:
        findings.miss(Aspect.GROUPS, f"at which levels problems were asked: {error}")
    return None


def _find_share(groups: Sequence[ConsumedGroup], context: Context) -> bytes | None:
    """The hotkey whose share a round's step learned from, by its first group; None: no rounds."""
    rounds = context.parameters.rounds
    if rounds is None or not groups:
        return None
    first = groups[0]
    return compute_share(rounds.trainers, context.audit_seed, first.hotkey, first.index)
