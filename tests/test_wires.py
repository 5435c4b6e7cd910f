"""Nothing that comes over a wire is unpickled, and nothing listens that this file does not list:
read from the source of all packages."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tree import ROOT, list_sources

FILES = [*list_sources(), *(ROOT / "engines").rglob("*.py"), *(ROOT / "devnet").rglob("*.py")]
#: Modules that unpickle, or whose connections do, or that open torch's own stores and launchers.
UNPICKLERS = {
    *("pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve"),
    *("multiprocessing", "torch.multiprocessing", "ProcessPoolExecutor", "xmlrpc", "ray"),
    *("torch.distributed.rpc", "torch.distributed.elastic", "torch.distributed.launcher"),
    *("torch.distributed.run", "torch.distributed.checkpoint", "TCPStore", "rendezvous"),
}
#: Functions that do: collectives of objects, and readers of files.
_READERS = {
    *("gather_object", "all_gather_object", "broadcast_object_list", "scatter_object_list"),
    *("send_object_list", "recv_object_list", "read_pickle", "load_state_dict_from_url"),
}
#: File: what it uses → why no stranger's bytes reach it.
ALLOWED = {
    ("audit/tracing/operator_rerun.py", "torch.load"): "its own file, written a moment before",
    ("audit/tracing/operator_calls.py", "torch.multiprocessing"): "a weak reference, no process",
    ("lab/localnet/services.py", "multiprocessing"): "pipes to its own child",
    ("lab/localnet/services.py", "ProcessPoolExecutor"): "the same",
    ("sandbox/cluster.py", "ray"): "the operator's cluster, whose ports strangers must not reach",
    (
        "training/team_meeting.py",
        "rendezvous",
    ): "torchrun's store holds texts that are JSON; see `meet`",
}
#: Calls that open a socket for others. Addresses: of `tests/integration/test_doors.py`.
LISTENERS = {
    *("bind", "listen", "create_server", "start_server", "create_unix_server", "serve_forever"),
    *("start_unix_server", "create_datagram_endpoint", "HTTPServer", "ThreadingHTTPServer"),
    *("TCPServer", "UDPServer", "Listener", "Server"),
}
#: File → what listens there.
DOORS = {
    "cli/commands/ledger.py": "no socket: binds a hotkey to an EVM's address",
    "devnet/subtensor_devnet/node.py": "the simulated chain, on loopback unless --host says else",
    "environments/instructions/instruction_file.py": "no socket: an instruction's arguments",
    "explorer/mcp_server.py": "no socket: stdin and stdout of the agent's program",
    "explorer/routes.py": "no socket: the loop of its events",
    "explorer/serving.py": "pages, where --host says",
    "lab/localnet/services.py": "a probe for a free port, of loopback",
    "network/web/http_server.py": "pages, the beacon and metrics, where the operator says",
    "neurons/miner/engines/process.py": "a probe for a free port, of loopback",
    "training/team_network.py": "no port: the kernel's list of addresses",
}


def name_file(path: Path) -> str:
    home = ROOT / "assay" if path.is_relative_to(ROOT / "assay") else ROOT
    return str(path.relative_to(home))


def find_names(tree: ast.Module) -> Iterator[str]:
    """Modules and names that are imported, also by `import_module`, and what is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Attribute):
            yield ast.unparse(node)


def find_unpicklers(tree: ast.Module) -> set[str]:
    found = set()
    for name in find_names(tree):
        found |= {bad for bad in UNPICKLERS if name == bad or name.startswith(f"{bad}.")}
        found |= _READERS & {name.rpartition(".")[2]}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    for call in calls:
        given = {word.arg: ast.unparse(word.value) for word in call.keywords}
        name = ast.unparse(call.func)
        if name == "torch.load" and given.get("weights_only") != "True":
            found.add(name)
        if given.get("allow_pickle", "False") != "False":
            found.add(name)
    return found


def find_listeners(tree: ast.Module) -> set[str]:
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    served = {"websockets.asyncio.server.serve"} & {*find_names(tree)}
    return served | {
        name
        for call in calls
        if (name := call.attr if isinstance(call, ast.Attribute) else ast.unparse(call))
        in LISTENERS
    }


def test_nothing_of_a_wire_is_unpickled() -> None:
    found = {
        (name_file(path), use)
        for path in FILES
        if "tests" not in path.parts
        for use in find_unpicklers(ast.parse(path.read_text()))
    }
    assert found == ALLOWED.keys()


def test_what_listens_is_listed() -> None:
    found = {
        name_file(path)
        for path in FILES
        if "tests" not in path.parts and find_listeners(ast.parse(path.read_text()))
    }
    assert found == DOORS.keys()


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "from multiprocessing.connection import Listener",
        "import torch.distributed as dist\ndist.all_gather_object([], 1)",
        "dist.broadcast_object_list([b''], src=0)",
        "torch.load(file)",
        "torch.load(file, weights_only=False)",
        "np.load(file, allow_pickle=True)",
        "from torch.distributed.launcher.api import elastic_launch",
    ],
)
def test_what_unpickles_is_seen(code: str) -> None:
    assert find_unpicklers(ast.parse(code))
