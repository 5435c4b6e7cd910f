"""The services of a localnet: chain, beacon and store on loopback, from one process.

Their folder outlives them: the next start finds keys, chain, ports and store again, so that users
of the network can continue.
"""

import json
import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from multiprocessing import get_context, parent_process
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from pydantic import TypeAdapter, ValidationError

from assay.lab.localnet.description import (
    DEMO_GROUPS,
    OWNER_WALLET,
    TRAINER_WALLET,
    BeaconService,
    Localnet,
    Party,
    find_localnet,
    write_localnet,
)
from assay.lab.localnet.devnet_errors import report_devnet_errors
from assay.lab.localnet.founding import (
    PRESET,
    add_members,
    buy_subnet,
    count_groups,
    make_first_checkpoint,
    publish_rules,
    shorten_windows,
)
from assay.network.beacon import LocalBeacon
from assay.network.beacon.chain_info import describe_chain
from assay.network.beacon.server import BEACON_ID, BeaconServer
from assay.network.chain.connection import Connection
from assay.network.chain.errors import ChainError
from assay.network.chain.subtensor import SubtensorChain
from assay.network.chain.target import ChainTarget
from assay.network.chain.wallets import DevWallet, open_wallet
from assay.network.files import write_file, write_json
from assay.network.store.base import LOCATOR_MAX
from assay.network.store.opening import open_store
from assay.neurons.program.loop import claim_folder
from assay.protocol.beacon import BeaconChain
from assay.protocol.ss58 import encode_ss58
from assay.settings.extras import list_lacks
from assay.settings.loading import ConfigError, use_sdk_cache
from assay.settings.sections import LocalnetSettings, TrainerSettings, WalletSettings
from subtensor_devnet import Devnet, DevnetError, Seal

logger = logging.getLogger("assay")

#: The chain's default port: the SDK's port of the local network.
PORT = 9_944
#: Seconds between blocks, and milliseconds between beacons.
_BLOCK_TIME, _PERIOD_MS = 1.0, 1_000
_FOUNDED_FILE = "founded.json"
#: Most blocks of the founding: block 0 is this many slots old when the clock takes over.
_BLOCKS = 100
#: Seconds for the node, which is a thread of this process, to answer.
_DEADLINE_S = 60.0


@dataclass(frozen=True, slots=True)
class Subnet:
    """What a network is made of.

    Attributes:
        recipe: a file, or a shipped one's name; None: the demo's rules.
        model: the recipe's; None: the shipped one.
        files: of problems.
        members: whether `MINER_WALLET` and `VALIDATOR_WALLET` have money, a uid and stake.
    """

    recipe: str | None = None
    model: Path | None = None
    files: tuple[str, ...] = ()
    members: bool = False


DEMO_SUBNET = Subnet()


def read_subnet(settings: LocalnetSettings, problems: Iterable[Path]) -> Subnet:
    """What `[localnet]` asks for, with files of problems. Paths become absolute."""
    recipe, files = settings.recipe, tuple(problems)
    if recipe is not None:  # loads numpy, which others do not need
        from assay.subnet.recipe import find_recipe, list_recipe_files, list_recipes

        files += list_recipe_files(find_recipe(recipe))
        recipe = recipe if recipe in list_recipes() else str(Path(recipe).resolve())
    whole = dict.fromkeys(str(file.resolve()) for file in files)
    return Subnet(recipe, settings.model, tuple(whole), settings.members)


@dataclass(frozen=True, slots=True)
class Services:
    """The running services, and the network that they make."""

    localnet: Localnet
    devnet: Devnet
    place: "_Place"

    def require_running(self) -> None:
        """Raise a ChainError if the chain has stopped by itself, and a ConfigError if its folder is
        gone: nobody would find any later state again."""
        if not self.devnet.is_running:
            self.devnet.stop()
            raise ChainError("the development network has stopped: start it again")
        if not self.place.is_kept():
            raise ConfigError(
                f"{self.place.root} was moved or deleted under the running localnet: move it back "
                "and start it again, or begin anew"
            )


