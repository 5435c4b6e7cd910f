"""Downloads: what is fetched, from where, and what comes of each fault."""

import hashlib
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from importlib.util import find_spec

import pytest
import trustme
from huggingface_hub import close_session
from huggingface_hub.utils import get_session

from assay.network.hub import download
from assay.network.hub.download import fetch_data, fetch_model, find_fetched
from assay.network.hub.names import HubError, HubName
from assay.network.hub.origin import find_origin
from tests.hub_server import (
    Fault,
    answering,
    cutting,
    dropping,
    flooding,
    serving,
    trickling,
    waiting,
)

WEIGHTS = bytes(range(256)) * 12_000
MODEL = {
    "config.json": b"{}",
    "tokenizer.json": b"[]",
    "model.safetensors": WEIGHTS,
    "README.md": b"hello",
    "pytorch_model.bin": b"a pickle",
    "modeling_own.py": b"a program",
    "original/consolidated.safetensors": b"other weights",
}
NAME = HubName("model", "org/name")
ROWS = b'{"problem": "%s 2+2?", "answer": "4"}\n' % (b"word " * 1_500) * 250
SECRET = "s3cr3t"


def join(files):
    """All files' bytes."""
    return b"".join(file.read_bytes() for file in files)


def ignore(done, total):
    """Progress that nobody reads."""


@pytest.fixture
def fetch(hub, connect, tmp_path):
    """Fetches a model of the server."""

    def fetching(name=NAME, **options):
        with connect(**options) as session:
            return fetch_model(session, name, tmp_path / "home", ignore)

    return fetching


def list_files(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_a_model_arrives_without_pickles_and_programs(hub, fetch, connect):
    repository = hub.add("model", "org/name", MODEL)
    commit = repository.names["main"]
    folder = fetch(token="hf_reader")
    assert list_files(folder) == [
        "config.json",
        "hub-origin.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert folder.name == commit
    assert f"org/name is at commit {commit}" in connect.lines
    origin = find_origin(folder / "model.safetensors")
    assert origin.pinned == HubName("model", "org/name", commit)
    assert origin.files == {"model.safetensors": f"sha256:{hashlib.sha256(WEIGHTS).hexdigest()}"}
    # the token goes to the Hub alone
    assert {seen.headers.get("authorization") for seen in hub.seen if seen.server == "hub"} == {
        "Bearer hf_reader"
    }
    assert [s.headers.get("authorization") for s in hub.seen if s.server == "cdn"] == [None]
    assert not any("hf_reader" in line or SECRET in line for line in connect.lines)


def test_a_revision_that_moves_is_looked_up_once(hub, fetch):
    repository = hub.add("model", "org/name", MODEL)
    first = repository.names["main"]

    def move(ask):
        repository.commit(MODEL | {"config.json": b'{"other": 1}'})
        return False

    hub.faults.append(Fault("hub", "GET /api/.*/tree/", move))
    folder = fetch()
    assert folder.name == first
    assert (folder / "config.json").read_bytes() == b"{}"
    assert repository.names["main"] != first


def test_a_commit_that_is_here_is_asked_for_nowhere(hub, fetch, tmp_path):
    hub.add("model", "org/name", MODEL)
    folder = fetch()
    pinned = HubName("model", "org/name", folder.name)
    assert find_fetched(pinned, tmp_path / "home") == folder
    assert find_fetched(NAME, tmp_path / "home") is None  # a branch may have moved
    (folder / "tokenizer.json").unlink()
    assert find_fetched(pinned, tmp_path / "home") is None
    hub.seen.clear()
    assert fetch(pinned) == folder
    asked = [seen.path for seen in hub.seen if seen.method == "GET" and "/resolve/" in seen.path]
    assert [path.rpartition("/")[2] for path in asked] == ["tokenizer.json"]


def test_a_file_that_was_edited_here_is_fetched_again(hub, connect, tmp_path):
    commit = hub.add("dataset", "org/rows", {"rows.jsonl": ROWS}).names["main"]
    name = HubName("dataset", "org/rows", commit, "rows.jsonl")

    def fetch():
        with connect() as session:
            return fetch_data(session, name, tmp_path, 1 << 30, ignore, join)

    rows = fetch()
    rows.write_bytes(ROWS.replace(b'"4"', b'"5"'))
    assert find_fetched(name, tmp_path) is None
    assert fetch().read_bytes() == ROWS
    assert find_fetched(name, tmp_path) == rows


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"files/hub-origin.json": b"{}", **MODEL}, "has a file files/hub-origin.json"),
        ({"files/a": b"", "files/a/b": b"", **MODEL}, "lists files/a/b in org/name below a file"),
    ],
)
def test_names_that_cannot_be_kept(files, words, hub, fetch, tmp_path):
    hub.add("model", "org/name", files)
    with pytest.raises(HubError, match=words):
        fetch()
    assert not [*(tmp_path / "home").rglob("a")]


