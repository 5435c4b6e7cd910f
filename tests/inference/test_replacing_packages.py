"""What the library asks the machine for in the files of causal models: each is known here, so that
no package that happens to be installed makes two machines compute with different functions."""

import re
from pathlib import Path

import transformers
from transformers import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from assay.inference.families import FAMILIES
from assay.inference.plain.opening import REPLACING

#: Questions about the machine, or about how a pass is run, that put no other function in the place
#: of one that a plain model calls, each with its reason.
HARMLESS = {
    "is_accelerate_available": "moves weights between devices, where somebody asks for it",
    "is_bitsandbytes_available": "quantised weights only, and ours are bf16",
    "is_flash_attn_available": "an attention that is not chosen here",
    "is_flash_attn_greater_or_equal": "an attention that is not chosen here",
    "is_ninja_available": "compiles what `kernels` has fetched",
    "is_peft_available": "heads of other tasks",
    "is_torch_cuda_available": "loads what `kernels` has fetched",
    "is_torch_flex_attn_available": "an attention that is not chosen here",
    "is_torch_greater_or_equal": "one scan for another by torch's version, which the cap allows",
    "is_torchdynamo_compiling": "nothing is compiled",
    "is_torchdynamo_exporting": "nothing is exported",
}
_ASKED = re.compile(r"\bis_\w+_(?:available|greater_or_equal\w*)\b|\bis_torchdynamo_\w+\b")
_TAKEN = re.compile(r"use_kernel_func_from_hub_with_fallback\(\s*\"\w+\",\s*\"(\w+)\"")


def read_files() -> dict[str, str]:
    """The text of each causal type's modules, by their paths."""
    root = Path(transformers.__file__).parent / "models"
    kinds = set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES) - FAMILIES.keys()
    folders = {CONFIG_MAPPING[kind].__module__.split(".")[2] for kind in kinds}
    files = (file for folder in folders for file in (root / folder).glob("modeling_*.py"))
    return {str(file): file.read_text() for file in files}


def test_each_question_about_the_machine_is_known() -> None:
    packages = {f"is_{package}_available" for package in REPLACING}
    asked = {name for text in read_files().values() for name in _ASKED.findall(text)}
    assert "is_mambapy_available" in asked  # they are found
    assert asked <= packages | HARMLESS.keys()


def test_each_package_that_replaces_functions_is_refused() -> None:
    taken = {package for text in read_files().values() for package in _TAKEN.findall(text)}
    assert "mamba_ssm" in taken
    assert taken <= {*REPLACING}
