"""Turns a bare model folder into a genesis checkpoint: calibration set, rates, μ, manifest.

    python -m assay.subnet.genesis_checkpoint FOLDER
    python -m assay.subnet.genesis_checkpoint FOLDER --environment gsm --level 1 \
        --level 2 --max-tokens 256

The folder is one that `assay adopt` writes. The demo's own model was made by `python -m
assay.training.pretrain` and then by this. The rates are measured between two permitted
implementations of the reference: SDPA and eager attention.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from assay.artifacts.checkpoints.adapter import ADAPTER_PATH, name_adapter
from assay.environments.base import Conversation, Environment
from assay.environments.problem_file import add_problem_files
from assay.environments.registry import make_environment, open_environment
from assay.gate.chat_template import TemplateFault
from assay.gate.tokenizer import TEMPLATE_REMEDY, FolderTokenizer
from assay.gate.tokenizer_files import digest_template
from assay.inference.context_length import find_context_fault
from assay.inference.draft import Rules
from assay.inference.families import get_expert_bounds
from assay.inference.folder import (
    CALIBRATION_FILE,
    CONFIG_FILE,
    MANIFEST_FILE,
    PASSAGES_FILE,
    TOKENIZER_FILES,
    CheckpointError,
    UnusableCheckpointError,
    digest_structure,
    digest_tensors,
    digest_tokenizer,
    read_config,
)
from assay.inference.implementations import make_alone
from assay.inference.pair_report import list_thresholds
from assay.inference.passage_sampling import ask_problems
from assay.inference.passages import Passage, digest_passages, encode_passages
from assay.inference.placing.devices import CPU
from assay.inference.placing.model_sizes import EXPERTS_SHARE
from assay.inference.plain_probes import PUBLISH_TOKENS
from assay.inference.reference import Reference
from assay.inference.routing import FIRST_RAMP, count_experts
from assay.inference.tokenizing.folder_tokenizer import load_tokenizer, make_tokenizer
from assay.network.files import write_file, write_json
from assay.protocol.encoding import to_json
from assay.protocol.gate import NO_COURSE
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.manifest import Calibration, Manifest, compute_tensor_root, start_levels
from assay.protocol.parameters import (
    EXPERT_BITS,
    PROTOCOL_VERSION,
    SMALL_MODEL_TESTS,
    Parameters,
    Tests,
    Work,
)
from assay.settings.loading import ConfigError, open_named_environment
from assay.subnet.adoption.adopt import find_unadopted, make_folder, plan_adoption, write_adoption
from assay.subnet.calibration_findings import CalibrationFindings, make_findings
from assay.subnet.measurements import Measurements
from assay.subnet.model_measurements import ModelMeasurements
from assay.subnet.presets import (
    DEMO_ENVIRONMENT,
    DEMO_LEVELS,
    DEMO_MAX_TOKENS,
    DEMO_SETTINGS,
    DEMO_WORK,
)
from assay.subnet.recipe import Recipe, require_sizes
from assay.subnet.reply_frames import fill_frames, find_closer_fault
from assay.subnet.waiting import Report, ignore_report

#: Problems whose sampled completions make the calibration set.
_PROBLEMS = 256


@dataclass(frozen=True, slots=True)
class Genesis:
    """A checkpoint 0 that was made, and what its calibration has found."""

    manifest: Manifest
    findings: CalibrationFindings


def make_genesis(
    folder: Path,
    max_tokens: int = DEMO_MAX_TOKENS,
    environment: Environment | None = None,
    levels: Sequence[int] = DEMO_LEVELS,
    tests: Tests = SMALL_MODEL_TESTS,
    work: Work = DEMO_WORK,
    problems: int = _PROBLEMS,
    device: str = CPU,
    report: Report = ignore_report,
    compared: int = PUBLISH_TOKENS,
) -> Manifest:
    """Write calibration_set.json, calibration.json and manifest.json into an adopted folder. Return
    the manifest.

    Args:
        environment: source of the network's problems; None: the demo's.
        levels: of it, ascending: the first in force.
        tests, work: of the network's parameters. `max_tokens` takes the place of the latter's.
        problems: number whose sampled completions make the calibration set.
        device: torch's name of the model's device.
        report: called with what is being done, and with the seconds that it takes.
        compared: tokens on which two implementations of a class without a family are compared
            before anything else.

    Raises:
        ValueError: levels are invalid.
        CheckpointError: the folder cannot be used, or is not as `assay adopt` writes it.
    """
    unadopted = find_unadopted(folder)
    if unadopted is not None:
        raise CheckpointError(
            f"{folder} is not as `assay adopt` writes it ({unadopted}): "
            f"run assay adopt {folder} --out NEW"
        )
    environment = environment or make_environment(DEMO_ENVIRONMENT, DEMO_SETTINGS)
    rules = Rules(work.temperature, read_end_tokens(folder), max_tokens)
    measuring = ModelMeasurements(folder, Measurements(), device, tests.router_ramp, report)
    calibration = _Calibration(folder, environment, levels, tests, work, rules, compared)
    return calibration.make(measuring, problems).manifest


def make_recipe_genesis(
    recipe: Recipe,
    model: Path,
    out: Path,
    rules: Parameters,
    device: str = CPU,
    report: Report = ignore_report,
    kept: Measurements | None = None,
    compared: int = PUBLISH_TOKENS,
) -> Genesis:
    """Make checkpoint 0 of a recipe's network from a model's folder, which is adopted.

    Args:
        out: gets the checkpoint, atomically.
        rules: the network's parameters, with blank identity.
        report: see `make_genesis`.
        kept: what was measured before; None: nothing is kept.
        compared: see `make_genesis`.

    Raises:
        ConfigError: `out` exists, or the folder has another model than the recipe's.
        CheckpointError: the model cannot be used.
        OSError: it cannot be copied.
    """
    if out.exists():
        raise ConfigError(
            f"{out} already exists: publish it with --genesis {out} in place of --model, or name "
            "another folder with --out"
        )
    with make_folder(out) as temporary:
        with plan_adoption(model) as adoption:
            require_sizes(recipe, model / CONFIG_FILE, adoption.config)
            write_adoption(adoption, temporary, report)
        for kind, text in adoption.notes.iterate():
            report(f"{kind}: {text}")
        return calibrate_recipe(recipe, temporary, rules, device, report, kept, compared)


def calibrate_recipe(
    recipe: Recipe,
    folder: Path,
    rules: Parameters,
    device: str = CPU,
    report: Report = ignore_report,
    kept: Measurements | None = None,
    compared: int = PUBLISH_TOKENS,
    others: Sequence[Tests] = (),
) -> Genesis:
    """Make an adopted folder the checkpoint 0 of a recipe's network.

    Args, errors: see `make_recipe_genesis`.
        others: tests by which the same folder may be calibrated next, which costs little then.
    """
    # whoever publishes it derives the same frames again, and says which
    tokenizer = open_adopted_tokenizer(folder)
    rules = fill_frames(rules, tokenizer, ignore_report)
    fault = find_closer_fault(rules, tokenizer)
    if fault is not None:  # nobody waits for a calibration that is of no use
        raise CheckpointError(fault)
    work, tests = rules.work, rules.tests
    measuring = ModelMeasurements(folder, kept or Measurements(), device, tests.router_ramp, report)
    drawing = Rules(work.temperature, read_end_tokens(folder), work.max_tokens)
    environment = open_environment(rules.environment)
    parts = folder, environment, recipe.levels, tests, work, drawing, compared, others
    return _Calibration(*parts).make(measuring, recipe.calibration.problems)


def calibrate_anew(
    folder: Path, parameters: Parameters, manifest: Manifest, number: int
) -> Manifest:
    """Fit a checkpoint's copy to other parameters: the same tensors, with a new calibration and
    manifest in the folder.

    Args:
        manifest: the old one. Its digest becomes the parent.
        number: the new number.
    """
    environment = open_environment(parameters.environment)
    legal = set(environment.levels)
    remaining = tuple(level for level in manifest.level_numbers if level in legal)
    levels = remaining or tuple(environment.levels[:1])
    max_tokens = min(manifest.max_tokens, parameters.work.max_tokens)
    tests, work = parameters.tests, parameters.work
    rules = Rules(work.temperature, manifest.end_tokens, max_tokens)
    measuring = ModelMeasurements(folder, Measurements(), CPU, tests.router_ramp)
    calibration = _Calibration(folder, environment, levels, tests, work, rules)
    fresh = calibration.make(measuring, _PROBLEMS).manifest
    measured = "centre", "scale", "experts", "calibration", "calibration_set"
    made = replace(
        manifest,
        max_tokens=max_tokens,
        levels=start_levels(levels),
        levels_before=(),
        held_out=(),
        router_ramp=tests.router_ramp,
        parent=manifest.digest,
        step=ZERO_DIGEST,
        number=number,
        course=NO_COURSE,
        files=name_adapter(manifest.files, None),
        **{name: getattr(fresh, name) for name in measured},
    )
    (folder / ADAPTER_PATH).unlink(missing_ok=True)
    write_json(folder / MANIFEST_FILE, to_json(made))
    return made


def open_bare_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of a folder without a manifest, past the same gate as a checkpoint's.

    Raises:
        CheckpointError: a file is missing. UnusableCheckpointError: nobody could use it, or it
            names no end token.
    """
    vocabulary = read_config(folder)["vocab_size"]
    tokenizer = load_tokenizer(folder, vocabulary)
    end = tokenizer.special_tokens_map.get("eos_token")
    if end is None:
        raise UnusableCheckpointError(f"{folder / TOKENIZER_FILES[1]} names no eos_token")
    make_tokenizer(folder, tokenizer, vocabulary, (tokenizer.eos_token_id,))
    return tokenizer


