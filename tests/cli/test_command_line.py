"""The commands as a person runs them, from flags to exit codes: one of each as the real program."""

import fcntl
import json
import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from assay.network.chain.connection import Connection
from assay.network.chain.subtensor import SubtensorChain
from assay.network.chain.target import ChainTarget
from assay.protocol.ss58 import decode_ss58
from assay.settings.loading import use_sdk_cache
from subtensor_devnet import Devnet, Seal
from tests.charts.pictures import read_texts
from tests.commands import run_command, run_program, start_cold_program, start_program
from tests.shared_demo import SIZES
from tests.statuses import check_status


def iterate_verdicts(summary):
    for window in summary["windows"]:
        for verdict in window["verdicts"]:
            yield window, verdict


@pytest.mark.slow
def test_the_demo_keeps_its_promises(played):
    out, summary, _ = played
    assert summary["promises_broken"] == []
    assert summary == json.loads((out / "summary.json").read_text())
    assert len(summary["windows"]) == 6
    assert len({window["checkpoint"] for window in summary["windows"]}) >= 3
    reasons = {}
    for _, verdict in iterate_verdicts(summary):
        reasons.setdefault(verdict["name"], set()).add(verdict["reason"])
    assert reasons == {
        "honest-1": {"ACCEPTED"},
        "honest-2": {"ACCEPTED"},
        "cheap-model": {"SAMPLING_MISMATCH"},
        "best-of-seeds": {"SAMPLING_MISMATCH"},
        "fake-groups": {"SKETCH_MISMATCH"},
    }
    for settlement in summary["settlements"]:
        paid = {name for name, score in settlement["scores"].items() if score}
        assert paid == {"honest-1", "honest-2"}
        assert set(settlement["weights"]) == set(settlement["scores"])
        assert max(settlement["weights"].values()) == 65_535
    accuracy = summary["accuracy"]
    assert accuracy["problems"] == 600
    assert accuracy["after_interval95"][0] > accuracy["before_interval95"][1]
    assert read_texts(out / "reward.svg")[0] == "The model learns from what miners submit"
    assert summary["peak_rss_mib"] < 2_048


@pytest.mark.slow
def test_verify_says_offline_what_the_validator_said(played):
    out, summary, _ = played
    window = summary["windows"][3]
    name = f"window-{window['window']}"
    tried = {"honest-1": run_program, "fake-groups": run_command}  # the other is explained below
    for verdict in (v for v in window["verdicts"] if v["name"] in tried):
        done = tried[verdict["name"]](
            "verify",
            out / "store" / verdict["hotkey"] / f"{name}.rollouts",
            "--context",
            out / "contexts" / f"{name}.json",
            "--model",
            out / "models" / window["checkpoint"],
            "--allow-local-beacon",
            "--json",
        )
        again = json.loads(done.stdout)
        assert done.returncode == (0 if verdict["role"] == "honest" else 1), done.stderr
        assert again["reason"] == verdict["reason"]
        assert again["hotkey"] == verdict["hotkey"]
        assert again["accepted"] is (verdict["role"] == "honest")


@pytest.mark.slow
def test_explain_says_why_and_its_command_says_the_same(played):
    out, summary, _ = played
    window = summary["windows"][3]
    pay = {
        "honest-1": "of the miners' share",
        "cheap-model": "the whole settlement is zeroed by window",
    }
    for verdict in (v for v in window["verdicts"] if v["name"] in pay):
        asked = ("--dir", out, "--hotkey", verdict["name"], "--window", window["window"])
        start = run_program if verdict["name"] == "cheap-model" else run_command
        done = start("explain", *asked, "--json")
        explained = json.loads(done.stdout)
        code = 0 if verdict["role"] == "honest" else 1
        assert done.returncode == code, done.stderr
        assert explained["reason"] == verdict["reason"]
        assert explained["by"].startswith("validator 5")
        assert explained["score"] == verdict["score"]
        assert any(pay[verdict["name"]] in sentence for sentence in explained["pay"])
        command = shlex.split(explained["reproduce"]["command"])
        assert command[0] == "assay"
        again = run_command(*command[1:], "--json")
        assert again.returncode == code, again.stderr
        judged = json.loads(again.stdout)
        for name in ("reason", "group", "rollout", "token"):
            assert judged.get(name) == explained.get(name)


