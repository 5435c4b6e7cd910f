"""The command `assay-judge`: exit codes, JSON, and words that it never says."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from assay.audit.bundle_seal import seal_folder
from assay.environments.dealing import make_miner_problem
from assay.environments.registry import open_environment_of
from assay.judge.bundle import open_bundle
from assay.judge.command import run
from assay.protocol.context import context_to_json
from assay.protocol.encoding import encode
from assay.protocol.reason import Reason
from assay.protocol.record import Outcome, decode_window_record
from assay.protocol.ss58 import decode_ss58, encode_ss58
from assay.protocol.submission import HEADER_BYTES

ROUND = "1000"
#: Of problems: a bundle is opened for each.
INDICES = (0, 1, 2, 19)
SIGNATURE = (
    "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125"
    "e342b73a8dd2bacbe47e4b6b63ed5e39"
)


def ask(capsys, *arguments):
    code = run([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_bundle(capsys, kept):
    code, out, _ = ask(capsys, "bundle", kept, "--allow-local-beacon", "--json")
    report = json.loads(out)
    assert (code, report["matched"], report["missing"]) == (0, True, [])
    found = [m["found"]["word"] for w in report["windows"] for m in w["members"]]
    assert set(found) == {"FORM_OK", "NO_COMMITMENT"}
    assert {"draw", "sketch", "log-probabilities"} <= set(report["not_checked"])


def test_a_beacon_chain_of_somebodys_own_is_accepted_by_name_only(capsys, kept):
    code, out, err = ask(capsys, "bundle", kept)
    assert (code, out) == (2, "")
    assert "--allow-local-beacon" in err


def test_a_folder_that_is_no_bundle(capsys, tmp_path):
    code, out, err = ask(capsys, "bundle", tmp_path)
    assert (code, out) == (2, "")
    assert "is not a bundle" in err


def test_beacons(capsys):
    assert ask(capsys, "beacon", ROUND, SIGNATURE)[0] == 0
    code, out, _ = ask(capsys, "beacon", "1001", SIGNATURE, "--json")
    assert (code, json.loads(out)["valid"]) == (1, False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((ROUND, "no hex"), "HEX, the signature, is not hex"),
        ((ROUND, ""), "HEX has 0 bytes, and a signature of this chain 48"),
        ((ROUND, SIGNATURE[:-2]), "HEX has 47 bytes"),
        ((ROUND, SIGNATURE, "--previous", SIGNATURE), "are not chained: leave out --previous"),
        (("0", SIGNATURE), "ROUND is not from 1"),
        (("-5", SIGNATURE), "ROUND is not from 1"),
        ((str(2**64), SIGNATURE), "ROUND is not from 1"),
    ],
)
def test_what_is_no_beacon_is_not_called_forged(capsys, arguments, said):
    code, out, err = ask(capsys, "beacon", *arguments)
    assert (code, out) == (2, "")
    assert said in err


def test_a_problem_and_its_answer(capsys):
    code, out, _ = ask(capsys, "problem", "arithmetic", "--index", "3", "--json")
    assert code == 0
    left, right = json.loads(out)["prompt"].removesuffix("=?\n").split("+")
    answer = f"#### {int(left) + int(right)}"
    for given, correct in ((answer, 1_000_000), ("no", 0)):
        code, out, _ = ask(
            capsys, "score", "arithmetic", "--index", "3", "--answer", given, "--json"
        )
        assert (code, json.loads(out)["correctness"]) == (0, correct)


@pytest.mark.parametrize(
    "arguments",
    [
        ("problem", "nothing"),
        ("problem", "sat", "--seed", "00"),
        ("problem", "sat", "--index", "-1"),
        ("problem",),
        ("problem", "sat", "--window", "4"),
        ("problem", "sat", "--problems", "nothing.jsonl"),
        ("table", "nothing.rollouts"),
        ("table", "."),
        ("file", "nothing.rollouts", "--context", "nothing.json"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(capsys, arguments):
    code, out, err = ask(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("assay-judge: ")
    assert len(err.splitlines()) == 1


def test_a_demos_files(capsys, played):
    """Whole, of another window, and with a flipped bit; and as a table."""
    folder, summary, _ = played
    honest = [
        (window["window"], verdict["hotkey"])
        for window in summary["windows"]
        for verdict in window["verdicts"]
        if verdict["reason"] == "ACCEPTED"
    ]
    window, hotkey = honest[-1]
    (file,) = (folder / "store" / hotkey).glob(f"window-{window}.rollouts")
    context = folder / "contexts" / f"window-{window}.json"
    judge = ("file", file, "--allow-local-beacon", "--json", "--context")
    code, out, _ = ask(capsys, *judge, context)
    assert (code, json.loads(out)["word"]) == (0, "FORM_OK")
    digest = json.loads(context.read_text())["checkpoint"]
    models = folder / "bundle" / "store" / "checkpoints" / digest
    code, out, _ = ask(capsys, *judge, context, "--checkpoint", models)
    verdict = json.loads(out)
    assert (code, verdict["word"]) == (0, "FORM_OK")
    assert "values" in verdict["checked"]
    assert "draw" in verdict["not_checked"]
    other = folder / "contexts" / f"window-{window - 1}.json"
    code, out, _ = ask(capsys, *judge, other)
    assert (code, json.loads(out)["word"]) == (1, "WRONG_HEADER")
    cut = folder / "cut.rollouts"
    cut.write_bytes(file.read_bytes()[: HEADER_BYTES + 1])
    for command in (("file", cut, "--context", context, "--allow-local-beacon"), ("table", cut)):
        code, out, err = ask(capsys, *command)
        assert (code, out, "is cut off" in err) == (2, "", True)
    code, out, _ = ask(capsys, "table", file)
    assert (code, out.splitlines()[0]) == (0, "group,rollout,tokens,mean_logprob")


def test_strangers_text_steers_no_terminal(capsys, tmp_path):
    code, _, err = ask(capsys, "problem", "a\x1b[31mb")
    assert code == 2
    assert "\x1b" not in err


@pytest.fixture
def member(kept):
    """The bundle's file of a member that was accepted, and the member."""
    record = open_bundle(kept).read_window(4)
    row = next(row for row in record.members if row.reason is Reason.ACCEPTED)
    hotkey = encode_ss58(row.hotkey)
    return kept / "submissions" / "window-4" / hotkey, hotkey