class _Place:
    """The identity of a folder, to tell it from another one with its name."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._found = root.stat()

    def is_kept(self) -> bool:
        try:
            return os.path.samestat(self._found, self.root.stat())
        except (FileNotFoundError, NotADirectoryError):
            return False


@contextmanager
def run_services(
    folder: Path,
    block_time: float | None = None,
    port: int | None = None,
    subnet: Subnet = DEMO_SUBNET,
) -> Iterator[Services]:
    """Start everything, found the network if there is none, and write both files.

    Args:
        folder: of the localnet.
        block_time: seconds; None: as before, or one.
        port: of the chain; the beacon's is the next one; 0: any two free ones; None: as before, or
            the default ones.
        subnet: its recipe and its model, where there is no network yet. Afterwards another recipe
            is refused.

    Raises:
        OperatorError: the folder is in use, unusable or was moved; a port is taken; the block time
            differs.
    """
    root = folder.resolve()
    store = _name_store(root)
    with ExitStack() as stack:
        stack.enter_context(report_devnet_errors())
        stack.enter_context(claim_folder(folder, "localnet", alone=True))
        place = _Place(root)
        (root / "store").mkdir(exist_ok=True)
        founding, before = read_founding(root / "chain"), find_localnet(folder)
        if founding is not None and before is not None and before.store != store:
            raise ConfigError(
                f"{folder} was moved: its chain names {before.store} for good; move it back, or "
                "begin anew in another folder"
            )
        if founding is not None and subnet.recipe not in (None, founding.recipe):
            raise ConfigError(
                f"{folder} is a network by {founding.recipe or 'the demo'}'s rules: name another "
                "folder with --dir"
            )
        ports = choose_ports(before, port)
        slot_s = block_time or (founding.block_time if founding else _BLOCK_TIME)
        beacons = open_beacon(root / "beacon", slot_s)
        _warn_of_extras(subnet.recipe if founding is None else founding.learning)
        if founding is None:
            _require_free(ports)  # not only after the half minute that founding can take
            logger.info(
                "making a new network: buying a subnet, publishing rules (up to half a minute)"
                if subnet.recipe is None
                else "making a new network: calibrating its model takes minutes",
                extra={"event": "network_founded"},
            )
            founding = _found_apart(root / "chain", slot_s, beacons.chain, store, subnet)
        devnet = stack.enter_context(_start_chain(root / "chain", slot_s, ports[0]))
        server = BeaconServer(beacons, ports[1])
        stack.callback(server.close)
        info = describe_chain(beacons.chain, BEACON_ID, 1)
        write_json(root / "beacon" / "info.json", info)
        localnet = Localnet(
            endpoint=devnet.endpoint,
            netuid=founding.netuid,
            genesis_hash=founding.genesis_hash,
            block_time=founding.block_time,
            parameters=founding.parameters,
            beacon=BeaconService(server.url, dict(info)),
            store=store,
            owner=Party(OWNER_WALLET, founding.owner),
            trainer=Party(TRAINER_WALLET, founding.trainer),
            wallets=str(root / "wallets"),
            settings=str(root / "assay.toml"),
            recipe=founding.recipe,
            files=founding.files,
            learning=founding.learning,
            groups=founding.groups,
            calibration=founding.calibration,
            members=founding.members,
            pids={"localnet": os.getpid()},
        )
        write_localnet(folder, localnet)
        stack.callback(_write_end, folder, localnet, place)
        yield Services(localnet, devnet, place)


def _warn_of_extras(trained: str | dict[str, Any] | None) -> None:
    """Say what a trainer on this machine would lack, before a model is calibrated for it.

    Args:
        trained: its settings, or the recipe that has them.
    """
    if isinstance(trained, str):
        from assay.subnet.recipe import read_recipe

        trainer = read_recipe(trained).trainer
    else:
        trainer = TrainerSettings.model_validate(trained or {})
    for line in list_lacks(trainer):
        logger.warning(
            "the trainer will not start here: %s", line, extra={"event": "extra_missing"}
        )


def _write_end(folder: Path, localnet: Localnet, place: _Place) -> None:
    """Note that no process serves it any more. Writes nothing into a folder that is gone."""
    if place.is_kept():
        write_localnet(folder, replace(localnet, pids={}))


def _name_store(root: Path) -> str:
    """The store's locator, which must fit a commitment."""
    locator = (root / "store").as_uri()
    if len(locator) > LOCATOR_MAX:
        raise ConfigError(
            f"{locator} is longer than the {LOCATOR_MAX} bytes that a commitment has room for: "
            "name a folder of a shorter path with --dir"
        )
    return locator


