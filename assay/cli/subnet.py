"""`assay subnet` and `assay weights`: a subnet as everybody sees it, and its validators'
weights."""

import logging
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from assay.artifacts.announced_parameters import list_announced
from assay.artifacts.database import VALIDATOR_FILE, Database
from assay.artifacts.store_objects import make_checkpoint_name
from assay.cli.console import FIGURES, Confirm, print_result, require_consent
from assay.cli.program_view import render_settlements
from assay.environments import LevelStanding, list_standings, open_environment, write_choice
from assay.network import ObjectStore, StoreError
from assay.network.chain import (
    ChainError,
    SubtensorChain,
    TooSoonError,
    create_subnet,
    get_subnet_cost,
    start_subnet,
)
from assay.network.chain.values import format_tao
from assay.neurons.validator.weights_outbox import describe_row, list_rows
from assay.protocol import QUICKNET, BeaconChain, EncodingError, Manifest, encode_ss58
from assay.protocol.encoding import from_json, read_json
from assay.protocol.prompt_terms import describe_prompts
from assay.protocol.reward_terms import describe_rewards
from assay.protocol.window import compute_window
from assay.rounds.in_force import get_checkpoint_digest
from assay.session.resources import connect, open_account, open_chain, parse_tao
from assay.session.session import Session, open_session
from assay.settings.loading import ConfigError, require_netuid
from assay.settings.sections import Settings
from assay.verification import compute_weights

logger = logging.getLogger("assay")

_PAIR = re.compile(r"([0-9]{1,5})=([0-9]{1,12})")
#: Longest wait for the chain's rate limit and for the weights to be on chain, seconds.
_PATIENCE_S = 3_600.0
_LOOK_S = 1.0
#: Largest manifest that is read, bytes: a larger one is nobody's.
_MANIFEST_BYTES = 4 << 20
#: Settlements that are shown.
_SHOWN = 20


def run_subnet_create(
    settings: Settings, max_cost: str | None, confirm: Confirm, as_json: bool
) -> None:
    """Buy a subnet. The wallet's hotkey gets its uid 0."""
    limit = None if max_cost is None else parse_tao(max_cost)
    account = open_account(settings)
    with connect(settings.chain) as connection:
        cost = get_subnet_cost(connection)
        name = encode_ss58(account.hotkey)
        require_consent(confirm, f"Buy a subnet for {format_tao(cost)}, with uid 0 for {name}?")
        netuid = create_subnet(connection, account.wallet, cost if limit is None else limit)
    document = {"netuid": netuid, "owner_hotkey": name, "cost_rao": cost}
    text = (
        f"subnet {netuid} is yours for {format_tao(cost)}. Next: `assay subnet start` once the "
        "chain allows it, which opens it for stake, and `assay subnet publish`"
    )
    print_result(document, as_json, text)


def run_subnet_start(settings: Settings, confirm: Confirm, as_json: bool) -> None:
    """Open the subnet for stake and emission."""
    account, netuid = open_account(settings), require_netuid(settings.chain)
    with connect(settings.chain) as connection:
        require_consent(confirm, f"Open subnet {netuid} for stake, which cannot be undone?")
        receipt = start_subnet(connection, account.wallet, netuid)
    block = None if receipt is None else receipt.block
    since = "was open before" if block is None else f"is open as of block {block}"
    print_result({"netuid": netuid, "block": block}, as_json, f"subnet {netuid} {since}")


