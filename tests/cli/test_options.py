"""Commands and options as they were promised: none is lost, renamed or added by accident."""

import ast
import inspect
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import typer

from assay.cli.app import app
from assay.neurons.settings.loading import list_settings

CLI = Path(__file__).parents[2] / "cli"
PROMISED = json.loads(Path(__file__).with_name("options.json").read_text())


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


def test_an_options_help_is_the_settings_own():
    command = typer.main.get_command(app).commands["validate"]
    options = command.get_params(typer.Context(command))
    shown = {option.opts[0]: option.help for option in options}
    settings = list_settings()
    assert settings["compute"]["threads"].description == "threads of PyTorch; None: its choice"
    assert shown["--threads"] == "Threads of PyTorch [default: its choice]."
    assert shown["--network"].startswith(settings["chain"]["network"].description)
    assert shown["--network"].endswith("[default: finney].")
    assert shown["--readable"].endswith("; may repeat.")


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


def test_what_a_command_runs_takes_the_options_that_it_declares():
    found = 0
    for file in ("app", "chain_commands", "record_commands"):
        for declared in ast.parse((CLI / f"{file}.py").read_text()).body:
            if not isinstance(declared, ast.FunctionDef):
                continue
            words = {word.arg: word.value for word in declared.decorator_list[0].keywords}
            if "runs" not in words:
                continue
            room = import_module(f"assay.cli.{ast.literal_eval(words['runs'])}")
            _, *taken = inspect.signature(getattr(room, declared.name)).parameters.values()
            given = {option.arg.replace("yes", "confirm") for option in declared.args.args}
            assert given <= {each.name for each in taken}, declared.name
            assert {each.name for each in taken if each.default is each.empty} <= given
            found += 1
    assert found > 30
