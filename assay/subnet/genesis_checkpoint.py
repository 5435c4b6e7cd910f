"""Turns a bare model folder into a genesis checkpoint: calibration set, rates, μ, manifest.

    python -m assay.subnet.genesis_checkpoint FOLDER
    python -m assay.subnet.genesis_checkpoint FOLDER --environment gsm --level 1 \
        --level 2 --max-tokens 256

The demo's own model was made by `python -m assay.training.pretrain` and then by this. The rates are
measured between two permitted implementations of the reference: SDPA and eager attention.
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

from transformers import PreTrainedTokenizerFast

from assay.artifacts.checkpoints.folder import measure_manifest
from assay.environments import Environment, add_problem_files, make_environment, open_environment
from assay.inference import OwnDrafter, Reference, Rules, make_model, measure_rates, sample_passages
from assay.inference.folder import (
    CALIBRATION_FILE,
    CONFIG_FILE,
    MANIFEST_FILE,
    PASSAGES_FILE,
    TOKENIZER_FILES,
    CheckpointError,
    UnusableCheckpointError,
    digest_chat_template,
    digest_structure,
    digest_tensors,
    digest_tokenizer,
    read_config,
    read_document,
    read_small_file,
)
from assay.inference.model_loading import load_model
from assay.inference.passages import digest_passages, encode_passages
from assay.inference.placing.devices import CPU
from assay.inference.tokenizing.folder_tokenizer import (
    FolderTokenizer,
    load_tokenizer,
    make_tokenizer,
)
from assay.network.files import move_folder, write_file, write_json
from assay.neurons.settings.loading import ConfigError, open_named_environment
from assay.protocol.encoding import to_json
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.manifest import Calibration, Manifest, compute_tensor_root
from assay.protocol.parameters import PROTOCOL_VERSION, SMALL_MODEL_TESTS, Parameters, Tests
from assay.subnet.presets import (
    DEMO_ENVIRONMENT,
    DEMO_LEVELS,
    DEMO_MAX_TOKENS,
    DEMO_SETTINGS,
    DEMO_WORK,
)
from assay.subnet.recipe import Recipe, require_architecture, require_files

#: File in which newer libraries store a chat template.
TEMPLATE_FILE = "chat_template.jinja"
#: Problems whose sampled completions make the calibration set.
_PROBLEMS = 256


def make_genesis(
    folder: Path,
    max_tokens: int = DEMO_MAX_TOKENS,
    environment: Environment | None = None,
    levels: Sequence[int] = DEMO_LEVELS,
    tests: Tests = SMALL_MODEL_TESTS,
    temperature: int = DEMO_WORK.temperature,
    problems: int = _PROBLEMS,
    device: str = CPU,
) -> Manifest:
    """Write calibration_set.json, calibration.json and manifest.json. Return the manifest.

    Args:
        environment: source of the network's problems; None: the demo's.
        levels: of it, ascending: the first in force.
        tests, temperature: of the network's parameters.
        problems: number whose sampled completions make the calibration set.
        device: torch's name of the model's device.

    Raises:
        ValueError: levels are invalid.
    """
    environment = environment or make_environment(DEMO_ENVIRONMENT, DEMO_SETTINGS)
    adopt_chat_template(folder)
    tokenizer = open_bare_tokenizer(folder)
    calibration, calibration_set = _calibrate(
        folder, environment, levels, tokenizer, max_tokens, tests, temperature, problems, device
    )
    manifest = Manifest(
        version=PROTOCOL_VERSION,
        structure=digest_structure(folder),
        tokenizer=digest_tokenizer(folder),
        chat_template=digest_chat_template(tokenizer),
        tensors=compute_tensor_root(digest_tensors(folder)),
        end_tokens=(tokenizer.eos_token_id,),
        max_tokens=max_tokens,
        levels=tuple(levels),
        centre=(),
        scale=0,
        router_ramp=tests.router_ramp,
        experts=0,
        calibration=calibration.digest,
        calibration_set=calibration_set,
        files=(),
        figures=(),
        parent=ZERO_DIGEST,
        step=ZERO_DIGEST,
        number=0,
    )
    manifest = measure_manifest(manifest, folder, device)
    write_json(folder / MANIFEST_FILE, to_json(manifest))
    return manifest


def make_recipe_genesis(
    recipe: Recipe, model: Path, out: Path, rules: Parameters, device: str = CPU
) -> Manifest:
    """Make checkpoint 0 of a recipe's network from a model's folder, which is unchanged.

    Args:
        out: gets the checkpoint, atomically.
        rules: the network's parameters, with blank identity.

    Raises:
        ConfigError: `out` exists, or the folder has another model than the recipe's.
        CheckpointError: the model cannot be used.
        OSError: it cannot be copied.
    """
    require_architecture(recipe, model)
    if out.exists():
        raise ConfigError(
            f"{out} already exists: publish it with --genesis {out} in place of --model, or name "
            "another folder with --out"
        )
    tensors = sorted(path.name for path in model.glob("*.safetensors"))
    if not tensors:
        raise ConfigError(f"{model} has no *.safetensors: name a folder with {recipe.model.name}")
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(mkdtemp(dir=out.parent, prefix=".new-"))
    try:
        template = [TEMPLATE_FILE] if (model / TEMPLATE_FILE).is_file() else []
        names = (CONFIG_FILE, *TOKENIZER_FILES, *template, *tensors)
        require_files(model / name for name in names)
        for name in names:
            shutil.copyfile(model / name, temporary / name)
        manifest = make_genesis(
            temporary,
            rules.work.max_tokens,
            open_environment(rules.environment),
            recipe.levels,
            rules.tests,
            rules.work.temperature,
            recipe.calibration.problems,
            device,
        )
        temporary.chmod(0o755)
        move_folder(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # renamed away if all went well
    return manifest


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
    remaining = tuple(level for level in manifest.levels if level in legal)
    levels = remaining or tuple(environment.levels[:1])
    max_tokens = min(manifest.max_tokens, parameters.work.max_tokens)
    calibration, calibration_set = _calibrate(
        folder,
        environment,
        levels,
        open_bare_tokenizer(folder),
        max_tokens,
        parameters.tests,
        parameters.work.temperature,
    )
    made = replace(
        manifest,
        max_tokens=max_tokens,
        levels=levels,
        centre=(),
        scale=0,
        router_ramp=parameters.tests.router_ramp,
        calibration=calibration.digest,
        calibration_set=calibration_set,
        parent=manifest.digest,
        step=ZERO_DIGEST,
        number=number,
    )
    made = measure_manifest(made, folder)
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


def adopt_chat_template(folder: Path) -> None:
    """Copy a template from its own file, where newer libraries store it, to tokenizer_config.json,
    which the manifest's digest covers. Like other libraries, it takes the file before a template
    that is there.

    Raises:
        UnusableCheckpointError: it is not UTF-8. CheckpointError: it cannot be read.
    """
    path, config_path = folder / TEMPLATE_FILE, folder / TOKENIZER_FILES[1]
    if not path.exists():
        return
    config = read_document(folder, config_path.name)
    try:
        template = read_small_file(folder, path.name).decode()
    except UnicodeDecodeError as error:
        raise UnusableCheckpointError(f"{path} is not UTF-8: {error}") from None
    if isinstance(config, dict) and config.get("chat_template") != template:
        config["chat_template"] = template
        write_file(config_path, json.dumps(config, indent=2, ensure_ascii=False).encode())


def _calibrate(
    folder: Path,
    environment: Environment,
    levels: Sequence[int],
    hugging_face: PreTrainedTokenizerFast,
    max_tokens: int,
    tests: Tests,
    temperature: int,
    problems: int = _PROBLEMS,
    device: str = CPU,
) -> tuple[Calibration, bytes]:
    """Sample the set and measure the rates. Also returns the set's digest."""
    model = load_model(folder, device)
    end = hugging_face.eos_token_id
    vocabulary = model.get_output_embeddings().weight.shape[0]
    tokenizer = FolderTokenizer(hugging_face, vocabulary, (end,))
    rules = Rules(temperature, (end,), max_tokens)
    drafter = OwnDrafter(model, tokenizer.drawable, rules)
    encode = tokenizer.encode_strictly
    passages = sample_passages(drafter, encode, environment, levels, problems)
    data = encode_passages(passages)
    write_file(folder / PASSAGES_FILE, data)
    a, b = (
        Reference(make_model(model, name), tokenizer.drawable, temperature)
        for name in ("fp32-sdpa", "fp32-eager")
    )
    calibration = measure_rates(a, b, passages, tests.margin_levels, temperature)
    write_json(folder / CALIBRATION_FILE, to_json(calibration))
    return calibration, digest_passages(data)


def main() -> None:
    """Command: the folder, and for which problems."""
    parser = argparse.ArgumentParser(prog="python -m assay.subnet.genesis_checkpoint")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--environment", metavar="NAME", default=DEMO_ENVIRONMENT)
    parser.add_argument("--file", type=Path, action="append", default=[], help="of problems")
    parser.add_argument("--level", type=int, action="append", help="first in force; may repeat")
    parser.add_argument("--max-tokens", type=int, default=DEMO_MAX_TOKENS)
    given = parser.parse_args()
    add_problem_files(given.file)
    try:
        environment = open_named_environment(given.environment)
        levels = DEMO_LEVELS if given.level is None else sorted(set(given.level))
        manifest = make_genesis(given.folder, given.max_tokens, environment, levels)
    except (ConfigError, CheckpointError, ValueError) as error:
        parser.error(str(error))
    print(json.dumps({"checkpoint": manifest.digest.hex(), "scale": manifest.scale}))


if __name__ == "__main__":
    main()
