"""The command `assay-judge`: exit codes, JSON, and words that it never says."""

import json

import pytest

from assay.judge.command import run

ROUND = "1000"
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
    assert ask(capsys, "beacon", ROUND, "no hex")[0] == 2


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
        ("table", "nothing.rollouts"),
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
    code, out, _ = ask(capsys, "table", file)
    assert (code, out.splitlines()[0]) == (0, "group,rollout,tokens,mean_logprob")


def test_strangers_text_steers_no_terminal(capsys, tmp_path):
    code, _, err = ask(capsys, "problem", "a\x1b[31mb")
    assert code == 2
    assert "\x1b" not in err
