"""How fast a machine was measured to be with one model, and what a window costs by that.

Light: the arithmetic alone. `assay.subnet.machine_timing` measures.

A reading takes so much for each call, each token, each token that a token sees, and each token that
is drawn. Prompts are read, but nothing is drawn of them. A step of a draft takes so much by itself
and for each row. A lesson is taken for as many readings as it has
passes.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

from assay.settings.sections import TrainerSettings
from assay.subnet.model_numbers import ModelNumbers
from assay.subnet.recipe import Lengths
from assay.subnet.window_costs import AGAIN, BACK, DRAFTED

#: Completions are taken to be evenly spread around their mean, by at most this share of it.
SPREAD = 0.5


@dataclass(frozen=True, slots=True)
class ReadingSpeed:
    """Seconds of the reference.

    Attributes:
        call: of a call, however little it reads.
        token: of a token's products, in all layers.
        seen: of a token's attention, for each token that it sees in a layer.
        drawn: of a completion's token: logits, keyed draw and statistics.
    """

    call: float
    token: float
    seen: float
    drawn: float


@dataclass(frozen=True, slots=True)
class DraftingSpeed:
    """Seconds of the drafter.

    Attributes:
        step: of a step, however few rows it has.
        row: of each row, at the course's context.
    """

    step: float
    row: float


@dataclass(frozen=True, slots=True)
class FileSpeed:
    """Seconds of one process with a miner's file, without the model.

    Attributes:
        write: of each group that the miner writes: its problem, prompt and part of the file.
        file: of a file that a validator judges, however little is read of it.
        group: of each group that it reads: bytes, hashes, decoding, tests and scoring.
    """

    write: float
    file: float
    group: float


@dataclass(frozen=True, slots=True)
class MachineSpeed:
    """Measured seconds with one model: of a processor, all threads together; on a GPU of the clock.

    Attributes:
        kind: as a card's name in plans: `cpu`, or the GPU's own.
        device: for people. threads: of PyTorch; 1 on a GPU.
        memory: bytes that are there. files: always of a processor.
        hashed, stored: bytes a second of SHA-256 and of a file that is written through to the disk;
            `stored` is None where no file could be written.
        took, took_wall: the measurement's processor seconds, and those of the clock.
    """

    kind: str
    device: str
    threads: int
    memory: int
    reading: ReadingSpeed
    drafting: DraftingSpeed
    files: FileSpeed
    hashed: float
    stored: float | None
    took: float
    took_wall: float

    def to_json(self) -> dict[str, Any]:
        """What was measured, for scripts."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class MeasuredPace:
    """See `assay.subnet.window_costs.Pace`: by what was measured of the recipe's model. Seconds are
    those of the clock on an otherwise idle machine, whose threads are all busy.

    Attributes:
        most: tokens of a completion.
        disk: bytes a second where none could be measured.
    """

    model: ModelNumbers
    speed: MachineSpeed
    most: int
    disk: float

    def read(self, lengths: Lengths, tokens: float, own: float, calls: float) -> float:
        speed = self.speed.reading
        seen = speed.seen * self.model.count_seen(lengths.context)
        seconds = calls * speed.call + tokens * (speed.token + seen) + own * speed.drawn
        return seconds / self.speed.threads

    def draft(self, lengths: Lengths, completions: float, rows: int, prompts: float) -> float:
        speed, mean = self.speed.drafting, lengths.completion
        spread = max(0.0, min(SPREAD, self.most / mean - 1))
        batches = ceil(completions / min(rows, DRAFTED))
        steps = batches * (1 + spread) * mean
        # half of the rows leave when half have ended, and so on: a third of the spread waits
        drawn = completions * (1 + spread / 3) * mean
        # prompts once for a group, replies for each rollout
        told = prompts * lengths.prompt + completions * lengths.replies
        seconds = steps * speed.step + drawn * speed.row + told * self.speed.reading.token
        return seconds / self.speed.threads

    def learn(
        self, lengths: Lengths, tokens: float, own: float, settings: TrainerSettings
    ) -> float:
        passes = 1 + BACK + AGAIN * settings.recompute
        return passes * self.read(lengths, tokens, own, 0)

    def write(self, groups: float) -> float:
        return groups * self.speed.files.write

    def examine(self, files: float, groups: float) -> float:
        return files * self.speed.files.file + groups * self.speed.files.group

    def keep(self, kept: float) -> float:
        return kept / self.speed.hashed + kept / (self.speed.stored or self.disk)


@dataclass(frozen=True, slots=True)
class Line:
    """Seconds that grow with an amount."""

    fixed: float
    each: float

    @classmethod
    def through(cls, few: tuple[float, float], many: tuple[float, float]) -> "Line":
        """The line through two measurements, each an amount and its seconds. Neither part is
        negative, whatever noise there was: then the larger amount's seconds are kept."""
        (less, short), (more, long) = few, (many[0], max(0.0, many[1]))
        each = min(max(0.0, (long - short) / (more - less)), long / more)
        return cls(long - each * more, each)


def extrapolate(
    counts: Mapping[str, int], last: str, alone: float, beside: Mapping[str, tuple[int, float]]
) -> tuple[float, float]:
    """Seconds of all layers and of what is behind them, from models of few layers.

    Args:
        counts: layers of each kind in the whole model. last: the last one's kind.
        alone: seconds of a model with that one only.
        beside: kind → layers of it that a model has before that one, and the model's seconds.
    """
    layers = {kind: max(0.0, seconds - alone) / n for kind, (n, seconds) in beside.items()}
    whole = sum(count * layers[kind] for kind, count in counts.items())
    return whole, max(0.0, alone - layers[last])
