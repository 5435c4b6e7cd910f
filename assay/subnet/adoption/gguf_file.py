"""A GGUF file as a model: its header as a config, its tensors as numbers, its tokenizer as a file.

The installed transformers reads the architecture and the tokenizer, and the package gguf the file.
Both leave out in silence what they do not know, such as scaled rotary angles. Here everything of an
architecture that is not known is refused, and the tokenizer must have the file's own strings.
"""

import re
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from io import SEEK_CUR
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.modeling_gguf_pytorch_utils import (
    GGUF_TO_TRANSFORMERS_MAPPING,
    TENSOR_PROCESSORS,
    Gemma2TensorProcessor,
    LlamaTensorProcessor,
    NemotronTensorProcessor,
    Qwen2MoeTensorProcessor,
    TensorProcessor,
    get_gguf_hf_weights_map,
    load_gguf_checkpoint,
)

from assay.gate.rules import is_integer
from assay.inference.expert_stacks import NAMES
from assay.inference.families import FAMILIES, find_type_fault, list_fields
from assay.inference.families.fields import SIZES
from assay.inference.folder import CheckpointError
from assay.protocol.encoding import Json
from assay.sandbox.thrown import LibraryError, catch_thrown
from assay.subnet.adoption.gguf_texts import make_texts
from assay.subnet.adoption.notes import Notes, name_some
from assay.subnet.adoption.weights import PlannedTensor

SUFFIX = ".gguf"
#: Most tensors and entries of a header, elements of its lists together, and bytes of a text.
_TENSORS_MAX, _ENTRIES_MAX, _ELEMENTS_MAX, _TEXT_MAX = 1 << 20, 1 << 16, 1 << 20, 1 << 24
_MAGIC = b"GGUF"
#: The kinds of an entry's value: text, list, and all others by their bytes.
_TEXT, _LIST = 8, 9
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
#: Entries of an architecture that say what others say, too.
_REPEATED = frozenset(
    {"attention.key_length", "attention.value_length", "rope.dimension_count", "vocab_size"}
)
#: Entries that the library drops for some architectures → the field that has their meaning, for
#: families that have it.
_FURTHER = {
    "attention.key_length": "head_dim",
    "attention.sliding_window": "sliding_window",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "expert_feed_forward_length": "moe_intermediate_size",
    "expert_shared_feed_forward_length": "shared_expert_intermediate_size",
    "final_logit_softcapping": "final_logit_softcapping",
    "rope.freq_base": "rope_theta",
    "rope.scaling.original_context_length": "original_max_position_embeddings",
}
#: Architectures that the library misreads.
_MISREAD = {
    "gpt-oss": "its sinks, its windows and the scale of its rotary angles",
    "gemma4": "the layers that see all tokens, and those that use the keys of another",
}
#: What an architecture's tensors need besides their numbers: a function of one tensor, or nothing;
#: experts are taken apart here.
_CHANGING = (LlamaTensorProcessor, Gemma2TensorProcessor, NemotronTensorProcessor)
_PROCESSORS = (*_CHANGING, Qwen2MoeTensorProcessor, TensorProcessor)
#: The experts of a layer, in one stack for each of their matrices.
_EXPERTS = re.compile(r"(blk\.[0-9]{1,4}\.ffn_(gate|up|down)_exps)\.weight")
#: Gemma 2 and 3 scale scores by the size of heads, but in these numbers of layers by the width that
#: a head has of the model's: so llama.cpp tells their largest models, whose files do not say it.
_BY_WIDTH = {"gemma2": 46, "gemma3_text": 62}


@dataclass(frozen=True)
class GgufModel:
    """What a GGUF file holds: a config.json, the tensors, and a tokenizer's files.

    Attributes:
        puts_bos: whether every prompt begins with the BOS token, whatever the chat template.
    """

    config: dict[str, Json]
    tensors: dict[str, PlannedTensor]
    files: Mapping[str, bytes]
    puts_bos: bool


