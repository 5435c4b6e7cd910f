"""Writes the vectors in this folder, with which another implementation of the protocol must agree.

    python tests/vectors/generate.py            writes them
    python tests/vectors/generate.py --check    exits 1 if a file differs from what would be written

Values come from `assay.protocol`; tests/protocol/test_vectors.py derives them a second time, by
other means. A bad vector has one defect, and its reason is typed in here by hand.
"""

import json
import re
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from assay.protocol import seeds
from assay.protocol.beacon import QUICKNET
from assay.protocol.encoding import to_json
from assay.protocol.gumbel import TABLE, TABLE_SHA256, compute_gumbel
from assay.protocol.hashing import Domain, compute_root, compute_tree, get_path, hash_fields
from assay.protocol.parameters import DEMO_TIMING, MAIN_TIMING
from assay.protocol.prf import Stream, compute_key, compute_word
from assay.protocol.selection import (
    AuditedGroup,
    select_groups,
    select_positions,
    select_rollouts,
    select_samples,
)
from assay.protocol.ss58 import encode_ss58
from assay.protocol.window import Phase, compute_block, compute_round, compute_settled_windows

HERE = Path(__file__).parent
DATA = HERE.parent / "data"
sys.path.insert(0, str(HERE))
from adapters import make_adapters  # noqa: E402
from amendments import make_amendments  # noqa: E402
from bad_inputs import BAD_ADDRESSES  # noqa: E402
from codes import make_bit_fields, make_prefix_codes  # noqa: E402
from differences import make_differences  # noqa: E402
from episodes import make_episodes  # noqa: E402
from families import make_families  # noqa: E402
from file_rows import make_gsm_file  # noqa: E402
from folders import make_folders  # noqa: E402
from further import make_chat_template, make_deltas, make_levels, make_mirrors, make_weights  # noqa: E402
from gates import make_gate  # noqa: E402
from instructions import make_instructions  # noqa: E402
from judging import make_completions, make_draws, make_logprobs, make_sampling, make_sketch  # noqa: E402
from letters import make_letters  # noqa: E402
from math_answers import make_math  # noqa: E402
from networks import make_networks  # noqa: E402
from objects import make_beacons, make_commitments, make_context, make_manifest, make_parameters  # noqa: E402
from outer import make_rounds  # noqa: E402
from plain_types import make_plain_types  # noqa: E402
from pools import make_pool  # noqa: E402
from problems import make_arithmetic, make_gsm, make_mix, make_sat  # noqa: E402
from program_outputs import make_outputs  # noqa: E402
from prompts import make_prompts  # noqa: E402
from records import make_record  # noqa: E402
from routers import make_routers  # noqa: E402
from search import make_search  # noqa: E402
from steps import make_steps  # noqa: E402
from subjects import ALICE, BOB, PARAMETERS, WINDOW, digest  # noqa: E402
from submissions import make_submission  # noqa: E402
from texts import make_text  # noqa: E402
from tools import make_tools  # noqa: E402
from trials import make_trials  # noqa: E402
from worlds import make_errands  # noqa: E402
from worth import make_settlement, make_worth  # noqa: E402

Json = Any
#: Half of a character, which UTF-8 has no bytes for.
_HALF = re.compile("[\ud800-\udfff]")


def make_philox() -> Json:
    published = []
    for line in (DATA / "philox4x32-10.txt").read_text().splitlines():
        if not line.startswith("#"):
            words = line.split()[2:]
            entry = {"counter": words[:4], "key": words[4:6], "output": words[6:]}
            published.append({name: " ".join(column) for name, column in entry.items()})
    places = [
        (0, 0),
        (0, 1),
        (0, 3),
        (0, 4),
        (1, 0),
        (47, 96),
        (4_095, 151_935),
        (2**31, 2**32 - 1),
    ]
    keyed = [
        {
            "seed": seed.hex(),
            "position": t,
            "token": v,
            "word": compute_word(compute_key(seed), t, v),
        }
        for seed in (digest("rollout 0"), digest("rollout 1"))
        for t, v in places
    ]
    return {"published": published, "words": keyed}