@pytest.mark.slow
def test_a_stranger_audits_the_demo(played, tmp_path):
    """With nothing but the bundle and the models; and a bit of it changed."""
    out, summary, _ = played
    bundle = shutil.copytree(out / "bundle", tmp_path / "bundle")
    windows = [window["window"] for window in summary["windows"]]
    offline = ("audit", "--offline", bundle, "--allow-local-beacon")
    with_model = ["--model", out / "models", "--windows", windows[-1]]
    for models in ([], with_model):
        done = run_command(*offline, "--json", *models)
        report = json.loads(done.stdout)
        assert done.returncode == 0, done.stderr
        assert all(window["matched"] for window in report["windows"])
        numbers = [window["window"] for window in report["windows"]]
        if not models:
            assert numbers == list(range(numbers[0], windows[-1] + 1)), "the whole record"
            assert (report["weights_match"], report["ledger_match"]) == (True, None)
        mined = [window for window in report["windows"] if window["window"] in windows]
        assert {window["claims"] for window in mined} == ({0} if models else {5})
        assert ("witness" in mined[0]["checked"]) is bool(models)
    refused = run_command("audit", "--offline", bundle)
    assert refused.returncode == 2
    assert "--allow-local-beacon" in refused.stderr
    shown = run_command(*offline, "--windows", windows[1])
    assert shown.returncode == 0
    assert f"window {windows[1]}  matches" in shown.stdout
    victim = next((bundle / "store").rglob(f"window-{windows[2]}.record"))
    data = bytearray(victim.read_bytes())
    data[100] ^= 4
    victim.write_bytes(data)
    damaged = run_program(*offline, "--json")
    assert (damaged.returncode, damaged.stdout) == (2, "")
    assert f"{victim} is damaged" in damaged.stderr


@pytest.mark.slow
def test_verify_refuses_what_it_cannot_trust(played, tmp_path):
    out, summary, _ = played
    window = summary["windows"][3]
    honest, other = (v["hotkey"] for v in window["verdicts"] if v["role"] == "honest")
    name = f"window-{window['window']}"
    file = out / "store" / honest / f"{name}.rollouts"
    context, model = out / "contexts" / f"{name}.json", out / "models" / window["checkpoint"]
    local = "--allow-local-beacon"

    def verify(*arguments, file=file, context=context, model=model):
        return run_command("verify", file, "--context", context, "--model", model, *arguments)

    whole = verify(local, "--all")
    assert whole.returncode == 0
    assert re.search(r"tokens verified in \d+\.\d+ s, and \d+\.\d{3} s of loading", whole.stdout)
    foreign = verify(local, "--hotkey", other)
    assert foreign.returncode == 1
    assert "WRONG_HEADER" in foreign.stdout
    damaged = tmp_path / "damaged.rollouts"
    damaged.write_bytes(file.read_bytes()[:-100])
    assert "NOT_REVEALED" in verify(local, "--all", file=damaged).stdout

    forged = json.loads(context.read_text())
    forged["challenge"]["round"] += 1
    (tmp_path / "forged.json").write_text(json.dumps(forged))
    (tmp_path / "not.json").write_text("{")
    first = out / "models" / summary["windows"][0]["checkpoint"]
    for done, words in (
        (verify(), "--allow-local-beacon"),
        (verify(local, context=tmp_path / "forged.json"), "names round"),
        (verify(local, context=tmp_path / "not.json"), "not a window's context"),
        (verify(local, context=tmp_path / "absent.json"), "cannot read the context"),
        (verify(local, model=first), "fetch the one in force"),
        (verify(local, model=tmp_path / "nowhere"), "name a checkpoint's folder"),
        (verify(local, model=tmp_path), f"that of the window is models/{model.name} in the"),
        (verify(local, file=tmp_path / "absent.rollouts"), "there is no file"),
        (verify(local, "--hotkey", "5abc"), "--hotkey"),
    ):
        assert done.returncode == 2, done.stdout
        assert words in done.stderr
        assert "Traceback" not in done.stderr
        told = done.stderr.strip().splitlines()
        assert told[:-1] in ([], ["assay: loading PyTorch …"])


@pytest.mark.slow
def test_status_reads_a_run(played):
    out, summary, _ = played
    done = run_command("status", "--dir", out)
    assert done.returncode == 0
    assert "honest-1" in done.stdout
    document = json.loads(run_program("status", "--dir", out, "--json").stdout)
    assert (document["stage"], document["state"]) == ("done", "stopped")
    check_status(document)
    public = json.loads(run_command("status", "--record", out / "record", "--json").stdout)
    newest = summary["settlements"][-2]  # the last one's weights are not open yet
    assert {public["epoch"]} <= {newest["epoch_block"], summary["settlements"][-1]["epoch_block"]}
    hotkeys = {v["uid"]: v["hotkey"] for w in public["windows"] for v in w["verdicts"]}
    honest = {v["hotkey"] for v in summary["windows"][0]["verdicts"] if v["role"] == "honest"}
    assert {hotkeys[int(uid)] for uid in public["weights"]} == honest
    drawn = run_command("status", "--record", out / "record", "--hotkey", public["hotkey"]).stdout
    assert all(hotkey in drawn for hotkey in honest)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_files(played, played_document, tmp_path):
    """Also in the folder of another run, of which nothing stays."""
    out, summary, _ = played
    leave_other_run(out, tmp_path / "again")
    done = run_command(
        "demo",
        "--fast",
        "--seed",
        played_document["seed"],
        "--out",
        tmp_path / "again",
        "--json",
        "--quiet",
        env={f"ASSAY_DEMO__{name}": size for name, size in SIZES.items()},
    )
    assert done.stderr == ""
    assert leave_out_measured(json.loads(done.stdout)) == leave_out_measured(summary)
    kinds = {".rollouts", ".parquet", ".json", ".safetensors"}
    files = [p for p in out.rglob("*") if p.suffix in kinds]
    assert {path.suffix for path in files} == kinds
    for path in sorted(files):
        twin = tmp_path / "again" / path.relative_to(out)
        if path.suffix == ".json":
            one, other = (leave_out_measured(json.loads(p.read_bytes())) for p in (path, twin))
            assert one == other, path
        else:
            assert path.read_bytes() == twin.read_bytes(), path
    assert list_blocks(tmp_path / "again") == list_blocks(out)
    assert list_files(tmp_path / "again") == list_files(out)


