"""Commands on a chain, before they connect: missing and wrong arguments are named at once."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from assay.protocol.ss58 import encode_ss58
from assay.training import GENESIS
from tests.commands import run_command, run_program
from tests.disks import filling

PUBLISH = ("subnet", "publish", "--netuid", "1", "--trainer", encode_ss58(bytes(32)))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("metagraph",), "which subnet? name it with --netuid"),
        (
            ("metagraph", "--netuid", "1", "--network", "fnney"),
            "'fnney' is not a network: name one of",
        ),
        (("stake", "1.x", "--netuid", "1"), "is not an amount"),
        (("stake", "0", "--netuid", "1"), "the amount is 0: name more, in TAO"),
        (("faucet",), "there is no faucet on finney: name a development chain"),
        (("faucet", "--network", "wss://example.org"), "there is no faucet on wss://example.org"),
        (("audit", "--netuid", "1", "--windows", "9..2"), "the smaller number comes first"),
        (("audit", "--netuid", "1", "--windows", "5-9"), "write A..B, such as 5..12"),
        (("audit", "--netuid", "1", "--validator", "5F"), "--validator: '5F' is not an SS58"),
        (("audit", "export", "--netuid", "1", "--out", "new", "--windows", "x"), "write A..B"),
        (("audit", "compare", "--netuid", "1", "--windows", "x"), "write A..B"),
        (("audit", "--offline", "."), ". is not a bundle: name what `assay audit export`"),
        (("train", "bisect", "x", "x"), "x: there is no such file or folder"),
        (("export", "--out", "x", "--dir", "."), "steps has no steps: name a trainer's"),
        (("calibrate",), "name the folder of a checkpoint: --model FOLDER"),
        (("calibrate", "--model", "m", "--b", "fp32-sdpa"), "name two implementations"),
        (("stake", "0.0000000001", "--netuid", "1"), "is not an amount"),
        (("mine", "--netuid", "1"), "name a store with --store"),
        (("weights", "set", "1", "--netuid", "1"), "write UID=SHARE"),
        (("weights", "set", "1=2", "1=3", "--netuid", "1"), "is given twice"),
        (("weights", "set", "1=0", "--netuid", "1"), "every share is 0"),
        (("weights", "set", "70000=1", "--netuid", "1"), "is not a weight"),
        (("register", "--netuid", "1", "--wallet", "nobody"), "assay wallet create"),
        (("register", "--netuid", "70000"), "netuid"),
        ((*PUBLISH, "--store", "ftp://a"), "is not a store"),
        ((*PUBLISH, "--store", "https://a"), "upload ="),
    ],
)
def test_faults_are_named_in_one_line(tmp_path, arguments, words):
    variables = {"ASSAY_WALLET__PATH": str(tmp_path), "ASSAY_WALLET__NAME": "//Alice"}
    done = run_command(*arguments, env=variables)
    assert done.returncode == 2, done.stderr
    *opening, error = done.stderr.splitlines()
    assert words in error
    assert opening in ([], ["assay: opening subnet 1 of finney …"])
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("explain --window x", "Invalid value for '--window': use a whole number"),
        ("contest a b --env sat --problems 0", "use a number greater than or equal to 1"),
        ("contest a b --env sat --temperature warm", "use a number"),
    ],
)
def test_a_number_that_is_none_is_refused_in_plain_words(arguments, words):
    done = run_command(*arguments.split())
    assert done.returncode == 2
    assert done.stderr.strip().endswith(words)


def test_a_folder_or_a_file_that_cannot_be_used_is_named_before_the_chain_is_opened(tmp_path):
    file, absent = tmp_path / "file", tmp_path / "absent.toml"
    file.touch()
    own = ("--netuid", "1", "--wallet", "//Alice", "--store", f"file://{tmp_path}")
    for words, said in (
        (("train", "--dir", file), f"--dir {file} is not a folder"),
        (("train", "--dir", file / "below"), "is below a file: name a folder"),
        (("subnet", "amend", "--changes", absent), f"cannot read {absent}"),
        (("subnet", "amend", "--changes", absent.with_suffix(".json")), "cannot read"),
    ):
        done = run_command(*words, *own)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert said in line


def test_a_mistyped_setting_is_guessed(tmp_path):
    file = tmp_path / "assay.toml"
    file.write_text('[chain]\nnetwrok = "local"\n')
    done = run_command("metagraph", "--config", file)
    assert done.returncode == 2
    assert "did you mean 'network'?" in done.stderr
    done = run_program("metagraph", env={"ASSAY_CHAIN__NETWROK": "local"})
    assert "did you mean ASSAY_CHAIN__NETWORK" in done.stderr


def test_a_wallet_without_a_terminal_needs_a_word(tmp_path):
    done = run_command("wallet", "create", "--wallet-path", tmp_path)
    assert done.returncode == 2
    assert "--no-password" in done.stderr
    assert "only it can restore" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_wallet_shows_its_words_once_and_never_in_the_document(tmp_path):
    where = ("--wallet-path", tmp_path)
    made = run_program("wallet", "create", *where, "--no-password", "--json")
    document = json.loads(made.stdout)
    words = [line.strip() for line in made.stderr.splitlines() if len(line.split()) == 12]
    assert len(words) == 2
    assert not any(word in made.stdout for word in words)
    (listed,) = json.loads(run_command("wallet", "list", *where, "--json").stdout)
    assert listed["coldkey"] == document["coldkey"]
    assert listed["hotkeys"] == [{"name": "default", "hotkey": document["hotkey"]}]
    for words in (["--no-password"], []):  # nothing is asked, so no terminal is needed
        again = run_command("wallet", "create", *where, *words)
        assert again.returncode == 2
        assert "already exists" in again.stderr
    other = run_command("wallet", "create", *where, "--hotkey", "other", "--json")
    assert other.returncode == 0
    assert json.loads(other.stdout)["coldkey"] == document["coldkey"]


def test_doctor_without_a_subnet_says_what_the_machine_has():
    done = run_command("doctor", "--json")
    assert done.returncode == 2
    assert [check["check"] for check in json.loads(done.stdout)] == ["fences", "sandbox"]
    assert "which subnet? name it with --netuid" in done.stderr


@pytest.mark.parametrize("size", [1_000, 100_000])
def test_a_disk_that_fills_leaves_no_half_of_checkpoint_0(tmp_path, size):
    """That of temporary files, and that of tensors. A locator has no room for pytest's paths."""
    out = tmp_path / "genesis"
    options = "--network", "ws://127.0.0.1:9", "--netuid", 3, "--wallet", "//Alice", "--yes"
    options += "--recipe", "genesis-arithmetic", "--trainer", encode_ss58(bytes([7] * 32))
    with TemporaryDirectory(prefix="assay-") as store:
        options += "--store", f"file://{store}", "--model", GENESIS, "--out", out
        with filling(size):
            done = run_command("subnet", "publish", *options)
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1].startswith("assay: ")
        assert done.stderr.endswith(": File too large\n")
        assert not [*tmp_path.iterdir()]
        assert not [*Path(store).iterdir()]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("mine",), ["network", "subnet", "wallet", "store"]),
        (("mine", "--netuid", "1", "--wallet", "//Alice"), ["network", "store"]),
        (("mine", "--store", "file:///"), ["network", "subnet", "wallet"]),
        (("validate",), ["network", "subnet", "wallet"]),
        (("subnet", "publish", "--wallet", "//Alice"), ["network", "subnet", "store", "trainer"]),
        (("register",), ["network", "subnet", "wallet"]),
        (("metagraph",), ["network", "subnet"]),
    ],
)
def test_what_is_missing_is_said_at_once_and_in_order(tmp_path, words, said):
    """None of network, subnet, wallet and store needs another to be checked."""
    starts = {
        "network": "assay: 'finey' is not a network",
        "subnet": "assay: which subnet?",
        "wallet": "assay: wallet default/default: ",
        "store": "assay: where should files go?",
        "trainer": "assay: who publishes checkpoints?",
    }
    env = {"ASSAY_WALLET__PATH": str(tmp_path), "ASSAY_CHAIN__NETWORK": "finey"}
    done = run_command(*words, env=env, cwd=tmp_path)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert len(lines) == len(said)
    assert all(map(str.startswith, lines, [starts[what] for what in said])), lines


