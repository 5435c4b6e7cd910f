"""The judge against the vectors of completions, and every input there that must be refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assay.environments.registry import KINDS, make_environment
from assay.protocol import parameters
from assay.protocol.encoding import EncodingError, decode, from_json
from assay.protocol.manifest import Calibration, Manifest, find_fault
from assay.protocol.reason import Reason
from assay.protocol.submission import Header, Rollout

VECTORS = Path(__file__).parents[1] / "vectors"


def load(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_bytes())


COMPLETIONS = load("completions")
MANIFEST = load("manifest")
#: Environment → settings and levels that it refuses, of all vectors that have some.
ENVIRONMENTS = {
    name: bad
    for name in (*KINDS, "mix")
    if (VECTORS / f"{name}.json").exists() and (bad := load(name).get("bad"))
}


def about(entry: Any) -> str:
    return str(entry.get("about") or entry["reason"])


@pytest.mark.parametrize(
    "case", [one for one in COMPLETIONS["completions"] if one["turns"] == 1], ids=about
)
def test_the_judge_ends_completions_where_the_vectors_do(world: Any, case: Any) -> None:
    barred = [i for i, drawable in enumerate(world.tokenizer.drawable) if not drawable]
    assert (len(world.tokenizer.drawable), barred) == (
        COMPLETIONS["vocabulary"],
        COMPLETIONS["barred"],
    )
    manifest = replace(
        world.manifest,
        end_tokens=tuple(COMPLETIONS["end_tokens"]),
        max_tokens=COMPLETIONS["max_tokens"],
    )
    draft = world.mine()
    draft.groups = [[make_rollout([5, 9]) for _ in group] for group in draft.groups]
    draft.groups[world.audited][3] = make_rollout(case["tokens"])
    draft.header = {"checkpoint": manifest.digest}
    reader, context = world.seal(draft)
    context = replace(context, checkpoint=manifest.digest)
    # another challenge, so other groups are audited: the one of interest is named
    verdict = world.judge_file(reader, context, manifest=manifest, groups=[world.audited])
    if case["reason"] is None:
        assert verdict.reason not in {Reason.TOKEN_OUT_OF_RANGE, Reason.WRONG_TERMINATION}
    else:
        assert verdict.reason == case["reason"]
        assert (verdict.fault.group, verdict.fault.rollout, verdict.fault.token) == (
            world.audited,
            3,
            case["token"],
        )


def make_rollout(tokens: list[int]) -> Rollout:
    count = len(tokens)
    return Rollout(
        np.array(tokens, np.uint32), np.zeros(count, np.uint32), np.zeros((count, 2), np.int8)
    )


@pytest.mark.parametrize("bad", MANIFEST["bad"], ids=about)
def test_an_unusable_manifest_is_refused(bad: Any) -> None:
    manifest = from_json(Manifest, MANIFEST["manifest"])
    calibration = from_json(Calibration, MANIFEST["calibration"])
    tests, longest = from_json(parameters.Tests, MANIFEST["tests"]), MANIFEST["max_tokens"]
    gate = from_json(parameters.Gate, MANIFEST["gate"])
    assert find_fault(manifest, calibration, tests, gate, longest) is None
    if bad["field"] == "rates":
        calibration = from_json(Calibration, MANIFEST["calibration"] | {"rates": bad["value"]})
        manifest = replace(manifest, calibration=calibration.digest)
    else:
        manifest = from_json(Manifest, MANIFEST["manifest"] | {bad["field"]: bad["value"]})
    fault = find_fault(manifest, calibration, tests, gate, longest)
    assert fault is not None
    assert bad["because"] in fault


@pytest.mark.parametrize("bad", load("submission").get("bad_headers", []), ids=about)
def test_a_bad_header_is_refused(bad: Any) -> None:
    with pytest.raises(EncodingError):
        decode(Header, bytes.fromhex(bad["bytes"]))


@pytest.mark.parametrize(
    ("name", "bad"),
    [(name, bad) for name, entries in ENVIRONMENTS.items() for bad in entries],
    ids=lambda part: part if isinstance(part, str) else about(part),
)
def test_bad_settings_and_levels_are_refused(name: str, bad: Any) -> None:
    with pytest.raises(ValueError, match=bad["because"]):
        make_environment(name, bad["settings"]).make_problem(bytes(32), bad["levels"])
