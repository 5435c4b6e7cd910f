"""A preparation's folder: what it began with, how far it is, and the model that it ends with.

    NAME.json                  the plan, the progress and all trials; NAME is the course's
    learner-*.safetensors      masters and moments, until the course is over
    adapter.safetensors        with LoRA: makes the result of the model that it began with
    model/                     the result, as `assay adopt` writes a model

NAME.json is written last and names the rest: a command that was killed anywhere goes on from the
state before or after. Another plan needs another folder.
"""

import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import save_file

from assay.artifacts.checkpoints.adapter import make_adapter
from assay.environments.base import Environment
from assay.environments.levels import Success
from assay.environments.problem_file import list_unread_columns, read_problem_file, read_table
from assay.environments.registry import open_environment
from assay.inference.context_length import count_positions
from assay.inference.draft import OwnDrafter, Rules
from assay.inference.expert_stacks import stack_experts
from assay.inference.folder import (
    CONFIG_FILE,
    MODEL_FILE,
    digest_structure,
    digest_tensors,
    digest_tokenizer,
    digest_weights,
    read_config,
)
from assay.inference.low_rank import ADAPTER_FILE
from assay.inference.model_loading import load_model
from assay.inference.placement import Placement
from assay.network.files import hold_folder, replace_file, write_file, write_json
from assay.protocol.encoding import EncodingError, read_json
from assay.protocol.parameters import MILLION, Parameters
from assay.settings.loading import ConfigError
from assay.subnet.adoption.adopt import ADOPTED_FILES, adopt_once, make_folder
from assay.subnet.genesis_checkpoint import open_adopted_tokenizer, read_end_tokens
from assay.subnet.recipe import Recipe, require_sizes
from assay.subnet.reply_frames import fill_frames
from assay.subnet.waiting import Report, ignore_report, telling
from assay.training import Grpo, LearnConfig, Learner
from assay.training.examples import EXAMPLE_MAX, ListedExamples, NoExampleError
from assay.training.held_out import make_held_out_seed, rate_problems
from assay.training.imitation import Example
from assay.training.preparation import Curriculum, Preparation, PreparationConfig, Progress, Trial
from assay.training.rows.dialogues import ROW_COLUMNS, Words
from assay.training.rows.reader import Reading, ReadRows
from assay.training.rows.writing import DialogueWriter
from assay.training.sharding import is_in_team
from assay.training.team import make_shared

MODEL = "model"
#: Most bytes of the state's file.
_STATE_MAX = 16 << 20
#: Problems of a trial that are answered together.
_TRIED_AT_ONCE = 64
#: Of a list of examples, one in this many is only measured.
_HELD_SHARE = 10

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparationRequest:
    """What is asked for.

    Attributes:
        environment: in the form of --environment; None: the recipe's.
        problems: held-out problems of each trial.
        held: held-out examples whose loss is measured.
        show: examples that are shown as the model will read them, in place of a course; 0: none.
    """

    model: Path
    folder: Path
    recipe: Recipe
    environment: str | None = None
    config: PreparationConfig
    problems: int = 200
    held: int = 64
    show: int = 0


@contextmanager
def holding(folder: Path, what: str) -> Iterator[None]:
    """Make a course's folder, and keep others out. Raises ConfigError: it is in use."""
    folder.mkdir(parents=True, exist_ok=True)
    with hold_folder(folder) as ours:
        if not ours:
            raise ConfigError(f"{folder} is in use: another {what} runs there")
        yield


