"""Why a miner is paid or not: from its uid to what the chain paid, step by step.

It uses the words of `assay explain`, about the whole newest settlement.
"""

from collections.abc import Mapping
from typing import Any

from assay.audit.explain.settled_share import (
    NO_PERMIT,
    Paid,
    SeatWindow,
    SettlementShare,
    describe_paid,
    find_zeroing,
    list_settlement,
)
from assay.explorer.documents.miners import MinerPay, PayStep
from assay.explorer.page_reader import PageReader
from assay.explorer.ports import Uid
from assay.explorer.views.common import list_known_windows
from assay.explorer.views.miner_earnings import read_newest_payment
from assay.protocol.reason import Reason, name_cost
from assay.protocol.record import Outcome
from assay.protocol.ss58 import decode_ss58

_U16, _ALPHA = 65_535, 10**9


def describe_pay(reader: PageReader, miner: Mapping[str, Any]) -> MinerPay:
    """Show whether the newest settlement pays a miner, and each step that led to it.

    Args:
        miner: the miner's row of the index.
    """
    newest = reader.ask_one("SELECT max(epoch) AS epoch FROM settlements")["epoch"]
    share = None if newest is None else read_share(reader, miner["id"], newest)
    steps = [_check_seat(reader, miner)]
    if share is not None:
        steps += [
            _check_verdicts(share),
            _check_settlement(share),
            _check_weights(reader, miner, share),
            _check_payment(reader, miner, share),
        ]
    paid = {"good": True, "bad": False}.get(steps[-1]["state"]) if share is not None else None
    if paid is None and share is not None and not share.weight:
        paid = False
    faults = [step for state in ("bad", "warn") for step in steps if step["state"] == state]
    window = _choose_window(miner, share)
    # what nobody knows here is no reason: then the settlement says what it earns
    told = steps[-1] if paid or share is None else steps[2]
    return MinerPay(
        paid=paid,
        epoch=newest,
        because=(faults[0] if faults and not paid else told)["said"][-1],
        steps=steps,
        command=reader.sources.commands.explain(window, miner["address"]),
    )


def explain_absence(reader: PageReader, hotkey: str) -> str:
    """Why a hotkey has no page, as part of a sentence: no window known here has it as a member."""
    try:
        key = decode_ss58(hotkey)
    except ValueError as error:
        return f"{hotkey} is not a hotkey: {error}"
    known = f"that hotkey was not registered in any window: {list_known_windows(reader)}"
    neurons = reader.sources.read_neurons()
    if neurons is None:
        return known
    held = next((row for row in neurons.rows if row.hotkey == key), None)
    if held is None:
        return f"{known}; at block {neurons.block} it held no uid: `assay register` buys one"
    return (
        f"{known}; it holds uid {held.uid}, registered at block {held.registered_at}, and takes "
        "part from the first window that begins after its registration"
    )


def read_share(reader: PageReader, miner: int, epoch: int) -> SettlementShare:
    """A settlement as it went for a miner, by the record."""
    windows = reader.ask(
        "SELECT w.window, w.outcome, r.reason, r.score, r.miner FROM windows w "
        "LEFT JOIN rows r ON r.window = w.window AND r.miner = ? WHERE w.epoch = ? "
        "ORDER BY w.window",
        miner,
        epoch,
    )
    held = reader.ask_one(
        "SELECT uid, score FROM scores WHERE epoch = ? AND miner = ?", epoch, miner
    )
    total = reader.ask_one("SELECT total FROM settlements WHERE epoch = ?", epoch)["total"]
    weights = {
        row["uid"]: row["weight"]
        for row in reader.ask("SELECT uid, weight FROM weights WHERE epoch = ?", epoch)
    }
    seated = any(row["miner"] is not None for row in windows)
    return SettlementShare(
        epoch,
        tuple(
            SeatWindow(
                row["window"],
                Outcome(row["outcome"]),
                None if row["reason"] is None else Reason(row["reason"]),
                row["score"] or 0,
            )
            for row in windows
        ),
        int(held["score"]) if held is not None else None if seated else 0,
        int(total),
        0 if held is None else weights.get(held["uid"], 0),
        sum(weights.values()),
    )


def read_paid_share(reader: PageReader, epoch: int, address: str) -> float | None:
    """Which part of the miners' pay a settlement brought a hotkey, where a run has noted it."""
    noted = reader.sources.read_payment(epoch, address)
    return None if noted is None else round(noted[1] / _U16, 6)


def _choose_window(miner: Mapping[str, Any], share: SettlementShare | None) -> int:
    """The window that the command explains: the newest that was refused, else the newest."""
    windows = () if share is None else share.windows
    refused = [w.window for w in windows if w.reason not in (None, Reason.ACCEPTED)]
    return max(refused, default=int(miner["seen"]))


def _make_step(name: str, state: str, *sentences: str) -> PayStep:
    """state: good, bad, warn, or none where it is not known."""
    return PayStep(name=name, state=state, said=list(sentences))