def test_shards_are_those_of_the_index(hub, fetch):
    index = {"weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}
    shards = {f"m-{n}.safetensors": b"w" * n for n in (1, 2, 3)}
    files = {"config.json": b"{}", "model.safetensors.index.json": json.dumps(index).encode()}
    hub.add("model", "org/name", files | shards)
    hub.page = 2  # a listing in pages
    assert list_files(fetch()) == [
        "config.json",
        "hub-origin.json",
        "m-1.safetensors",
        "m-2.safetensors",
        "model.safetensors.index.json",
    ]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"config.json": b"{}", "pytorch_model.bin": b"x"}, "only pickles.*pytorch_model.bin"),
        ({"a-Q8.gguf": b"x"}, "only GGUF files: name one.*a-Q8.gguf"),
        ({"README.md": b"x"}, "no \\*.safetensors"),
        ({"model.safetensors.index.json": b"[]"}, "no weight_map"),
        (
            {"model.safetensors.index.json": b'{"weight_map": {"a": "../x.safetensors"}}'},
            "'../x.safetensors'.*not in the repository",
        ),
    ],
)
def test_a_repository_without_a_model(files, words, hub, fetch):
    hub.add("model", "org/name", files)
    with pytest.raises(HubError, match=words):
        fetch()


GATED, PRIVATE = {"gated": True}, {"private": True}
FILE, BLOB = "GET /org/name/resolve/.*config.json", "GET /blob/"
#: What is wrong → the fault, options of the session, and the words of the error.
ODD = {"type": "file", "path": "x", "size": 1, "oid": "0" * 40, "lastCommit": {"date": 5}}
FATAL = {
    "no such model": (None, {}, "has no model org/other, or it is private"),
    "no such revision": (None, {}, "has no such revision"),
    "private": (None, PRIVATE, "or it is private, .*: correct the name, or name a token"),
    "gated": (None, GATED | {"token": "hf_reader"}, "is gated: accept its terms at http"),
    "a wrong token": (None, {"token": "hf_wrong"}, "refuses model org/name without another token"),
    "forbidden": (Fault("hub", FILE, answering(403), 9), {}, "forbids this .fetching config.json"),
    "asks to wait for hours": (
        Fault("hub", "tree", answering(429, Retry_After="7200")),
        {},
        "429 and asks to wait 7,200 s",
    ),
    "always busy": (Fault("hub", "GET /api", answering(503), 99), {}, "answered 503 while looking"),
    "silent": (Fault("hub", "GET /api", waiting, 99), {}, "is silent|gave no answer within 3 s"),
    "slow": (Fault("cdn", BLOB, trickling, 99), {}, "is too slow: .* bytes in"),
    "a slow answer": (Fault("hub", "GET /api", trickling, 99), {}, "is too slow: .* bytes in"),
    "an answer without an end": (
        Fault("hub", "tree", flooding, 99),
        {},
        "sends more than 33,554,432 bytes",
    ),
    "no answer that can be read": (
        Fault("hub", "GET /api", lambda ask: ask.send(200, b"<html>") or True, 99),
        {},
        "sent something else",
    ),
    "an answer that is too deep": (
        Fault("hub", "GET /api", lambda ask: ask.send(200, b"[" * 200_000) or True, 99),
        {},
        "sent something else",
    ),
    "an entry of another shape": (
        Fault("hub", "tree", lambda ask: ask.send(200, [ODD]) or True, 99),
        {},
        "sent something else",
    ),
    "compressed": (
        Fault("cdn", BLOB, lambda ask: ask.send(200, b"x", Content_Encoding="gzip") or True),
        {},
        "compressed bytes",
    ),
    "always other bytes": (
        Fault("cdn", BLOB, lambda ask: ask.send(200, bytes(len(WEIGHTS))) or True, 2),
        {},
        "model.safetensors of org/name at .* is not what .* lists",
    ),
    "more bytes than listed": (
        Fault("cdn", BLOB, lambda ask: ask.send(200, WEIGHTS + b"x") or True),
        {},
        "sends more than 3,072,000 bytes",
    ),
    "a path out of the repository": (
        Fault("hub", "tree", lambda ask: ask.send(200, [ask.hub.describe("../x", b"")]) or True),
        {},
        "lists '../x' in org/name, which is no path within it",
    ),
    "a file that changes between two requests": (
        Fault(
            "hub",
            "HEAD .*config.json",
            lambda ask: ask.send(200, b"{ }", ETag=f'"{"0" * 40}"') or True,
        ),
        {},
        "changed between two requests: its digest is 000",
    ),
}