def leave_other_run(out, folder):
    """A copy of a demo's folder, as a run with another seed and more windows would name files."""
    shutil.copytree(out, folder)
    for path in [p for p in folder.rglob("*") if p.is_file() and p.name != ".assay-demo"]:
        shutil.copy(path, path.with_name(f"{path.stem}9{path.suffix}"))
        path.write_bytes(b"of another run")
    for path in list(folder.iterdir()):  # at the top, the names of a run are always the same
        if "9." in path.name:
            path.unlink()


def list_files(folder):
    """All files, but those of an open database."""
    return {
        p.relative_to(folder)
        for p in folder.rglob("*")
        if p.suffix not in (".sqlite-wal", ".sqlite-shm")
    }


def leave_out_measured(document):
    """The document without values measured by a clock or the system."""
    if isinstance(document, list):
        return [leave_out_measured(part) for part in document]
    if not isinstance(document, dict):
        return document
    left = document.keys() - {"seconds", "peak_rss_mib", "at", "started_at", "pid"}
    return {key: leave_out_measured(document[key]) for key in left}


def list_blocks(out):
    """Hashes of all blocks of a demo's chain."""
    with closing(sqlite3.connect(out / "chain" / "devnet.sqlite")) as chain:
        return chain.execute("SELECT number, hash FROM blocks ORDER BY number").fetchall()


@pytest.mark.slow
def test_the_chain_that_a_demo_leaves_says_what_the_summary_says(played, tmp_path):
    """The SDK reads it: who was paid by the consensus, on whose weights."""
    out, summary, _ = played
    folder = tmp_path / "chain"
    shutil.copytree(out / "chain", folder)
    use_sdk_cache(tmp_path / "sdk")
    with Devnet(folder, seal=Seal.MANUAL) as devnet:
        connection = Connection(ChainTarget((devnet.endpoint,), deadline_s=60))
        chain = SubtensorChain(connection, 1, tmp_path / "state")
        paid = [s for s in summary["settlements"] if s["incentives"] is not None]
        assert paid
        assert summary["settlements"][-1]["incentives"] is None
        names = {
            decode_ss58(verdict["hotkey"]): verdict["name"]
            for verdict in summary["windows"][0]["verdicts"]
        }
        for settlement in paid:
            rows = chain.get_metagraph(settlement["paid_at"])
            found = {names[row.hotkey]: row.incentive for row in rows if row.hotkey in names}
            assert found == settlement["incentives"]
            assert {name for name, share in found.items() if share} == {"honest-1", "honest-2"}
            validators = [row for row in rows if row.permit and row.dividends]
            assert len(validators) == 1
            # on the weights of one permitted validator consensus shares as they do
            total = sum(settlement["weights"].values())
            for name, weight in settlement["weights"].items():
                assert abs(found[name] / 65_535 - weight / total) < 1e-4
        chain.close()
        connection.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seconds", "pace"), [(0.3, "--fast"), (4.0, "--fast"), (14.0, "--real-time"), (14.0, "--fast")]
)
def test_ctrl_c_ends_cleanly(tmp_path, seconds, pace):
    """At the start, while founding or evaluating, and in the middle of mining."""
    start = start_cold_program if seconds < 1 else start_program
    process = start(
        *("demo", pace, "--out", tmp_path / "run", "--problems", 1_000),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    time.sleep(seconds)  # the place of the interrupt matters, not the times
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)  # nothing of it is left
    for path in (tmp_path / "run").rglob("*.json"):
        assert path.name != "status.json" or json.loads(path.read_text())["state"] == "stopped"
        json.loads(path.read_text())


