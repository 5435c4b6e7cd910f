"""The time to verify a drand beacon, compared with another library's pairing; and a command's
start."""

import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from itertools import count
from pathlib import Path

import py_arkworks_bls12381 as arkworks
from figures import Figure, measure, report

from assay.protocol import QUICKNET, Beacon, is_valid_beacon

#: quicknet's round 1000 as the League of Entropy published it.
ROUND_1000 = Beacon(
    1000,
    bytes.fromhex(
        "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125"
        "e342b73a8dd2bacbe47e4b6b63ed5e39"
    ),
)


def _verify_with_arkworks() -> bool:
    message = sha256(ROUND_1000.round.to_bytes(8, "big")).digest()
    point = arkworks.G1Point.hash_to_curve(message, QUICKNET.scheme.domain)
    signature = arkworks.G1Point.from_compressed_bytes(ROUND_1000.signature)
    key = arkworks.G2Point.from_compressed_bytes(QUICKNET.public_key)
    return arkworks.GT.pairing(signature, arkworks.G2Point()) == arkworks.GT.pairing(point, key)


def main() -> None:
    assert is_valid_beacon(QUICKNET, ROUND_1000)
    assert _verify_with_arkworks()
    assay = str(Path(sys.executable).with_name("assay"))
    rounds = count(1_001)  # what was checked lately is known; a wrong round costs as much
    ours = measure(lambda: is_valid_beacon(QUICKNET, replace(ROUND_1000, round=next(rounds))), 101)
    theirs = measure(_verify_with_arkworks, 51)
    helped = measure(lambda: subprocess.run([assay, "--help"], check=True, capture_output=True), 9)
    bare = measure(lambda: subprocess.run([sys.executable, "-c", "import typer"], check=True), 9)
    report(
        "beacon verification and start of the command",
        [
            Figure("verify a quicknet beacon", ours * 1e3, "ms", "arkworks", theirs * 1e3, bound=2),
            Figure("assay --help", helped, "s", "python -c 'import typer'", bare, bound=0.5),
        ],
        1,
    )


if __name__ == "__main__":
    main()