def open_beacon(folder: Path, block_time: float) -> LocalBeacon:
    """This localnet's own drand chain. Anybody who knows its key knows all rounds beforehand."""
    file = folder / "secret.json"
    if not file.exists():
        begin_ms = get_begin_ms(_get_now_ms(), block_time)
        secret = {"seed": secrets.token_hex(32), "genesis_ms": begin_ms, "period_ms": _PERIOD_MS}
        write_file(file, (json.dumps(secret) + "\n").encode(), mode=0o600)
    try:
        saved = json.loads(file.read_bytes())
        seed, begin_ms, period_ms = (saved[name] for name in ("seed", "genesis_ms", "period_ms"))
        return LocalBeacon(bytes.fromhex(seed), int(begin_ms), int(period_ms), _get_now_ms)
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"{file} is damaged: take another folder") from None


def choose_ports(before: Localnet | None, port: int | None) -> tuple[int, int]:
    """The chain's and the beacon's port; 0 is any free one."""
    if port is not None:
        return port, port and port + 1
    if before is None:
        return PORT, PORT + 1
    urls = (before.endpoint, before.beacon.url)
    return tuple(urlsplit(url).port or 0 for url in urls)  # type: ignore[return-value] # two


def _require_free(ports: tuple[int, int]) -> None:
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise ConfigError(
                    f"cannot listen on port {port} of 127.0.0.1: {error.strerror}: name another "
                    "port with --port"
                ) from None


@contextmanager
def _start_chain(folder: Path, block_time: float, port: int) -> Iterator[Devnet]:
    devnet = Devnet(folder, port, block_time)
    try:
        try:
            devnet.start()
        except DevnetError as error:
            raise ConfigError(f"{error}: name another port with --port") from None
        yield devnet
    finally:
        devnet.close()


def _get_now_ms() -> int:
    return time.time_ns() // 1_000_000


# --- founding


@dataclass(frozen=True, slots=True)
class Founding:
    """The founded network."""

    block_time: float  # seconds between the chain's blocks
    netuid: int
    genesis_hash: str  # hex
    parameters: str  # hex
    owner: str  # hotkey, SS58
    trainer: str  # hotkey, SS58
    recipe: str | None = None  # its name, or its file
    files: tuple[str, ...] = ()  # of problems
    learning: dict[str, Any] = field(default_factory=dict)  # the recipe's settings of a trainer
    groups: int = DEMO_GROUPS  # that a miner of this machine may make in a window
    calibration: dict[str, Any] | None = None  # what was found of the model; None: it was not made
    members: bool = False  # whether it began with a miner and a validator