def make_stream() -> Json:
    seed = digest("stream")

    def draw_below(bound: int) -> list[int]:
        stream = Stream(seed)
        return [stream.draw_below(bound) for _ in range(6)]

    stream = Stream(seed)
    bounds = (1, 2, 10, 1_000_003, 3 * 2**62, 2**63 + 1, 2**64)
    shapes = ((1, 1), (5, 5), (10, 3), (10, 10), (1_024, 12))
    return {
        "seed": seed.hex(),
        "u64": [stream.draw_u64() for _ in range(70)],
        "below": [{"bound": bound, "drawn": draw_below(bound)} for bound in bounds],
        "sample": [
            {"population": p, "count": c, "drawn": Stream(seed).sample(p, c)} for p, c in shapes
        ],
    }


def make_gumbel() -> Json:
    low = [0, 1, 255, 256, 257, 511, 512, 513, 2**16, 2**20 + 12_345, 2**30, 2**31 - 1]
    words = low + [2**32 - 1 - word for word in reversed(low)]
    values = [{"word": word, "gumbel": compute_gumbel(word)} for word in words]
    return {"table_sha256": TABLE_SHA256, "table_entries": len(TABLE), "values": values}


def make_hashing() -> Json:
    calls = (
        (Domain.PROBLEM, []),
        (Domain.PROBLEM, [b""]),
        (Domain.PROBLEM, [b"ab", b"c"]),
        (Domain.PROBLEM, [b"a", b"bc"]),
        (Domain.ROLLOUT, [b"a", b"bc"]),
        (Domain.CHECKPOINT, [bytes(300)]),
    )
    leaves = [digest(f"leaf {i}") for i in range(9)]
    return {
        "fields": [
            {
                "domain": domain.value.decode(),
                "fields": [field.hex() for field in fields],
                "digest": hash_fields(domain, *fields).hex(),
            }
            for domain, fields in calls
        ],
        "leaves": [leaf.hex() for leaf in leaves],
        "context": digest("root context").hex(),
        "roots": [
            {
                "count": count,
                "tree_root": (tree := compute_tree(leaves[:count]))[-1][0].hex(),
                "paths": [[n.hex() for n in get_path(tree, i)] for i in range(count)],
                "root": compute_root(leaves[:count]).hex(),
                "root_with_context": compute_root(leaves[:count], digest("root context")).hex(),
            }
            for count in range(1, 10)
        ],
    }


def make_seeds() -> Json:
    parameters, environment = PARAMETERS.digest, PARAMETERS.environment.digest
    checkpoint, block = digest("checkpoint"), digest("block")
    randomness, audit_randomness = digest("randomness"), digest("audit randomness")
    sample_randomness = digest("sample randomness")
    challenge = seeds.compute_challenge_seed(
        parameters, environment, WINDOW, checkpoint, block, randomness
    )
    audit = seeds.compute_audit_seed(challenge, audit_randomness)
    sample = seeds.compute_sample_seed(challenge, sample_randomness)
    given = {
        "parameters": parameters,
        "environment": environment,
        "checkpoint": checkpoint,
        "block_hash": block,
        "randomness": randomness,
        "audit_randomness": audit_randomness,
        "sample_randomness": sample_randomness,
        "hotkey": ALICE,
        "validator": BOB,
    }
    made = {
        "challenge": challenge,
        "audit": audit,
        "sample": sample,
        "problem": seeds.compute_problem_seed(challenge, ALICE, 3),
        "block": seeds.compute_block_seed(challenge, ALICE, 3),
        "rollout": seeds.compute_rollout_seed(challenge, ALICE, 3, 5),
        "projection": seeds.compute_projection_seed(challenge),
        "positions": seeds.compute_positions_seed(audit, ALICE, 3, 5),
        "groups": seeds.compute_groups_seed(audit, ALICE),
        "rollouts": seeds.compute_rollouts_seed(audit, ALICE, 3),
        "samples": seeds.compute_samples_seed(sample, ALICE),
        "witness": seeds.compute_witness_seed(audit, BOB),
    }
    return {
        "given": {"window": WINDOW, "index": 3, "rollout": 5}
        | {k: v.hex() for k, v in given.items()},
        "seeds": {name: seed.hex() for name, seed in made.items()},
    }


