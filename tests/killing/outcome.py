"""The outcome of a run: everything that must be the same however often a process was killed.

Compared: commitments, weights and metagraph in the newest state; every weights row that the chain
ever took, in order; every commitment that it ever took, each once; the store, byte by byte; the
validator's verdicts and its rows in the outbox; the miner's history; the trainer's course with its
optimiser. Not compared: signatures and nonces, block hashes and so what a public record holds, fees
and so balances, seconds, what was missing for a while, and the blocks of extrinsics, which a
restart may move.
"""

import json
import sqlite3
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from assay.artifacts.database import VALIDATOR_FILE, Database
from assay.lab.localnet.services import read_founding
from assay.network.chain.connection import Connection
from assay.network.chain.subtensor import SubtensorChain
from assay.network.chain.target import ChainTarget
from assay.neurons.validator.weights_outbox import list_rows
from assay.protocol.commitment import Tag
from assay.protocol.ss58 import encode_ss58
from assay.settings.loading import use_sdk_cache
from subtensor_devnet import Devnet, Seal
from subtensor_devnet.errors import MalformedError
from subtensor_devnet.extrinsics import take_apart


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run's end.

    Attributes:
        found: see above.
        points: role → its points, in all its lives.
        deaths: the killed roles and the points of their deaths, in order.
    """

    found: dict[str, Any]
    points: dict[str, list[str]]
    deaths: list[tuple[str, str]]


def describe(net: Path, addresses: dict[str, str], end: int) -> dict[str, Any]:
    """Everything that is compared."""
    found: dict[str, Any] = {"store": digest_files(net / "store")}
    recorded = [path for path in (net / "store").rglob("*") if path.name.endswith(_RECORDED)]
    found["public record"] = sorted(str(path.relative_to(net / "store")) for path in recorded)
    found["validator"] = describe_validator(net / "validator")
    found["miner"] = describe_miner(net / "miner")
    found["trainer"] = digest_files(net / "trainer" / "course")
    return found | describe_chain(net, addresses, end)


#: Begins the commitment to a public record.
_RECORD = Tag.RECORD.value
#: Ends of names in a validator's public record, which holds block hashes and seconds.
_RECORDED = (".record", ".statistics.json", "latest.json")


def digest_files(folder: Path) -> dict[str, str]:
    """Name → digest, of all but a public record."""
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "probe" not in path.name and not path.name.endswith(_RECORDED)
    }


def describe_validator(folder: Path) -> dict[str, Any]:
    records = {}
    for path in [*sorted(folder.glob("verdicts/*.json")), *sorted(folder.glob("contexts/*.json"))]:
        record = json.loads(path.read_text())
        for verdict in record.get("verdicts", ()):
            verdict.pop("seconds")
        if record.get("complete"):
            record.pop("missing")
        records[str(path.relative_to(folder))] = {
            k: v for k, v in record.items() if "audit_block" not in k
        }
    database = Database(folder / VALIDATOR_FILE, read_only=True)
    rows = [
        (row.epoch, row.state.value, sorted(row.weights.items())) for row in list_rows(database, 99)
    ]
    return {"records": records, "outbox": rows}


def describe_miner(folder: Path) -> dict[str, Any]:
    history = sqlite3.connect(folder / "history.sqlite")
    mined = history.execute(
        "SELECT window, hex(checkpoint), wanted, groups, object_name, size, hex(root), "
        "sent_at IS NOT NULL, note > '' FROM mined ORDER BY window"
    ).fetchall()
    verdicts = history.execute(
        "SELECT window, final, stood, reason, score, tokens, statistics FROM verdicts "
        "ORDER BY window"
    ).fetchall()
    return {"mined": mined, "verdicts": verdicts}


def describe_chain(net: Path, addresses: dict[str, str], end: int) -> dict[str, Any]:
    founding = read_founding(net / "chain")
    assert founding is not None
    with Devnet(net / "chain", seal=Seal.MANUAL) as devnet:
        assert devnet.get_head() == end
        use_sdk_cache(net.parent / "sdk")
        connection = Connection(ChainTarget((devnet.endpoint,), deadline_s=60))
        chain = SubtensorChain(connection, founding.netuid, net.parent / "logs" / "end", poll_s=0)
        head = chain.get_head()
        slots = chain.get_commitments(head).items()
        commitments = {encode_ss58(h): p.hex() for h, p in slots if not p.startswith(_RECORD)}
        weights = {
            encode_ss58(h): sorted(row.items()) for h, row in chain.get_weights(head).items()
        }
        rows = [
            (
                row.uid,
                encode_ss58(row.hotkey),
                row.stake,
                row.permit,
                row.incentive,
                row.dividends,
                row.emission,
            )
            for row in chain.get_metagraph(head)
        ]
        taken = list_taken(devnet, set(addresses.values()))
        forgotten = list_forgotten(net, devnet)
        connection.close()
    return {
        "commitments": commitments,
        "weights": weights,
        "metagraph": rows,
        "forgotten": forgotten,
        **taken,
    }


def list_taken(devnet: Devnet, signers: set[str]) -> dict[str, Any]:
    """The changes by the neurons' extrinsics: weights in order, commitments each once."""
    chain = devnet.chain
    weights, committed = [], set()
    for number in range(1, chain.head.number + 1):
        block = chain.find_block(chain.get_hash(number))
        assert block is not None
        failed = {
            event["phase"]["ApplyExtrinsic"]
            for event in chain.view(number).get("System", "Events")
            if "ExtrinsicFailed" in json.dumps(event)
        }
        for index, raw in enumerate(block.extrinsics):
            try:
                parts = take_apart(raw)
            except MalformedError:
                continue  # a block's own
            signer = encode_ss58(parts.public_key)
            if signer not in signers or index in failed:
                continue
            call = chain.codec.decode_call(parts.call)
            said = f"{signer} {call.name} {json.dumps(call.arguments, sort_keys=True)}"
            if "weights" in call.name:
                weights.append(said)
            elif _RECORD.hex() in said:
                continue  # it binds block hashes
            else:
                committed.add(said)
    return {"weights taken": weights, "commitments taken": sorted(committed)}


def list_forgotten(net: Path, devnet: Devnet) -> list[str]:
    """Final blocks that a neuron has read and that the chain does not hold any more."""
    forgotten = []
    for file in net.glob("*/chain/chain-*.sqlite"):
        kept = sqlite3.connect(file).execute("SELECT number, data FROM state WHERE kind = 'block'")
        for number, data in kept:
            found = devnet.chain.get_hash(number)
            if found is None or found.hex() != json.loads(data)[0]:
                forgotten.append(f"{file.name}: block {number}")
    return forgotten
