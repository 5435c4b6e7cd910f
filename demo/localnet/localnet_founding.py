"""A localnet's first start: a chain with one subnet on it, whose rules are published.

It happens on a chain of virtual time, through the SDK and as an owner would do it, in a folder that
takes its place when all is done: killed in the middle, it is done again from the start. It loads a
model to check what it publishes, so it runs in a process of its own.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import TypeAdapter, ValidationError

from assay.demo.localnet.description import OWNER_WALLET, TRAINER_WALLET
from assay.devnet import Devnet, Seal
from assay.network import open_store
from assay.network.chain import (
    ChainError,
    ChainTarget,
    Connection,
    DevWallet,
    SubtensorChain,
    open_wallet,
)
from assay.network.files import write_json
from assay.neurons.settings.loading import use_sdk_cache
from assay.neurons.settings.sections import WalletSettings
from assay.protocol import BeaconChain, encode_ss58
from assay.subnet.founding import PRESET, buy_subnet, publish_rules

_FILE = "founded.json"
#: So many blocks may the founding take: block 0 is as many slots old when the clock takes over.
_BLOCKS = 100
#: Seconds for the node, which is a thread of this process, to answer.
_DEADLINE_S = 60.0


@dataclass(frozen=True, slots=True)
class Founding:
    """What was founded.

    Attributes:
        block_time: seconds between the chain's blocks.
        genesis_hash, parameters: hex.
        owner, trainer: hotkeys, SS58.
    """

    block_time: float
    netuid: int
    genesis_hash: str
    parameters: str
    owner: str
    trainer: str


def read_founding(folder: Path) -> Founding | None:
    """What was founded in a chain's folder; None: nothing yet.

    Raises:
        ChainError: the folder holds something else.
    """
    try:
        return TypeAdapter(Founding).validate_json((folder / _FILE).read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise ChainError(
            f"{folder / _FILE} is damaged ({error.errors()[0]['msg']}): take another folder"
        ) from None


def get_begin_ms(now_ms: int, block_time: float) -> int:
    """A whole second before everything that is founded now, Unix milliseconds."""
    return (now_ms - round(_BLOCKS * block_time * 1_000)) // 1_000 * 1_000


def found(folder: Path, block_time: float, beacon: BeaconChain, store: str) -> Founding:
    """Makes `folder`: a chain on which a subnet waits to be joined.

    Args:
        block_time: seconds.
        beacon: the chain that its rounds are taken from.
        store: locator of the store for parameters and genesis checkpoint.

    Raises:
        OperatorError: says what went wrong.
    """
    draft = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    begin_ms = get_begin_ms(time.time_ns() // 1_000_000, block_time)
    with TemporaryDirectory(prefix="assay-") as scratch:
        use_sdk_cache(Path(scratch))
        devnet = Devnet(draft, 0, block_time, seal=Seal.INSTANT, genesis_ms=begin_ms)
        with devnet:
            connection = Connection(ChainTarget((devnet.endpoint,), deadline_s=_DEADLINE_S))
            try:
                founding = _found_subnet(
                    connection, Path(scratch), block_time, beacon, store, devnet.new_blocks
                )
            finally:
                connection.close()
    write_json(draft / _FILE, asdict(founding))
    draft.rename(folder)
    return founding


def _found_subnet(
    connection: Connection,
    scratch: Path,
    block_time: float,
    beacon: BeaconChain,
    store: str,
    pass_blocks: Callable[[int], int],
) -> Founding:
    from assay.subnet.presets import PRESETS  # a running localnet needs no model in memory
    from assay.training import GENESIS

    hotkey_name = WalletSettings().hotkey
    owner = open_wallet(OWNER_WALLET, hotkey_name, Path())
    netuid = buy_subnet(connection, owner, PRESETS[PRESET].timing.tempo)
    chain = SubtensorChain(connection, netuid, scratch, poll_s=0)
    try:
        owner_hotkey = chain.add_wallet(owner)
        # the owner pays for the trainer's seat, which needs no money of its own
        trainer = chain.add_wallet(DevWallet(OWNER_WALLET, f"{TRAINER_WALLET}//{hotkey_name}"))
        chain.register(trainer, chain.quote_registration(trainer).cost)
        pass_blocks(1)
        slot_ms = round(block_time * 1_000)
        parameters = publish_rules(
            chain,
            owner_hotkey,
            trainer,
            beacon,
            open_store(store),
            store,
            GENESIS,
            slot_ms,
            pass_blocks,
        )
    finally:
        chain.close()
    return Founding(
        block_time=block_time,
        netuid=netuid,
        genesis_hash=connection.genesis_hash.hex(),
        parameters=parameters.digest.hex(),
        owner=encode_ss58(owner_hotkey),
        trainer=encode_ss58(trainer),
    )
