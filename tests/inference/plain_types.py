"""The table of docs/models.md: how each causal type of the installed transformers opens, from a
tiny config, or the reason why it does not. A column for each version of the library.

python -m tests.inference.plain_types --kept FILE  # writes the installed version's column: an hour
"""

import argparse
import json
import os
import re
import select
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from transformers import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MULTIMODAL_LM_MAPPING,
)

from assay.inference.families import FAMILIES, REFUSED, SEEING
from assay.inference.folder import CheckpointError
from assay.inference.implementations import find_pair
from assay.inference.measurable import require_measurable
from assay.inference.plain.head import UnknownHeadError, find_head
from assay.inference.plain.opening import get_library_version
from assay.inference.plain.tracing import trace
from assay.inference.plain_config import find_plain_type_fault
from assay.inference.probes import ProbeError
from assay.subnet.adoption.config import take_text_part
from assay.subnet.adoption.notes import Notes
from assay.subnet.adoption.weights import PlannedTensor, plan_tensors
from tests.inference.family_models import get_model
from tests.inference.plain_models import DENSE, make_plain_config, make_plain_model

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
#: Seconds for one type, weights of a config that counts as tiny, and tokens of the comparison.
_SECONDS, _TINY, _TOKENS = 600.0, 20_000_000, 256
#: How a cell begins: of types that open, and of others.
FAMILY, OWN, DENSE_ONLY, TEXT, NO = (
    "a family",
    "its class",
    "without experts",
    "its text part",
    "no: ",
)
#: What a column has of a type that the version lacks, and of one that is as in the column before.
_LACKS, _SAME = "no such type", "the same"
_BEGIN, _END = "<!-- types -->", "<!-- /types -->"


def list_types() -> list[str]:
    """All causal types."""
    return sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def try_type(kind: str) -> str:
    """A type's cell. Tried in a fork, which a class may end."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        with os.fdopen(writing, "w") as out:
            try:
                out.write(_try(kind))
            except Exception as error:  # noqa: BLE001 - a class may raise anything
                out.write(f"{NO}its config raises: {_shorten(error)}")
        os._exit(0)
    os.close(writing)
    ready, _, _ = select.select([reading], [], [], _SECONDS)
    if not ready:
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reading) as said:
        found = said.read() if ready else ""
    os.waitpid(child, 0)
    return found or f"{NO}it takes longer than the probes wait, or ends the process"


def _try(kind: str) -> str:
    if kind in FAMILIES:
        require_measurable(get_model(kind))
        return FAMILY
    if "text_config" in getattr(CONFIG_MAPPING[kind], "sub_configs", {}):
        return _try_text_part(kind)
    if kind in REFUSED:
        return f"{NO}{REFUSED[kind]}"
    if kind not in DENSE:
        return _try_class(kind, routed=True)
    dense, routed = _try_class(kind, routed=False), _try_class(kind, routed=True)
    assert routed.startswith(NO), f"{kind} is no longer one of those without experts"
    if dense.startswith(NO):
        return routed
    return f"{DENSE_ONLY}, {dense}; with experts {routed.removeprefix(NO)}"


def _try_class(kind: str, *, routed: bool) -> str:
    try:
        model: Any = make_plain_model(make_plain_config(kind, routed=routed), _TINY)
    except Exception as error:  # noqa: BLE001 - a class may raise anything
        made_by: Any = MODEL_FOR_CAUSAL_LM_MAPPING[CONFIG_MAPPING[kind]]
        taken = made_by.config_class.model_type
        if taken != kind and taken not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
            return f"{NO}its class takes the config of {taken}, which is no causal type"
        return f"{NO}no tiny model of it was made: {_shorten(error)}"
    try:
        model.plain_head = find_head(model)
        require_measurable(model, _TOKENS)
    except (UnknownHeadError, ProbeError) as error:
        said = _shorten(error).removeprefix("this model cannot be measured ")
        return f"{NO}{_find_choice(model) or said}"
    except Exception as error:  # noqa: BLE001 - as above
        return f"{NO}a tiny model of it does not run: {_shorten(error)}"
    if routed and (more := _list_default_parts(kind) - _list_parts(model)):
        return f"{NO}no tiny model of it was made that has {', '.join(sorted(more))}"
    return f"{OWN} (`{'`, `'.join(find_pair(model))}`)"


def _find_choice(model: Any) -> str | None:
    """A hard choice within, in words: other probes that fail may fail for it."""
    ids = torch.randint(
        model.config.vocab_size, (1, 96), generator=torch.Generator().manual_seed(0)
    )
    with suppress(Exception):
        found = trace(model, ids).findings
        return f"(choices): {_shorten(ValueError(found[0]))}" if found else None
    return None


def _list_default_parts(kind: str) -> set[str]:
    """The parts of the class by its default config: a tiny model must have all of them. Of one or
    two types the library itself builds no such model."""
    config: Any = CONFIG_MAPPING[kind]()
    if getattr(config, "is_decoder", None) is False:
        config.is_decoder = True
    try:
        return _list_parts(_outline(config))
    except Exception:  # noqa: BLE001 - a class may raise anything
        return set()


def _outline(config: Any) -> Any:
    """A model without values."""
    with torch.device("meta"):
        return MODEL_FOR_CAUSAL_LM_MAPPING[type(config)](config)


def _list_parts(model: Any) -> set[str]:
    """Its modules' classes, and the types of its layers."""
    kinds = getattr(model.config, "layer_types", None) or ()
    return {type(module).__name__ for module in model.modules()} | {*kinds}