def test_an_address_is_no_wallets_name(tmp_path):
    """It is found among the wallets or refused, and never becomes a file."""

    def create(*words):
        return run_command("wallet", "create", "--wallet-path", tmp_path, "--no-password", *words)

    made = create("--wallet", "mine", "--hotkey", "one", "--json")
    assert made.returncode == 0, made.stderr
    shown = json.loads(run_command("wallet", "list", "--wallet-path", tmp_path, "--json").stdout)
    files = sorted(tmp_path.rglob("*"))
    text = (tmp_path / "mine" / "coldkeypub.txt").read_text()
    cold = json.loads(text)["ss58Address"]
    hot = json.loads((tmp_path / "mine" / "hotkeys" / "one").read_text())["ss58Address"]
    assert all(address in json.dumps(shown) for address in (cold, hot))
    other = encode_ss58(bytes(range(32)))
    for words, said in (
        (("--wallet", cold), "keys are named by their names: write --wallet mine"),
        (("--wallet", "mine", "--hotkey", hot), "write --wallet mine --hotkey one"),
        (("--wallet", other), f"no wallet in {tmp_path} has it"),
    ):
        for done in (
            create(*words),
            run_command("register", "--netuid", "1", "--wallet-path", tmp_path, *words),
        ):
            assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
            assert said in done.stderr
    assert sorted(tmp_path.rglob("*")) == files


def test_all_that_publishing_lacks_is_said_at_once(tmp_path: Path) -> None:
    words = ("--store", "ftp://a", "--trainer", "5F", "--recipe", "no.toml", "--model", "./no")
    given = ("--netuid", "1", "--wallet", "nobody", "--changes", "none.toml")
    variables = {"ASSAY_WALLET__PATH": str(tmp_path)}
    done = run_command("subnet", "publish", *given, *words, env=variables, cwd=tmp_path)
    assert done.returncode == 2
    said = done.stderr.splitlines()
    lacking = (
        "assay wallet create",
        "is not a store",
        "--trainer: '5F'",
        "there is no recipe 'no.toml'",
        "no: there is no such file",
        "none.toml: there is no such file",
    )
    assert len(said) == len(lacking)
    assert all(part in line for part, line in zip(lacking, said, strict=True))