def run_subnet_show(settings: Settings, as_json: bool) -> None:
    """Show the network as everybody finds it: hyperparameters, parameters, checkpoint in force, and
    announced parameters."""
    with open_session(settings) as session:
        chain = session.chain
        head = chain.get_head()
        rules = chain.get_hyperparameters()
        parameters, followed = session.parameters, session.followed
        announced = list_announced(followed.history, followed.pending, head)
        window = compute_window(parameters.timing, head)
        checkpoint = get_checkpoint_digest(chain, parameters, window)
        owner, members = chain.get_owner(head), chain.get_members(head)
        levels = _find_levels(session, checkpoint)
    document: dict[str, Any] = {
        "netuid": chain.netuid,
        "block": head,
        "window": window,
        "owner": encode_ss58(owner),
        "neurons": len(members),
        "hyperparameters": asdict(rules),
        "checkpoint": checkpoint.hex(),
        "levels": [asdict(standing) for standing in levels],
        "digest": parameters.digest.hex(),
        "parameters": parameters.to_json(),
        "announced": [
            one.to_json() | {"parameters": one.parameters.to_json()} for one in announced
        ],
        "note": followed.note,
    }
    timing, work = parameters.timing, parameters.work
    seconds = timing.window_blocks * timing.slot_ms / 1_000
    closed = "" if rules.registration_open else ", closed"
    hidden = "timelocked" if rules.commit_reveal else "in the clear"
    apart = f"{rules.weights_rate_limit} blocks apart" if rules.weights_rate_limit else "any time"
    lines = {
        "subnet": f"{chain.netuid}, {len(members)} of {rules.max_uids} uids taken, block {head}",
        "owner": encode_ss58(owner),
        "registration": format_tao(rules.registration_cost) + closed,
        "weights": f"{hidden}, {apart}; tempo {rules.tempo} blocks",
        "parameters": parameters.digest.hex(),
        "window": f"{window} now; {timing.window_blocks} blocks, {seconds:g} s",
        "work": f"{work.group_size} rollouts a group, at most {work.group_cap} groups of up to "
        f"{work.max_tokens} tokens; {work.audited_rollouts} rollouts audited, "
        f"{work.valued_groups} groups valued",
        "environment": write_choice(parameters.environment),
        "episodes": f"up to {work.turns} turns in {work.context} tokens, replies of up to "
        f"{work.reply_bytes} bytes",
        "rewards": "; ".join(describe_rewards(parameters.rewards, work.max_tokens)),
        "beacon": name_beacon(parameters.beacon),
        "trainer": encode_ss58(parameters.identity.trainer),
        "checkpoint": checkpoint.hex(),
    }
    if work.turns == 1:
        del lines["episodes"]
    put = describe_prompts(parameters.environment.prompts)
    rows = [*lines.items(), *(("prompts", line) for line in put)]
    rows += [("asked", standing.describe()) for standing in levels]
    if not levels:
        rows.append(("asked", "not known: the checkpoint's manifest cannot be read"))
    rows += [("announced", one.describe()) for one in announced]
    if followed.note is not None:
        rows.append(("note", followed.note))
    text = "\n".join(f"{name:<13} {value}" for name, value in rows)
    print_result(document, as_json, text)


def _find_levels(session: Session, checkpoint: bytes) -> list[LevelStanding]:
    """The levels of the checkpoint in force; none if no store has its manifest."""
    found = (_fetch_manifest(store, checkpoint) for store in session.checkpoint_mirrors())
    manifest = next((one for one in found if one is not None), None)
    if manifest is None:
        return []
    try:
        return list_standings(manifest, open_environment(session.parameters.environment))
    except ValueError:  # this machine lacks its files
        return list_standings(manifest, None)


def _fetch_manifest(store: ObjectStore, checkpoint: bytes) -> Manifest | None:
    try:
        data = store.get(make_checkpoint_name(checkpoint, "manifest.json"), _MANIFEST_BYTES)
        manifest = from_json(Manifest, read_json(data or b""))
    except (StoreError, EncodingError):
        return None
    return manifest if manifest.digest == checkpoint else None


def name_beacon(chain: BeaconChain) -> str:
    """A beacon chain for people, and whether relays must be named."""
    if chain == QUICKNET:
        return "drand's quicknet"
    return f"{chain.chain_hash.hex()}: not a public one, name relays of it with --beacon"


def parse_shares(words: Sequence[str]) -> dict[int, int]:
    """uid → share, from words such as `5=3`."""
    shares: dict[int, int] = {}
    for word in words:
        match = _PAIR.fullmatch(word)
        if match is None or int(match[1]) > 65_535:
            raise ConfigError(
                f"{word!r} is not a weight: write UID=SHARE in whole numbers, such as 5=3"
            )
        if int(match[1]) in shares:
            raise ConfigError(f"uid {match[1]} is given twice: give it once")
        shares[int(match[1])] = int(match[2])
    if not any(shares.values()):
        raise ConfigError("every share is 0: give at least one uid more")
    return shares