@pytest.mark.parametrize("what", FATAL)
def test_a_fault_is_one_line_and_leaves_nothing_half_written(what, hub, fetch, tmp_path, connect):
    fault, options, words = FATAL[what]
    repository = hub.add("model", "org/name", MODEL)
    repository.private = "private" in options
    repository.gated = "gated" in options
    hub.faults += [] if fault is None else [fault]
    name = {
        "no such model": HubName("model", "org/other"),
        "no such revision": HubName("model", "org/name", "v9"),
    }.get(what, NAME)
    with pytest.raises(HubError, match=words) as caught:
        fetch(name, token=options.get("token"))
    assert "\n" not in str(caught.value)
    lines = [str(caught.value), *connect.lines]
    assert not any("hf_" in line.replace("hf_hub", "") or SECRET in line for line in lines)
    whole = {name: hashlib.sha256(data).digest() for name, data in MODEL.items()}
    for path in (tmp_path / "home").rglob("*"):
        if path.is_file() and not path.name.endswith(".part"):
            assert hashlib.sha256(path.read_bytes()).digest() == whole[path.name]


#: What goes wrong at first → the fault.
PASSING = {
    "busy": Fault("hub", "GET /api", answering(503)),
    "asks to wait": Fault("hub", "tree", answering(429, Retry_After="0")),
    "no answer": Fault("hub", "GET /api", dropping),
    "silent": Fault("cdn", BLOB, waiting),
    "broken off": Fault("cdn", BLOB, cutting(1_500_000)),
    "a part as the whole": Fault("cdn", BLOB, cutting(1_500_000, lies=True)),
    "an expired address": Fault("cdn", BLOB, answering(403)),
    "other bytes once": Fault("cdn", BLOB, lambda a: a.send(200, bytes(len(WEIGHTS))) or True),
}


@pytest.mark.parametrize("what", PASSING)
def test_what_passes_is_waited_for(what, hub, fetch):
    hub.add("model", "org/name", MODEL)
    fault = PASSING[what]
    hub.faults.append(fault)
    assert (fetch() / "model.safetensors").read_bytes() == WEIGHTS
    assert fault.times == 0
    if what in ("broken off", "a part as the whole"):  # no byte is fetched twice but the last piece
        ranges = [seen.headers.get("range") for seen in hub.seen if seen.server == "cdn"]
        assert ranges in ([None, "bytes=1048576-"], [None, "bytes=1500000-"])


def test_a_hub_that_is_away(connect, fetch):
    with serving() as gone:
        away = gone.url
    with pytest.raises(HubError, match=f"{away} cannot be reached while looking it up"):
        fetch(endpoint=away)