def make_schedule() -> Json:
    published = {n: QUICKNET.genesis_ms + (n - 1) * QUICKNET.period_ms for n in (1, 1_000)}
    slot, delay = DEMO_TIMING.slot_ms, DEMO_TIMING.beacon_delay_ms
    last = published[1_000] - delay - slot  # first millisecond of the last slot that names it
    times = [
        0,
        published[1] - delay - 1,
        published[1],
        last - 1,
        last,
        last + slot - 1,
        last + slot,
    ]
    return {
        "timings": {name: to_json(t) for name, t in (("main", MAIN_TIMING), ("demo", DEMO_TIMING))},
        "chain": to_json(QUICKNET),
        "blocks": [
            {"timing": name, "window": window}
            | {phase.name.lower(): compute_block(timing, window, phase) for phase in Phase}
            for name, timing in (("main", MAIN_TIMING), ("demo", DEMO_TIMING))
            for window in (0, 1, 2, 1_000)
        ],
        "rounds": [
            {"timing": name, "timestamp_ms": at, "round": compute_round(timing, QUICKNET, at)}
            for name, timing in (("main", MAIN_TIMING), ("demo", DEMO_TIMING))
            for at in times
        ],
        "settled": [
            {
                "timing": "demo",
                "previous_epoch": a,
                "epoch": b,
                "windows": list(compute_settled_windows(DEMO_TIMING, a, b)),
            }
            for a, b in ((0, 24), (24, 48), (35, 36), (36, 59), (48, 48), (100, 124))
        ],
    }


def make_selection() -> Json:
    """Groups n, G rollouts a group, R audited rollouts, K valued groups, S sampled rollouts."""
    seed, sample_seed = digest("audit seed"), digest("sample seed")
    shapes = (
        (1, 8, 16, 12),
        (2, 4, 16, 12),  # n · G < R: all of them
        (1, 16, 16, 12),
        (3, 8, 16, 2),  # n < R: several of a group
        (12, 8, 16, 12),
        (16, 8, 16, 12),
        (17, 8, 16, 12),
        (1_024, 16, 16, 12),
        (1_024, 16, 1, 1),
    )
    sampled = (
        (1, 8, 8),
        (1, 4, 8),  # n · G < S: all of them
        (12, 8, 0),
        (17, 8, 8),
        (1_024, 16, 4),
        (1_024, 16, 1),
    )
    return {
        "audit_seed": seed.hex(),
        "sample_seed": sample_seed.hex(),
        "hotkey": ALICE.hex(),
        "groups": [_select(seed, *shape) for shape in shapes],
        "samples": [_sample(sample_seed, *shape) for shape in sampled],
        "rollouts": [
            *(
                _select_rollouts(seed, *case, share)
                for share in (0, 3_000)
                for case in _iterate_groups()
            ),
            # nearly as much work as a draw allows
            _select_rollouts(seed, AuditedGroup(3, 1, True), [2**21, 2**21 - 1], 2**22 - 1),
        ],
        "positions": [
            {
                "index": i,
                "rollout": r,
                "tokens": t,
                "positions": select_positions(seed, ALICE, i, r, t),
            }
            for i, r, t in ((0, 0, 1), (0, 1, 32), (2, 0, 33), (2, 7, 4_096))
        ],
    }


def _select(seed: bytes, groups: int, size: int, audited: int, valued: int) -> Json:
    work = replace(PARAMETERS.work, group_size=size, audited_rollouts=audited, valued_groups=valued)
    chosen = select_groups(seed, ALICE, groups, work)
    return {
        "groups": groups,
        "group_size": size,
        "audited_rollouts": audited,
        "valued_groups": valued,
        "audited": [[group.index, group.rollouts, group.valued] for group in chosen],
    }


def _sample(seed: bytes, groups: int, size: int, sampled: int) -> Json:
    work = replace(PARAMETERS.work, group_size=size, sampled_rollouts=sampled)
    return {
        "groups": groups,
        "group_size": size,
        "sampled_rollouts": sampled,
        "sampled": [list(place) for place in select_samples(seed, ALICE, groups, work)],
    }