def run_weights_show(
    settings: Settings, directory: Path | None, block: int | None, as_json: bool
) -> None:
    """Show weights of all validators at a block, and a validator's own state in its folder."""
    with open_chain(settings.chain) as chain:
        number = chain.get_head() if block is None else block
        rows = chain.get_weights(number)
        members = chain.get_members(number)
    by_uid = {member.uid: encode_ss58(hotkey) for hotkey, member in members.items()}
    document: dict[str, Any] = {
        "netuid": chain.netuid,
        "block": number,
        "validators": [
            {
                "uid": members[hotkey].uid,
                "hotkey": encode_ss58(hotkey),
                "weights": {str(uid): weight for uid, weight in row.items()},
            }
            for hotkey, row in sorted(rows.items(), key=lambda item: members[item[0]].uid)
        ],
    }
    if directory is not None:
        with closing(Database(directory / VALIDATOR_FILE, read_only=True)) as database:
            document["settlements"] = [describe_row(row) for row in list_rows(database, _SHOWN)]
    print_result(document, as_json, _draw(document, by_uid), FIGURES)


def _draw(document: dict[str, Any], by_uid: Mapping[int, str]) -> RenderableType:
    lines = []
    for validator in document["validators"]:
        total = sum(validator["weights"].values()) or 1
        lines.append(f"validator {validator['uid']}  {validator['hotkey']}")
        for uid, weight in validator["weights"].items():
            name = by_uid.get(int(uid), "nobody")
            lines.append(f"  {uid:>5}  {weight:>6,}  {100 * weight / total:5.1f} %  {name}")
    if not lines:
        place = f"subnet {document['netuid']} at block {document['block']}"
        lines.append(f"nobody has set weights on {place}")
    parts: list[RenderableType] = [Text("\n".join(lines))]
    if "settlements" in document:
        parts.append(render_settlements(document["settlements"]))
    return Group(*parts)


def run_weights_set(
    settings: Settings, weights: Sequence[str], wait: bool, confirm: Confirm, as_json: bool
) -> None:
    """Send weights once and read them back from final state."""
    shares = parse_shares(weights)
    account = open_account(settings)
    row = compute_weights(shares, min(shares), 0)
    with open_chain(settings.chain, poll_s=_LOOK_S) as chain:
        chain.add_wallet(account.wallet)
        name = encode_ss58(account.hotkey)
        seats = {seat.uid: seat for seat in chain.get_metagraph(chain.get_head())}
        if set(row) - seats.keys():
            raise ConfigError(f"nobody has uid {min(set(row) - seats.keys())}: see the metagraph")
        own_seat = next((seat for seat in seats.values() if seat.hotkey == account.hotkey), None)
        if own_seat is not None and not own_seat.permit:
            logger.warning(
                "%s has no permit: the chain accepts its weights for itself only, and counts none",
                name,
                extra={"event": "permit_missing"},
            )
        require_consent(confirm, f"Set {len(row)} weights of {name} on subnet {chain.netuid}?")
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                chain.set_weights(account.hotkey, row)
                break
            except TooSoonError:
                if not wait or time.monotonic() > deadline:
                    raise
                time.sleep(_LOOK_S)
        block, timelocked = _await(chain, account.hotkey, row, deadline)
    document = {
        "netuid": chain.netuid,
        "hotkey": name,
        "block": block,
        "timelocked": timelocked,
        "weights": {str(uid): weight for uid, weight in row.items()},
    }
    stand = f"are on chain at block {block}"
    if timelocked:
        stand = "are on chain, encrypted: the chain reveals them by itself"
    print_result(document, as_json, f"weights of {name} {stand}")


def _await(
    chain: SubtensorChain, hotkey: bytes, row: Mapping[int, int], deadline: float
) -> tuple[int, bool]:
    """The final block that shows the weights, and whether they are still encrypted."""
    if chain.get_hyperparameters().commit_reveal:
        return chain.get_head(), True
    wanted = {uid: weight for uid, weight in row.items() if weight}
    while chain.get_weights(head := chain.get_head()).get(hotkey) != wanted:
        if time.monotonic() > deadline:
            raise ChainError("the weights were sent but are not there: see `assay weights show`")
        time.sleep(_LOOK_S)
    return head, False
