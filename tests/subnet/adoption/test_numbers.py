"""The weights of an adopted model: exact where the source is, rounded once where it is not."""

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

from assay.inference.folder import MODEL_FILE, CheckpointError
from assay.inference.model_loading import load_model
from assay.subnet.adoption import weights
from assay.subnet.adoption.adopt import adopt_model, plan_adoption
from assay.subnet.adoption.notes import Notes
from assay.subnet.adoption.quantised import dequantise
from assay.subnet.adoption.weights import PlannedTensor
from tests.hub_folders import FOLDERS, VOCABULARY, Content, dump, make_qwen, make_tensors
from tests.inference import family_models


def adopt(source: Path, out: Path, base: Path | None = None) -> dict[str, torch.Tensor]:
    adopt_model(source, out, base=base, probes=False)
    return load_file(out / MODEL_FILE)


@pytest.mark.parametrize("shape", ["three parts and an index", "names of a trainer's wrapper"])
def test_weights_in_bf16_stay_bit_for_bit(tmp_path: Path, shape: str) -> None:
    found = adopt(FOLDERS[shape].make().write(tmp_path / "source"), tmp_path / "out")
    wanted = make_tensors()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_a_part_at_a_time_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "PART", 7)
    source = FOLDERS["fp8 in blocks"].make().write(tmp_path / "source")
    small = adopt(source, tmp_path / "small")
    monkeypatch.undo()
    whole = adopt(source, tmp_path / "whole")
    assert all(torch.equal(small[name], whole[name]) for name in whole)


def test_progress_counts_every_byte_once(tmp_path: Path) -> None:
    source, seen = make_qwen().write(tmp_path / "source"), [0]

    def count(done: int, total: int) -> None:
        assert seen[-1] < done <= total
        seen.append(done)

    path = tmp_path / MODEL_FILE
    with plan_adoption(source) as adoption:
        weights.write_tensors(path, adoption.tensors, Notes(), count)
    (header,) = struct.unpack("<Q", path.read_bytes()[:8])
    assert seen[-1] == path.stat().st_size - 8 - header


@pytest.mark.parametrize("shape", ["fp8 in blocks", "fp8 with one scale a matrix"])
def test_fp8_is_its_numbers_times_their_scales(tmp_path: Path, shape: str) -> None:
    content = FOLDERS[shape].make()
    found = adopt(content.write(tmp_path / "source"), tmp_path / "out")
    name = "model.layers.1.mlp.down_proj.weight"
    assert torch.equal(found[name], (content.tensors[name].float() / 64).bfloat16())


def test_fp8_scales_each_block_by_its_own(tmp_path: Path) -> None:
    content = FOLDERS["fp8 in blocks"].make()
    name = "model.layers.0.self_attn.q_proj.weight"
    scales = torch.tensor([[1.0, 2.0], [4.0, 8.0]])
    content.tensors[name.replace(".weight", ".weight_scale_inv")] = scales
    found = adopt(content.write(tmp_path / "source"), tmp_path / "out")[name]
    stored = content.tensors[name].float()
    assert torch.equal(found[:16, 16:], (stored[:16, 16:] * 2).bfloat16())
    assert torch.equal(found[16:, :16], (stored[16:, :16] * 4).bfloat16())


def test_mxfp4_is_what_transformers_makes_of_it() -> None:
    torch.manual_seed(0)
    blocks = torch.randint(256, (3, 8, 2, 16), dtype=torch.uint8)
    scales = torch.randint(118, 134, (3, 8, 2), dtype=torch.uint8)
    planned = {
        name: PlannedTensor(name, tuple(one.shape), "U8", lambda a, b, one=one: one[a:b])
        for name, one in (("experts.up_blocks", blocks), ("experts.up_scales", scales))
    }
    config = {"quantization_config": {"quant_method": "mxfp4"}}
    made = dequantise(config, planned, Notes())["experts.up"]  # type: ignore[arg-type] # a config
    wanted = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32)
    assert made.shape == tuple(wanted.shape) == (3, 64, 8)
    assert torch.equal(torch.cat([made.read(e, e + 1) for e in range(3)]), wanted)
    assert torch.equal(made.read_all().bfloat16().float(), wanted)  # nothing is lost in bf16
    assert config == {}


