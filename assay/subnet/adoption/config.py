"""config.json of an adopted model: the text part, without what means nothing, complete.

The loader knows a closed list of fields and stays strict, since an unknown one can change what a
library computes: `is_causal` makes a Llama see the future. Here a closed list of fields without
meaning is dropped, and each is told.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from transformers import CONFIG_MAPPING, AutoConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from assay.gate.rules import Rule, is_integer
from assay.inference.families import (
    EMBEDDING,
    FAMILIES,
    HEAD,
    SEEING,
    find_config_fault,
    find_misfit,
    find_type_fault,
    list_fields,
)
from assay.inference.families.fields import COMMON, SIZES
from assay.inference.folder import CheckpointError
from assay.protocol.encoding import Json
from assay.sandbox.thrown import LibraryError, catch_thrown
from assay.subnet.adoption.notes import Notes

#: Fields that are no part of the model, at any value: settings of generation, of trainers, of
#: other programs, which no model reads.
MEANINGLESS = frozenset(
    {
        *("_attn_implementation", "_attn_implementation_autoset", "_commit_hash", "_name_or_path"),
        *("architecture", "attn_implementation", "auto_map", "base_model_name_or_path"),
        *("begin_suppress_tokens", "bad_words_ids", "cache_implementation"),
        *("chunk_size_feed_forward", "cross_attention_hidden_size", "custom_pipelines"),
        *("decoder_start_token_id", "diversity_penalty", "do_sample", "early_stopping"),
        *("encoder_no_repeat_ngram_size", "eod_token_id", "exponential_decay_length_penalty"),
        *("finetuning_task", "forced_bos_token_id", "forced_eos_token_id"),
        *("gradient_checkpointing", "id2label", "is_llama_config", "label2id", "length_penalty"),
        *("max_length", "min_length", "model_name", "neftune_noise_alpha"),
        *("mtp_num_hidden_layers", "mtp_use_dedicated_embeddings"),
        *("no_repeat_ngram_size", "num_beam_groups", "num_beams", "num_labels"),
        *("num_nextn_predict_layers",),
        *("num_return_sequences", "output_attentions", "output_hidden_states", "output_scores"),
        *("prefix", "problem_type", "pruned_heads", "remove_invalid_values"),
        *("repetition_penalty", "return_dict", "return_dict_in_generate", "sep_token_id"),
        *("suppress_tokens", "task_specific_params", "temperature", "tf_legacy_loss"),
        *("tie_encoder_decoder", "tokenizer_class", "top_k", "top_p", "torchscript"),
        *("transformers.js_config", "trl_version", "typical_p", "unsloth_fixed"),
        *("unsloth_version", "use_bfloat16"),
    }
)
#: Fields that are no part of the model at these values alone.
HARMLESS: Mapping[str, tuple[Json, ...]] = {
    "add_cross_attention": (False,),
    "full_attn_mod": (1,),  # this one and three below: Phi-4-mini's, of code of its own
    "interpolate_factor": (1,),
    "is_decoder": (False,),
    "is_encoder_decoder": (False,),
    "lm_head_bias": (False,),
    "mlp_bias": (False,),
    "quantization_config": (None,),
    "rope_interleaved": (False,),  # transformers ignores it, and another engine may obey
    "use_mrope": (False,),
}
#: The text part of a model that also sees → the family that computes the same on text alone: where
#: all three positions of a token are equal, rotary angles by sections are the plain ones.
TEXT_FAMILIES: Mapping[str, str] = {
    "gemma3": "gemma3_text",
    "gemma4": "gemma4_text",
    "mistral3": "mistral",
    "qwen2_vl": "qwen2",
    "qwen2_vl_text": "qwen2",
    "qwen2_5_vl": "qwen2",
    "qwen2_5_vl_text": "qwen2",
    "qwen3_5": "qwen3_5_text",
    "qwen3_5_moe": "qwen3_5_moe_text",
    "qwen3_vl": "qwen3",
    "qwen3_vl_text": "qwen3",
    "qwen3_vl_moe_text": "qwen3_moe",
}
_TIED = "tie_word_embeddings"
#: What the text part of such a config may have from the whole.
_SHARED = (
    *("bos_token_id", "dtype", "eos_token_id", "pad_token_id", "quantization_config"),
    *("tie_word_embeddings", "torch_dtype", "transformers_version"),
)
#: What stands for pictures and sounds in a config without a text part of its own.
_SEEING = ("image_", "video_", "vision_", "audio_")
#: Fields of rotary angles that place pictures.
_SECTIONS = ("mrope_interleaved", "mrope_section")
#: Fields that older libraries wrote, and whose meaning the class now has in others.
_RESPELLED = frozenset(
    {"partial_rotary_factor", "rope_local_base_freq", "sliding_window_pattern"}
    | {"_sliding_window_pattern"}
)
#: What Hunyuan's files say of rotary angles beside the alpha from which they follow.
_BESIDE_ALPHA = frozenset({"beta_fast", "beta_slow", "mscale", "mscale_all_dim"})
_LAYERS_MAX = SIZES["num_hidden_layers"]
_ROPES = ("rope_parameters", "rope_scaling", "rope_theta")
#: Classes of transformers that are no language models, by how their names end.
_OTHER_HEADS = ("ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering")


def take_text_part(config: Mapping[str, Json], notes: Notes) -> dict[str, Json]:
    """The config of the model's language part; the config itself where there is no other. Raises
    CheckpointError if it is missing."""
    inner, kind = config.get("text_config"), config.get("model_type")
    if isinstance(inner, dict):
        text = {name: config[name] for name in _SHARED if name in config} | inner
        text.setdefault("model_type", kind)
        if config.get(_TIED, text.get(_TIED)) != text.get(_TIED):
            del text[_TIED]  # which of the two counts depends on the program: the tensors say it
    elif isinstance(kind, str) and kind in TEXT_FAMILIES and "vision_config" in config:
        text = {name: value for name, value in config.items() if not name.startswith(_SEEING)}
    elif kind in SEEING:
        raise CheckpointError(
            f"config.json is of {kind}, which reads pictures, too, and has no text_config: fetch "
            "it again"
        )
    else:
        return dict(config)
    family = text["model_type"]
    if isinstance(family, str):
        text["model_type"] = TEXT_FAMILIES.get(family, family)
    for name in ("rope_parameters", "rope_scaling"):
        rope = text.get(name)
        if isinstance(rope, dict) and {*rope} & {*_SECTIONS, "type", "rope_type"}:
            plain = {key: value for key, value in rope.items() if key not in _SECTIONS}
            for key in ("type", "rope_type"):
                if plain.get(key) == "mrope":
                    plain[key] = "default"
            text[name] = plain
    notes.kept.append(f"the text part of {kind}, as {text['model_type']}")
    notes.dropped.append("what sees or hears: its config and its tensors")
    return text


def name_family(config: Mapping[str, Json], notes: Notes) -> dict[str, Json]:
    """The config with the model_type that its class has, where it lacks one."""
    classes = config.get("architectures")
    if config.get("model_type") is not None or not isinstance(classes, list):
        return dict(config)
    for kind in FAMILIES:
        if classes[:1] == [MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[kind]]:
            notes.guessed.append(f"model_type {kind}: by architectures in config.json")
            return {**config, "model_type": kind}
    return dict(config)


def drop_meaningless(config: Mapping[str, Json], notes: Notes) -> dict[str, Json]:
    """The config without fields that are no part of the model."""
    fields = _list_fields(config)
    dropped = sorted(
        name
        for name, value in config.items()
        if name not in fields
        and (name in MEANINGLESS or any(value is each for each in HARMLESS.get(name, ())))
    )
    kept = {name: value for name, value in config.items() if name not in dropped}
    for place in ("rope_parameters", "rope_scaling"):
        rope = kept.get(place)
        if isinstance(rope, dict) and "alpha" in rope:
            kept[place] = {name: value for name, value in rope.items() if name not in _BESIDE_ALPHA}
            dropped += sorted({*rope} & _BESIDE_ALPHA)
    if dropped:
        notes.dropped.append(f"config.json: {', '.join(dropped)}: no part of the model")
    return kept


def find_drafting_layers(config: Mapping[str, Json]) -> range:
    """The numbers of layers behind the model's own, which draft further tokens."""
    layers: Any = config.get("num_hidden_layers")
    more: Any = config.get("num_nextn_predict_layers")
    if not is_integer(layers, 1, _LAYERS_MAX) or not is_integer(more, 1, _LAYERS_MAX):
        return range(0)
    return range(layers, layers + more)


