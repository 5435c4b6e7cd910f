"""A command's options are listed once, in its function: what it calls of the command line gets a
request, or what came of one, and not a second list of the same parameters.

A function of a package may have two of them: its callers are not commands alone. What a command
takes it uses, `--json` too, and a view prints what comes of it.
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
_OWN = "these are all that it takes of a command, and programs call it, too"
#: Function of a package that takes more than two of a command's options → why it has no request.
BELOW = {
    "assay.audit.provenance.step_export.export_steps": _OWN,
    "assay.audit.provenance.step_push.push_steps": _OWN,
    "assay.audit.tracing.bisection.bisect_traces": _OWN,
    "assay.environments.problem_look.look_at_file": _OWN,
    "assay.network.evm.acts.claim_score": _OWN,
    "assay.subnet.adoption.adopt.adopt_model": _OWN,
}


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


def iterate_relays(source: str) -> Iterator[tuple[str, str, set[str]]]:
    """Of the calls of a module's commands: command, path of the function, the options that it takes
    again."""
    tree = ast.parse(source)
    for command in list_commands(tree):
        options = set(list_parameters(command)) - TERMINAL - {"invocation"}
        imports = list_imports(tree) | list_imports(command)
        for call in ast.walk(command):
            if not isinstance(call, ast.Call):
                continue
            head, *rest = ast.unparse(call.func).split(".")
            module, _, name = ".".join([imports.get(head, ""), *rest]).rpartition(".")
            called = read_functions(module).get(name) if module.startswith("assay.") else None
            if called is not None:
                yield command.name, f"{module}.{name}", find_repeated(options, called, call)


def list_repeated(source: str) -> list[str]:
    """The calls of a module's commands whose function takes two or more of their options; of a
    package's function, three or more."""
    return [
        f"{command}: {path} takes {sorted(repeated)} again"
        for command, path, repeated in iterate_relays(source)
        if len(repeated) > (1 if path.startswith("assay.cli.") else 2) and path not in BELOW
    ]


def list_left(source: str) -> list[str]:
    """The options that commands of a module take and do not use, and what they print themselves."""
    faults = []
    for command in list_commands(ast.parse(source)):
        used = {each.id for each in ast.walk(command) if isinstance(each, ast.Name)}
        left = {*list_parameters(command)} - used - {"invocation"}
        faults += [f"{command.name} does not use its option {name}" for name in sorted(left)]
        for call in ast.walk(command):
            if isinstance(call, ast.Call) and ast.unparse(call.func) in ("print", "typer.echo"):
                is_aside = any(each.arg == "file" for each in call.keywords)  # standard error
                faults += [] if is_aside else [f"{command.name} prints: a view does"]
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


def test_every_reason_to_take_options_one_by_one_is_needed() -> None:
    taken = {
        path
        for file in COMMANDS.glob("*.py")
        for _, path, repeated in iterate_relays(file.read_text())
        if len(repeated) > 2
    }
    assert taken == BELOW.keys()


def test_every_option_is_used_and_views_print() -> None:
    faults = [
        f"{file.name}: {fault}"
        for file in sorted(COMMANDS.glob("*.py"))
        for fault in list_left(file.read_text())
    ]
    assert not faults, "\n".join(faults)


def test_an_option_without_use_is_found() -> None:
    counting = """
@command(app, "count")
def count(invocation, name, as_json):
    print(count_levels(name))
"""
    faults = ["count does not use its option as_json", "count prints: a view does"]
    assert list_left(counting) == faults
    assert not list_left(counting.replace("print(count_levels(name))", "show(name, as_json)"))