def test_a_disk_without_room_is_found_before_the_first_byte(hub, fetch, monkeypatch):
    hub.add("model", "org/name", MODEL)
    usage = type("Usage", (), {"free": 64 << 20})
    monkeypatch.setattr(download.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(HubError, match="64 MiB free and org/name needs 66"):
        fetch()
    assert not [seen for seen in hub.seen if seen.method == "HEAD"]


def test_an_endpoint_that_is_no_address(connect):
    for endpoint in ("http://[::1", "http://a:99999"):
        with pytest.raises(HubError, match="HF_ENDPOINT is no address"), connect(endpoint=endpoint):
            pass


def test_a_token_is_not_sent_without_tls(connect):
    with (
        pytest.raises(HubError, match="a token is sent over https") as caught,
        connect("hf_reader", "http://hub.example"),
    ):
        pass
    assert "hf_reader" not in str(caught.value)


def test_a_hub_with_tls_leads_to_no_place_without(fetch, tmp_path, monkeypatch):
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    with serving(tls) as hub:
        hub.add("model", "org/name", MODEL)
        with pytest.raises(HubError, match=r"leads to 127\.0\.0\.1 without TLS: nothing"):
            fetch(token="hf_reader", endpoint=hub.url)
        assert {seen.server for seen in hub.seen} == {"hub"}


def test_each_client_of_the_library_has_the_limits_and_none_later(hub, connect, tmp_path):
    hub.add("model", "org/name", MODEL)
    with connect("hf_reader") as session:
        get_session()
        close_session()  # as the library does itself after a failed connection
        fetch_model(session, NAME, tmp_path, ignore)
        inside = get_session()
    assert [s.headers.get("authorization") for s in hub.seen if s.server == "cdn"] == [None]
    after = get_session()
    assert inside.is_closed
    assert after.follow_redirects
    assert after.event_hooks["response"] == []
    place = f"{hub.cdn}/of/another"
    after.get(place, headers={"Authorization": "of another program"})
    assert hub.seen[-1].headers["authorization"] == "of another program"


@pytest.mark.parametrize(
    ("path", "files", "words"),
    [
        ("", {"README.md": b""}, "no file of problems"),
        ("", {"a.jsonl": b"", "b/c.csv": b""}, "2 files or splits: name one, .* org/name/a.jsonl"),
        (
            "",
            {f"data/{one}-0000{n}-of-00002.csv": b"" for one in "ba" for n in (0, 1)},
            "2 files or splits: name one, such as org/name/data/a; it has data/a, data/b",
        ),
        ("train", {"train-00001-of-00002.csv": b""}, "file 0 of split train is not there"),
        (
            "a",
            {**{f"a-0000{n}-of-00002.csv": b"" for n in (0, 1)}, "a.joined.jsonl": b""},
            "has a file a.joined.jsonl, where its split would be",
        ),
        ("", {f"{n:04}.csv": b"x" * 90 for n in range(20)}, "20 files, 0 MiB; at most 1,024"),
        ("", {"2023.csv": b"", "2024.csv": b""}, "2 files or splits: name one"),
        ("b", {"a.jsonl": b"", "b/c.csv": b"", "b/d.csv": b""}, "b/c.csv"),
        ("b", {"a.jsonl": b""}, "no file or folder b"),
        ("run.py", {"run.py": b"", "a.csv": b""}, "name a file that ends in"),
        ("", {"a.jsonl": b"x" * 200}, "a.jsonl has 0 MiB; at most 0 are fetched"),
    ],
)
def test_which_file_of_a_data_set(path, files, words, hub, connect, tmp_path):
    hub.add("dataset", "org/name", files)
    name = HubName("dataset", "org/name", None, path)
    with connect() as session, pytest.raises(HubError, match=words):
        fetch_data(session, name, tmp_path, 100, ignore, join)


@pytest.mark.parametrize(
    ("path", "shards", "joined"),
    [
        ("", ("data/train-00000-of-00002.csv", "data/train-00001-of-00002.csv"), "data/train"),
        ("b/t", ("b/t-00000-of-00002-0123456789abcdef.csv", "b/t-00001-of-00002.csv"), "b/t"),
        ("en/train", ("en/train/0000.csv", "en/train/0001.csv"), "en/train"),
        ("", ("0000.csv", "0001.csv"), "all"),
    ],
)
def test_the_files_of_a_split_become_one(path, shards, joined, hub, connect, tmp_path):
    files = {shard: f"{number}\n".encode() for number, shard in enumerate(shards)}
    other = {"README.md": b"", **({"b/other-00000-of-00001.csv": b"x"} if path else {})}
    commit = hub.add("dataset", "org/rows", files | other).names["main"]
    name = HubName("dataset", "org/rows", commit, path)
    joins = []

    def count(paths):
        joins.append([file.name for file in paths])
        return join(paths)

    def fetch():
        with connect() as session:
            return fetch_data(session, name, tmp_path, 1 << 30, ignore, count)

    file = fetch()
    assert file.as_posix().endswith(f"{commit}/{joined}.joined.jsonl")
    assert file.read_bytes() == b"0\n1\n"
    assert fetch() == file
    assert joins == [[shard.rpartition("/")[2] for shard in shards]]
    assert find_fetched(name, tmp_path) == (file if path else None)
    origin = find_origin(file)
    assert (origin.commit, list(origin.files)) == (commit, [file.name])
    file.write_bytes(b"other")
    assert find_fetched(name, tmp_path) is None
    assert fetch().read_bytes() == b"0\n1\n"


# --- as people type it


def run_look(hub, tmp_path, *words, **options):
    """`assay env look` as a new process: the library reads its variables as it is loaded."""
    command = [sys.executable, "-m", "assay", "env", "look", *words]
    env = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HOME": str(tmp_path)}
    env["PYTHONPATH"] = os.pathsep.join(sys.path)
    env |= options.pop("env", {})
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=env, cwd=tmp_path, text=True, **pipes, **options)