def require_family(config: Mapping[str, Json]) -> str:
    """The family. Raises a CheckpointError, in one line, for others than a language model of a
    family that is known here."""
    family = config.get("model_type")
    fault = find_type_fault(family)
    if fault is not None:
        raise CheckpointError(fault)
    fault = find_other_head(config)
    if fault is not None:
        raise CheckpointError(fault)
    if config.get("enable_moe_block"):
        raise CheckpointError(
            "enable_moe_block in config.json: its layers have a mixture of experts beside an MLP, "
            "which is not known here"
        )
    return str(family)


def find_other_head(config: Mapping[str, Json]) -> str | None:
    """Why a config is of no language model, by the class that it names, or None."""
    classes = config.get("architectures")
    for name in classes if isinstance(classes, list) else ():
        if isinstance(name, str) and name.endswith(_OTHER_HEADS):
            return (
                f"config.json is of a {name[:60]}, which has no head for text: name the folder of "
                "a language model"
            )
    return None


def complete(config: Mapping[str, Json], shapes: Mapping[str, Sequence[int]], notes: Notes) -> Any:
    """The config with every field of its family, fitted to the tensors.

    Args:
        config: of a known family, without meaningless fields.
        shapes: tensor name → shape, of all tensors to be written.

    Raises:
        CheckpointError: it cannot belong to these tensors, or is refused; says which line to
            change.
    """
    kind: Any = config["model_type"]
    rules = {"model_type": None, **SIZES, **list_fields(FAMILIES[kind])}
    for name, most in SIZES.items():  # before a library builds anything of that size
        if config.get(name) is not None and not is_integer(config[name], 1, most):
            raise CheckpointError(f"{name} in config.json is {config[name]!r}, not 1 to {most}")
    told = {name: value for name, value in config.items() if not _is_left_out(kind, name, value)}
    full, defaults = _build(told), _build({"model_type": kind})
    known = {
        name: value
        for name, value in told.items()
        if (name in rules and not (value is None and _needs_value(rules[name])))
        or (name not in rules and (name not in defaults or defaults[name] != value))
    }
    other_names = CONFIG_MAPPING[kind].attribute_map
    spelled_otherwise = {other_names[name] for name in known if name in other_names}
    missing = {
        name: value
        for name, value in full.items()
        if name in rules
        and name not in (*_ROPES, "dtype", *known, *spelled_otherwise)
        and value is not None
        and not name.startswith("_")  # of the library's own
    }
    if "head_dim" in FAMILIES[kind].required and full.get("head_dim") is None:
        # what every class makes of a head without a size
        missing["head_dim"] = full["hidden_size"] // full["num_attention_heads"]
    if not {*known} & {*_ROPES} and full.get("rope_parameters") is not None:
        missing["rope_parameters"] = full["rope_parameters"]
    spelled = {
        **known,
        **missing,
        "architectures": [MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[kind]],
        "torch_dtype" if "torch_dtype" in known else "dtype": "bfloat16",
        "tie_word_embeddings": HEAD not in shapes,
    }
    _drop_ids_beyond(spelled, notes)
    fault = find_config_fault(spelled)
    contradiction = next(FAMILIES[kind].rotation.find_contradictions(spelled), None)
    if contradiction is not None:  # no spelling mends it
        raise CheckpointError(contradiction)
    if fault is not None and {*spelled} - {*rules} <= _RESPELLED | {*_ROPES}:
        respelled = {n: v for n, v in spelled.items() if n in rules and n not in _ROPES}
        respelled |= {"rope_parameters": full.get("rope_parameters")}
        if find_config_fault(respelled) is None:
            spelled, fault = respelled, None
            notes.converted.append("config.json: to the spelling of the installed transformers")
    fault = fault or _find_odd_vocabulary(spelled, shapes) or find_misfit(spelled, shapes)
    if fault is not None:
        raise CheckpointError(fault)
    if filled := sorted({*missing} & {*SIZES, "head_dim"}):
        sizes = ", ".join(f"{name} {missing[name]}" for name in filled)
        notes.guessed.append(f"config.json: {sizes}: left out, the library's own")
    return {name: spelled[name] for name in sorted(spelled)}