def find_gguf(source: Path) -> Path | None:
    """The GGUF file that a source is, or the only one of a folder without other weights. Raises a
    CheckpointError where a folder has several."""
    if source.is_file():
        return source if source.suffix == SUFFIX else None
    files = sorted(path for path in source.glob(f"*{SUFFIX}") if path.is_file())
    if not files or any(source.glob("*.safetensors")):
        return None
    if len(files) > 1:
        raise CheckpointError(
            f"{source} has {name_some([file.name for file in files])}: name one of them"
        )
    return files[0]


@contextmanager
def open_gguf(path: Path, notes: Notes) -> Iterator[GgufModel]:
    """Open a file. Its tensors are read in the block.

    Raises:
        CheckpointError: it is cut off or none, or holds something that nothing here computes.
    """
    if find_spec("gguf") is None:
        raise CheckpointError(f"{path} needs the package gguf: pip install 'assay[gguf]'")
    _require_header(path)
    try:
        with catch_thrown(CheckpointError):
            found = _read(path, notes)
    except LibraryError as error:
        raise CheckpointError(f"{path} is no GGUF file that transformers reads: {error}") from None
    yield found


def _require_header(path: Path) -> None:
    """Raise a CheckpointError unless the file begins as GGUF, with entries that may be: the library
    makes several objects of each element, and calls itself for a list in a list."""
    with path.open("rb") as file:
        begin = file.read(24)
        if len(begin) < 24 or not begin.startswith(_MAGIC):
            raise CheckpointError(f"{path} does not begin as a GGUF file: fetch it again")
        _, tensors, entries = struct.unpack("<IQQ", begin[4:])
        if tensors > _TENSORS_MAX or entries > _ENTRIES_MAX:
            raise CheckpointError(f"{path} says it has {tensors} tensors and {entries} entries")
        elements = 0
        try:
            for _ in range(entries):
                _skip_text(file)
                (kind,) = _unpack(file, "<I")
                count = 1
                if kind == _LIST:
                    kind, count = _unpack(file, "<IQ")
                    elements += count
                if elements > _ELEMENTS_MAX:
                    raise ValueError(f"its lists have more than {_ELEMENTS_MAX} elements")
                _skip_values(file, kind, count)
        except (struct.error, ValueError) as error:
            raise CheckpointError(f"{path} has a header that nothing reads: {error}") from None


def _unpack(file: BinaryIO, form: str) -> tuple[int, ...]:
    """Numbers at a file's place. A struct.error where it ends."""
    return struct.unpack(form, file.read(struct.calcsize(form)))


def _skip_text(file: BinaryIO) -> None:
    (size,) = _unpack(file, "<Q")
    if size > _TEXT_MAX:
        raise ValueError(f"a text of {size} bytes")
    file.seek(size, SEEK_CUR)


def _skip_values(file: BinaryIO, kind: int, count: int) -> None:
    if kind == _TEXT:
        for _ in range(count):
            _skip_text(file)
    elif kind in _SIZES:
        file.seek(count * _SIZES[kind], SEEK_CUR)
    else:
        raise ValueError(f"a value of kind {kind}, or a list of lists")


def _read(path: Path, notes: Notes) -> GgufModel:
    from gguf import GGUFReader

    parsed: Any = load_gguf_checkpoint(str(path))
    reader = GGUFReader(str(path))
    entry: Any = reader.fields["general.architecture"]
    architecture = str(entry.contents())
    _require_known(path, architecture, parsed["config"], reader)
    config = _make_config(path, architecture, parsed["config"], reader)
    tensors = _plan(path, architecture, config, parsed, reader)
    kinds = sorted({tensor.tensor_type.name for tensor in reader.tensors})
    notes.converted.append(
        f"{len(tensors)} tensors of {path.name} from {', '.join(kinds)} to numbers"
    )
    if any(kind not in ("BF16", "F16", "F32") for kind in kinds):
        notes.guessed.append(
            "the model was trained in more bits than the file has: adopt the original if there is "
            "one"
        )
    if config["model_type"] == "mistral" and config["sliding_window"] is None:
        notes.guessed.append(
            "attention sees all tokens, since the file names no window: that of the first Mistral "
            "7B sees 4,096"
        )
    files, puts_bos = make_texts(path, architecture, parsed["tokenizer"], reader, notes)
    return GgufModel(config, tensors, files, puts_bos)