def test_killed_in_the_middle_it_goes_on(hub, tmp_path):
    commit = hub.add("dataset", "org/rows", {"train.jsonl": ROWS}).names["main"]
    sent = len(ROWS) - 100_000
    resolve = "GET /datasets/org/rows/resolve"

    def stall(ask):
        ask.send_response(200)
        ask.send_header("Content-Length", str(len(ROWS)))
        ask.end_headers()
        ask.wfile.write(ROWS[:sent])
        ask.wfile.flush()
        return waiting(ask)

    hub.faults.append(Fault("hub", resolve, stall))
    killed = run_look(hub, tmp_path, "org/rows", "--json", env={"HF_TOKEN": "hf_reader"})
    folder = tmp_path / "hf" / "assay" / "datasets--org--rows" / commit
    deadline = time.monotonic() + 60
    while not any(part.stat().st_size for part in folder.glob(".*.part")):
        assert killed.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert list_files(folder)[0].endswith(".part")
    hub.seen.clear()
    done = run_look(hub, tmp_path, "org/rows", "--json", env={"HF_TOKEN": "hf_reader"})
    out, errors = done.communicate(timeout=60)
    found = json.loads(out)
    assert found["rows"] == 250
    assert found["origin"]["commit"] == commit
    assert (folder / "train.jsonl").read_bytes() == ROWS
    assert [s.headers["range"] for s in hub.seen if "range" in s.headers] == ["bytes=1048576-"]
    assert f"org/rows is at commit {commit}" in errors
    assert "hf_reader" not in out + errors


def test_offline_and_a_name_that_is_a_folder(hub, tmp_path):
    done = run_look(hub, tmp_path, "org/rows", env={"HF_HUB_OFFLINE": "1"})
    assert done.communicate()[1].startswith("assay: HF_HUB_OFFLINE forbids asking")
    assert done.returncode == 2
    assert hub.seen == []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("HTTP_PROXY", "http://[::1", "no connection can be made (InvalidURL: "),
        ("HTTP_PROXY", "127.0.0.1:port", "no connection can be made (InvalidURL: "),
        ("SSL_CERT_FILE", "/nowhere", "no connection can be made (FileNotFoundError: "),
        ("HTTP_PROXY", "http://127.0.0.1:9", " cannot be reached through HTTP_PROXY"),
        ("HF_ENDPOINT", "huggingface.co", "HF_ENDPOINT is no address: correct or unset it"),
        ("HF_ENDPOINT", "http://[", "a library cannot be loaded (ValueError: "),
        ("HF_HUB_ETAG_TIMEOUT", "soon", "correct or unset HF_HUB_ETAG_TIMEOUT"),
        pytest.param(
            *("ALL_PROXY", "socks5h://127.0.0.1:9", "a SOCKS proxy (ALL_PROXY) needs socksio"),
            marks=pytest.mark.skipif(find_spec("socksio") is not None, reason="has SOCKS"),
        ),
    ],
)
def test_a_variable_that_a_library_trips_on_is_named(name, value, said, hub, tmp_path):
    done = run_look(hub, tmp_path, "org/rows", env={"NO_PROXY": "", name: value})
    errors = done.communicate(timeout=120)[1]
    assert done.returncode == 2
    assert said in errors.splitlines()[-1]
    assert name in errors.splitlines()[-1]
    assert "Traceback" not in errors


def test_a_terminal_without_utf_8_shows_what_it_can(hub, tmp_path):
    file = tmp_path / "donn\u00e9es.jsonl"
    file.write_bytes(ROWS)
    done = run_look(hub, tmp_path, str(file), env={"PYTHONIOENCODING": "ascii"})
    out, errors = done.communicate(timeout=120)
    assert done.returncode == 0, errors
    assert "donn\\xe9es.jsonl" in out
