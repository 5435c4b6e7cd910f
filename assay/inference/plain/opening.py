"""Builds the class of a config.json without values, in a child process with limits, and says which
tensors it has.

A class builds whatever its config says. So before this process builds it, a child has: its memory
and processor time are limited, and it reads nothing but the config. Weights are on torch's `meta`
device, and are as large as nothing. What the child lists are names and shapes, and the tensors of a
folder must be those. Of the library only, never of a folder, is code run.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from assay.inference.folder import CONFIG_FILE, CheckpointError
from assay.protocol.encoding import Json
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.parameters import ModelClass, Parameters
from assay.sandbox.secret_variables import list_plain_variables

#: Limits of a child: bytes of its memory beyond what the libraries map, processor seconds, bytes of
#: its answer.
MEMORY, SECONDS, _ANSWER = 8 << 30, 120, 1 << 26
#: Seconds that are waited for it, however busy the machine is.
_WAIT = 1_200
#: Packages that put other functions in the place of a class's own where they are installed, so that
#: two machines would compute with different ones.
REPLACING = ("causal_conv1d", "fla", "kernels", "mamba_ssm", "mambapy", "xlstm")


#: Fields that name a class, a type of numbers and a program, and change nothing that is built.
BOOKS = frozenset({"architectures", "dtype", "torch_dtype", "transformers_version"})


class LackingClassError(CheckpointError):
    """This machine's library has no such class, or not this version of it. Others may."""


@dataclass(frozen=True, slots=True)
class OpenedClass:
    """What a class is without values.

    Attributes:
        name: of the class.
        shapes: tensor name → shape, of all that a file holds: each once, however many names it has.
        tied: further names of these tensors.
        ignored: expressions that match names which the class's files may have beside them, and
            which it does not read.
        choices: hard choices that a pass without values shows, each in words; there may be more.
        fields: config.json with every field of the class, and with its sizes by their usual names.
    """

    name: str
    shapes: Mapping[str, tuple[int, ...]]
    tied: frozenset[str]
    ignored: tuple[str, ...]
    choices: tuple[str, ...]
    fields: Mapping[str, Json]


def get_library_version() -> str:
    """The installed version of transformers."""
    return version("transformers")


def require_own_functions() -> None:
    """Raise a LackingClassError where an installed package would replace functions of classes."""
    found = [name for name in REPLACING if find_spec(name) is not None]
    if found:
        raise LackingClassError(
            f"the package {found[0]} replaces functions of the library's classes where it is "
            "installed: a model without a family is read in an environment without it"
        )


def require_class(wanted: ModelClass | None) -> None:
    """Raise a LackingClassError where this machine has another version of the library than a
    network's parameters name, or none of their implementations."""
    if wanted is None:
        return
    require_own_functions()
    found = get_library_version()
    if found != wanted.library:
        raise LackingClassError(
            f"this network's model is read by transformers {wanted.library}, and {found} is "
            f"installed: pip install transformers=={wanted.library}"
        )


def open_class(config: bytes) -> OpenedClass:
    """The class of a config.json, built in a child, once for all that differ in books alone.

    Raises:
        LackingClassError: the library has none for this type. CheckpointError: the config is
            refused by it, has too many tensors, or takes more seconds or memory than the limits.
            On another machine it may not be so: nothing here is unusable for all.
    """
    fields = {name: value for name, value in json.loads(config).items() if name not in BOOKS}
    found = _open(json.dumps(fields, sort_keys=True).encode())
    if isinstance(found, CheckpointError):  # a new one: each raise adds to an error's traceback
        raise type(found)(str(found))
    return found


@lru_cache(maxsize=64)
def _open(config: bytes) -> OpenedClass | CheckpointError:
    """The class, or why this machine will not build it: programs ask again at every block, and a
    child would reach its limits at each of them. What may pass is raised, and not kept."""
    limits = [str(SECONDS), str(MEMORY)]
    command = [sys.executable, "-m", "assay.inference.plain.opening_child", *limits]
    try:
        child = subprocess.run(
            command,
            input=config,
            capture_output=True,
            timeout=_WAIT,
            check=False,
            env={**list_plain_variables(), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        )
    except subprocess.TimeoutExpired:  # its processor seconds are limited: the machine is busy
        raise CheckpointError(f"no class was built within {_WAIT} s: end other programs") from None
    if child.returncode == -signal.SIGXCPU:  # on this processor: another one may build it
        return CheckpointError(
            f"{CONFIG_FILE} takes its class more than {SECONDS} processor seconds to build here"
        )
    if len(child.stdout) > _ANSWER:
        return CheckpointError(f"{CONFIG_FILE} makes a class with too many tensors")
    if child.returncode != 0:
        last = child.stderr.decode(errors="replace").strip().rpartition("\n")[2][:200]
        raise CheckpointError(
            f"the child that builds a class ended with {child.returncode} ({last}): look whether "
            "memory suffices"
        )
    found: Any = json.loads(child.stdout)
    if "lacks" in found:
        return LackingClassError(found["lacks"])
    if "memory" in found:  # of this machine, as seconds are
        return CheckpointError(f"{CONFIG_FILE} takes its class more memory than {MEMORY:,} bytes")
    if "fault" in found:
        return CheckpointError(f"{CONFIG_FILE} is refused by its own class: {found['fault']}")
    shapes = {name: tuple(shape) for name, shape in found["shapes"].items()}
    return OpenedClass(
        found["name"],
        shapes,
        frozenset(found["tied"]),
        tuple(found["ignored"]),
        tuple(found["choices"]),
        found["fields"],
    )


def find_plain_misfit(config: bytes, shapes: Mapping[str, Sequence[int]]) -> str | None:
    """The reason why tensors are not those of a config's class, or None. Raises as `open_class`."""
    opened = open_class(config)
    named = json.loads(config).get("architectures")
    if named is not None and named != [opened.name]:
        return (
            f"architectures in config.json names {str(named)[:60]}, and the class of its "
            f"model_type is {opened.name}"
        )
    for name, shape in opened.shapes.items():
        if name not in shapes:
            return f"tensor {name[:100]} is missing: a {opened.name} of this config.json has it"
        if tuple(shapes[name]) != shape:
            return f"tensor {name[:100]} has not the shape {shape} that config.json says"
    other = shapes.keys() - opened.shapes.keys()
    if other:
        return f"tensor {min(other)[:100]} is none of a {opened.name} of this config.json"
    return None


def find_class_fault(
    parameters: Parameters,
    structure: bytes,
    is_plain: bool,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> str | None:
    """The reason why a checkpoint is not of the class that a network's parameters name, or None:
    section 7. Bytes alone decide, and no class is opened.

    Args:
        structure: digest of its config.json. is_plain: whether that is of a type without a family.
        shapes: of its tensors, by name; None: they are not known.
    """
    wanted = parameters.model_class
    if wanted is None:
        return (
            "no family describes its model, and the parameters name no class for it"
            if is_plain
            else None
        )
    if structure != wanted.structure:
        return "its config.json is not the one that the parameters name"
    if not is_plain:
        return "a family describes its model, and the parameters name a class for it"
    if shapes is not None and digest_shapes(shapes) != wanted.shapes:
        return "its tensors have not the names and shapes that the parameters name"
    return None


def digest_shapes(shapes: Mapping[str, Sequence[int]]) -> bytes:
    """Digest of tensors by names and shapes, 32 bytes: section 7."""
    fields = [
        field
        for name in sorted(shapes)
        for field in (name.encode(), b"".join(side.to_bytes(8, "big") for side in shapes[name]))
    ]
    return hash_fields(Domain.PLAIN_SHAPES, *fields)
