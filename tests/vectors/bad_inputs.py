"""Bad vectors, typed in by hand: each has one defect, and says which. No code of ours is used."""

from typing import Any

Json = Any

ALICE = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"

BAD_ADDRESSES = {
    "empty": "",
    "one character wrong": "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQZ",
    "two characters swapped": "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKuQtY",
    "address type 0": "15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5",
    "address type 2": "HNZata7iMYWmk5RvZRTiAsSDhV8366zq2YGb3tLH5Upf74F",
    "one character short": ALICE[:-1],
    "one character long": ALICE + "Y",
    "a space at its end": ALICE[:-1] + " ",
    "the letter l, which base58 lacks": "5Grwva" + "l" + ALICE[7:],
    "the digit zero, which base58 lacks": "50" + ALICE[2:],
    "a letter outside ASCII": "5Ġ" + ALICE[2:],
    "too large a number": "z" * 48,
    "hex": "0xd43593c715fdd31c61141abd04a99fd6822c8558854ccd",
}

_TENSOR = '{"a":{"dtype":"F32","shape":%s,"data_offsets":%s}}'
#: Headers of safetensors files with sixteen bytes of data.
BAD_SAFETENSORS = {
    "no JSON": "{",
    "not an object": "[1]",
    "a tensor that is no object": '{"a":1}',
    "no data_offsets": '{"a":{"dtype":"F32","shape":[1]}}',
    "no dtype": '{"a":{"shape":[1],"data_offsets":[0,16]}}',
    "dtype a number": '{"a":{"dtype":1,"shape":[1],"data_offsets":[0,16]}}',
    "three offsets": _TENSOR % ("[1]", "[0,8,16]"),
    "end before start": _TENSOR % ("[1]", "[16,0]"),
    "start below zero": _TENSOR % ("[1]", "[-1,16]"),
    "end beyond the file": _TENSOR % ("[1]", "[0,17]"),
    "offsets as floats": _TENSOR % ("[1]", "[0.0,16.0]"),
    "offsets as booleans": _TENSOR % ("[1]", "[false,true]"),
    "shape a string": _TENSOR % ('"12"', "[0,16]"),
    "side a string": _TENSOR % ('["1"]', "[0,16]"),
    "side a fraction": _TENSOR % ("[1.5]", "[0,16]"),
    "side infinite": _TENSOR % ("[Infinity]", "[0,16]"),
    "side below zero": _TENSOR % ("[-1]", "[0,16]"),
    "side of 2^64": _TENSOR % ("[18446744073709551616]", "[0,16]"),
    "name a lone surrogate": (_TENSOR % ("[1]", "[0,16]")).replace('"a"', '"\\ud800"'),
    "a name twice": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]},'
    '"a":{"dtype":"F32","shape":[1],"data_offsets":[8,16]}}',
    "no tensor": "{}",
    "bytes after the last tensor": _TENSOR % ("[3]", "[0,12]"),
    "bytes before the first tensor": _TENSOR % ("[3]", "[4,16]"),
    "two tensors over the same bytes": '{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]},'
    '"b":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}',
    "bytes between two tensors": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
    '"b":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}',
}


def iterate_bad_manifests() -> list[Json]:
    """Edits of the good manifest, or of the calibration it names, that make it unusable.

    The first fault is named. The manifest names each changed calibration again, with one exception.
    """
    rates = [10**13 >> k for k in range(8)]
    steep = [*rates[:7], rates[7] + 1]
    bad: list[tuple[str, str, str, Json]] = [
        ("another version", "the manifest's version is 1", "version", 1),
        ("a calibration it does not name", "the calibration is not", "calibration", "00" * 32),
        ("a rate too few", "has 7 rates, not 8", "rates", rates[:7]),
        ("a rate beyond its limit", "a calibrated rate exceeds", "rates", steep),
        ("a scale below its limit", "scale 65535 is outside", "scale", 65_535),
        ("a scale beyond its limit", "scale 4194305 is outside", "scale", 4_194_305),
        ("a centre far out", "the centre lies farther out", "centre", [262_144, -1, 0]),
        ("no token allowed", "max_tokens 0 is outside", "max_tokens", 0),
        ("more tokens than the parameters'", "max_tokens 49 is outside", "max_tokens", 49),
        ("no end token", "no end token or no level", "end_tokens", []),
        ("no level", "no end token or no level", "levels", []),
        ("a course without a step", "a course, and has no step", "step", "00" * 32),
        ("no course beside a gate", "it carries no course", "course", _measure(0, [])),
        ("counts of other problems", "of 255 problems, not 256", "course", _measure(2, [(255, 9)])),
        ("a milestone of nothing", "claims a milestone", "course", _measure(2, [], "milestone")),
        ("a file above the folder", "is no name", "files", [_name_file("../pool")]),
        ("a file in upper case", "is no name", "files", [_name_file("Pool")]),
        ("a file without a name", "is no name", "files", [_name_file("")]),
        ("a hidden file", "is no name", "files", [_name_file(".pool")]),
        ("a file twice", "ascending order of their", "files", [_name_file("pool")] * 2),
        ("files in another order", "ascending order of their", "files", [*map(_name_file, "ba")]),
        ("files that are large", "have more than", "files", [_name_file("a", 1), _name_file("b")]),
    ]
    return [
        {"reason": reason, "because": because, "field": name, "value": value}
        for reason, because, name, value in bad
    ]


