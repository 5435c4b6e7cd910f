"""What `assay explorer` shows, and what it prints."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from assay.cli.saying import Say
from assay.cli.settings_source import SettingsSource
from assay.cli.start import add_problem_files
from assay.explorer.serving import ExplorerAddress
from assay.explorer.sources.record import ExplorerRequest
from assay.explorer.sources.shell_commands import show_address
from assay.lab.localnet.description import find_localnet
from assay.settings.sections import Settings


def make_request(source: SettingsSource) -> ExplorerRequest:
    """The content to show, and the options with which others can look at it."""
    own_dir, localnet = source.flags["explorer"]["dir"], source.localnet
    if localnet is None and own_dir and own_dir.is_dir() and find_localnet(own_dir):
        localnet = own_dir  # the folder is a localnet's
        source.flags["explorer"]["dir"] = None
    network, netuid = source.flags["chain"]["network"], source.flags["chain"]["netuid"]
    if localnet is None and netuid is None:
        settings = _load(source)
        explorer, usual = settings.explorer, settings.localnet.dir
        named = explorer.dir or explorer.record or settings.chain.netuid
        if not named and not settings.demo.out.is_dir() and find_localnet(usual) is not None:
            localnet = usual  # there is nothing else here
    online: tuple[str, ...] | None = None
    later: Callable[[], Settings] | None = None
    begun = localnet
    if localnet is not None:
        online = ("--localnet", str(localnet))
        if find_localnet(localnet) is None:  # it may be about to start
            begun = None
            later = partial(_load, replace(source, localnet=localnet, waits=False))
    elif netuid is not None:
        node = None if network is None else show_address(network, "wss://CHAIN-NODE")
        chain = () if node is None else ("--network", node)
        online = (*chain, "--netuid", str(netuid))
    if online is not None:  # an audit may read others' files if the settings allow it
        online += () if source.config is None else ("--config", str(source.config))
        readable = source.flags["store"]["readable"] or ()
        online += tuple(word for place in readable for word in ("--readable", place))
    return ExplorerRequest(_load(replace(source, localnet=begun)), online, localnet, later)


def _load(source: SettingsSource) -> Settings:
    settings = source.load()
    add_problem_files(settings)
    return settings


def show_explorer(explorer: ExplorerAddress, as_json: bool, say: Say) -> None:
    """Show where the pages are."""
    place = explorer.place
    if as_json:
        print(json.dumps({"address": explorer.address, "record": place}), flush=True)
        return
    print(explorer.address, flush=True)
    if not explorer.waits:
        what = "looks for the record" if place is None else f"shows the record in {place}"
        say(f"{what}; Ctrl-C stops it")