def _require_known(path: Path, architecture: str, config: Mapping[str, Any], reader: Any) -> None:
    """Raise a CheckpointError where the header says something of the model that is dropped."""
    if "split.count" in reader.fields and reader.fields["split.count"].contents() > 1:
        raise CheckpointError(
            f"{path} is one of several parts: join them with llama-gguf-split --merge"
        )
    if (misread := _MISREAD.get(architecture)) is not None:
        raise CheckpointError(
            f"{path}: the installed transformers misreads {architecture}, {misread}: adopt the "
            "model that the file was made of"
        )
    if (fault := find_type_fault(config["model_type"])) is not None:
        raise CheckpointError(f"{path}: {fault}")
    known = {*_list_mapped(architecture, config), *_list_further(config), *_REPEATED}
    prefix = f"{architecture}."
    for key, field in reader.fields.items():
        name = key.removeprefix(prefix)
        if name == key or name in known:
            continue
        value = field.contents()
        if (name, value) != ("rope.scaling.type", "none"):
            raise CheckpointError(
                f"{path}: the installed transformers drops {key} ({str(value)[:60]}): adopt the "
                "model that the file was made of"
            )


def _list_mapped(architecture: str, config: Mapping[str, Any]) -> set[str]:
    """The entries of an architecture that the library reads."""
    mappings: Any = GGUF_TO_TRANSFORMERS_MAPPING["config"]
    return {*mappings.get(architecture, ()), *mappings.get(config["model_type"], ())}


def _list_further(config: Mapping[str, Any]) -> set[str]:
    """The entries that are read here for a family."""
    fields = list_fields(FAMILIES[config["model_type"]])
    return {entry for entry, field in _FURTHER.items() if field in fields}


def _make_config(
    path: Path, architecture: str, parsed: Mapping[str, Any], reader: Any
) -> dict[str, Json]:
    """The config as transformers reads it with what it drops, its numbers as they were before they
    were fp32."""
    further = {
        _FURTHER[entry]: reader.fields[f"{architecture}.{entry}"].contents()
        for entry in _list_further(parsed) - _list_mapped(architecture, parsed)
        if f"{architecture}.{entry}" in reader.fields
    }
    config = {
        name: float(str(np.float32(value))) if isinstance(value, float) else value
        for name, value in {**parsed, **further}.items()
        if name not in ("_model_name_or_path", "unk_token_id")
    }
    for name, most in SIZES.items():  # before a library builds anything of that size
        if name in config and not is_integer(config[name], 1, most):
            raise CheckpointError(f"{path}: {name} is {str(config[name])[:60]}, not 1 to {most}")
    kind: Any = config["model_type"]
    entry, head = f"{architecture}.rope.dimension_count", FAMILIES[kind].get_head_size(config)
    if entry in reader.fields and reader.fields[entry].contents() != head:
        raise CheckpointError(
            f"{path}: {entry} is not the size of a head, {head}, as the installed transformers "
            "takes it: adopt the model that the file was made of"
        )
    if kind == "mistral":  # its class has a window where nothing is said, and llama.cpp none
        config.setdefault("sliding_window", None)
    if kind in _BY_WIDTH:
        by_width = config["num_hidden_layers"] == _BY_WIDTH[kind]
        width = config["hidden_size"] // config["num_attention_heads"]
        config["query_pre_attn_scalar"] = width if by_width else config["head_dim"]
    return config


