"""`verifiers:SHA256`: the taskset of a wheel, and its data, made and scored in a cage.

A whole completion is the reply. Of what the rewards say one thing is taken, that all of them are
full: no sum of floats, no share of right. What takes too many steps, raises, waits or dies has not
said so; what a clock ends has said nothing, and gets no score at all.
"""

from pathlib import Path

from assay.environments.foreign.package_environment import (
    HASH_SEED,
    PackageChild,
    PackageEnvironment,
    write_boot,
)
from assay.environments.tasksets import (
    taskset_box,
    taskset_models,
    taskset_modules,
    taskset_surface,
)
from assay.environments.tasksets.taskset_bundle import find_bundle_fault

NAME = "verifiers"
#: Raised whenever any problem or score would change.
VERSION = 4
#: Bytes of a completion in UTF-8: thoughts included.
REPLY_BYTES = 1 << 17


class TasksetEnvironment(PackageEnvironment):
    """The tasks of a bundle: one level, each equally likely."""

    family, version = NAME, VERSION
    ending = ""
    find_fault = staticmethod(find_bundle_fault)

    @staticmethod
    def open_child(file: Path, digest: str) -> PackageChild:
        return open_taskset(file, digest)

    @staticmethod
    def read_answer(completion: str) -> str | None:
        short = len(completion.encode("utf-8", "surrogatepass")) <= REPLY_BYTES
        return completion if short else None


def open_taskset(
    file: Path, digest: str, seed: int = HASH_SEED, copies: bool = True
) -> PackageChild:
    """A bundle that has been looked at, in a cage; `copies` as of `PackageChild`."""
    files = [str(one.__file__) for one in (taskset_models, taskset_surface, taskset_modules)]
    work = f"more[0].TasksetWork(text, view, box, {files!r})"
    boot = write_boot(file, digest, seed, (taskset_box.__file__,), work, copies, files)
    return PackageChild(file, digest, seed, boot)
