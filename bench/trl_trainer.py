"""TRL's own `GRPOTrainer`, set to learn like Assay's learner. For `learning.py`, `evidence.py`
and `public_run.py`; TRL is in the extra `train`."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

from assay.environments.base import Environment, Problem
from assay.environments.rewards import choose_rewards, compute_reward
from assay.training import Grpo, LearnConfig


@dataclass(frozen=True)
class TrlCourse:
    """TRL's problems and settings. A step takes its problems in whole minibatches."""

    environment: Environment
    steps: Sequence[Sequence[Problem]]
    learning: LearnConfig
    rollouts: int  # rollouts of a problem
    max_tokens: int  # tokens of a completion
    folder: Path

    @property
    def batches(self) -> int:
        """Minibatches of a step."""
        return len(self.steps[0]) // self.learning.groups_per_batch

    @property
    def updates(self) -> int:
        """Updates of the optimiser in a step."""
        return self.batches * self.learning.epochs


#: Tensors of a pass whose columns are a prompt's places, padded on the left, and a completion's,
#: padded on the right.
_PROMPTS = "prompt_ids", "prompt_mask"
_COMPLETIONS = "completion_ids", "completion_mask", "old_per_token_logps"
#: What TRL is asked: a text, or messages that it renders by the model's template.
Prompt = str | list[dict[str, str]]
#: Prompts, ids of completions and rewards in millionths, of all rollouts of a step.
Watch = Callable[[list[Prompt], list[list[int]], list[int]], None]


