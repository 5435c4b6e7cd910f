"""A command's options are listed once, in its function: what it calls of the command line gets a
request, or what came of one, and not a second list of the same parameters.

A function of a package may have some of them: its callers are not commands alone.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import assay.cli.commands

COMMANDS = Path(assay.cli.commands.__file__).parent
ROOT = COMMANDS.parents[2]
#: What a view and a progress need is the terminal's, not the command's.
TERMINAL = {"as_json", "quiet", "yes"}


def list_commands(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    """The functions that `command` registers."""
    for function in tree.body:
        if isinstance(function, ast.FunctionDef) and any(
            isinstance(call, ast.Call) and ast.unparse(call.func) == "command"
            for call in function.decorator_list
        ):
            yield function


def list_parameters(function: ast.FunctionDef) -> list[str]:
    return [each.arg for each in (*function.args.args, *function.args.kwonlyargs)]


def list_imports(tree: ast.AST) -> dict[str, str]:
    """Local name → path of what it names, such as `assay.cli.start.starting`."""
    return {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


@cache
def read_functions(module: str) -> dict[str, ast.FunctionDef]:
    """The functions at the top of one of our modules."""
    file = ROOT / Path(*module.split(".")).with_suffix(".py")
    tree = ast.parse(file.read_text() if file.is_file() else "")
    return {each.name: each for each in tree.body if isinstance(each, ast.FunctionDef)}


def find_repeated(options: set[str], called: ast.FunctionDef, call: ast.Call) -> set[str]:
    """The parameters of a function that are options again: by their names, or by what a command
    passes for them."""
    names = list_parameters(called)
    passed: dict[str, ast.expr] = dict(zip(names, call.args, strict=False))
    passed |= {each.arg: each.value for each in call.keywords if each.arg is not None}
    from_options = {name for name, value in passed.items() if ast.unparse(value) in options}
    return (options & set(names)) | from_options


def list_repeated(source: str) -> list[str]:
    """The calls of a module's commands whose function takes two or more of their options."""
    tree, faults = ast.parse(source), []
    for command in list_commands(tree):
        options = set(list_parameters(command)) - TERMINAL - {"invocation"}
        imports = list_imports(tree) | list_imports(command)
        for call in ast.walk(command):
            if not isinstance(call, ast.Call):
                continue
            head, *rest = ast.unparse(call.func).split(".")
            module, _, name = ".".join([imports.get(head, ""), *rest]).rpartition(".")
            called = read_functions(module).get(name) if module.startswith("assay.cli.") else None
            repeated = find_repeated(options, called, call) if called else set()
            if len(repeated) > 1:
                faults.append(f"{command.name}: {module}.{name} takes {sorted(repeated)} again")
    return faults


def test_no_function_takes_a_commands_options_one_by_one() -> None:
    faults = [
        f"{file.name}: {fault}"
        for file in sorted(COMMANDS.glob("*.py"))
        for fault in list_repeated(file.read_text())
    ]
    assert not faults, "\n".join(faults)


def test_a_relay_is_found() -> None:
    relay = """
@command(app, "relay")
def relay(invocation, title, found, as_json):
    from assay.cli.audit_view import print_findings
    print_findings(open_console(), title, found)
"""
    fault = "relay: assay.cli.audit_view.print_findings takes ['findings', 'title'] again"
    assert list_repeated(relay) == [fault]
    assert not list_repeated(relay.replace("title, found)", "describe(title, found), as_json)"))