def test_a_bundles_own_file(capsys, kept, member, tmp_path):
    """By the bundle, wherever a copy lies; and by a context, without the checkpoint."""
    file, hotkey = member
    copy = tmp_path / "copy"
    copy.write_bytes(file.read_bytes())
    for shown in (file, copy):
        code, out, _ = ask(
            capsys, "file", shown, "--bundle", kept, "--allow-local-beacon", "--json"
        )
        verdict = json.loads(out)
        assert (code, verdict["word"], verdict["hotkey"]) == (0, "FORM_OK", hotkey)
        assert {"beacons", "values", "samples"} <= {*verdict["checked"]}
    context = tmp_path / "context.json"
    context.write_text(json.dumps(context_to_json(open_bundle(kept).read_context(4))))
    code, out, _ = ask(capsys, "file", copy, "--context", context, "--allow-local-beacon", "--json")
    assert (code, json.loads(out)["word"]) == (0, "FORM_OK")
    code, _, err = ask(capsys, "file", copy, "--bundle", kept, "--window", 3)
    assert (code, "window 3" in err) == (2, True)


def test_a_file_that_the_model_refused_lacks_its_samples(capsys, kept):
    record = open_bundle(kept).read_window(4)
    (row,) = [row for row in record.members if row.reason is Reason.SAMPLING_MISMATCH]
    file = kept / "submissions" / "window-4" / encode_ss58(row.hotkey)
    code, out, _ = ask(capsys, "file", file, "--bundle", kept, "--allow-local-beacon", "--json")
    verdict = json.loads(out)
    assert (code, verdict["word"]) == (0, "FORM_OK")
    assert "samples" in verdict["not_checked"]
    assert "samples are not here" in verdict["note"]


@pytest.mark.parametrize("data", [b"", b"\0", bytes(3_000), b"\xff" * 3_000])
def test_what_is_no_miners_file_is_not_called_a_miners(capsys, kept, tmp_path, data):
    file = tmp_path / "window-4"
    file.write_bytes(data)
    for command in (("file", file, "--bundle", kept, "--allow-local-beacon"), ("table", file)):
        code, out, err = ask(capsys, *command)
        assert (code, out) == (2, "")
        assert "miner's file" in err