def test_a_gpt_oss_of_the_hub_is_adopted(tmp_path: Path) -> None:
    """Experts in MXFP4, and rotary angles in the older spelling."""
    kind = "gpt_oss"
    sizes = {"vocab_size": VOCABULARY, "intermediate_size": 32, "eos_token_id": 258}
    config = family_models.make_config(kind, **sizes)
    tensors = family_models.get_tensors(family_models.make_model(config))
    torch.manual_seed(2)
    wanted = {}
    for name in [name for name in tensors if name.endswith("_proj")]:
        experts, inner, rows = tensors.pop(name).shape
        blocks = torch.randint(256, (experts, rows, inner // 32, 16), dtype=torch.uint8)
        scales = torch.randint(118, 122, (experts, rows, inner // 32), dtype=torch.uint8)
        tensors |= {f"{name}_blocks": blocks, f"{name}_scales": scales}
        wanted[name] = convert_moe_packed_tensors(blocks, scales)
    content = make_qwen()
    told = config.to_dict()
    rope = {"rope_type": "yarn", "factor": 32.0, "truncate": False, "beta_fast": 32.0}
    rope |= {"beta_slow": 1.0, "original_max_position_embeddings": 64}
    content.config = {
        name: value for name, value in told.items() if name not in ("rope_parameters", "dtype")
    } | {"rope_theta": 150_000, "rope_scaling": rope}
    content.config["quantization_config"] = {"quant_method": "mxfp4"}
    content.tensors = tensors
    found = adopt(content.write(tmp_path / "source"), tmp_path / "out")
    assert len(wanted) == 4
    assert all(torch.equal(found[name], one.bfloat16()) for name, one in wanted.items())
    assert load_model(tmp_path / "out").config.rope_parameters["factor"] == 32.0


ADAPTED = ("model.layers.0.self_attn.q_proj", "model.layers.1.mlp.up_proj")


def write_adapter(folder: Path, **changes: object) -> dict[str, torch.Tensor]:
    """A LoRA adapter of rank 3, in peft's format, over `make_qwen`."""
    torch.manual_seed(1)
    base, tensors = make_tensors(), {}
    for module in ADAPTED:
        rows, columns = base[f"{module}.weight"].shape
        tensors[f"base_model.model.{module}.lora_A.weight"] = torch.randn(3, columns)
        tensors[f"base_model.model.{module}.lora_B.weight"] = torch.randn(rows, 3)
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 3, "lora_alpha": 6, "bias": "none", **changes}
    (folder / "adapter_config.json").write_bytes(dump(config))
    return tensors


@pytest.mark.parametrize(
    ("changes", "factor"),
    [
        ({}, 2.0),
        ({"use_rslora": True}, 6 / 3**0.5),
        ({"r": 8, "rank_pattern": {"layers.1.mlp.up_proj": 3, "q_proj": 3}}, 2.0),
        ({"alpha_pattern": {"q_proj": 3, "self_attn.q_proj": 9, "nothing": 9}}, 1.0),
    ],
    ids=str,
)
def test_an_adapter_is_added_to_its_base(
    tmp_path: Path, changes: dict[str, object], factor: float
) -> None:
    base = make_qwen().write(tmp_path / "base")
    tensors = write_adapter(tmp_path / "adapter", **changes)
    found, plain = adopt(tmp_path / "adapter", tmp_path / "out", base), make_tensors()
    name = ADAPTED[0]
    a, b = (tensors[f"base_model.model.{name}.lora_{which}.weight"] for which in "AB")
    wanted = (plain[f"{name}.weight"].float() + factor * (b @ a)).bfloat16()
    assert torch.equal(found[f"{name}.weight"], wanted)
    same = plain.keys() - {f"{module}.weight" for module in ADAPTED}
    assert all(torch.equal(found[one], plain[one]) for one in same)
    load_model(tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"use_dora": True}, "use_dora is True: merge this adapter with the library"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights is pissa: merge this adapter"),
        ({"layer_replication": [[0, 2], [1, 2]]}, "layer_replication is .*: merge this adapter"),
        ({"velora_config": {"rank": 1}}, "velora_config is .*: merge this adapter"),
        ({"bias": "all"}, "bias is all"),
        ({"peft_type": "IA3"}, "peft_type is IA3: only LORA"),
        ({"lora_alpha": None}, "lora_alpha is None"),
        ({"alpha_pattern": {"(a+)+": 1}}, "is not a name"),
        ({"r": 4}, r"gives model.layers.* the rank 4, and its factors in .* have 3"),
        ({"rank_pattern": {"q_proj": 4}}, r"gives \S*q_proj the rank 4"),
    ],
    ids=str,
)
def test_an_adapter_that_is_more_than_a_product_is_refused(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    base = make_qwen().write(tmp_path / "base")
    write_adapter(tmp_path / "adapter", **changes)
    with pytest.raises(CheckpointError, match=said):
        adopt(tmp_path / "adapter", tmp_path / "out", base)


def test_an_adapter_of_another_base_is_refused(tmp_path: Path) -> None:
    write_adapter(tmp_path / "adapter")
    adapter = tmp_path / "adapter" / "adapter_model.safetensors"
    small: Content = make_qwen(num_hidden_layers=1)
    small.tensors = {n: t for n, t in small.tensors.items() if not n.startswith("model.layers.1.")}
    base = small.write(tmp_path / "base")
    with pytest.raises(CheckpointError, match=r"is for model.layers.1.mlp.up_proj.weight, which"):
        adopt(tmp_path / "adapter", tmp_path / "out", base)
    base = make_qwen().write(tmp_path / "whole")
    tensors = load_file(adapter)
    save_file(
        {n: t[:, :-1].contiguous() if "lora_A" in n else t for n, t in tensors.items()}, adapter
    )
    with pytest.raises(CheckpointError, match=r"makes a matrix of \[.*\], and the base's has"):
        adopt(tmp_path / "adapter", tmp_path / "out", base)
    save_file({n: t for n, t in tensors.items() if "lora_A" in n}, adapter)
    with pytest.raises(CheckpointError, match="lacks one of its two factors"):
        adopt(tmp_path / "adapter", tmp_path / "out", base)


def test_an_adapter_without_its_base_is_told(tmp_path: Path) -> None:
    write_adapter(tmp_path / "adapter")
    said = r"an adapter and no model: .*--base FOLDER"
    with pytest.raises(CheckpointError, match=said):
        adopt(tmp_path / "adapter", tmp_path / "out")
    (tmp_path / "adapter" / "config.json").write_text(json.dumps(make_qwen().config))
    with pytest.raises(CheckpointError, match=said):
        adopt(tmp_path / "adapter", tmp_path / "out")
    model = make_qwen().write(tmp_path / "model")
    with pytest.raises(CheckpointError, match=r"no adapter_config.json: --base is for"):
        adopt(model, tmp_path / "out", model)