def read_founding(folder: Path) -> Founding | None:
    """The network that was founded in a chain's folder; None: none yet. Raises a ChainError if the
    folder has other content."""
    try:
        return TypeAdapter(Founding).validate_json((folder / _FOUNDED_FILE).read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise ChainError(
            f"{folder / _FOUNDED_FILE} is damaged ({error.errors()[0]['msg']}): take another folder"
        ) from None


def get_begin_ms(now_ms: int, block_time: float) -> int:
    """A whole second before everything that is founded now, Unix milliseconds."""
    return (now_ms - round(_BLOCKS * block_time * 1_000)) // 1_000 * 1_000


@report_devnet_errors()
def found(
    folder: Path, block_time: float, beacon: BeaconChain, store: str, subnet: Subnet = DEMO_SUBNET
) -> Founding:
    """Make `folder`: a chain with a subnet that is ready to be joined, its parameters published.

    This happens on a chain of virtual time, through the SDK as an owner would do it, in a folder
    that is renamed at the end. If it is killed, it starts over. It loads a model to check the
    checkpoint that it publishes.

    Args:
        block_time: seconds.
        beacon: the chain of its rounds.
        store: locator of the store for parameters and genesis checkpoint.

    Raises:
        OperatorError: says what went wrong.
    """
    draft = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    begin_ms = get_begin_ms(_get_now_ms(), block_time)
    with TemporaryDirectory(prefix="assay-") as scratch:
        use_sdk_cache(Path(scratch))
        devnet = Devnet(draft, 0, block_time, seal=Seal.INSTANT, genesis_ms=begin_ms)
        with devnet:
            connection = Connection(ChainTarget((devnet.endpoint,), deadline_s=_DEADLINE_S))
            try:
                founding = _found_subnet(
                    connection, Path(scratch), block_time, beacon, store, devnet.new_blocks, subnet
                )
            finally:
                connection.close()
    write_json(draft / _FOUNDED_FILE, asdict(founding))
    draft.rename(folder)
    return founding


def _found_subnet(
    connection: Connection,
    scratch: Path,
    block_time: float,
    beacon: BeaconChain,
    store: str,
    pass_blocks: Callable[[int], int],
    subnet: Subnet,
) -> Founding:
    from assay.subnet.presets import PRESETS  # a running localnet needs no model in memory
    from assay.training import GENESIS

    recipe, findings, genesis, tempo = None, None, GENESIS, PRESETS[PRESET].timing.tempo
    if subnet.recipe is not None:
        from assay.environments.problem_file import add_problem_files
        from assay.subnet.recipe import read_recipe

        add_problem_files(map(Path, subnet.files))
        recipe = shorten_windows(read_recipe(subnet.recipe))
        tempo = recipe.make_rules().timing.tempo
        genesis, findings = make_first_checkpoint(recipe, subnet.model, scratch / "genesis", _say)
        for line in () if findings is None else findings.describe():
            _say(line)
    hotkey_name = WalletSettings().hotkey
    owner = open_wallet(OWNER_WALLET, hotkey_name, Path())
    netuid = buy_subnet(connection, owner, tempo)
    chain = SubtensorChain(connection, netuid, scratch, poll_s=0)
    try:
        owner_hotkey = chain.add_wallet(owner)
        # the owner pays for the trainer's seat, which needs no money of its own
        trainer = chain.add_wallet(DevWallet(OWNER_WALLET, f"{TRAINER_WALLET}//{hotkey_name}"))
        chain.register(trainer, chain.quote_registration(trainer).cost)
        if subnet.members:
            add_members(connection, chain)
        pass_blocks(1)
        slot_ms = round(block_time * 1_000)
        parameters = publish_rules(
            chain,
            owner_hotkey,
            trainer,
            beacon,
            open_store(store),
            store,
            genesis,
            slot_ms,
            pass_blocks,
            recipe,
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
        recipe=subnet.recipe,
        files=subnet.files,
        learning={} if recipe is None else _write_learning(recipe.trainer),
        groups=DEMO_GROUPS if recipe is None else count_groups(recipe, parameters, findings, _say),
        calibration=None if findings is None else findings.to_json(),
        members=subnet.members,
    )


def _write_learning(trainer: TrainerSettings) -> dict[str, Any]:
    """A recipe's settings of a trainer as JSON, whose paths hold in any folder."""
    if trainer.sft is not None:
        trainer = trainer.model_copy(update={"sft": trainer.sft.resolve()})
    return trainer.model_dump(mode="json", exclude_unset=True)


def _found_apart(
    folder: Path, block_time: float, beacon: BeaconChain, store: str, subnet: Subnet
) -> Founding:
    """Found in a separate process, whose memory is released afterwards."""
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=prepare_founder) as apart:
        return apart.submit(found, folder, block_time, beacon, store, subnet).result()


def _say(line: str) -> None:
    """Show a line of the founding process, which has no log."""
    print(f"assay: {line}", file=sys.stderr, flush=True)


def prepare_founder() -> None:
    """Prepare the founding process. Ctrl-C reaches it too, but its parent handles that. Its chain
    belongs to nobody else.

    Its parent may be killed and started again: two processes must not found in one folder.
    """
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger("subtensor_devnet").setLevel(logging.ERROR)


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None  # it was spawned
    parent.join()
    os._exit(1)