def _try_text_part(kind: str) -> str:
    """Of a type that reads more than texts: what `assay adopt` makes of its config, and whether the
    tensors of the whole have the names of its text part's."""
    whole: Any = CONFIG_MAPPING[kind]()
    try:
        text = take_text_part({**json.loads(whole.to_json_string(use_diff=False))}, Notes())
    except CheckpointError as error:
        return f"{NO}{_shorten(error)}"
    inner = str(text["model_type"])
    if inner not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return f"{NO}it reads more than texts, and its text part, {inner}, has no causal class"
    fault = None if inner in FAMILIES else find_plain_type_fault(inner)
    if fault is not None:
        return f"{NO}{fault}"
    cell = _try(inner)
    if cell.startswith(NO):
        return f"{NO}its text part, {inner}: {cell.removeprefix(NO)}"
    if kind not in SEEING and inner not in FAMILIES:  # of those, tests adopt one each
        try:
            found = _list_text_names(whole)
        except Exception as error:  # noqa: BLE001 - as above
            return f"{NO}its text part, {inner}, was not tried: {_shorten(error)}"
        if found - {"lm_head.weight"} - {*_outline(whole.text_config).state_dict()}:
            return f"{NO}its tensors are not those of its text part, {inner}, beside others"
    return f"{f'{DENSE_ONLY}, ' * cell.startswith(DENSE_ONLY)}{TEXT}, `{inner}`"


def _list_text_names(whole: Any) -> set[str]:
    """The names that `assay adopt` gives the tensors of the text part of a whole model."""
    classes = (MODEL_FOR_MULTIMODAL_LM_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING)
    made_by = next(known[type(whole)] for known in classes if type(whole) in known)
    with torch.device("meta"):
        stored = made_by(whole).state_dict()
    planned = {
        name: PlannedTensor(name, tuple(one.shape), "BF16", lambda start, stop: torch.empty(0))
        for name, one in stored.items()
    }
    return {*plan_tensors(planned, True, range(0), Notes())}


def _shorten(error: Exception) -> str:
    line = re.sub(r"\s+", " ", str(error)) or type(error).__name__
    line = re.sub(r", and [0-9]+ more$", "", line)
    line = re.sub(r": (logits|states|they) differ by .*", "", line)  # other machines', other digits
    line = line.replace("it is no continuous function: ", "")
    line = re.sub(r": it chooses by numbers of the pass, and .*", "", line)
    line = re.sub(r"around .* made 32, it is no function of the tokens before: ", "", line)
    return (line if len(line) <= 160 else f"{line[:157]}…").replace("|", "/")


# --- the page


def count(cells: Mapping[str, str]) -> str:
    """What a column comes to, in a sentence."""
    ways = (FAMILY, OWN, DENSE_ONLY, TEXT)
    counts = [sum(cell.startswith(way) for cell in cells.values()) for way in ways]
    family, own, dense, text = counts
    return (
        f"Of the {len(cells)} causal types of transformers {{version}}, {sum(counts)} open: "
        f"{family} by a family, {own} by their own class, {dense} by it in configs without experts "
        f"alone, and {text} by their text part."
    )


def read_page() -> dict[str, dict[str, str]]:
    """The page's columns: version → type → cell."""
    page = PAGE.read_text()
    lines = page[page.index(_BEGIN) : page.index(_END)].splitlines()
    rows = [line.strip("|").split("|") for line in lines if line.startswith("|")]
    parts = [[cell.strip() for cell in row] for row in rows]
    if not parts:
        return {}
    versions = [name.rpartition(" ")[2] for name in parts[0][1:]]
    columns: dict[str, dict[str, str]] = {version: {} for version in versions}
    for kind, *cells in parts[2:]:
        before = ""
        for version, cell in zip(versions, cells, strict=True):
            before = before if cell == _SAME else cell
            if before != _LACKS:
                columns[version][kind.strip("`")] = before
    return columns


def write_page(columns: Mapping[str, Mapping[str, str]]) -> None:
    """The newest version first."""
    versions = sorted(columns, key=lambda name: [int(part) for part in name.split(".")])[::-1]
    lines = [count(columns[version]).format(version=version) + "\n" for version in versions]
    lines += [f"| type | {' | '.join(f'transformers {version}' for version in versions)} |"]
    lines += ["|---" * (len(versions) + 1) + "|"]
    for kind in sorted({kind for column in columns.values() for kind in column}):
        cells = [columns[version].get(kind, _LACKS) for version in versions]
        shown = [_SAME if i and cell == cells[i - 1] else cell for i, cell in enumerate(cells)]
        lines.append(f"| `{kind}` | {' | '.join(shown)} |")
    page = PAGE.read_text()
    before, after = page.partition(_BEGIN)[0], page.partition(_END)[2]
    PAGE.write_text(f"{before}{_BEGIN}\n{chr(10).join(lines)}\n{_END}{after}")


def main(kinds: list[str], kept: Path) -> None:
    """Try types, each once: what the file `kept` has is not tried again."""
    found: dict[str, str] = {}
    if kept.is_file():
        found = dict(json.loads(line) for line in kept.read_text().splitlines())
    for kind in kinds or list_types():
        if kind not in found:
            found[kind] = try_type(kind)
            print(f"{kind}: {found[kind]}", file=sys.stderr, flush=True)
            with kept.open("a") as file:
                file.write(json.dumps([kind, found[kind]]) + "\n")
    if not kinds:
        write_page(read_page() | {get_library_version(): found})


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("kinds", nargs="*", help="only these, and the page stays")
    parser.add_argument("--kept", type=Path, default=Path(os.devnull), help="to go on later")
    given = parser.parse_args()
    main(given.kinds, given.kept)
