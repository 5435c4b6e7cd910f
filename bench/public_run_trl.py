"""TRL's GRPO beside a network: the same start, the same problems, rollouts of its own.

    python bench/public_run.py network MODEL --out DIR --seed 1
    python bench/public_run_trl.py --out DIR/seed-1
    python bench/public_run.py try --out DIR --seed 1

It takes the problems of the network's steps, up to the checkpoint that is compared, from their
records, in their order, and lets TRL's `GRPOTrainer` learn from them in as many updates, by the
same settings: LoRA's rank and scale, rate, optimiser and loss. TRL generates by itself, from the
weights of the moment. Its passes leave out rollouts without an advantage, and padding, and it reads
a group's prompt once: that changes no gradient, and its seconds are fewer than TRL's by itself. The
same command goes on after a stop.
DIR/seed-1/trl gets:

    weights.safetensors   bf16 weights after the last update, which `--try` asks the same problems
    course.json           updates, problems, rollouts, tokens, processor seconds and versions
"""

import argparse
import json
import time
import warnings
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from public_run import REGISTRATION, find_end, find_genesis, read_rules
from safetensors.torch import save_file
from transformers.trainer_utils import get_last_checkpoint
from trl_trainer import TrlCourse, make_trl_trainer

from assay.artifacts.steps.folder import parse_config, read_step, read_step_groups
from assay.environments.base import Problem
from assay.environments.registry import open_environment
from assay.inference.checkpoint import load_checkpoint
from assay.inference.model_loading import load_model
from assay.inference.tokenizing.folder_tokenizer import load_tokenizer
from assay.network.files import write_json

#: Updates between two generations, as the network makes between two windows.
UPDATES = 3
#: Rollouts of one pass of TRL's on a processor, whose logits are most of its memory. On a card all
#: of an update.
PASS = 8


def ask(problem: Problem) -> list[dict[str, str]]:
    """The messages of a problem, which TRL renders by the model's template."""
    return [{"role": one.role, "content": one.content} for one in problem.conversation.messages]


def require_same_prompts(trainer: Any, tokenizer: Any, problem: Problem) -> None:
    """TRL must ask with the ids with which the network asks."""
    theirs = trainer.processing_class.apply_chat_template(
        ask(problem), add_generation_prompt=True, tokenize=True, return_dict=False
    )
    ours = [*tokenizer.encode(problem.conversation)]
    if theirs != ours:
        raise SystemExit(f"TRL asks {theirs}, the network {ours}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="of the run")
    parser.add_argument("--hours", type=float, default=2.5, help="then it stops, to go on later")
    parser.add_argument("--updates", type=int, default=REGISTRATION["updates"])
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    folder = given.out / "trl"
    if (folder / "course.json").exists():
        print("TRL's part is over")
        return
    from peft import LoraConfig

    torch.set_num_threads(REGISTRATION["network"]["threads"])
    rules = read_rules(given.out)
    environment = open_environment(rules.environment)
    genesis = load_checkpoint(find_genesis(given.out))
    compared = find_end(given.out, given.updates)
    if compared is None:
        raise SystemExit("the network has not made its updates yet")
    end, updates = compared
    found = [read_step(p) for p in sorted((given.out / "net" / "steps").glob("step-*.json"))]
    steps = [step for step in found if step.record.number <= end]
    config = parse_config(steps[0].record).learning
    asked = [
        environment.make_problem(one.problem_seed, one.levels)
        for step in steps
        for one in read_step_groups(step)
    ]
    # windows had more and fewer groups, TRL's steps have as many each
    generations = updates // UPDATES
    batch = len(asked) // (generations * UPDATES)
    each = batch * UPDATES
    size = rules.work.group_size
    rows = PASS if given.device == "cpu" else batch * size
    course = TrlCourse(
        environment,
        [asked[start : start + each] for start in range(0, generations * each, each)],
        replace(config, groups_per_batch=batch, epochs=1),
        size,
        rules.work.max_tokens,
        folder / "state",
    )
    seen: dict[str, float] = dict.fromkeys(("rollouts", "tokens", "reward", "taught"), 0)
    seen["seconds"] = 0.0
    told: dict[str, dict[str, float]] = {}  # by updates: a kill may come before they are kept
    kept: str | None = None
    if course.folder.exists():
        kept = get_last_checkpoint(course.folder)  # type: ignore[no-untyped-call]
    progress = folder / "progress.json"
    if kept:
        told = json.loads(progress.read_text())
        seen |= told[kept.rpartition("-")[2]]

    begun, deadline = time.process_time(), time.monotonic() + given.hours * 3_600
    spent = seen["seconds"]

    def see(prompts: list[Any], completions: list[list[int]], rewards: list[int]) -> None:
        if time.monotonic() > deadline:  # the updates before are kept
            raise SystemExit("the hours are over: the same command goes on")
        seen["rollouts"] += len(completions)
        seen["tokens"] += sum(map(len, completions))
        seen["reward"] += sum(rewards)
        starts = range(0, len(rewards), size)
        seen["taught"] += sum(len(set(rewards[start : start + size])) > 1 for start in starts)

    def tell(step: int) -> None:
        seen["seconds"] = spent + time.process_time() - begun
        told[str(step * UPDATES)] = dict(seen)
        write_json(progress, told)
        print(f"{step} of {generations}: {json.dumps(seen)}", flush=True)

    tokenizer = load_tokenizer(genesis.folder, len(genesis.tokenizer.drawable))
    trainer = make_trl_trainer(
        course,
        load_model(genesis.folder, given.device),
        tokenizer,
        tell,
        see,
        ask,
        LoraConfig(
            r=config.lora_rank,
            lora_alpha=16,
            use_rslora=True,
            bias="none",
            target_modules="all-linear",
        ),
        spared=True,
        use_cpu=given.device == "cpu",
        per_device_train_batch_size=rows,
        gradient_accumulation_steps=batch * size // rows,
        steps_per_generation=batch * size // rows * UPDATES,
        save_strategy="steps",
        save_steps=UPDATES,
        save_total_limit=1,
    )
    require_same_prompts(trainer, genesis.tokenizer, asked[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.train(resume_from_checkpoint=kept)
    merged = trainer.model.merge_and_unload().state_dict()
    state = {name: value.to(torch.bfloat16).contiguous() for name, value in merged.items()}
    if "lm_head.weight" in state and genesis.model.config.tie_word_embeddings:
        del state["lm_head.weight"]
    save_file(state, folder / "weights.safetensors")
    write_json(
        folder / "course.json",
        seen
        | {
            "updates": generations * UPDATES,
            "groups_per_update": batch,
            "checkpoint": end,
            "spared": True,
            "versions": {"trl": version("trl"), "torch": torch.__version__},
        },
    )


if __name__ == "__main__":
    main()