def leave_out_idle(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """A pass of TRL's without what changes no gradient: rows whose advantage is 0, and columns that
    are padding in all others. DAPO's loss divides by the tokens of all rows, counted before; with
    a divergence or a bonus for entropy, those rows would count."""
    taught = inputs["advantages"] != 0
    taught[0] |= ~taught.any()  # a loss of 0 needs a row
    return leave_out_padding(
        {name: value[taught] if value.ndim else value for name, value in inputs.items()}
    )


def leave_out_padding(rows: dict[str, Any]) -> dict[str, Any]:
    """Rows without the columns that are padding in all of them."""
    first = int(rows["prompt_mask"].any(dim=0).int().argmax())
    longest = max(1, int(rows["completion_mask"].sum(dim=1).max()))
    for names, columns in (_PROMPTS, slice(first, None)), (_COMPLETIONS, slice(longest)):
        rows = rows | {name: rows[name][:, columns] for name in names if name in rows}
    return rows


def read_taught(made: dict[str, Any], size: int, read: Callable[[dict[str, Any]], Any]) -> None:
    """Put log-probabilities of a step's rollouts, before its updates, where there is an advantage.

    Args:
        size: rows that are read at a time.
        read: float log-probabilities [rows, columns] of the completions of some rows.
    """
    columns = {name: made[name] for name in (*_PROMPTS, *_COMPLETIONS)}
    for start in range(0, len(made["advantages"]), size):
        part = slice(start, start + size)
        taught = made["advantages"][part] != 0
        if taught.any():
            rows = {name: value[part][taught] for name, value in columns.items()}
            read_rows = read(leave_out_padding(rows))
            made["old_per_token_logps"][part][taught, : read_rows.shape[1]] = read_rows


def generate_from_groups(
    model: Any,
    generate: Callable[..., Any],
    size: int,
    input_ids: Any,
    attention_mask: Any,
    **named: Any,
) -> Any:
    """Generate, a prompt read once for all rollouts of its group.

    Args:
        generate: the model's own.
        size: rollouts of a group, which are neighbours.
    """
    if not torch.equal(input_ids, input_ids[::size].repeat_interleave(size, dim=0)):
        raise ValueError("rollouts of a group are no neighbours")
    prompts, mask = input_ids[::size, :-1], attention_mask[::size, :-1]
    places = (mask.cumsum(dim=1) - 1).clamp(min=0)  # as generation counts them
    cache = model(
        input_ids=prompts,
        attention_mask=mask,
        position_ids=places,
        use_cache=True,
        logits_to_keep=1,
    ).past_key_values
    cache.batch_repeat_interleave(size)
    return generate(
        input_ids=input_ids, attention_mask=attention_mask, past_key_values=cache, **named
    )


def make_trl_trainer(
    course: TrlCourse,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    on_step: Callable[[int], None],
    on_rollouts: Watch = lambda prompts, completions, rewards: None,
    ask: Callable[[Problem], Prompt] = lambda problem: problem.prompt,
    peft_config: Any = None,
    spared: bool = False,
    **more: Any,
) -> Any:
    """A `GRPOTrainer`: the same loss, optimiser and rate, its own generation.

    Args:
        on_step: called after each step, with its number from 1.
        on_rollouts: called with all rollouts of a step.
        ask: makes a problem's prompt.
        peft_config: of LoRA's factors; None: all weights learn.
        spared: leave out what changes no gradient, and read a group's prompt once, so that its
            seconds are fewer than TRL's by itself, and its logged ratios and entropies those of
            rollouts that teach. For dense models without dropout, with rotary positions.
        more: further arguments of `GRPOConfig`.

    Raises:
        ValueError: it cannot be spared with these arguments.
    """
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    learning, size = course.learning, course.rollouts
    loss = learning.loss
    assert isinstance(loss, Grpo)
    used = course.batches * learning.groups_per_batch
    asked = [problem for step in course.steps for problem in step[:used]]
    by_prompt = {json.dumps(ask(problem)): problem for problem in asked}

    paid = choose_rewards(course.environment.rated)

    def reward(
        prompts: list[Prompt], completions: list[Any], completion_ids: list[list[int]], **_: Any
    ) -> list[float]:
        texts = [c if isinstance(c, str) else c[-1]["content"] for c in completions]
        rewards = [
            compute_reward(course.environment.score(by_prompt[json.dumps(p)], text), 0, paid, 1)
            for p, text in zip(prompts, texts, strict=True)
        ]
        on_rollouts(prompts, completion_ids, rewards)
        return [reward / 1e6 for reward in rewards]

    class Tell(TrainerCallback):  # type: ignore[misc] # untyped
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step % course.updates == 0:
                on_step(state.global_step // course.updates)

    class SparedTrainer(GRPOTrainer):  # type: ignore[misc] # untyped
        def _generate_and_score_completions(self, inputs: Any) -> Any:
            made = super()._generate_and_score_completions(inputs)
            if "old_per_token_logps" in made:
                read_taught(made, self.args.per_device_train_batch_size, self._read)
            return made

        def _read(self, rows: Mapping[str, Any]) -> Any:
            ids, mask = (
                torch.cat([rows["prompt_" + kind], rows["completion_" + kind]], dim=1)
                for kind in ("ids", "mask")
            )
            keep = rows["completion_ids"].shape[1]
            with torch.no_grad():
                return super()._get_per_token_logps_and_entropies(self.model, ids, mask, keep)[0]

        def _get_per_token_logps_and_entropies(
            self, model: Any, ids: Any, mask: Any, keep: int, *more: Any, **named: Any
        ) -> Any:
            if not torch.is_grad_enabled():  # before it knows the advantages
                return torch.zeros(len(ids), keep, device=ids.device), None, None
            return super()._get_per_token_logps_and_entropies(
                model, ids, mask, keep, *more, **named
            )

        def compute_loss(self, model: Any, inputs: Any, *more: Any, **named: Any) -> Any:
            return super().compute_loss(model, leave_out_idle(inputs), *more, **named)

    given = {
        "output_dir": str(course.folder),
        "use_cpu": True,
        "bf16": False,
        "report_to": [],
        "save_strategy": "no",
        "logging_strategy": "no",
        "disable_tqdm": True,
        # which reads everything once more, to save memory that these courses do not need
        "gradient_checkpointing": False,
        "seed": learning.seed,
        "learning_rate": learning.learning_rate,
        "lr_scheduler_type": "constant",
        "weight_decay": learning.weight_decay,
        "adam_beta1": learning.betas[0],
        "adam_beta2": learning.betas[1],
        "max_grad_norm": learning.max_gradient,
        "per_device_train_batch_size": learning.groups_per_batch * size,
        "num_generations": size,
        "gradient_accumulation_steps": 1,
        "steps_per_generation": course.batches,
        "num_iterations": learning.epochs,
        "max_steps": len(course.steps) * course.updates,
        "max_completion_length": course.max_tokens,
        "temperature": 1.0,
        "top_k": 0,
        "beta": 0.0,
        "loss_type": "dapo",
        "scale_rewards": "none",
        "epsilon": loss.low,
        "epsilon_high": loss.high,
        "delta": loss.cap,
        "shuffle_dataset": False,
    }
    args = GRPOConfig(**(given | more))
    if spared and (
        args.beta
        or args.use_vllm
        or args.loss_type != "dapo"
        or args.top_entropy_quantile < 1
        or args.importance_sampling_level != "token"
        or args.off_policy_mask_threshold is not None
    ):
        raise ValueError("rollouts without an advantage count with these arguments")
    trainer = (SparedTrainer if spared else GRPOTrainer)(
        model,
        reward_funcs=reward,
        args=args,
        processing_class=tokenizer,
        train_dataset=Dataset.from_dict({"prompt": [ask(problem) for problem in asked]}),
        callbacks=[Tell()],
        peft_config=peft_config,
    )
    if spared:
        model = trainer.model
        model.generate = partial(generate_from_groups, model, model.generate, size)
    return trainer