def _plan(
    path: Path, architecture: str, config: Mapping[str, Any], parsed: Any, reader: Any
) -> dict[str, PlannedTensor]:
    """Each tensor by its name in the family."""
    kind: Any = TENSOR_PROCESSORS.get(architecture, TensorProcessor)
    if kind not in _PROCESSORS:
        raise CheckpointError(
            f"{path}: tensors of {architecture} are not read from GGUF here: adopt the model that "
            "the file was made of"
        )
    processor = kind(config=dict(config))
    values = {name: value for name, value in config.items() if name != "model_type"}
    values["pad_token_id"] = None  # a class's own may be beyond the vocabulary
    with torch.device("meta"):
        outline: Any = AutoModelForCausalLM.from_config(
            AutoConfig.for_model(config["model_type"], **values)
        )
    names = get_gguf_hf_weights_map(outline, processor, architecture)
    shapes = {name: tuple(tensor.shape) for name, tensor in outline.state_dict().items()}
    planned = {}
    for tensor in reader.tensors:
        stack = _EXPERTS.fullmatch(tensor.name)
        name = names.get(tensor.name if stack is None else stack[1])
        if name is None:
            raise CheckpointError(
                f"{path}: the installed transformers drops {tensor.name}: adopt the model that the "
                "file was made of"
            )
        found, wanted = tuple(int(size) for size in reversed(tensor.shape)), shapes[name]
        if stack is not None and stack[2] != "down":  # the model has the two in one
            wanted = (wanted[0], wanted[1] // 2, *wanted[2:])
        if found not in (wanted, wanted[1:] if wanted[0] == 1 else wanted):
            raise CheckpointError(
                f"{path}: {tensor.name} has the shape {list(found)}, and its header makes "
                f"{list(wanted)} of it"
            )
        if stack is None:
            read = _make_reader(tensor, processor)
            if found != wanted:  # a matrix of one row, stored as a vector
                read = _make_row_reader(read, found[0])
            planned[name] = PlannedTensor(name, wanted, "F32", read)
            continue
        experts = NAMES[config["model_type"]]
        matrix = {"gate": experts.gate, "up": experts.up, "down": experts.down}[stack[2]]
        block = f"{name.partition('.mlp.')[0]}.{experts.block}"
        for number in range(wanted[0]):
            part = f"{block}.experts.{number}.{matrix}.weight"
            read = _make_expert_reader(tensor, number)
            planned[part] = PlannedTensor(part, wanted[1:], "F32", read)
    return planned


def _make_row_reader(read: Callable[[int, int], Tensor], size: int) -> Callable[[int, int], Tensor]:
    """A reader of the one row of a matrix."""
    return lambda start, stop: read(0, size)[None][start:stop]


def _make_expert_reader(tensor: Any, number: int) -> Callable[[int, int], Tensor]:
    """A reader of rows of one expert's matrix."""
    from gguf import dequantize

    def read(start: int, stop: int) -> Tensor:
        numbers = dequantize(tensor.data[number, start:stop], tensor.tensor_type)
        return torch.from_numpy(np.array(numbers, np.float32))

    return read


def _make_reader(tensor: Any, processor: Any) -> Callable[[int, int], Tensor]:
    from gguf import dequantize

    # a function of a whole tensor, such as an order of rows, only where there is one
    whole = isinstance(processor, _CHANGING) and not tensor.name.startswith(
        ("token_embd.", "output.")
    )

    def read(start: int, stop: int) -> Tensor:
        data = tensor.data if whole else tensor.data[start:stop]
        numbers = dequantize(data, tensor.tensor_type)
        if whole:
            numbers = processor.process(
                weights=numbers, name=tensor.name, tensor_key_mapping={}, parsed_parameters={}
            ).weights[start:stop]
        return torch.from_numpy(np.array(numbers, np.float32))

    return read
