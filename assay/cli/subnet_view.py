"""What `assay subnet` and `assay weights` print."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from assay.artifacts.announced_parameters import list_announced
from assay.artifacts.database import VALIDATOR_FILE, Database
from assay.artifacts.discovery import find_amender
from assay.artifacts.status.validator import WeightsStatus
from assay.artifacts.store_objects import make_checkpoint_name
from assay.cli.console import FIGURES, print_result
from assay.cli.program_view import render_settlements
from assay.environments.registry import open_environment, write_choice
from assay.environments.steering import LevelStanding, list_standings
from assay.network.chain.acts import Bought, WeightsSet
from assay.network.chain.subtensor import SubtensorChain
from assay.network.chain.values import format_tao
from assay.network.store.base import ObjectStore, StoreError
from assay.neurons.validator.weights_outbox import describe_row, list_rows
from assay.protocol.beacon import QUICKNET, BeaconChain
from assay.protocol.encoding import EncodingError, from_json, read_json
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.manifest import Manifest
from assay.protocol.parameters import Parameters
from assay.protocol.prompt_terms import describe_prompts
from assay.protocol.reward_terms import describe_rewards
from assay.protocol.ss58 import encode_ss58
from assay.protocol.window import compute_window
from assay.rounds.in_force import get_checkpoint_digest
from assay.session.session import Session
from assay.subnet.chain_settings import compare_settings, list_burn_notes

#: Largest manifest that is read, bytes: a larger one is nobody's.
_MANIFEST_BYTES = 4 << 20
#: Settlements that are shown.
_SHOWN = 20


def show_bought(bought: Bought, as_json: bool) -> None:
    """Show a new subnet, and what comes next."""
    name = encode_ss58(bought.owner)
    document = {"netuid": bought.netuid, "owner_hotkey": name, "cost_rao": bought.cost}
    text = (
        f"subnet {bought.netuid} is yours for {format_tao(bought.cost)}. Next: `assay subnet "
        "start` once the chain allows it, which opens it for stake, and `assay subnet publish`"
    )
    print_result(document, as_json, text)


def show_opened(netuid: int, block: int | None, as_json: bool) -> None:
    """Show that a subnet is open for stake."""
    since = "was open before" if block is None else f"is open as of block {block}"
    print_result({"netuid": netuid, "block": block}, as_json, f"subnet {netuid} {since}")


def show_network(session: Session, as_json: bool) -> None:
    """Show the network as everybody finds it: hyperparameters, parameters, checkpoint in force, and
    announced parameters."""
    chain = session.chain
    head = chain.get_head()
    rules = chain.get_hyperparameters()
    parameters, followed = session.parameters, session.followed
    announced = list_announced(followed.history, followed.pending, head)
    window = compute_window(parameters.timing, head)
    checkpoint = get_checkpoint_digest(chain, parameters, window)
    owner, members = chain.get_owner(head), chain.get_members(head)
    levels = _find_levels(session, checkpoint)
    compared = compare_settings(chain, parameters)
    document: dict[str, Any] = {
        "netuid": chain.netuid,
        "block": head,
        "window": window,
        "owner": encode_ss58(owner),
        "amender": encode_ss58(find_amender(chain, parameters.identity, head)),
        "neurons": len(members),
        "hyperparameters": asdict(rules),
        "chain_settings": [one.to_json() for one in compared],
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
        "amended by": _name_amender(parameters),
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
    rows = [*lines.items(), *(("burn", note) for note in list_burn_notes(parameters))]
    put = describe_prompts(parameters.environment.prompts)
    rows += [("prompts", line) for line in put]
    rows += [("asked", standing.describe()) for standing in levels]
    if not levels:
        rows.append(("asked", "not known: the checkpoint's manifest cannot be read"))
    rows += [("announced", one.describe()) for one in announced]
    if followed.note is not None:
        rows.append(("note", followed.note))
    rows += [("chain", one.describe()) for one in compared if one.is_there]
    absent = ", ".join(one.setting.name for one in compared if not one.is_there)
    if absent:
        rows.append(("chain", f"not on this runtime: {absent}"))
    text = "\n".join(f"{name:<13} {value}" for name, value in rows)
    print_result(document, as_json, text)


def _name_amender(parameters: Parameters) -> str:
    amender = parameters.identity.amender
    if amender == ZERO_DIGEST:
        return "whoever owns the subnet"
    return f"{encode_ss58(amender)} alone, whoever owns the subnet"


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


def list_deliveries(folder: Path) -> list[WeightsStatus]:
    """The newest settlements in a validator's folder, and what of each is on chain."""
    with closing(Database(folder / VALIDATOR_FILE, read_only=True)) as database:
        return [describe_row(row) for row in list_rows(database, _SHOWN)]


def show_weights(
    chain: SubtensorChain, number: int, deliveries: list[WeightsStatus] | None, as_json: bool
) -> None:
    """Show weights of all validators at a block; and if there are some a validator's
    deliveries."""
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
    if deliveries is not None:
        document["settlements"] = deliveries
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


def show_weights_set(netuid: int, done: WeightsSet, as_json: bool) -> None:
    """Show that a validator's weights are on chain."""
    name = encode_ss58(done.hotkey)
    document = {
        "netuid": netuid,
        "hotkey": name,
        "block": done.block,
        "timelocked": done.is_timelocked,
        "weights": {str(uid): weight for uid, weight in done.row.items()},
    }
    stand = f"are on chain at block {done.block}"
    if done.is_timelocked:
        stand = "are on chain, encrypted: the chain reveals them by itself"
    print_result(document, as_json, f"weights of {name} {stand}")