def _measure(attempt: int, counts: list[tuple[int, int]], outcome: str = "goes on") -> Json:
    """A course whose checkpoints were asked so many problems, of which so many differ."""
    rows = [
        {
            "checkpoint": f"{number:064x}",
            "answers": "22" * 32,
            "asked": asked,
            "wins": won,
            "losses": 0,
            "first_wins": 0,
            "first_losses": 0,
        }
        for number, (asked, won) in enumerate(counts)
    ]
    milestone = "11" * 32
    return {"milestone": milestone, "attempt": attempt, "counts": rows, "outcome": outcome}


def _name_file(name: str, size: int = 1 << 26) -> Json:
    return {"name": name, "sha256": "5f" * 32, "size": size}


def iterate_bad_commitments(payload: bytes) -> list[Json]:
    """Payloads that are no commitments; `payload` is a good one."""
    bad = {
        "empty": b"",
        "one byte short of a digest": payload[:47],
        "unknown tag": b"ASM2" + payload[4:],
        "tag in lower case": b"asm1" + payload[4:],
        "locator of 81 bytes": payload[:48] + b"x" * 81,
        "locator that is not UTF-8": payload[:48] + b"\xff",
        "locator cut inside a character": payload[:48] + "é".encode()[:1],
        "locator of a lone surrogate": payload[:48] + b"\xed\xa0\x80",
    }
    return [{"reason": reason, "payload": data.hex()} for reason, data in bad.items()]