def open_adopted_tokenizer(folder: Path, ends: Sequence[int] = ()) -> FolderTokenizer:
    """The tokenizer of a folder as `assay adopt` writes it, with its end tokens or other ones.
    Raises as `open_bare_tokenizer` does."""
    vocabulary = read_config(folder)["vocab_size"]
    ends = tuple(ends) or read_end_tokens(folder)
    return make_tokenizer(folder, open_bare_tokenizer(folder), vocabulary, ends)


def read_end_tokens(folder: Path) -> tuple[int, ...]:
    """The ids that end a completion: config.json's, as `assay adopt` writes them."""
    found: Any = read_config(folder)["eos_token_id"]
    return tuple(found) if isinstance(found, list) else (found,)


@dataclass(frozen=True)
class _Calibration:
    """The calibration of a model's folder for a network.

    Attributes:
        folder: as `assay adopt` writes it.
        rules: by which completions are drawn.
        compared: tokens on which two implementations of a class without a family are compared.
        others: see `calibrate_recipe`.
    """

    folder: Path
    environment: Environment
    levels: Sequence[int]
    tests: Tests
    work: Work
    rules: Rules
    compared: int = PUBLISH_TOKENS
    others: Sequence[Tests] = ()

    def make(self, measuring: ModelMeasurements, problems: int) -> Genesis:
        """Sample the set, measure rates and centre, and write all three files. Raises
        CheckpointError for a model that cannot be measured in packs, and at a problem whose longest
        rollout exceeds the model's context."""
        folder, tests, rules = self.folder, self.tests, self.rules
        tokenizer = open_adopted_tokenizer(folder, rules.end_tokens)
        encode = make_encoder(folder, tokenizer, rules.max_tokens, self.work.context)
        asked = ask_problems(encode, self.environment, self.levels, problems)
        longest = max(len(prompt) for _, prompt, _ in asked) + rules.max_tokens
        measuring.require_measurable(self.compared, max(longest, self.work.context))
        sampled = measuring.sample(tokenizer, self.environment, asked, self.work, rules)
        passages, data = sampled.passages, encode_passages(sampled.passages)
        write_file(folder / PASSAGES_FILE, data)
        is_mixture = not measuring.is_plain and get_expert_bounds(read_config(folder))[1]
        if is_mixture and not tests.router_ramp:
            given = measuring.model, tokenizer, passages, rules.temperature
            raise _propose_ramp(folder, *given)
        taus, temperature = list_thresholds(tests), rules.temperature
        pair = measuring.find_pair()
        others = [list_thresholds(one) for one in self.others]
        compared = measuring.compare(pair, tokenizer, passages, taus, temperature, others)
        calibration = compared.curve.fit(len(tests.margin_levels), temperature / 1024)
        write_json(folder / CALIBRATION_FILE, to_json(calibration))
        centre, scale, experts = measuring.measure_centre(passages)
        manifest = self._make_manifest(calibration, digest_passages(data))
        manifest = replace(manifest, centre=centre, scale=scale, experts=experts)
        write_json(folder / MANIFEST_FILE, to_json(manifest))
        # the pair reads each token twice, and a miner once
        seconds = (sampled.seconds + compared.seconds / 2) / max(1, calibration.tokens)
        parts = pair, tests, compared.curve, temperature, scale, seconds
        return Genesis(manifest, make_findings(*parts))

    def _make_manifest(self, calibration: Calibration, calibration_set: bytes) -> Manifest:
        """The manifest without what is measured on its states."""
        folder, rules = self.folder, self.rules
        return Manifest(
            version=PROTOCOL_VERSION,
            structure=digest_structure(folder),
            tokenizer=digest_tokenizer(folder),
            chat_template=digest_template(open_bare_tokenizer(folder).chat_template),
            tensors=compute_tensor_root(digest_tensors(folder)),
            end_tokens=rules.end_tokens,
            max_tokens=rules.max_tokens,
            levels=start_levels(self.levels),
            levels_before=(),
            held_out=(),
            centre=(),
            scale=0,
            router_ramp=self.tests.router_ramp,
            experts=0,
            calibration=calibration.digest,
            calibration_set=calibration_set,
            files=(),
            parent=ZERO_DIGEST,
            step=ZERO_DIGEST,
            number=0,
        )


