"""Pushes: one commit, whole or not at all; what is another's stays."""

import json
import subprocess
import sys
import time

import pytest

from assay.network.hub.names import HubError, HubName
from assay.network.hub.push import Content, push
from tests.hub_server import Fault, Repository, answering, cutting, dropping, waiting

NAME = HubName("model", "org/name")
KEY = "model", "org/name"
OWNER = {"netuid": 7}
WEIGHTS = bytes(range(256)) * 5_000  # large enough to be sent by itself


def ignore(done, total):
    """Progress that nobody reads."""


@pytest.fixture
def weights(tmp_path):
    """A file that is large enough to be uploaded by itself."""
    file = tmp_path / "weights"
    file.write_bytes(WEIGHTS)
    return file


@pytest.fixture
def send(connect):
    """Pushes these files."""

    def sending(files, owner=OWNER, token="hf_writer", **options):
        with connect(token) as session:
            return push(session, NAME, Content(files, owner), "message", ignore, **options)

    return sending


def list_uploads(hub):
    return [seen for seen in hub.seen if seen.method == "PUT"]


def test_a_new_repository_then_a_change_then_nothing(hub, send, weights):
    first = send({"README.md": b"# one", "model.safetensors": weights, "old.json": b"{}"})
    repository = hub.repositories[KEY]
    assert repository.names["main"] == first
    assert repository.commits[first]["model.safetensors"] == WEIGHTS
    assert len(repository.commits) == 2  # the Hub's own, and one
    # to the CDN goes no token
    assert {seen.headers.get("authorization") for seen in list_uploads(hub)} == {None}
    repository.commits[first]["LICENSE"] = b"added by a person"
    hub.seen.clear()
    second = send({"README.md": b"# two", "model.safetensors": weights})
    assert set(repository.commits[second]) == {
        *(".gitattributes", "LICENSE", "README.md", "assay.json", "model.safetensors")
    }
    assert list_uploads(hub) == []
    assert send({"README.md": b"# two", "model.safetensors": weights}) == second
    assert len(repository.commits) == 3


def test_the_token_goes_to_no_place_that_an_upload_is_led_to(hub, send, weights):
    def lead(ask):
        def plan(asked):
            put, verify = f"{hub.cdn}/put/{asked['oid']}", f"{hub.cdn}/verify/{asked['oid']}"
            return asked | {"actions": {"upload": {"href": put}, "verify": {"href": verify}}}

        objects = [plan(asked) for asked in json.loads(ask.body)["objects"]]
        return ask.send(200, {"transfer": "basic", "objects": objects}) or True

    hub.faults.append(Fault("hub", "objects/batch", lead))
    hub.faults.append(Fault("cdn", "POST /verify", lambda ask: ask.send(200, {}) or True))
    send({"model.safetensors": weights})
    led = [seen for seen in hub.seen if seen.server == "cdn"]
    assert [seen.method for seen in led] == ["PUT", "POST"]
    assert {seen.headers.get("authorization") for seen in led} == {None}


def test_what_nobody_of_us_put_there_is_not_replaced(hub, send):
    hub.add("model", "org/name", {"README.md": b"theirs"})
    with pytest.raises(HubError, match=r"content that no push has put there \(README.md\)"):
        send({"README.md": b"ours"})
    assert hub.repositories[KEY].commits[hub.repositories[KEY].names["main"]] == {
        "README.md": b"theirs"
    }
    send({"README.md": b"ours"}, overwrite=True)
    with pytest.raises(HubError, match="content of another network"):
        send({"README.md": b"others'"}, owner={"netuid": 8})


def test_a_change_by_somebody_else_meanwhile_is_not_lost(hub, send):
    send({"README.md": b"one"})
    repository: Repository = hub.repositories[KEY]

    def change(ask):
        repository.commit({**repository.commits[repository.names["main"]], "LICENSE": b"new"})
        return False

    hub.faults.append(Fault("hub", "POST .*/commit/main", change))
    with pytest.raises(HubError, match="was changed meanwhile"):
        send({"README.md": b"two"})
    assert repository.commits[repository.names["main"]]["README.md"] == b"one"
    head = send({"README.md": b"two"})
    assert repository.commits[head]["LICENSE"] == b"new"


@pytest.mark.parametrize(
    ("token", "words"),
    [
        (None, "needs a token that may write"),
        ("hf_reader", "forbids this .making it, model org/name"),
        ("hf_wrong", "refuses model org/name without another token"),
    ],
)
def test_without_a_token_that_may_write(token, words, hub, send):
    with pytest.raises(HubError, match=words) as caught:
        send({"README.md": b"x"}, token=token)
    assert "hf_" not in str(caught.value).replace("hf_hub", "")
    assert KEY not in hub.repositories


@pytest.mark.parametrize(
    "fault",
    [
        Fault("cdn", "PUT .*part=2", answering(500)),
        Fault("cdn", "PUT .*part=1", dropping),
        Fault("hub", "objects/batch", answering(503)),
        Fault("hub", "POST .*/preupload", answering(429, Retry_After="0")),
        Fault("hub", "POST .*/commit", answering(502)),
        Fault("hub", "GET .*assay.json", cutting(5)),
    ],
    ids=lambda fault: fault.match,
)
def test_what_passes_is_waited_for(fault, hub, send, weights):
    send({"README.md": b"one"})
    hub.faults.append(fault)
    head = send({"model.safetensors": weights})
    assert fault.times == 0
    assert hub.repositories[KEY].commits[head]["model.safetensors"] == WEIGHTS


PUSHER = """
import sys
from pathlib import Path
from assay.network.hub.names import HubName
from assay.network.hub.push import Content, push
from assay.network.hub.session import HubSession
files = {name: Path(name) for name in ("a.safetensors", "b.safetensors")}
with HubSession(print, Path("token"), endpoint=sys.argv[1]) as session:
    name = HubName("model", "org/name")
    push(session, name, Content(files, {"netuid": 7}), "message", lambda done, total: None)
"""


def test_killed_between_two_files_readers_see_nothing_and_it_goes_on(hub, tmp_path):
    (tmp_path / "token").write_text("hf_writer")
    for name in "ab":
        (tmp_path / f"{name}.safetensors").write_bytes(name.encode() * (1 << 20))
    seconds = iter([False, True])

    def wait_second(ask):
        return waiting(ask) if next(seconds) else False

    hub.faults.append(Fault("cdn", "PUT", wait_second, 2))
    command = [sys.executable, "-c", PUSHER, hub.url]
    killed = subprocess.Popen(command, cwd=tmp_path)
    deadline = time.monotonic() + 60
    while len(list_uploads(hub)) < 2:
        assert killed.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    killed.kill()
    killed.wait()
    repository = hub.repositories[KEY]
    assert set(repository.commits[repository.names["main"]]) == {".gitattributes"}
    hub.seen.clear()
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    assert len(list_uploads(hub)) == 1
    assert {"a.safetensors", "b.safetensors"} < set(repository.commits[repository.names["main"]])
