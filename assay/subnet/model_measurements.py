"""What a network asks of a model before it begins: probes, a calibration set, margins, a centre.

Each result is kept (`measurements`) and not measured again, in parts where it takes long: a command
that is stopped goes on with the next part. A model whose results are all known is not even loaded.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib.metadata import version
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from assay.artifacts.checkpoints.folder import measure_states
from assay.environments.base import Environment
from assay.gate.tokenizer import FolderTokenizer
from assay.inference.calibration import MarginCurve, measure_margins
from assay.inference.draft import OwnDrafter, Rules
from assay.inference.folder import (
    CheckpointError,
    digest_structure,
    digest_tensors,
    digest_tokenizer,
    digest_weights,
    read_config,
)
from assay.inference.implementations import (
    APPEAL_IMPLEMENTATION,
    DEFAULT_IMPLEMENTATION,
    find_pair,
    make_model,
)
from assay.inference.measurable import require_measurable
from assay.inference.model_loading import load_model
from assay.inference.passage_sampling import Asked, sample_passages
from assay.inference.passages import Passage, decode_passages, encode_passages
from assay.inference.placing.devices import CPU
from assay.inference.plain_config import is_plain
from assay.inference.plain_probes import ADOPT_TOKENS, LONGEST
from assay.inference.probes import Probe
from assay.inference.reference import Reference
from assay.protocol.encoding import EncodingError, Json
from assay.protocol.parameters import Work
from assay.subnet.measurements import Measurements
from assay.subnet.waiting import Report, ignore_report, telling
from assay.training.last_bits import describe_engine, describe_processor

#: Completions that are sampled, or compared, before the result is kept.
_PART = 64
_LIBRARIES = ("assay", "torch", "transformers", "tokenizers", "numpy")


@dataclass(frozen=True, slots=True)
class Sampled:
    """A calibration set. `seconds`: on the wall, for drawing it."""

    passages: Sequence[Passage]
    seconds: float


@dataclass(frozen=True, slots=True)
class Compared:
    """The margins of a pair. `seconds`: on the wall, for both to read all tokens."""

    curve: MarginCurve
    seconds: float


class ModelMeasurements:
    """Measures the model of a folder on this machine, or recalls what it has measured.

    Args:
        folder: as `assay adopt` writes it.
        device: torch's name of the model's.
        report: called with what takes long.

    Raises:
        CheckpointError: the folder's files cannot be read.
    """

    def __init__(
        self,
        folder: Path,
        kept: Measurements,
        device: str = CPU,
        router_ramp: int = 0,
        report: Report = ignore_report,
    ) -> None:
        self._folder, self._kept = folder, kept
        self._device, self._ramp, self._report = device, router_ramp, report
        #: no family describes the model
        self.is_plain = is_plain(read_config(folder))
        self._known: dict[str, Json] = {
            "tensors": digest_weights(folder, digest_tensors(folder)).hex(),
            "structure": digest_structure(folder).hex(),
            "router_ramp": router_ramp,
            "libraries": {name: version(name) for name in _LIBRARIES},
            "engine": describe_engine(torch.device(device)),
            "processor": describe_processor(),
            "threads": torch.get_num_threads(),
        }

    @cached_property
    def model(self) -> PreTrainedModel:
        """The model in fp32. Raises a CheckpointError: see `load_model`."""
        with telling(self._report, "loading the model"):
            return load_model(self._folder, self._device, router_ramp=self._ramp)

    def find_pair(self) -> tuple[str, str]:
        """The two implementations that measure its rates."""
        if self.is_plain:
            return find_pair(self.model)
        return DEFAULT_IMPLEMENTATION, APPEAL_IMPLEMENTATION

    def require_measurable(self, tokens: int = ADOPT_TOKENS, longest: int = LONGEST) -> list[Probe]:
        """See `assay.inference.measurable`. A model that fails is tried again each time."""
        of = self._known | ({"tokens": tokens, "longest": longest} if self.is_plain else {})
        found: Any = self._kept.recall("probes", of)
        if found is not None:
            return [Probe(*one) for one in found]
        model = self.model
        packs = "" if self.is_plain else " in packs"
        with telling(self._report, f"trying whether it can be measured{packs}"):
            probes = require_measurable(model, tokens, longest)
        told: Json = [[one.name, one.about, one.difference, one.allowed] for one in probes]
        self._kept.keep("probes", of, told)
        return probes

    def sample(
        self,
        tokenizer: FolderTokenizer,
        environment: Environment,
        asked: Sequence[Asked],
        work: Work,
        rules: Rules,
    ) -> Sampled:
        """The calibration set: one sampled rollout of each problem.

        Args:
            work: see `sample_episodes`.
        """
        passages: list[Passage] = []
        seconds, doing = 0.0, f"completions of at most {rules.max_tokens} tokens"
        if work.turns > 1:
            doing += f" in {work.turns} turns"
        of: dict[str, Json] = self._known | {
            "tokenizer": digest_tokenizer(self._folder).hex(),
            "environment": environment.digest.hex(),
            "ends": list(rules.end_tokens),
            "temperature": rules.temperature,
            "max_tokens": rules.max_tokens,
            "work": [work.turns, work.context, work.reply_bytes],
        }

        def draw(part: Sequence[Asked]) -> dict[str, Json]:
            drafter = OwnDrafter(self.model, tokenizer.drawable, rules)
            begun = time.monotonic()
            found = sample_passages(drafter, tokenizer, environment, part, work)
            text = encode_passages(found).decode()
            return {"passages": text, "seconds": time.monotonic() - begun}

        for name, part in _split(asked):
            prompts = [[list(prompt), seed.hex()] for _, prompt, seed in part]
            found = self._measure(
                "passages",
                of | {"asked": sha256(repr(prompts).encode()).hexdigest()},
                f"sampling {name} {doing}",
                lambda part=part: draw(part),  # type: ignore[misc] # a part's own
            )
            passages += _read_passages(found["passages"])
            seconds += found["seconds"]
        return Sampled(passages, seconds)

    def compare(
        self,
        pair: tuple[str, str],
        tokenizer: FolderTokenizer,
        passages: Sequence[Passage],
        taus: Sequence[float],
        temperature: int,
        others: Sequence[Sequence[float]] = (),
    ) -> Compared:
        """The margins of two implementations on a calibration set.

        Args:
            taus: see `measure_margins`.
            temperature: Tq = 1024 · T.
            others: further taus that may be asked for next, which the same reading answers.
        """
        curve, seconds = MarginCurve(np.zeros(len(taus)), 0.0, 0), 0.0

        def name_result(taus: Sequence[float], part: Sequence[Passage]) -> dict[str, Json]:
            return self._known | {
                "pair": list(pair),
                "drawable": sha256(tokenizer.drawable.tobytes()).hexdigest(),
                "temperature": temperature,
                "taus": [repr(tau) for tau in taus],
                "passages": sha256(encode_passages(part)).hexdigest(),
            }

        def read(part: Sequence[Passage]) -> dict[str, Json]:
            begun = time.monotonic()
            a, b = (
                Reference(make_model(self.model, name), tokenizer.drawable, temperature)
                for name in pair
            )
            grids = [taus, *others]
            found = measure_margins(a, b, part, [*chain(*grids)], temperature)
            told: dict[str, Json] = {
                "gini": found.gini.hex(),
                "tokens": found.tokens,
                "seconds": time.monotonic() - begun,
            }
            survival = iter(found.survival.tolist())
            for grid in grids:
                own: Json = [one.hex() for one in islice(survival, len(grid))]
                if grid is taus:
                    first = told | {"survival": own}
                else:
                    self._kept.keep("margins", name_result(grid, part), told | {"survival": own})
            return first

        for name, part in _split(passages):
            found = self._measure(
                "margins",
                name_result(taus, part),
                f"comparing two implementations on {name} completions",
                lambda part=part: read(part),  # type: ignore[misc] # a part's own
            )
            survival: NDArray[np.float64] = np.array([*map(float.fromhex, found["survival"])])
            curve += MarginCurve(survival, float.fromhex(found["gini"]), found["tokens"])
            seconds += found["seconds"]
        return Compared(curve, seconds)

    def measure_centre(self, passages: Sequence[Passage]) -> tuple[tuple[int, ...], int, int]:
        """μ and scale of the model's states on a calibration set, both in 2^-16, and the experts of
        a mixture. Raises a ValueError: it is one without a ramp."""
        found = self._measure(
            "centre",
            self._known | {"passages": sha256(encode_passages(passages)).hexdigest()},
            "measuring the centre of the states",
            lambda: _measure_centre(self.model, passages),
        )
        return tuple(found["centre"]), found["scale"], found["experts"]

    def _measure(
        self, what: str, of: dict[str, Json], doing: str, measure: Callable[[], dict[str, Json]]
    ) -> Any:
        """A result that is kept, or will be."""
        found: Any = self._kept.recall(what, of)
        if found is None:
            _ = self.model  # its loading is told by itself
            with telling(self._report, doing):
                found = measure()
            self._kept.keep(what, of, found)
        return found


def _split(whole: Sequence[Any]) -> Iterator[tuple[str, Sequence[Any]]]:
    """The parts of a set, each with its name for a person."""
    for start in range(0, len(whole), _PART):
        end = min(len(whole), start + _PART)
        name = f"{end:,}" if len(whole) <= _PART else f"{start + 1:,} to {end:,} of {len(whole):,}"
        yield name, whole[start:end]


def _read_passages(text: str) -> list[Passage]:
    try:
        return decode_passages(text.encode())
    except EncodingError as error:
        raise CheckpointError(f"what was kept of a calibration set {error}") from None


def _measure_centre(model: PreTrainedModel, passages: Sequence[Passage]) -> dict[str, Json]:
    centre, scale, experts = measure_states(model, passages)
    return {"centre": list(centre), "scale": scale, "experts": experts}