def _check_seat(reader: PageReader, miner: Mapping[str, Any]) -> PayStep:
    name, neurons = "A uid", reader.sources.read_neurons()
    if neurons is not None:
        held = _find_uid(reader, miner["address"])
        if held is None:
            text = f"at block {neurons.block} it has no uid: `assay register` buys one"
            return _make_step(name, "bad", text)
        text = f"at block {neurons.block} it has uid {held.uid}, registered at block "
        return _make_step(name, "good", f"{text}{held.registered_at}")
    last = reader.ask_one("SELECT max(window) AS window FROM windows")["window"]
    if miner["seen"] == last:
        text = f"in window {last}, the newest settled one, it had uid {miner['uid']}"
        return _make_step(name, "good", text)
    text = f"it was last a member in window {miner['seen']}, and window {last} is settled"
    return _make_step(name, "warn", text)


def _find_uid(reader: PageReader, address: str) -> Uid | None:
    neurons = reader.sources.read_neurons()
    key = decode_ss58(address)
    return next((row for row in neurons.rows if row.hotkey == key), None) if neurons else None


def _check_verdicts(share: SettlementShare) -> PayStep:
    name = "Verdicts"
    if not share.windows:
        return _make_step(name, "bad", "no window is settled there")
    good = sum(w.reason is Reason.ACCEPTED and w.outcome is Outcome.COUNTED for w in share.windows)
    state = "good" if good == len(share.windows) else "warn" if good else "bad"
    return _make_step(name, state, *map(_describe_window, share.windows))


def _describe_window(window: SeatWindow) -> str:
    if window.outcome is Outcome.VOID:
        return f"window {window.window} is void for everybody: its checkpoint is unusable"
    if window.outcome is Outcome.ABSTAINED:
        return f"the validator abstained from window {window.window}, for everybody"
    if window.reason is None:
        return f"it was not a member of window {window.window}"
    if window.reason is Reason.ACCEPTED:
        return f"window {window.window}: accepted, score {window.score:,}"
    return f"window {window.window}: {window.reason}, which costs {name_cost(window.reason)}"


def _check_settlement(share: SettlementShare) -> PayStep:
    state = "bad" if find_zeroing(share) or not share.score else "good"
    return _make_step("Settlement", state, *list_settlement(share))


def _check_weights(reader: PageReader, miner: Mapping[str, Any], share: SettlementShare) -> PayStep:
    name, uid = "Weight", _get_settled_uid(reader, miner, share.epoch)
    neurons = reader.sources.read_neurons()
    record = {
        row["uid"]: row["weight"]
        for row in reader.ask("SELECT uid, weight FROM weights WHERE epoch = ?", share.epoch)
    }
    if not share.weight:
        return _make_step(name, "bad", "the settlement's record gives it no weight")
    sentences = [f"the settlement's record gives uid {uid} the weight {share.weight:,}"]
    on_chain, state = reader.sources.read_shown(share.epoch, record), "good"
    if on_chain is None:
        sentences.append("this explorer does not know what the chain shows")
    elif on_chain.weights.get(uid):
        sentences.append(
            f"at block {on_chain.block} the chain shows {on_chain.weights[uid]:,} of this validator"
        )
    else:
        state = "bad"
        sentences.append(f"at block {on_chain.block} the chain shows none of this validator")
    validator = None if neurons is None else _find_uid(reader, reader.address)
    if neurons is not None and not (validator is not None and validator.permit):
        return _make_step(name, "bad", *sentences, f"this validator {NO_PERMIT}")
    return _make_step(name, state, *sentences)


def _get_settled_uid(reader: PageReader, miner: Mapping[str, Any], epoch: int) -> int:
    row = reader.ask_one("SELECT uid FROM scores WHERE epoch = ? AND miner = ?", epoch, miner["id"])
    return int(miner["uid"] if row is None else row["uid"])


def _describe_before(block: int, incentive: int) -> str:
    return (
        f"at block {block} the chain paid it {incentive / _U16:.1%} of the miners' share, for "
        "weights that were set before"
    )


def _check_payment(reader: PageReader, miner: Mapping[str, Any], share: SettlementShare) -> PayStep:
    """The pay of this settlement if a run recorded it, else the pay of the chain's last epoch."""
    name, noted = "Pay", reader.sources.read_payment(share.epoch, miner["address"])
    if noted is not None:
        block, incentive = noted
        paid = Paid(block, _get_settled_uid(reader, miner, share.epoch), None, incentive)
        return _make_step(name, "good" if incentive else "bad", describe_paid(paid, share))
    neurons, held = reader.sources.read_neurons(), _find_uid(reader, miner["address"])
    if neurons is None:
        before = read_newest_payment(reader, miner["address"])
        sentences = [] if before is None else [_describe_before(*before)]
        text = (
            "this explorer does not know what the chain paid for these. Weights count at the next "
            "epoch. If they are encrypted, they count at the epoch after their reveal"
        )
        return _make_step(name, "none", *sentences, text)
    if held is None:
        return _make_step(
            name, "bad", f"at block {neurons.block} it has no uid, so the chain cannot pay it"
        )
    if not held.incentive:
        text = f"the newest epoch at block {neurons.block} paid uid {held.uid} nothing as a miner"
        if held.emission:
            alpha = f"{held.emission / _ALPHA:,.4f} alpha"
            text += f"; its {alpha} are dividends of stake"
        return _make_step(name, "bad", text)
    text = (
        f"at block {neurons.block} the last epoch's pay of uid {held.uid} is "
        f"{held.incentive / _U16:.1%} of the miners' share, {held.emission / _ALPHA:,.4f} alpha"
    )
    return _make_step(name, "good", text)
