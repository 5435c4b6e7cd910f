"""Commands and options as they were promised: none is lost, renamed or added by accident."""

import json
import re
import subprocess
import sys
from pathlib import Path

import typer

from assay.cli.app import app
from assay.settings.loading import list_settings
from tests.cli.test_help_pages import render_page

FILE = Path(__file__).with_name("options.json")
PROMISED = json.loads(FILE.read_text())


def list_options(command, path="assay"):
    """Command → its options and arguments; `*` may repeat, `!` must be given."""
    words = []
    for option in command.get_params(typer.Context(command, info_name=path)):
        if option.name == "help":
            continue
        word = "/".join([*sorted(option.opts), *sorted(option.secondary_opts)])
        if option.param_type_name == "argument":
            word = option.metavar or option.name
        word += "*" if option.nargs == -1 or getattr(option, "multiple", False) else ""
        words.append(word + "!" * option.required)
    found = {path: " ".join(sorted(words))}
    for name, below in getattr(command, "commands", {}).items():
        found |= list_options(below, f"{path} {name}")
    return found


def test_every_command_has_the_options_it_was_published_with():
    assert list_options(typer.main.get_command(app)) == PROMISED


#: Commands that do alike → the options that all of them have. Every command is in one row.
SIBLINGS = {
    # send to the chain once, in the name of a wallet
    "register, stake, weights set, subnet create, subnet start, subnet publish, subnet amend, "
    "ledger deploy, ledger bind": "--yes --wallet --hotkey --wallet-path --network --localnet",
    # run until they are stopped
    "mine, validate, train": "--wallet --hotkey --wallet-path --network --netuid --localnet --dir "
    "--store --metrics --quiet",
    # read a wallet, and send nothing in its name
    "faucet, wallet show, ledger key, doctor": "--wallet --hotkey --wallet-path --network "
    "--localnet",
    "explain": "--wallet --wallet-path --network --netuid --localnet --quiet",
    "wallet create": "--wallet --hotkey --wallet-path --localnet",
    "wallet list": "--wallet-path --localnet",
    # look at a subnet
    "metagraph, weights show, subnet show, ledger show, ledger verify-score": "--network --netuid "
    "--localnet",
    "explorer, audit, audit export, audit compare, audit round, train verify-step": (
        "--network --netuid --localnet --quiet"
    ),
    # need no chain
    "localnet, train trace-step, train bisect": "--dir --quiet",
    "status, ledger status, train watch, train proposals": "--dir --config",
    "export": "--dir --out --quiet --config",
    "publish-hub": "--yes --dir --quiet --config",
    "demo, calibrate, gauntlet, contest, eval, train warm-start, train dpo, train distill": (
        "--out --quiet --config"
    ),
    "verify": "--quiet --config",
    "adopt, recipe new": "--out --quiet",
    "env list, env show, env sample, env score, env export": "--file --config",
    "plan": "--localnet --quiet --config",
    "convert, env new, env vet, env look, tools": "",
    "sandbox prepare": "--quiet",
}
#: Lists of commands.
LISTS = {"wallet", "weights", "subnet", "ledger", "env", "recipe", "sandbox"}
#: Options whose presence is a row's own: no command of another row has them.
TELLING = {"--yes", "--wallet", "--wallet-path", "--network", "--netuid", "--localnet"}


def test_siblings_have_the_same_options():
    found = {
        path.removeprefix("assay "): {re.sub("[*!]", "", word) for word in words.split()}
        for path, words in PROMISED.items()
    }
    rows = {name: row for row in SIBLINGS for name in row.split(", ")}
    assert found.pop("assay") == {"--install-completion", "--show-completion", "--version"}
    spoken = found.pop("mcp")  # JSON is all that it speaks
    assert spoken > {"--dir", "--explorer", "--network", "--netuid", "--localnet", "--config"}
    assert "--json" not in spoken
    for name, options in found.items():
        if name in LISTS:
            assert not options
            continue
        row = rows.pop(name)
        expected = {*SIBLINGS[row].split(), "--json"}
        assert expected <= options, name
        most = {each for other in row.split(", ") for each in found[other]} if row else set()
        assert options & TELLING <= expected | (most & {"--netuid"}), name
    assert rows == {}


def test_an_options_help_is_the_settings_own():
    command = typer.main.get_command(app).commands["validate"]
    options = command.get_params(typer.Context(command))
    shown = {option.opts[0]: option.help for option in options}
    settings = list_settings()
    assert (
        settings["compute"]["threads"].description == "threads of PyTorch; None: PyTorch's choice"
    )
    assert shown["--threads"] == "Threads of PyTorch [default: PyTorch's choice]."
    assert shown["--network"].startswith(settings["chain"]["network"].description)
    assert shown["--network"].endswith("[default: finney].")
    assert shown["--readable"].endswith("; may repeat.")


def list_short_helps(command, path="assay"):
    for name, below in getattr(command, "commands", {}).items():
        yield f"{path} {name}", below.get_short_help_str(45)
        yield from list_short_helps(below, f"{path} {name}")


def test_lists_of_commands_cut_no_sentence():
    shown = dict(list_short_helps(typer.main.get_command(app)))
    assert len(shown) > 50
    assert [path for path, words in shown.items() if not words.endswith((".", "?"))] == []
    assert [path for path, words in shown.items() if words.endswith("...")] == []


def walk(command, path=()):
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from walk(below, (*path, name))


def squeeze(text):
    return "".join(text.split())


def test_help_is_whole_on_a_terminal_of_80_columns():
    """Every sentence of a command, its options and the commands below it, on lines that fit."""
    found = 0
    for path, command in walk(typer.main.get_command(app)):
        shown = render_page(path, 80)
        assert max(map(len, shown.splitlines())) <= 80, path
        page = squeeze(shown)
        sentences = [command.help, getattr(command, "epilog", None)]
        context = typer.Context(command, info_name="assay")
        sentences += [option.help for option in command.get_params(context)]
        sentences += [
            below.help.partition("\n\n")[0] for below in getattr(command, "commands", {}).values()
        ]
        words = {*shown.replace("[default: ", "").split()}
        for sentence in filter(None, sentences):
            assert squeeze(sentence) in page, path
            cut = {*sentence.replace("[default: ", "").split()} - words - {"\b"}
            assert not cut, f"{path} has these on two lines"
            assert not sentence.rstrip().endswith("..."), path
            found += 1
    assert found > 500


def test_help_names_values_as_people_do():
    for path, _ in walk(typer.main.get_command(app)):
        assert not re.search(r"<list|<str>|<path>|range>", render_page(path, 80)), path
    shown = render_page(("env", "score"), 80)
    assert "--index <int> " in shown
    assert "0<=x<=" in shown


def test_help_and_wrong_usage_load_no_heavy_library():
    code = """
import sys
from typer.testing import CliRunner
from assay.cli.app import app
runner = CliRunner()
assert runner.invoke(app, ["--help"]).exit_code == 0
assert "pydantic" not in sys.modules
assert runner.invoke(app, ["audit", "--nonsense"]).exit_code == 2
heavy = {"torch", "bittensor", "web3", "pyarrow", "transformers", "numpy", "pydantic_settings"}
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr


if __name__ == "__main__":  # writes what is promised from now on
    FILE.write_text(json.dumps(list_options(typer.main.get_command(app)), indent=1) + "\n")
