"""`assay weights`: what validators have set, what is still to be sent, and setting them by hand."""

import json
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from assay.cli.console import FIGURES, open_console
from assay.cli.program_view import render_settlements
from assay.network.chain import ChainError, SubtensorChain, TooSoonError
from assay.neurons.program.database import VALIDATOR_FILE, Database
from assay.neurons.session.resources import open_account, open_chain
from assay.neurons.settings.loading import ConfigError
from assay.neurons.settings.sections import Settings
from assay.neurons.validator.weights_outbox import describe_row, list_rows
from assay.protocol import encode_ss58
from assay.verification import compute_weights

logger = logging.getLogger("assay")

_PAIR = re.compile(r"([0-9]{1,5})=([0-9]{1,12})")
#: Longest wait for the chain's rate limit and for the weights to stand, seconds.
_PATIENCE_S = 3_600.0
_LOOK_S = 1.0
#: Settlements shown.
_SHOWN = 20


def parse_shares(words: Sequence[str]) -> dict[int, int]:
    """uid → share, from words such as `5=3`.

    Raises:
        ConfigError: a word that is none, a uid twice, or nothing but zeros.
    """
    shares: dict[int, int] = {}
    for word in words:
        found = _PAIR.fullmatch(word)
        if found is None or int(found[1]) > 65_535:
            raise ConfigError(
                f"{word!r} is no weight: write UID=SHARE in whole numbers, such as 5=3"
            )
        if int(found[1]) in shares:
            raise ConfigError(f"uid {found[1]} stands twice")
        shares[int(found[1])] = int(found[2])
    if not any(shares.values()):
        raise ConfigError("every share is 0: give at least one uid something")
    return shares


def run_weights_show(
    settings: Settings, folder: Path | None, block: int | None, as_json: bool
) -> None:
    """Weights of all validators at a block, and a validator folder's own account of them.

    Raises:
        ChainError, ConfigError: the chain or the folder cannot be read.
    """
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
    if folder is not None:
        with closing(Database(folder / VALIDATOR_FILE, looking=True)) as database:
            document["settlements"] = [describe_row(row) for row in list_rows(database, _SHOWN)]
    if as_json:
        print(json.dumps(document))
    else:
        _draw(document, by_uid)


def _draw(document: dict[str, Any], by_uid: Mapping[int, str]) -> None:
    console = open_console(FIGURES)
    for validator in document["validators"]:
        total = sum(validator["weights"].values()) or 1
        console.print(f"validator {validator['uid']}  {validator['hotkey']}", highlight=False)
        for uid, weight in validator["weights"].items():
            name = by_uid.get(int(uid), "nobody")
            console.print(
                f"  {uid:>5}  {weight:>6,}  {100 * weight / total:5.1f} %  {name}",
                highlight=False,
                soft_wrap=True,
            )
    if not document["validators"]:
        console.print(
            f"nobody has weights on subnet {document['netuid']} at block {document['block']}",
            highlight=False,
        )
    if "settlements" in document:
        console.print(render_settlements(document["settlements"]))


def run_weights_set(
    settings: Settings,
    shares: Mapping[int, int],
    wait: bool,
    confirm: Callable[[str], bool],
    as_json: bool,
) -> None:
    """Sends weights once and reads them back from final state.

    Raises:
        TooSoonError: the rate limit forbids it, and waiting was not asked for.
        ChainError, ConfigError: refused, or not agreed to.
    """
    account = open_account(settings)
    row = compute_weights(shares, min(shares), 0)
    with open_chain(settings.chain, poll_s=_LOOK_S) as chain:
        chain.add_wallet(account.wallet)
        name = encode_ss58(account.hotkey)
        seats = {seat.uid: seat for seat in chain.get_metagraph(chain.get_head())}
        if set(row) - seats.keys():
            raise ConfigError(f"nobody holds uid {min(set(row) - seats.keys())}: see the metagraph")
        own = next((seat for seat in seats.values() if seat.hotkey == account.hotkey), None)
        if own is not None and not own.permit:
            logger.warning(
                "%s has no permit: the chain takes weights on itself, and counts none",
                name,
                extra={"event": "permit_missing"},
            )
        if not confirm(f"Set {len(row)} weights of {name} on subnet {chain.netuid}?"):
            raise ConfigError("not agreed to: nothing was sent")
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
    if as_json:
        print(json.dumps(document))
    elif timelocked:
        print(f"weights of {name} are on chain, encrypted: the chain opens them by itself")
    else:
        print(f"weights of {name} stand at block {block}")


def _await(
    chain: SubtensorChain, hotkey: bytes, row: Mapping[int, int], deadline: float
) -> tuple[int, bool]:
    """The final block that shows the weights, and whether they are still shut."""
    if chain.get_hyperparameters().commit_reveal:
        return chain.get_head(), True
    kept = {uid: weight for uid, weight in row.items() if weight}
    while chain.get_weights(head := chain.get_head()).get(hotkey) != kept:
        if time.monotonic() > deadline:
            raise ChainError("the weights were sent and do not show: `assay weights show`")
        time.sleep(_LOOK_S)
    return head, False
