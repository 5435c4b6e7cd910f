"""The table of docs/models.md: which causal types of the installed transformers open by their own
class, from a tiny config, and for each of the others the reason why it does not.

python -m tests.inference.plain_types  # writes it anew: minutes to hours
"""

import argparse
import json
import os
import re
import select
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from assay.inference.families import FAMILIES, REFUSED
from assay.inference.measurable import require_measurable
from assay.inference.plain.head import UnknownHeadError, find_head
from assay.inference.plain.states import get_plain_head
from assay.inference.probes import ProbeError
from tests.inference.plain_models import make_plain_config, make_plain_model

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
#: Seconds for one type, weights of a config that counts as tiny, and tokens of the comparison.
_SECONDS, _TINY, _TOKENS = 600.0, 20_000_000, 256
#: What a reading says of a type that opens.
OPENS = "opens"
_BEGIN, _END = "<!-- types -->", "<!-- /types -->"


def list_types() -> list[str]:
    """All causal types without a family."""
    return sorted(set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES) - set(FAMILIES))


def try_type(kind: str) -> str:
    """`OPENS`, or why a type does not, in one line. Tried in a fork, which a class may end."""
    if kind in REFUSED:
        return REFUSED[kind]
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        with os.fdopen(writing, "w") as out:
            out.write(_try(kind))
        os._exit(0)
    os.close(writing)
    ready, _, _ = select.select([reading], [], [], _SECONDS)
    if not ready:
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reading) as said:
        found = said.read() if ready else ""
    os.waitpid(child, 0)
    return found or "it takes longer than the probes wait, or ends the process"


def _try(kind: str) -> str:
    try:
        config = make_plain_config(kind)
    except Exception as error:  # noqa: BLE001 - a class may raise anything
        return f"no tiny config of it was made here: {_shorten(error)}"
    try:
        model: Any = make_plain_model(config, _TINY)
        model.plain_head = find_head(model)
        require_measurable(model, _TOKENS)
    except (UnknownHeadError, ProbeError) as error:
        return _shorten(error).removeprefix("this model cannot be measured ")
    except Exception as error:  # noqa: BLE001 - as above
        return f"a tiny model of it does not run here: {_shorten(error)}"
    assert get_plain_head(model) is not None
    return OPENS


def _shorten(error: Exception) -> str:
    line = re.sub(r"\s+", " ", str(error)) or type(error).__name__
    line = re.sub(r", and [0-9]+ more$", "", line)
    line = re.sub(r": (logits|states|they) differ by .*", "", line)  # other machines', other digits
    return (line if len(line) <= 220 else f"{line[:217]}…").replace("|", "/")


def make_table(found: Iterable[tuple[str, str]]) -> str:
    rows = sorted(found)
    opens = [kind for kind, said in rows if said == OPENS]
    lines = [
        f"{len(opens)} of {len(rows)} causal types without a family: "
        + ", ".join(f"`{kind}`" for kind in opens)
        + ".",
        "",
        "| type | why it does not open |",
        "|---|---|",
    ]
    lines += [f"| `{kind}` | {said} |" for kind, said in rows if said != OPENS]
    return "\n".join(lines)


def read_table() -> str:
    """The page's table as it is."""
    page = PAGE.read_text()
    return page[page.index(_BEGIN) + len(_BEGIN) : page.index(_END)].strip()


def write_table(table: str) -> None:
    page = PAGE.read_text()
    before, after = page.partition(_BEGIN)[0], page.partition(_END)[2]
    PAGE.write_text(f"{before}{_BEGIN}\n{table}\n{_END}{after}")


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
        write_table(make_table(found.items()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("kinds", nargs="*", help="only these, and the page stays")
    parser.add_argument("--kept", type=Path, default=Path(os.devnull), help="to go on later")
    given = parser.parse_args()
    main(given.kinds, given.kept)
