"""Environments whose worlds reply, and what keeps their replies exact.

A score that differs between two machines costs a reward; a reply that differs makes an honest miner
a cheat. So a world uses integers, ASCII and fixed tables: no floats, none of Python's tables of
Unicode, no order of a set, no words of a library. Its *proof episodes* are turns of which the
replies enter the environment's digest. Every program plays them when it opens the environment.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence

from assay.environments.base import (
    DrawnEnvironment,
    Param,
    Problem,
    RewardParts,
    State,
    compute_digest,
)
from assay.protocol.hashing import DIGEST_BYTES, Domain, hash_fields

#: Turns that a reader takes for 0 or for no guess, depending on whether it trims, which blanks and
#: which digits it knows. The last digit is one from Unicode 15 on.
ODD_TURNS = (
    "",
    " \t\r\n",
    "0 \r\n",
    "0\x0b",
    "0\x00",
    "0\u00a0",
    "0\u200b",
    "1\x0b0",
    "1\u00850",
    "1\u20280",
    "1\u3000\t0",
    "00",
    "-0",
    "+0",
    "0.0",
    "0_0",
    "0 or 1",
    "\uff10",
    "\u0660",
    "\u00b2",
    "\U0001e4f0",
    "\ud800",
)


class WorldEnvironment(DrawnEnvironment):
    """An environment of which each problem has a world that replies.

    Raises:
        ValueError: as a `DrawnEnvironment`; or this machine's replies to the proof episodes are not
            those of this release.
    """

    #: Turns of the proof episodes beside `ODD_TURNS`.
    proof_turns: Sequence[str]

    def __init__(
        self,
        name: str,
        version: int,
        declared: Mapping[str, Param],
        params: Mapping[str, int],
        proof: str,
    ) -> None:
        """Args: `proof` is the digest of the proof episodes under these settings, in hex."""
        super().__init__(name, version, declared, params)
        found = compute_proof(self)
        if found.hex() != proof:
            raise ValueError(
                f"the world {name} replies otherwise on this machine than in this release: its "
                f"proof episodes give {found.hex()}, not {proof}. Neither mine nor judge with it: "
                "install assay again, with a Python that it supports"
            )
        self.digest = compute_digest(name, version, self.params, found)

    @abstractmethod
    def open(self, problem: Problem) -> State:
        """See `Environment.open`."""

    @abstractmethod
    def solve(self, problem: Problem) -> Sequence[str]:
        """Turns of a right episode, as few as who knows the answer needs."""

    def score(self, problem: Problem, completion: str) -> RewardParts:
        state, _ = self.open(problem).step(completion, is_ended=True)
        return state.score()


def compute_proof(environment: WorldEnvironment) -> bytes:
    """32 bytes that name a world's replies to its proof episodes. The environments' page has the
    rule."""
    turns = [*environment.proof_turns, *ODD_TURNS]
    problems = [
        environment.make_problem(
            number.to_bytes(DIGEST_BYTES, "big"),
            [environment.levels[number % len(environment.levels)]],
        )
        for number in range(len(turns))
    ]
    return digest_episodes(
        field
        for number, problem in enumerate(problems)
        for field in list_episode_fields(
            problem.prompt, environment.open(problem), turns[number:] + turns[:number]
        )
    )


def list_episode_fields(prompt: str, state: State, turns: Iterable[str]) -> Iterator[bytes]:
    """The fields of one proof episode: its prompt, each reply to the turns until there is none, and
    the score."""
    yield prompt.encode()
    for turn in turns:
        state, reply = state.step(turn, is_ended=True)
        if reply is None:
            break
        yield b"\x01" + reply.encode("utf-8", "surrogatepass")
    parts = state.score()
    yield bytes([0, parts.correctness > 0, parts.format > 0])


def digest_episodes(fields: Iterable[bytes]) -> bytes:
    """32 bytes that name the fields of proof episodes."""
    return hash_fields(Domain.ENVIRONMENT_PROOF, *fields)