class PreparationFolder(ABC):
    """A course in its folder. What it learns from is a subclass's.

    Attributes:
        what: its name for a person. state: its file's.

    Raises:
        ConfigError: no network could be run by the recipe.
        CheckpointError: the model cannot be used.
    """

    what: ClassVar[str]
    state: ClassVar[str]

    def __init__(
        self,
        request: PreparationRequest,
        learning: LearnConfig,
        placement: Placement,
        report: Report,
    ) -> None:
        self._request, self._placement, self._report = request, placement, report
        self._folder = request.folder
        self._start = self._adopt()
        self._tokenizer = open_adopted_tokenizer(self._start)
        self._ends = read_end_tokens(self._start)
        named = request.recipe.fill_environment(request.environment)
        request.recipe.require_levels(named)
        rules = request.recipe.make_rules(named)
        self._rules: Parameters = fill_frames(rules, self._tokenizer, ignore_report)
        self._environment: Environment = open_environment(self._rules.environment)
        never_drawn = np.flatnonzero(~self._tokenizer.drawable).tolist()
        self._learning = replace(
            learning, excluded=tuple(never_drawn), loss=Grpo(), kl_weight=0.0, from_genesis=False
        )
        self._teacher: Path | None = None  # an adopted folder: the learner's reference
        self._reading: Reading[Any] | None = None  # of a file's rows
        self._read_rows: dict[str, Any] | None = None  # its counts
        seeds = [make_held_out_seed(self._environment, n) for n in range(request.problems)]
        make = self._environment.make_problem
        self._trial = [(make(seed, request.recipe.levels), seed) for seed in seeds]

    @abstractmethod
    def _describe_choices(self) -> dict[str, Any]:
        """What decides the result beside what all courses have, as JSON."""

    @abstractmethod
    def _open(self) -> Callable[[Learner], Curriculum[Any]]:
        """Read what is learned from, before a model is loaded. Returns what makes the curriculum of
        a learner, whose step is 0 where the course begins."""

    def run(self) -> dict[str, Any]:
        """Make the model, or go on with it, or find it finished. Returns its document, as in the
        state's file; or only shows examples, and returns these.

        Raises:
            ConfigError: the folder is of another plan, or damaged.
            NoExampleError: there is nothing to learn from.
            LessonError, MemoryLackError, DeviceError: see `Learner.learn`.
            OSError: the disk.
        """
        if self._request.show:
            return self._show(self._request.show)
        self._plan = self._make_plan()
        self._progress, self._learner_file, self._end = self._read_state()
        if self._end is not None and (self._folder / MODEL).exists():
            self._report(f"{self._folder / MODEL} is finished: {self._end}")
            return self._describe()
        make = self._open()
        learner = self._make_learner()
        course = Preparation(
            make(learner),
            lambda: self._try_out(learner),
            self._request.config,
            self._report,
            self._progress,
        )
        self._progress = course.progress
        self._end = course.run(lambda: self._save(learner))
        self._write_model(learner)
        self._save(None)
        return self._describe()

    def _adopt(self) -> Path:
        """The folder of the model as `assay adopt` writes one: the source, or what is made of it
        once."""
        adopted = adopt_once(self._request.model, self._folder, self._report)
        config = read_json((adopted / CONFIG_FILE).read_bytes())
        assert isinstance(config, dict), "an adopted folder has such a file"
        require_sizes(self._request.recipe, adopted / CONFIG_FILE, config)
        return adopted

    def _make_plan(self) -> dict[str, Any]:
        """What decides the result, as JSON."""
        request = self._request
        return {
            "model": self._identify(self._start),
            "environment": self._environment.digest.hex(),
            "levels": list(request.recipe.levels),
            "work": asdict(self._rules.work),
            **self._describe_choices(),
            "course": asdict(request.config),
            "problems": request.problems,
            "held": request.held,
            "learning": {
                name: getattr(self._learning, name)
                for name in ("precision", "max_gradient", "weight_decay", "lora_rank", "seed")
            },
        }

    def _identify(self, folder: Path) -> dict[str, str]:
        """A model's digests, as JSON."""
        with telling(self._report, f"reading {folder}"):
            tensors = digest_weights(folder, digest_tensors(folder))
        return {
            "config": digest_structure(folder).hex(),
            "tokenizer": digest_tokenizer(folder).hex(),
            "tensors": tensors.hex(),
        }

    def _read_state(self) -> tuple[Progress, Path | None, str | None]:
        """How far the folder's course is, the learner's file, and why it is over."""
        path = self._folder / self.state
        try:
            with path.open("rb") as file:
                document = read_json(file.read(_STATE_MAX))
            assert isinstance(document, dict)
            known, progress = document["plan"], _read_progress(document["progress"])
            named, end = document["learner"], document["end"]
            self._read_rows = document.get("rows")
        except FileNotFoundError:
            return Progress(), None, None
        except (EncodingError, AssertionError, KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{path} is damaged ({error}): name another folder with --out"
            ) from None
        plan = json.loads(json.dumps(self._plan))
        other = sorted(
            name for name in plan.keys() | known.keys() if plan.get(name) != known.get(name)
        )
        if other:
            raise ConfigError(
                f"{self._folder} is of a {self.what} with other {', '.join(other)}: name another "
                "folder with --out"
            )
        return progress, None if named is None else self._folder / Path(named).name, end

    def _save(self, learner: Learner | None) -> None:
        """Make the course's present state the folder's; without a learner it is over."""
        step, file = self._progress.step, None
        if learner is not None:
            file = self._folder / f"learner-{step:08}.safetensors"
            with replace_file(file) as temporary:
                learner.save_state(temporary)
        write_json(self._folder / self.state, self._describe(file))
        for path in self._folder.glob("*learner-*"):
            if path != file:
                path.unlink()

    def _describe(self, learner: Path | None = None) -> dict[str, Any]:
        progress, adapter = self._progress, self._folder / ADAPTER_FILE
        return {
            "plan": self._plan,
            "end": self._end,
            "rows": self._read_rows,
            "learner": None if learner is None else learner.name,
            "progress": asdict(progress),
            "model": str(self._folder / MODEL),
            "adapter": str(adapter) if adapter.exists() else None,
        }

    def _make_learner(self) -> Learner:
        ramp, device = self._rules.tests.router_ramp, self._placement.device
        with telling(self._report, "loading the model"):
            if is_in_team():
                learner = make_shared(self._start, self._learning, self._teacher, device, ramp)
            else:
                model = load_model(self._start, router_ramp=ramp).requires_grad_(True)
                known = self._teacher
                teacher = None if known is None else load_model(known, router_ramp=ramp)
                learner = Learner(model, self._learning, teacher, device)
        if self._learner_file is None:
            return learner
        try:
            learner.load_state(self._learner_file)
        except (OSError, LookupError, RuntimeError, ValueError, SafetensorError) as error:
            raise ConfigError(
                f"{self._learner_file} cannot be read ({error}): name another folder with --out"
            ) from None
        self._report(f"going on after step {self._progress.step:,}")
        return learner

    def _hold_back(self, found: Sequence[_T]) -> tuple[ListedExamples[_T], Sequence[_T]]:
        """Of a list what is learned from, and what is only measured."""
        seed = self._learning.seed
        shuffled, _ = ListedExamples(found, seed).read(0, len(found))
        held = min(self._request.held, len(shuffled) // _HELD_SHARE)
        return ListedExamples(shuffled[held:], seed), shuffled[:held]

    def _read_file(self, file: Path, read: ReadRows[_T]) -> list[_T]:
        """The examples of a file's rows. Raises NoExampleError: it has none."""
        data = read_problem_file(file)
        rows = read_table(data, file, ROW_COLUMNS)[1]
        most = count_positions(read_config(self._start)) or EXAMPLE_MAX
        writer = DialogueWriter(self._tokenizer, self._ends, most)
        reading = read(rows, writer, self._list_words())
        reading.count_columns(list_unread_columns(data, ROW_COLUMNS))
        if not reading.found:
            told = reading.describe_left_out()
            raise NoExampleError(f"{file} has no row to learn from ({told})")
        for line in reading.describe():
            self._report(f"{file}: {line}")
        self._reading, self._read_rows = reading, reading.to_json()
        return reading.found

    def _list_words(self) -> Words:
        """The words that all of the recipe's problems have alike."""
        manners = {problem.manner for problem, _ in self._trial}
        systems = {one.get("system") for one in manners}
        arguments = {one.arguments for one in manners}
        return Words(
            systems.pop() if len(systems) == 1 else None,
            arguments.pop() if len(arguments) == 1 else (),
        )

    def _show(self, count: int) -> dict[str, Any]:
        """Up to `count` examples as the model will read them, and what was left out."""
        shown = list[dict[str, Any]]()
        for number, answers in self._list_shown(count):
            (first, *_), spell = answers.values(), self._tokenizer.spell
            texts = {name: spell(one.completion) for name, one in answers.items()}
            row = {} if number is None else {"row": number}
            shown.append({**row, "prompt": spell(first.prompt), **texts})
        return {"rows": self._read_rows, "shown": shown}

    def _list_shown(self, count: int) -> Sequence[tuple[int | None, Mapping[str, Example]]]:
        """For each of `count` examples the number of its row, and name → answer. Not of a course
        that reads no examples."""
        raise NotImplementedError

    def _load_start(self) -> Any:
        ramp = self._rules.tests.router_ramp
        return load_model(self._start, self._placement.device, router_ramp=ramp)

    def _make_drafter(self, model: Any, temperature: int | None = None) -> OwnDrafter:
        """Draws at the recipe's temperature, or another one, in 1 / 1,024."""
        work = self._rules.work
        rules = Rules(temperature or work.temperature, self._ends, work.max_tokens)
        return OwnDrafter(model, self._tokenizer.drawable, rules)

    def _load_student(self, learner: Learner) -> Any:
        """The model with the learner's weights as they would be published."""
        weights = learner.bf16_state()
        model = self._load_start()
        model.load_state_dict(stack_experts(model.config.model_type, weights), strict=False)
        return model

    def _try_out(self, learner: Learner) -> tuple[Success, Success]:
        """See `Preparation`."""
        drafter, parts = self._make_drafter(self._load_student(learner)), []
        for start in range(0, len(self._trial), _TRIED_AT_ONCE):
            batch = self._trial[start : start + _TRIED_AT_ONCE]
            problems, seeds = [problem for problem, _ in batch], [seed for _, seed in batch]
            work = self._rules.work
            parts += rate_problems(
                drafter, self._tokenizer, self._environment, problems, seeds, work
            )
        right = sum(one.is_right for one in parts)
        read = sum(one.format == MILLION for one in parts)
        return Success(right, len(parts)), Success(read, len(parts))

    def _write_model(self, learner: Learner) -> None:
        """Write the result, atomically."""
        out, weights = self._folder / MODEL, learner.bf16_state()
        if out.exists():  # of a command that was killed before it could say so
            shutil.rmtree(out)
        with telling(self._report, f"writing {out}"), make_folder(out) as temporary:
            for path in self._start.iterdir():
                if path.name in ADOPTED_FILES:  # a checkpoint has more, of the weights it had
                    shutil.copyfile(path, temporary / path.name)
            save_file(weights, temporary / MODEL_FILE, metadata={"format": "pt"})
            made = digest_weights(temporary, digest_tensors(temporary))
            base = bytes.fromhex(self._plan["model"]["tensors"])
            adapter = make_adapter(base, learner.export_factors(), made)
            if adapter is not None:
                write_file(self._folder / ADAPTER_FILE, adapter)
            write_json(
                temporary / self.state, {"plan": self._plan, "progress": asdict(self._progress)}
            )


def _read_progress(document: Mapping[str, Any]) -> Progress:
    trials = [
        Trial(
            int(one["step"]),
            None if one["loss"] is None else float(one["loss"]),
            Success(**one["solved"]),
            Success(**one["read"]),
            None if one.get("preferred") is None else Success(**one["preferred"]),
        )
        for one in document["trials"]
    ]
    return Progress(
        int(document["step"]),
        int(document["position"]),
        float(document["seconds"]),
        int(document["tokens"]),
        trials,
    )