def _iterate_groups() -> Iterable[tuple[AuditedGroup, list[int]]]:
    """Groups, and the tokens of their rollouts."""
    even, uneven = [48] * 8, [1, 4_096, 1, 30, 700, 1, 1, 2]
    yield AuditedGroup(0, 1, True), even
    yield AuditedGroup(0, 1, False), even
    for index in range(4):
        yield AuditedGroup(index, 1, True), uneven
        yield AuditedGroup(index, 1, False), uneven
    for valued in (True, False):
        yield AuditedGroup(5, 3, valued), uneven
        yield AuditedGroup(6, 8, valued), uneven
        yield AuditedGroup(7, 1, valued), [5]
    yield AuditedGroup(2**32 - 1, 2, True), [2**22, 2**22 - 1, 1]


def _select_rollouts(seed: bytes, group: AuditedGroup, lengths: list[int], share: int) -> Json:
    work = replace(PARAMETERS.work, position_share=share)
    return {
        "index": group.index,
        "count": group.rollouts,
        "valued": group.valued,
        "position_share": share,
        "lengths": lengths,
        "rollouts": list(select_rollouts(seed, ALICE, group, lengths, work)),
    }


def make_ss58() -> Json:
    keys = (ALICE, BOB, bytes(32), b"\xff" * 32)
    return {
        "valid": [{"key": key.hex(), "address": encode_ss58(key)} for key in keys],
        "bad": [{"reason": reason, "address": text} for reason, text in BAD_ADDRESSES.items()],
    }


FAMILIES = {
    "philox": make_philox,
    "stream": make_stream,
    "gumbel": make_gumbel,
    "hashing": make_hashing,
    "bit_fields": make_bit_fields,
    "prefix_code": make_prefix_codes,
    "seeds": make_seeds,
    "parameters": make_parameters,
    "submission": make_submission,
    "commitments": make_commitments,
    "manifest": make_manifest,
    "schedule": make_schedule,
    "amendments": make_amendments,
    "selection": make_selection,
    "context": make_context,
    "record": make_record,
    "ss58": make_ss58,
    "beacons": make_beacons,
    "draws": make_draws,
    "routers": make_routers,
    "sketch": make_sketch,
    "logprobs": make_logprobs,
    "sampling": make_sampling,
    "completions": make_completions,
    "worth": make_worth,
    "settlement": make_settlement,
    "arithmetic": make_arithmetic,
    "sat": make_sat,
    "gsm": make_gsm,
    "gsm_file": make_gsm_file,
    "episodes": make_episodes,
    "errands": make_errands,
    "mix": make_mix,
    "instructions": make_instructions,
    "letters": make_letters,
    "search": make_search,
    "text": make_text,
    "prompts": make_prompts,
    "tools": make_tools,
    "networks": make_networks,
    "math": make_math,
    "outputs": make_outputs,
    "trial": make_trials,
    "chat_template": make_chat_template,
    "families": make_families,
    "plain_types": make_plain_types,
    "folders": make_folders,
    "delta": make_deltas,
    "adapters": make_adapters,
    "differences": make_differences,
    "mirrors": make_mirrors,
    "pool": make_pool,
    "steps": make_steps,
    "levels": make_levels,
    "weights": make_weights,
    "rounds": make_rounds,
    "gate": make_gate,
}


def main(check: bool) -> int:
    stale = []
    for name, make in FAMILIES.items():
        path = HERE / f"{name}.json"
        text = write_json(make()) + "\n"
        if not path.exists() or path.read_bytes() != text.encode():
            stale.append(path.name)
            if not check:
                path.write_text(text)
    print(f"{'differ' if check else 'written'}: {', '.join(stale) or 'none'}")
    return 1 if check and stale else 0


def write_json(value: Json, indent: str = "") -> str:
    """JSON with one entry a line, unless the whole of it fits one line."""
    line = _HALF.sub(lambda half: f"\\u{ord(half[0]):04x}", json.dumps(value, ensure_ascii=False))
    if len(indent) + len(line) <= 100 or not isinstance(value, dict | list):
        return line
    deeper = indent + " "
    if isinstance(value, list):
        parts = [write_json(item, deeper) for item in value]
    else:
        parts = [f"{json.dumps(k)}: {write_json(v, deeper)}" for k, v in value.items()]
    first, last = "[]" if isinstance(value, list) else "{}"
    return f"{first}\n{deeper}" + f",\n{deeper}".join(parts) + f"\n{indent}{last}"


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
