"""The comparison of validators that explorers show in tests is one that an audit makes today."""

import json

from tests.explorer.compared import FILE, compare_played


def describe_shape(value):
    """Names and types, of a list those of all its elements."""
    if isinstance(value, dict):
        return {name: describe_shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return sorted({json.dumps(describe_shape(inner)) for inner in value})
    return type(value).__name__


def test_it_has_the_shape_of_the_kept_one(network):
    made, kept = json.loads(json.dumps(compare_played(network))), json.loads(FILE.read_text())
    assert describe_shape(made) == describe_shape(kept)
    of = [[one["validator"] for one in found["validators"]] for found in (made, kept)]
    assert of[0] == of[1]
