"""The calibration set of a checkpoint: token sequences of its own, never a miner's."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from assay.environments import Environment
from assay.inference.draft import Drafter, Request
from assay.protocol import Domain, hash_fields
from assay.verification import Tokenizer


@dataclass(frozen=True, slots=True)
class Passage:
    """One teacher-forced context: token ids of a prompt and of a completion."""

    prompt: tuple[int, ...]
    completion: tuple[int, ...]


def sample_passages(
    drafter: Drafter,
    tokenizer: Tokenizer,
    environment: Environment,
    levels: Sequence[int],
    problems: int,
) -> list[Passage]:
    """One sampled completion for each of `problems` problems; the same for everyone.

    The seeds are disjoint from every window's: their domain is another.
    """
    requests = []
    for number in range(problems):
        seed = hash_fields(
            Domain.CALIBRATION_PROBLEM, environment.digest, number.to_bytes(4, "big")
        )
        problem = environment.make_problem(seed, levels)
        requests.append(Request(tuple(tokenizer.encode(problem.prompt)), seed))
    completions = drafter.draft(requests)
    return [Passage(r.prompt, c) for r, c in zip(requests, completions, strict=True)]


def encode_passages(passages: Sequence[Passage]) -> bytes:
    """The file's bytes: JSON, a [prompt, completion] pair of id lists a line."""
    lines = (json.dumps([p.prompt, p.completion], separators=(",", ":")) for p in passages)
    return ("[" + ",\n".join(lines) + "]\n").encode()


def digest_passages(data: bytes) -> bytes:
    """Digest of the file that a manifest names, 32 bytes."""
    return hash_fields(Domain.CALIBRATION_SET, data)


def decode_passages(data: bytes) -> list[Passage]:
    """The calibration set from its file's bytes.

    Raises:
        ValueError: it is not a list of pairs of lists of ids.
    """
    try:
        pairs = json.loads(data)
        return [Passage(tuple(map(int, p)), tuple(map(int, c))) for p, c in pairs]
    except (ValueError, TypeError) as error:
        raise ValueError(f"not a calibration set: {error}") from None