def _find_odd_vocabulary(
    config: Mapping[str, Json], shapes: Mapping[str, Sequence[int]]
) -> str | None:
    """Whether an embedding was resized, and config.json was not written again."""
    rows = (*shapes.get(EMBEDDING, ()), None)[0]
    if rows in (None, config["vocab_size"]):
        return None
    return (
        f"vocab_size in config.json is {config['vocab_size']}, and {EMBEDDING} has {rows} rows: "
        f"set it to {rows} if config.json is the older of the two"
    )


def _is_left_out(kind: str, name: str, value: Json) -> bool:
    """Whether a field is null and its class takes no null there: it means the class's own value."""
    if value is not None:
        return False
    try:
        _build({"model_type": kind, name: None})
    except CheckpointError:
        return True
    return False


def _needs_value(rule: Rule | int | None) -> bool:
    """Whether the gate takes no null in a field."""
    return not isinstance(rule, Rule) or not rule.holds(None)


def _drop_ids_beyond(config: dict[str, Any], notes: Notes) -> None:
    """Make special ids null for which the model has no row: with such a padding id no class builds
    its embedding."""
    beyond = []
    for name in ("bos_token_id", "pad_token_id"):
        number = config.get(name)
        if type(number) is int and not 0 <= number < config["vocab_size"]:
            beyond.append(f"{name} {number}")
            config[name] = None
    if beyond:
        notes.dropped.append(f"config.json: {', '.join(beyond)}: the model has no such id")