def iterate_bad_contexts(valid: Json) -> list[Json]:
    """Edits of a valid context. `remove` takes the field away; `because` is part of the refusal.

    A defect of a fact that the context repeats is edited at both places.
    """
    unreadable = [
        ("a field missing", ["window"], None, "no field 'window'"),
        ("an unknown field", ["colour"], 1, "unknown field 'colour'"),
        ("an unknown field of a member", ["members", ALICE, "colour"], 1, "'colour'"),
        ("another version", ["version"], 1, "version"),
        ("a version that is a boolean", ["version"], True, "version"),
        ("a version that is a float", ["version"], 2.0, "version"),
        ("a window below zero", ["window"], -1, "window -1"),
        ("a window that is a boolean", ["window"], True, "window True"),
        ("a window that is a float", ["window"], 1000.0, "window 1000.0"),
        ("a window that is a string", ["window"], "1000", "window '1000'"),
        ("a window of 2^63", ["window"], 2**63, "window 9223372036854775808"),
        ("a netuid that contradicts the parameters", ["netuid"], 8, "netuid"),
        ("a netuid that is a float", ["netuid"], 7.0, "netuid"),
        ("another genesis hash", ["genesis_hash"], "00" * 32, "genesis_hash"),
        ("upper-case hex", ["block_hash"], valid["block_hash"].upper(), "lower-case hex"),
        ("a block hash of 31 bytes", ["block_hash"], "00" * 31, "block_hash has 31 bytes"),
        ("a checkpoint of 33 bytes", ["checkpoint"], "00" * 33, "checkpoint has 33 bytes"),
        ("a timestamp below zero", ["block_timestamp"], -1, "-1 is not a timestamp"),
        ("a timestamp that is a float", ["block_timestamp"], 1e12, "is not a timestamp"),
        ("a timestamp that is a boolean", ["audit_block_timestamp"], False, "False is not"),
        (
            "an audit without its timestamp",
            ["audit_block_timestamp"],
            None,
            "audit_block_timestamp",
        ),
        ("a timestamp without its audit", ["audit"], None, "audit_block_timestamp"),
        (
            "samples without their timestamp",
            ["sample_block_timestamp"],
            None,
            "sample_block_timestamp",
        ),
        ("a timestamp without its samples", ["sample"], None, "sample_block_timestamp"),
        ("another beacon chain's samples", ["sample", "chain_hash"], "00" * 32, "chain_hash"),
        ("a mistyped hotkey", ["members", ALICE[:-1] + "Z"], {}, "wrong checksum"),
        ("a uid of 2^16", ["members", ALICE, "uid"], 65_536, "uid"),
        ("a uid that is a boolean", ["members", ALICE, "uid"], True, "uid"),
        ("members in a list", ["members"], [], "is not an object"),
        ("no challenge", ["challenge"], None, "challenge"),
        ("a round that is a string", ["challenge", "round"], "1000", "round"),
        ("another beacon chain", ["challenge", "chain_hash"], "00" * 32, "chain_hash"),
        ("randomness beside the signature", ["challenge", "randomness"], "00" * 32, "randomness"),
        ("an empty previous signature", ["challenge", "previous_signature"], "", "challenge"),
        ("a parameter missing", ["parameters", "work", "temperature"], None, "temperature"),
        ("a parameter that is a boolean", ["parameters", "timing", "tempo"], True, "tempo"),
        ("a parameter that is a float", ["parameters", "timing", "tempo"], 24.0, "tempo"),
        ("a parameter of 2^64", ["parameters", "timing", "tempo"], 2**64, "tempo"),
        ("an unknown beacon scheme", ["parameters", "beacon", "scheme"], "bls", "scheme"),
        ("too many levels", ["parameters", "tests", "margin_levels"], [0] * 17, "margin_levels"),
        ("another environment's name", ["environment", "name"], "sat", "environment"),
        ("another environment's setting", ["environment", "params", "minus"], 26, "environment"),
        ("a setting that is a boolean", ["environment", "params", "words"], False, "environment"),
        ("another beacon's period", ["beacons", "beacon", "period_ms"], 1, "beacons"),
        ("a second beacon chain", ["beacons", "other"], {}, "beacons"),
        ("a root of 31 bytes", ["commitments", ALICE, "root"], "00" * 31, "root"),
        ("groups below zero", ["commitments", ALICE, "groups"], -1, "groups"),
        ("a locator of 81 bytes", ["commitments", ALICE, "locator"], "x" * 81, "locator"),
        ("a locator that is a number", ["commitments", ALICE, "locator"], 1, "locator"),
    ]
    signed = valid["challenge"]["signature"]
    forged = signed[:-1] + format(int(signed[-1], 16) ^ 1, "x")
    generator = (  # in G2: a point of the right group, and nobody's key
        "93e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049"
        "334cf11213945d57e5ac7d055d042b7e024aa2b2f08f0a91260805272dc51051"
        "c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8"
    )
    other = valid["sample"]
    late = valid["block_timestamp"] + 3_000
    refused = "signature of round 1000 is not"
    tests, timing, work = (["parameters", section] for section in ("tests", "timing", "work"))
    steering = ["parameters", "steering"]
    settings = valid["parameters"]["environment"]["settings"]
    untrue = [
        ("a beacon of another round", ["challenge"], other, "is round 1002, but"),
        ("an audit beacon of another round", ["audit"], other, "is round 1002, but"),
        ("the challenge's beacon again", ["audit"], valid["challenge"], "is round 1000, but"),
        ("the audit's beacon for the samples", ["sample"], valid["audit"], "is round 1001, but"),
        ("a block that names another round", ["block_timestamp"], late, "names round 1001"),
        (
            "a sample block that names another round",
            ["sample_block_timestamp"],
            valid["audit_block_timestamp"],
            "names round 1001",
        ),
        ("another round's signature", ["challenge", "signature"], other["signature"], refused),
        ("a forged signature", ["challenge", "signature"], forged, refused),
        (
            "another round's signature of the samples",
            ["sample", "signature"],
            valid["audit"]["signature"],
            "sample beacon's signature of round 1002 is not",
        ),
        ("a signature of 49 bytes", ["challenge", "signature"], signed + "00", "has 49 bytes"),
        ("a signature of no bytes", ["challenge", "signature"], "", "has 0 bytes"),
        ("the point at infinity", ["challenge", "signature"], "c0" + "00" * 47, refused),
        ("a late commitment", ["commitments", ALICE, "block"], 12_014, "commitment block 12013"),
        ("a slot of no length", [*timing, "slot_ms"], 0, "slot_ms is 0"),
        ("a window of no blocks", [*timing, "window_blocks"], 0, "window_blocks is 0"),
        (
            "audit before commitment",
            [*timing, "audit_offset"],
            12,
            "moments of a window are not ascending",
        ),
        (
            "samples with the audit",
            [*timing, "sample_offset"],
            17,
            "moments of a window are not ascending",
        ),
        (
            "samples at the end",
            [*timing, "sample_offset"],
            25,
            "moments of a window are not ascending",
        ),
        (
            "no time for mirrors",
            [*timing, "mirror_end"],
            25,
            "moments of a window are not ascending",
        ),
        (
            "a group beyond any memory",
            [*work, "max_tokens"],
            (1 << 19) + 1,
            "max_tokens exceeds 2^22",
        ),
        (
            "a cap beyond any memory",
            [*work, "group_cap"],
            (1 << 14) + 1,
            "group_cap exceeds 16,384",
        ),
        ("no least scale", [*tests, "scale_min"], 0, "scale_min is 0"),
        ("two hotkeys on one uid", ["members", ALICE, "uid"], 4, "two hotkeys hold one uid"),
        (
            "a member of tomorrow",
            ["members", ALICE, "registered_at"],
            12_001,
            "registered after the window's first block",
        ),
        (
            "a window fetched while the next is audited",
            [*timing, "mirror_end"],
            30,
            "mirror_end is after the next audit",
        ),
        ("nothing valued", [*work, "valued_groups"], 0, "a size under [work] is 0"),
        ("more valued than audited", [*work, "audited_rollouts"], 11, "valued_groups exceeds"),
        ("prompts above the whole", [*work, "prompt_share"], 1_000_001, "prompt_share"),
        ("work too large for a draw", [*work, "position_share"], 2**63, "position_share"),
        ("no temperature", [*work, "temperature"], 0, "temperature is 0"),
        ("no level of margins", [*tests, "margin_levels"], [], "margin_levels is empty"),
        ("a level too many", [*tests, "margin_levels"], [0] * 9, "differ in length"),
        ("an alpha of infinity", [*tests, "alpha_inverse"], 0, "alpha_inverse is 0"),
        ("no floor of rates", [*tests, "rate_floor"], 0, "rate_floor is 0"),
        (
            "everything staked",
            [*tests, "mean_stakes"],
            [1_000_000],
            "stakes are missing, or one is 1,000,000 or more",
        ),
        (
            "rewards above the whole",
            ["parameters", "rewards", "quality_weight"],
            200_001,
            "the weights add up to more",
        ),
        (
            "parts that never earn",
            ["parameters", "rewards", "satisfaction_floor"],
            1_000_000,
            "satisfaction_floor is 1,000,000 or more",
        ),
        (
            "a ramp of no tokens",
            ["parameters", "rewards", "overlong_penalty"],
            1,
            "one of overlong_tokens and overlong_penalty is 0",
        ),
        (
            "a right answer that loses too much by its length",
            ["parameters", "rewards", "length_penalty"],
            750_000,
            "a wrong answer could earn as much as a right one",
        ),
        *(
            (f"{name} of {value}", [*steering, name], value, "steering: bounds")
            for name, value in (
                ("success_low", 951),
                ("success_high", 1_001),
                ("weight_min", 0),
                ("weight_min", 1_001),
                ("weight_max", 999),
                ("weight_max", 64_001),
                ("weight_step", 1_001),
            )
        ),
        (
            "settings out of order",
            ["parameters", "environment", "settings"],
            settings[::-1],
            "settings are not in order",
        ),
        (
            "a burn above the whole",
            ["parameters", "identity", "burn_share"],
            1_000_001,
            "burn_share",
        ),
        ("another protocol", ["parameters", "identity", "version"], 1, "version is not this"),
    ]
    several: list[tuple[str, str, Json]] = [
        (
            "another key",
            refused,
            [[[where, "beacon", "public_key"], generator] for where in ("parameters", "beacons")],
        ),
        (
            "scoring that nobody has time for",
            "scoring takes up to",
            [
                [["parameters", "environment", "settings"], [{"name": "units", "value": 10**9}]],
                [["environment", "params"], {"units": 10**9}],
            ],
        ),
        (
            "a beacon of no period",
            "period_ms is 0",
            [[[where, "beacon", "period_ms"], 0] for where in ("parameters", "beacons")],
        ),
        (
            "samples before the audit",
            "the samples' beacon is there, and the audit's",
            [[[name], None] for name in ("audit", "audit_block_timestamp")],
        ),
    ]
    removed = {"a field missing", "a parameter missing"}
    return [
        {"reason": reason, "fails": stage, "because": because}
        | ({"remove": path} if reason in removed else {"edits": [[path, value]]})
        for stage, table in (("reading", unreadable), ("checking", untrue))
        for reason, path, value, because in table
    ] + [
        {"reason": reason, "fails": "checking", "because": because, "edits": edits}
        for reason, because, edits in several
    ]