def make_encoder(
    folder: Path, tokenizer: FolderTokenizer, max_tokens: int, context: int
) -> Callable[[Conversation], list[int]]:
    """What gives the ids of a prompt, or a CheckpointError for an owner.

    Args:
        folder: the model's, as `assay adopt` writes it.
        max_tokens: for which its context must have room behind the prompt.
        context: see `find_context_fault`.
    """
    config = read_config(folder)

    def encode(asked: Conversation) -> list[int]:
        try:
            ids = tokenizer.encode_strictly(asked)
        except TemplateFault as error:
            raise CheckpointError(f"{folder}: {error}: {TEMPLATE_REMEDY}") from None
        except ValueError as error:
            raise CheckpointError(f"{folder}: {error}") from None
        fault = find_context_fault(config, len(ids), max_tokens, context)
        if fault is not None:
            raise CheckpointError(f"{folder}: {fault}")
        return ids

    return encode


class RampMissingError(CheckpointError):
    """A mixture of experts whose network would have no ramp; with the parameters that fit."""

    def __init__(self, folder: Path, ramp: int, experts_max: int) -> None:
        super().__init__(
            f"{folder} holds a mixture of experts: set router_ramp = {ramp} and experts_max = "
            f"{experts_max} under [tests] of the parameters"
        )
        self.ramp, self.experts_max = ramp, experts_max


