"""`assay tools`: what an agent needs to type a command."""

import json

from jsonschema import Draft202012Validator

from tests.cli.test_options import PROMISED
from tests.commands import invoke, run_command


def test_every_command_is_a_tool_with_all_its_options() -> None:
    tools = json.loads(run_command("tools", "--json").stdout)
    named = {" ".join(tool["command"]): tool for tool in tools}
    groups = {"assay", *(path.rpartition(" ")[0] for path in PROMISED)}
    assert set(PROMISED) - groups <= set(named) <= set(PROMISED)
    for path, tool in named.items():
        schema = tool["input_schema"]
        Draft202012Validator.check_schema(schema)
        promised = PROMISED[path].split()
        typed = {flag for word in promised for flag in word.rstrip("*!").split("/")}
        assert {one.get("x-flag") for one in schema["properties"].values()} - {None} <= typed
        assert len(schema["properties"]) == len(promised)
        assert len(schema["required"]) == sum(word.endswith("!") for word in promised)
        assert tool["asks"] == any(word.startswith("--yes") for word in promised)
        assert tool["description"]
        assert tool["example"].startswith("assay")


def type_call(tool: dict, values: dict) -> list[str]:
    """The words of a call, as an agent's program would make them from the schema."""
    words, places = list(tool["command"][1:]), {}
    for name, value in values.items():
        kind = tool["input_schema"]["properties"][name]
        if "x-position" in kind:
            places[kind["x-position"]] = f"{value}"
        elif value is True:
            words.append(kind["x-flag"])
        elif value is not False:
            words += [kind["x-flag"], f"{value}"]
    return words + [places[at] for at in sorted(places)]


def test_a_call_typed_by_its_schema() -> None:
    tools = {one["name"]: one for one in json.loads(run_command("tools", "--json").stdout)}
    sample = tools["assay_env_sample"]
    values = {"name": "arithmetic", "n": 2, "json": True}
    Draft202012Validator(sample["input_schema"]).validate(values)
    done = invoke(type_call(sample, values))
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == 2
    assert not Draft202012Validator(sample["input_schema"]).is_valid({"name": "x", "n": 0})


def test_a_list_for_people() -> None:
    listed = run_command("tools")
    assert "assay env vet" in listed.stdout