def settle_head(
    config: Mapping[str, Json], names: Mapping[str, Any], is_same: Callable[[], bool], notes: Notes
) -> bool:
    """Whether the output matrix is the embedding, by the tensors: so all programs agree.

    Args:
        names: of the tensors.
        is_same: whether the stored output matrix has the embedding's bytes.

    Raises:
        CheckpointError: config.json says that the head is a tensor of its own, and it is missing.
    """
    is_tied = config.get("tie_word_embeddings")
    if HEAD not in names:
        if is_tied is False:
            raise CheckpointError(
                f"config.json does not tie the head to the embedding, and there is no {HEAD}: "
                "fetch it, or set tie_word_embeddings to true if the embedding is the head"
            )
        if is_tied is None:
            notes.guessed.append(f"tie_word_embeddings true: there is no {HEAD}")
        return True
    if is_tied is False or EMBEDDING not in names:
        return False
    if is_same():
        notes.dropped.append(f"{HEAD}: the embedding once more")
        return True
    if is_tied:
        notes.guessed.append(
            f"tie_word_embeddings false: config.json ties the head, and {HEAD} differs from the "
            "embedding; a program that believes the config drops it"
        )
    return False


def _list_fields(config: Mapping[str, Json]) -> set[str]:
    """The fields that a config of this family may have; of an unknown one those of every family."""
    family = FAMILIES.get(str(config.get("model_type")))
    return {"model_type", *SIZES, *(COMMON if family is None else list_fields(family))}


def _build(config: Mapping[str, Json]) -> dict[str, Any]:
    """The config with all fields of its class in the installed library."""
    ours = ("dtype", "model_type", "torch_dtype")
    values = {name: value for name, value in config.items() if name not in ours}
    try:
        with catch_thrown():
            made = AutoConfig.for_model(config["model_type"], **values)
            found: dict[str, Any] = made.to_dict()
    except LibraryError as error:
        reason = str(error).removeprefix("StrictDataclassFieldValidationError: ")
        raise CheckpointError(f"config.json is refused by its own class: {reason}") from None
    return found
