"""Episodes in the worlds of a package with turns.

Each turn is a request of its own, of which the package plays all turns so far from the start, in a
fresh copy of the interpreter. So nothing crosses from turn to turn that would have to be trusted, a
lost child costs nothing, and the reply follows from the problem and the turns alone. The price
grows with the square of the turns, and an episode pays it: all its requests together have the
instructions that one score of another package has.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from assay.environments.base import ANSWER_BYTES, UNREAD, RewardParts, State, rate_answer
from assay.environments.foreign.guest_archive import GuestArchive, measure_text
from assay.environments.worlds.world import ODD_TURNS, digest_episodes, list_episode_fields
from assay.protocol.parameters import MILLION

#: Proof episodes of a package, played whenever it is opened.
PROOFS = 4


@dataclass(frozen=True, slots=True)
class PackageEpisode:
    """The `State` of an episode.

    Attributes:
        most: turns.
        left: instructions.
        error: why the package has not answered the last turn, after which the episode is over.
    """

    archive: GuestArchive
    level: int
    number: int
    most: int
    left: int
    turns: tuple[str, ...] = ()
    is_right: bool = False
    error: str | None = None
    is_costly: bool = False

    def step(self, turn: str, is_ended: bool) -> tuple["PackageEpisode", str | None]:
        """See `State.step`. A turn that was cut is read like another.

        Raises:
            WorkerError: no sandbox can run. This is not the turn's fault.
        """
        del is_ended
        after = replace(self, turns=(*self.turns, turn), is_right=False)
        if self.error is not None or measure_text(turn) > ANSWER_BYTES:
            error = self.error or f"a turn has at most {ANSWER_BYTES} bytes"
            return replace(after, error=error), None
        reply = self.archive.ask("play", self.level, self.number, after.turns, within=self.left)
        after = replace(
            after,
            left=self.left - reply["instructions"],
            is_right=reply.get("right") is True,
            error=reply.get("error"),
            is_costly=reply["costly"],
        )
        return after, reply.get("reply") if len(after.turns) < self.most else None

    def score(self) -> RewardParts:
        """See `State.score`. A package does not say whether it could read what is not right."""
        return rate_answer(1) if self.is_right else UNREAD


def find_error(state: State) -> str | None:
    """Why the sandbox ended an episode at its last turn: what a package's code did not do well.
    None: it did not, or the world is Assay's own."""
    return state.error if isinstance(state, PackageEpisode) else None


def prove_worlds(archive: GuestArchive, levels: Sequence[int], turns: int, millions: int) -> bytes:
    """The digest of a package's proof episodes: of problem i at level i modulo their count, the
    package's own right turns, or for odd i some of `ODD_TURNS`."""
    return digest_episodes(
        field
        for number in range(PROOFS)
        for field in _prove(archive, levels[number % len(levels)], number, turns, millions)
    )


def _prove(
    archive: GuestArchive, level: int, number: int, turns: int, millions: int
) -> Iterator[bytes]:
    prompt = archive.ask("make", level, number).get("prompt", "")
    right = archive.ask("right turns", level, number).get("turns", [])
    state = PackageEpisode(archive, level, number, turns, millions * MILLION)
    return list_episode_fields(prompt, state, ODD_TURNS[number:] if number % 2 else right)
