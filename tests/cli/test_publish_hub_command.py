"""`assay publish-hub`: a demo's checkpoint and rollouts on a server of the Hub's interface."""

import json
import shutil

import pyarrow.parquet as pq
import pytest

from assay.inference.folder import verify_manifest, verify_small_files, verify_tensors
from assay.network.hub.download import fetch_model
from assay.network.hub.names import HubName
from assay.network.hub.session import HubSession
from tests.commands import run_command
from tests.hub_server import serving_alone

NAMES = "--model", "org/model", "--data", "org/rollouts"


@pytest.fixture
def run(played, tmp_path):
    """A copy of what the demo's trainer and validator have left."""
    for name in ("steps", "models", "record"):
        shutil.copytree(played[0] / name, tmp_path / "run" / name)
    return tmp_path / "run"


@pytest.fixture
def hub(monkeypatch):
    with serving_alone(monkeypatch) as server:
        yield server


def test_what_a_dry_run_shows_is_what_is_pushed_and_audited(hub, run, tmp_path):
    records = [json.loads(path.read_text()) for path in sorted(run.glob("steps/step-*.json"))]
    newest = records[-1]
    window = newest["record"]["window"]
    words = ["publish-hub", "--dir", run, *NAMES, "--windows", f"{window}..{window}", "--json"]
    shown = run_command(*words, "--dry-run")
    assert shown.returncode == 0
    planned = json.loads(shown.stdout)
    assert hub.seen == []

    (tmp_path / "token").write_text("hf_writer")
    done = run_command(*words, "--yes", "--token-file", tmp_path / "token")
    assert done.returncode == 0
    document = json.loads(done.stdout)
    assert "hf_writer" not in done.stdout + done.stderr
    model = hub.repositories["model", "org/model"]
    rollouts = hub.repositories["dataset", "org/rollouts"]
    assert document["pushed"]["model"]["commit"] == model.names["main"]
    assert document["pushed"]["data set"]["commit"] == rollouts.names["main"]
    for repository, called in ((model, "model"), (rollouts, "data set")):
        files = repository.commits[repository.names["main"]]
        assert files.keys() - {".gitattributes"} == planned[called]["files"].keys()
        card = files["README.md"].decode()
        for fact in (
            newest["digest"],
            newest["child"],
            newest["record"]["consumed"],
            document["settlement"]["record"],
            document["settlement"]["validator"],
            f"| window | {window} |",
            f"`assay audit --netuid 1 --windows {window}..{window} --validator",
            "`assay train verify-step steps/step-",
        ):
            assert fact in card
    assert rollouts.names["main"] in model.commits[model.names["main"]]["README.md"].decode()
    (data,) = [p for p in planned["data set"]["files"] if p.endswith(".parquet")]
    (tmp_path / "rows").write_bytes(rollouts.commits[rollouts.names["main"]][data])
    assert set(pq.read_table(tmp_path / "rows")["window"].to_pylist()) == {window}
    assert not (run / ".publishing-hub").exists()

    # whoever downloads the model has the checkpoint that the chain names
    with HubSession(lambda line: None) as session:
        name = HubName("model", "org/model")
        folder = fetch_model(session, name, tmp_path / "home", lambda done, total: None)
    manifest = verify_manifest(folder, bytes.fromhex(newest["child"]))
    verify_small_files(folder, manifest)
    verify_tensors(folder, manifest)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "name a repository with --model ORG/NAME"),
        (("--model", "org"), "'org' is no name on the Hub"),
        (("--model", "org/name@main"), "a push goes to a repository's main branch"),
        (("--model", "o/n", "--windows", "1..2"), "--windows chooses rollouts"),
        (("--model", "o/n", "--checkpoint", "zz"), "has no checkpoint zz…"),
        (("--model", "o/n", "--records", "nowhere"), "--records nowhere: there is no such folder"),
        (("--model", "o/n"), "needs a token that may write"),
        (("--model", "o/n", "--dir", "nowhere"), "nowhere has no steps and checkpoints"),
        (("--model", "o/n", "--token-file", "none"), "token_file none cannot be read"),
    ],
)
def test_mistakes_are_one_line(words, said, hub, run, tmp_path):
    done = run_command("publish-hub", "--dir", run, *words, "--quiet", "--yes", cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert hub.seen == []
    assert not (run / ".publishing-hub").exists()