def test_a_pipe_is_not_waited_for(capsys, kept, member, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for arguments in (
        ("file", member[0], "--context", pipe),
        ("file", member[0], "--bundle", pipe),
        ("file", pipe, "--bundle", kept),
        ("beacon", ROUND, SIGNATURE, "--context", pipe),
        ("table", pipe),
        ("bundle", pipe),
        ("problem", "arithmetic", "--problems", pipe),
    ):
        code, out, err = ask(capsys, *arguments)
        assert (code, out) == (2, ""), arguments
        assert str(pipe) in err


def test_a_huge_file_of_holes_is_not_read(capsys, member, tmp_path):
    file = tmp_path / "holes"
    with file.open("wb") as opened:
        opened.truncate(40 << 30)
    for arguments in (("file", member[0], "--context", file), ("file", file, "--context", file)):
        code, _, err = ask(capsys, *arguments)
        assert (code, "is larger than" in err) == (2, True)


def test_a_window_without_rows_says_why(capsys, kept, tmp_path):
    copy = shutil.copytree(kept, tmp_path / "bundle")
    (path,) = (copy / "store").glob("5*/window-4.record")
    record = decode_window_record(path.read_bytes())
    unseen = {"challenge": None, "audit": None, "sample": None, "members": ()}
    path.write_bytes(encode(replace(record, outcome=Outcome.ABSTAINED, **unseen)))
    seal_folder(copy)
    _, out, _ = ask(capsys, "bundle", copy, "--allow-local-beacon")
    assert "window 4: abstained: its record has no inputs: the validator had not seen" in out


def test_a_windows_own_problem(capsys, kept, member):
    """By the bundle's seed, environment, levels and rewards."""
    window = ("--bundle", kept, "--window", 4, "--hotkey", member[1], "--json")
    shown = [json.loads(ask(capsys, "problem", *window, "--index", n)[1]) for n in INDICES]
    bundle = open_bundle(kept)
    context = bundle.read_context(4)
    outline = bundle.open_outline(context.checkpoint)
    environment = open_environment_of(
        context.parameters.environment, outline.manifest, outline.pool
    )
    made = [
        make_miner_problem(
            environment, context.challenge_seed, decode_ss58(member[1]), n, outline.manifest.levels
        )
        for n in INDICES
    ]
    assert [one["prompt"] for one in shown] == [one.prompt for one in made]
    assert [one["level"] for one in shown] == [one.level for one in made]
    code, out, _ = ask(capsys, "score", *window, "--answer", "no")
    assert (code, json.loads(out)["correctness"]) == (0, 0)


# --- as a process


def start(*arguments, **options):
    command = [sys.executable, "-P", "-m", "assay.judge.command", *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, **options)


def end(process):
    """Exit code and what was said of an error."""
    _, err = process.communicate(timeout=60)
    return process.returncode, err.decode()


def test_a_reader_that_leaves_sees_no_traceback(kept):
    ours, theirs = os.pipe()
    os.close(ours)
    code, err = end(start("bundle", kept, "--allow-local-beacon", stdout=theirs))
    os.close(theirs)
    assert (code, err) == (-signal.SIGPIPE, "")


@pytest.mark.parametrize(
    ("arguments", "closed", "said"),
    [
        (("beacon", ROUND, SIGNATURE), 1, "stdout is closed"),
        (("score", "arithmetic", "--answer", "-"), 0, "stdin is closed"),
    ],
)
def test_a_closed_stream_is_said(arguments, closed, said):
    code, err = end(start(*arguments, preexec_fn=lambda: os.close(closed)))
    assert (code, len(err.splitlines())) == (2, 1)
    assert said in err


def test_a_full_disk_is_said():
    with open("/dev/full", "w") as full:
        code, err = end(start("problem", "arithmetic", stdout=full))
    assert (code, len(err.splitlines())) == (2, 1)
    assert "No space left" in err


def test_ctrl_c_is_no_fault(kept, tmp_path):
    """It waits for an answer, and has been started by then."""
    pipe = tmp_path / "answer"
    os.mkfifo(pipe)
    with open(pipe, "r+b", buffering=0) as answer:
        process = start("score", "arithmetic", "--answer", "-", stdin=answer)
        while not Path(f"/proc/{process.pid}/wchan").exists() or not waits(process.pid):
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert end(process) == (130, "")


def waits(pid):
    """Whether a process reads its standard input."""
    called = Path(f"/proc/{pid}/syscall").read_text().split()
    return called[:2] == ["0", "0x0"]


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [(b"#### %d\n", 0, '"correctness": 1000000'), (b"\xff", 2, "is not UTF-8")],
)
def test_an_answer_from_stdin(capsys, answer, code, said):
    """The line break that ends it is not part of it."""
    _, out, _ = ask(capsys, "problem", "arithmetic", "--index", "3", "--json")
    left, right = json.loads(out)["prompt"].removesuffix("=?\n").split("+")
    if b"%d" in answer:
        answer %= int(left) + int(right)
    command = [sys.executable, "-P", "-m", "assay.judge.command", "score", "arithmetic"]
    done = subprocess.run(
        [*command, "--index", "3", "--answer", "-", "--json"],
        input=answer,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert said in (done.stdout + done.stderr).decode()
