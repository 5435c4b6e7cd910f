"""Changes of parameters by the owner of a running network: made, checked, announced, taken back."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from assay.artifacts.checkpoints.folder import find_checkpoint_fault
from assay.artifacts.discovery import DiscoveryError
from assay.inference.checkpoint import load_checkpoint, load_outline
from assay.network.chain.ports import SubnetReader
from assay.protocol.amendment import compute_first_window, find_amendment_fault, needs_calibration
from assay.protocol.commitment import Tag, parse_commitment
from assay.protocol.parameters import Parameters, Start, find_parameters_fault
from assay.protocol.window import compute_window
from assay.session.window_reader import find_settlement
from assay.settings.loading import ConfigError
from assay.subnet.chain_settings import list_burn_notes
from assay.subnet.gating import list_gate_notes
from assay.subnet.genesis_checkpoint import calibrate_anew
from assay.subnet.presets import change_parameters
from assay.subnet.prompt_notes import list_environment_notes, list_prompt_notes
from assay.subnet.reply_frames import fill_frames, find_closer_fault
from assay.training.gate_answers import find_gate_fault, open_gate_environment

#: Windows between the newest block and the decision, so that the announcement is on chain before
#: it.
_MARGIN = 1
#: Number of windows that are searched for the first one of new parameters.
_SEARCHED = 1_024
#: Checkpoints of windows before the amendment that a trainer may still publish after it takes
#: force: it learns from a window when that is audited.
_TRAINED_LATE = 16


def amend(
    chain: SubnetReader, latest: Parameters, changes: Mapping[str, Any], window: int | None = None
) -> Parameters:
    """Parameters that follow the latest ones, still with the checkpoint of those.

    Args:
        changes: section and field → value, see `change_parameters`.
        window: the first for which they hold; None: the first possible one that begins a
            settlement, and a round if there are rounds.

    Raises:
        ConfigError: they are invalid, change nothing, or cannot hold from that window on.
        ChainError: the chain cannot be read.
    """
    if "start" in changes:
        raise ConfigError("you cannot change [start] by hand: use --window and --checkpoint")
    changed = change_parameters(latest, changes)
    tempo = chain.get_hyperparameters().tempo
    if changed.timing.tempo != tempo:
        raise ConfigError(f"timing.tempo is {changed.timing.tempo}, and the subnet's is {tempo}")
    if changed == latest:
        raise ConfigError("the parameters already have these values: change at least one")
    first = compute_first_window(latest, chain.get_head()) + _MARGIN
    if window is None:
        window = _find_first(chain, latest, changed, first)
    elif window < first:
        raise ConfigError(
            f"--window {window} is too soon: parameters need {latest.timing.notice_windows} "
            f"windows' notice; name {first} or a later one"
        )
    elif not _starts_settlement(chain, latest, window):
        raise ConfigError(
            f"--window {window} is not the first of a settlement, which would have two sets of "
            "values: leave it out to use the first possible one"
        )
    elif not _starts_round(latest, changed, window):
        raise ConfigError(
            f"--window {window} is not the first of a round: leave it out to use the first "
            "possible one"
        )
    start = replace(latest.start, predecessor=latest.digest, window=window)
    return replace(changed, start=start)


def _find_first(chain: SubnetReader, latest: Parameters, changed: Parameters, first: int) -> int:
    for window in range(first, first + _SEARCHED):
        if _starts_round(latest, changed, window) and _starts_settlement(chain, latest, window):
            return window
    raise ConfigError(
        f"no window before {first + _SEARCHED} begins both a settlement and a round: change "
        "rounds.windows"
    )


def _starts_settlement(chain: SubnetReader, parameters: Parameters, window: int) -> bool:
    return find_settlement(chain, parameters, window - 1) != find_settlement(
        chain, parameters, window
    )


def _starts_round(latest: Parameters, changed: Parameters, window: int) -> bool:
    """Whether rounds under the old parameters end with it, and those under the new ones begin."""
    every = [one.rounds.windows for one in (latest, changed) if one.rounds is not None]
    return not any(window % max(1, length) for length in every)


def amend_frames(
    latest: Parameters, amended: Parameters, folder: Path | None, say: Callable[[str], None]
) -> Parameters:
    """The same parameters, with frames of replies as `fill_frames` derives them where an amendment
    changes how problems are put, or lets worlds reply.

    Args:
        folder: of the checkpoint that will be calibrated for them; None: there is none, and the
            frames stay.

    Raises:
        ConfigError: nobody could run a network with them.
        CheckpointError: the checkpoint cannot be used.
    """
    old = latest.environment, latest.work.turns > 1
    if folder is None or old == (amended.environment, amended.work.turns > 1):
        return amended
    return fill_frames(amended, load_outline(folder).tokenizer, say)


def name_checkpoint(
    chain: SubnetReader, latest: Parameters, amended: Parameters, folder: Path | None, out: Path
) -> Parameters:
    """The same parameters with the checkpoint that they need, calibrated for them.

    Args:
        folder: the checkpoint to calibrate anew, best the newest; None if none is needed.
        out: gets the calibrated one, with unchanged tensors.

    Raises:
        ConfigError: one is needed and not named, or `out` exists.
        CheckpointError: it cannot be used.
        ChainError: the chain cannot be read.
    """
    if not needs_calibration(latest, amended):
        if folder is not None:
            raise ConfigError("the checkpoint in force fits these parameters: omit --checkpoint")
        return amended
    if folder is None:
        raise ConfigError(
            "tests, environment, temperature or max_tokens change, and no checkpoint is calibrated "
            "for that: name one with --checkpoint, preferably the trainer's newest"
        )
    if out.exists():
        raise ConfigError(f"{out} already exists: name another folder with --out")
    source = load_checkpoint(folder)
    slot = chain.get_commitments(chain.get_head()).get(latest.identity.trainer, b"")
    commitment = parse_commitment(slot)
    newest = commitment.number if commitment is not None and commitment.tag is Tag.CHECKPOINT else 0
    ahead = amended.start.window - compute_window(latest.timing, chain.get_head())
    number = max(newest, latest.start.number, source.manifest.number) + ahead + _TRAINED_LATE
    shutil.copytree(source.folder, out)
    manifest = calibrate_anew(out, amended, source.manifest, number)
    return replace(
        amended, start=Start(latest.digest, amended.start.window, manifest.digest, number)
    )


def require_amendment(
    latest: Parameters, amended: Parameters, calibrated: Path | None
) -> list[str]:
    """What the owner should know about these parameters, in lines. Raises DiscoveryError if nobody
    would follow them, or could work by them."""
    notes: list[str] = []
    fault = find_parameters_fault(amended) or find_amendment_fault(latest, amended)
    if fault is None:
        try:
            notes += list_environment_notes(amended)
            # those in force move with each checkpoint
            levels: Sequence[int] = open_gate_environment(amended).levels
            if calibrated is not None:
                checkpoint = load_checkpoint(calibrated, amended.start.checkpoint)
                fault = find_checkpoint_fault(checkpoint, amended)
                fault = fault or find_closer_fault(amended, checkpoint.tokenizer)
                notes += list_prompt_notes(checkpoint, calibrated, amended)
                levels = checkpoint.manifest.level_numbers
            fault = fault or find_gate_fault(amended, levels)
            notes += list_gate_notes(amended)
            notes += list_burn_notes(amended)
        except ValueError as error:
            fault = str(error)
    if fault is not None:
        raise DiscoveryError(f"not announced, because nobody would follow: {fault}")
    return notes
