"""The calibration set of a checkpoint: token sequences of its own, never a miner's."""

import json
from collections.abc import Sequence
from pathlib import Path

from assay.environments import Environment
from assay.inference import Checkpoint, CheckpointError, Passage, Request
from assay.inference.checkpoint import read_small_file
from assay.protocol import Domain, hash_fields

PASSAGES_FILE = "calibration_set.json"


def sample_passages(
    checkpoint: Checkpoint, environment: Environment, temperature: int, problems: int
) -> list[Passage]:
    """One sampled completion for each of `problems` problems; the same for everyone.

    The seeds are disjoint from every window's: their domain is another.
    """
    requests = []
    for number in range(problems):
        seed = hash_fields(Domain.CALIBRATION_SET, environment.digest, number.to_bytes(4, "big"))
        problem = environment.make_problem(seed, checkpoint.manifest.levels)
        requests.append(Request(tuple(checkpoint.tokenizer.encode(problem.prompt)), seed))
    completions = checkpoint.get_drafter(temperature).draft(requests)
    return [Passage(r.prompt, c) for r, c in zip(requests, completions, strict=True)]


def encode_passages(passages: Sequence[Passage]) -> bytes:
    """The file's bytes: JSON, a [prompt, completion] pair of id lists a line."""
    lines = (json.dumps([p.prompt, p.completion], separators=(",", ":")) for p in passages)
    return ("[" + ",\n".join(lines) + "]\n").encode()


def digest_passages(data: bytes) -> bytes:
    """Digest of the file that a manifest names, 32 bytes."""
    return hash_fields(Domain.CALIBRATION_SET, data)


def read_passages(folder: Path) -> list[Passage]:
    """The calibration set of a model folder.

    Raises:
        CheckpointError: it is missing or not a list of pairs of ids.
    """
    try:
        pairs = json.loads(read_small_file(folder, PASSAGES_FILE))
        return [Passage(tuple(map(int, p)), tuple(map(int, c))) for p, c in pairs]
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{folder / PASSAGES_FILE} is not a calibration set: {error}") from None