def test_help_is_for_newcomers():
    for arguments in (["--help"], ["demo", "--help"], ["verify", "--help"], ["status", "--help"]):
        done = run_command(*arguments)
        assert done.returncode == 0
        assert "Traceback" not in done.stderr
    assert "Run a whole subnet" in run_program("--help").stdout
    assert "--allow-local-beacon" in run_command("verify", "--help").stdout


def make_config(folder: Path, text: str) -> Path:
    path = folder / "assay.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("arguments", "env", "config", "words"),
    [
        (["demo", "--nonsense"], {}, None, "No such option"),
        (["demo", "--windows", "1"], {}, None, "--windows is 1; use "),
        (["demo", "--out", "/proc/nowhere"], {}, None, "cannot write"),
        (["status"], {"ASSAY_STATUS__DIRR": "x"}, None, "ASSAY_STATUS__DIRR"),
        (["status"], {}, None, "start `assay demo`, or name the folder of a run"),
        (["status", "--dir", "assay-validate"], {}, None, "no such folder; name the folder of"),
        (["status", "--dir", "."], {}, None, "--dir . has no run of Assay: name the folder of"),
        (["verify", "nosuch"], {}, None, "assay: there is no file nosuch"),
        (["demo"], {"ASSAY_DEMO__GROUPS": "many"}, None, 'ASSAY_DEMO__GROUPS is "many"'),
        (["demo"], {}, "[demo]\nwindow = 3\n", "demo.window"),
        (["demo"], {}, "[demo\n", "not TOML"),
        (["demo", "--config", "absent.toml"], {}, None, "absent.toml"),
    ],
)
def test_mistakes_are_answered_in_a_line(tmp_path, arguments, env, config, words):
    if config is not None:
        arguments = [*arguments, "--config", make_config(tmp_path, config)]
    done = run_command(*arguments, env=env, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments", [("demo", "--nonsense"), ("demo", "--windows", "1"), ("status",)]
)
def test_the_program_answers_as_the_command_does(tmp_path, arguments):
    """The other tests of mistakes call the command in their own process."""
    program, command = (run(*arguments, cwd=tmp_path) for run in (run_program, run_command))
    assert program.returncode == 2
    assert vars(program) | {"args": command.args} == vars(command)


def test_flags_win_over_variables_which_win_over_the_file(tmp_path):
    file = make_config(tmp_path, '[status]\ndir = "from-file"\n')
    for arguments, env, expected in (
        ([], {}, "from-file"),
        ([], {"ASSAY_STATUS__DIR": "from-variable"}, "from-variable"),
        (["--dir", "from-flag"], {"ASSAY_STATUS__DIR": "from-variable"}, "from-flag"),
    ):
        done = run_command("status", "--config", file, *arguments, env=env, cwd=tmp_path)
        assert expected in done.stderr


def test_the_demo_never_deletes_what_it_did_not_write(tmp_path):
    """Not by a foreign name, and not by a name that a demo would use."""
    for name in ("thesis.txt", "models/weights.bin", "summary.json"):
        folder = tmp_path / name.replace("/", "-")
        path = folder / name
        path.parent.mkdir(parents=True)
        path.write_text("years of work")
        done = run_command("demo", "--fast", "--out", folder)
        assert done.returncode == 2
        assert name.partition("/")[0] in done.stderr
        assert path.read_text() == "years of work"


def test_the_gauntlet_writes_in_place_of_its_older_table(tmp_path):
    (tmp_path / "gauntlet.json").touch()
    done = run_command("gauntlet", "--fast", "--only", "no such attack", "--out", tmp_path)
    assert "no strategy has" in done.stderr


def test_two_runs_do_not_share_a_folder(tmp_path):
    """The second is refused while the first holds it, and nothing of the first is touched."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "store").mkdir()
    with (folder / ".assay-demo").open("a") as marker:
        fcntl.flock(marker, fcntl.LOCK_EX)
        done = run_command("demo", "--fast", "--out", folder)
    assert done.returncode == 2
    assert "another demo runs" in done.stderr
    assert (folder / "store").is_dir()


@pytest.mark.slow
def test_a_run_that_was_killed_leaves_nothing_in_the_way(tmp_path):
    """kill -9 in the middle, then the same command again in the same folder."""
    folder = tmp_path / "run"
    process = start_program(
        *("demo", "--out", folder, "--problems", 1_000, "--quiet"), start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not (folder / "status.json").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=60)
    (folder / ".status.json.half").write_text("{")
    again = start_program(
        *("demo", "--out", folder, "--problems", 1_000, "--quiet"),
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while (folder / ".status.json.half").exists() and time.monotonic() < deadline:
        time.sleep(0.1)  # until it has taken the folder: it was not refused
    os.killpg(again.pid, signal.SIGINT)
    _, stderr = again.communicate(timeout=120)
    assert again.returncode == 130, stderr
    assert not (folder / ".status.json.half").exists()