def _propose_ramp(
    folder: Path,
    model: Any,
    tokenizer: FolderTokenizer,
    passages: Sequence[Passage],
    temperature: int,
) -> RampMissingError:
    """The error of a mixture without a ramp, with the parameters that would fit."""
    model.router_ramp = FIRST_RAMP
    with count_experts(alone := make_alone(model)) as count:
        Reference(alone, tokenizer.drawable, temperature).compute_states(passages)
    chosen, _ = get_expert_bounds(read_config(folder))
    return RampMissingError(folder, count.proposed, ceil(EXPERTS_SHARE * (chosen << EXPERT_BITS)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Command: the folder, and for which problems. None: the process's own arguments."""
    parser = argparse.ArgumentParser(prog="python -m assay.subnet.genesis_checkpoint")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--environment", metavar="NAME", default=DEMO_ENVIRONMENT)
    parser.add_argument("--file", type=Path, action="append", default=[], help="of problems")
    parser.add_argument("--level", type=int, action="append", help="first in force; may repeat")
    parser.add_argument("--max-tokens", type=int, default=DEMO_MAX_TOKENS)
    parser.add_argument("--router-ramp", type=int, default=0, help="of a mixture of experts")
    parser.add_argument("--experts-max", type=int, default=0, help="of a mixture of experts")
    parser.add_argument("--compared", type=int, default=PUBLISH_TOKENS, help="without a family")
    given = parser.parse_args(arguments)
    add_problem_files(given.file)
    try:
        environment = open_named_environment(given.environment)
        levels = DEMO_LEVELS if given.level is None else sorted(set(given.level))
        manifest = make_genesis(
            given.folder,
            given.max_tokens,
            environment,
            levels,
            replace(
                SMALL_MODEL_TESTS, router_ramp=given.router_ramp, experts_max=given.experts_max
            ),
            report=_print_line,
            compared=given.compared,
        )
    except (ConfigError, CheckpointError, ValueError) as error:
        parser.error(str(error))
    print(json.dumps({"checkpoint": manifest.digest.hex(), "scale": manifest.scale}))


def _print_line(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
