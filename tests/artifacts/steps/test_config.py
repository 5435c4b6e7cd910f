"""The settings of a record. Their text is part of its digest, hence of the checkpoint's and of all
seeds drawn from it: these are the bytes that programs before wrote."""

from dataclasses import fields, replace

import pytest

from assay.artifacts.steps.config import StepChoice, StepConfig, decode_config, encode_config
from assay.training import Dppo, LearnConfig, Schedule

DIGEST = "ab" * 32
PLAIN = (
    '{"betas":[0.9,0.95],"epochs":4,"excluded":[],"from_genesis":false,"groups_per_batch":8,'
    '"learning_rate":5e-05,"lora_rank":0,"loss":{"cap":4.0,"high":0.28,"kl_weight":0.0,"low":0.2,'
    '"name":"grpo"},"max_gradient":1.0,"offload":false,"optimizer":"adamw","precision":"float32",'
    '"recompute":false,"refill":false,"replay_share":0.0,"replay_staleness":4,"scaled":false,'
    '"schedule":{"decay_steps":0,"final_share":0.1,"schedule":"constant","schedule_begin":0,'
    '"schedule_steps":0,"warmup_steps":0},"seed":0,"sft_batch":8,"sft_sha256":"","sft_weight":0.0,'
    '"step":0,"tokens_per_pass":8192,"weight_decay":0.0}'
)
FULL = (
    '{"betas":[0.9,0.95],"epochs":4,"excluded":[5,6],"external_groups":9,"from_genesis":false,'
    '"groups_per_batch":8,"learning_rate":5e-05,"local_groups":2,"lora_rank":8,"loss":{"cap":3.0,'
    '"high":0.3,"kl_weight":0.01,"low":0.1,"name":"dppo"},"max_gradient":1.0,"offload":false,'
    '"optimizer":"adamw","precision":"float32","proposal_tries":3,"recompute":false,"refill":false,'
    '"replay_share":0.5,"replay_staleness":6,"scaled":false,"schedule":{"decay_steps":0,'
    '"final_share":0.1,"schedule":"cosine","schedule_begin":0,"schedule_steps":4,"warmup_steps":2},'
    f'"seed":0,"sft_batch":8,"sft_sha256":"{DIGEST}","sft_weight":0.5,"step":7,'
    '"tokens_per_pass":8192,"weight_decay":0.0}'
)
FULL_CONFIG = StepConfig(
    LearnConfig(
        sft_weight=0.5,
        loss=Dppo(fall=0.1, rise=0.3, cap=3.0),
        kl_weight=0.01,
        schedule=Schedule("cosine", 2, 4),
        excluded=(5, 6),
        step=7,
        lora_rank=8,
    ),
    StepChoice(0.5, 6, 3, 9, 2, DIGEST),
)


def test_present_settings_keep_their_text() -> None:
    assert encode_config(StepConfig()) == PLAIN
    assert encode_config(FULL_CONFIG) == FULL
    assert decode_config(PLAIN) == StepConfig()
    assert decode_config(FULL) == FULL_CONFIG


def test_a_reader_of_examples_is_named_where_it_is_not_the_first() -> None:
    choice = replace(FULL_CONFIG.choice, sft_reader=2)
    text = encode_config(replace(FULL_CONFIG, choice=choice))
    assert text == FULL.replace('"sft_sha256"', '"sft_reader":2,"sft_sha256"')
    assert decode_config(text).choice == choice
    assert decode_config(FULL).choice.sft_reader == 1
    with pytest.raises(TypeError, match="sft_reader is a whole number"):
        decode_config(text.replace('"sft_reader":2', '"sft_reader":2.0'))


def test_a_setting_is_of_the_learner_or_of_the_choice() -> None:
    of_both = {f.name for f in fields(LearnConfig)} & {f.name for f in fields(StepChoice)}
    assert not of_both


def test_an_anchor_is_written_where_it_is_another() -> None:
    """Records of before it keep their bytes, and mean the loss that they had."""
    config = StepConfig(LearnConfig(anchor="step", stale_weight="token", stale_cap=2.0))
    text = encode_config(config)
    loss = '"loss":{"anchor":"step","cap":4.0,"high":0.28,"kl_weight":0.0,"low":0.2,"name":"grpo",'
    loss += '"stale_cap":2.0,"stale_weight":"token"}'
    assert loss in text
    assert decode_config(text) == config
    assert decode_config(PLAIN).learning.anchor == "behaviour"
