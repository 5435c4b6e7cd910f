"""`verifiers:SHA256`: the taskset of a wheel, and its data, made and scored in a sandbox.

A whole completion is the reply. Assay takes one thing from the rewards: that all of them are full.
No sum of floats and no partial reward counts. Code that takes too many steps, raises, waits or dies
has not said so. Code that a clock ends has given no verdict, so there is no score.
"""

from pathlib import Path

from assay.environments.foreign.package_environment import (
    HASH_SEED,
    PackageChild,
    PackageEnvironment,
    write_boot,
)
from assay.environments.tasksets import box as taskset_box
from assay.environments.tasksets import models as taskset_models
from assay.environments.tasksets import modules as taskset_modules
from assay.environments.tasksets import surface as taskset_surface
from assay.environments.tasksets.bundle import find_bundle_fault

NAME = "verifiers"
#: Increases whenever any problem or score would change.
VERSION = 5
#: Most bytes of a completion in UTF-8, thoughts included.
REPLY_BYTES = 1 << 17


class TasksetEnvironment(PackageEnvironment):
    """The tasks of a bundle, each equally likely. It has one level."""

    family, version = NAME, VERSION
    default = None
    find_fault = staticmethod(find_bundle_fault)

    @staticmethod
    def open_child(file: Path, digest: str) -> PackageChild:
        return open_taskset(file, digest)

    def read_answer(self, completion: str) -> str | None:
        short = len(completion.encode("utf-8", "surrogatepass")) <= REPLY_BYTES
        return completion if short else None


def open_taskset(
    file: Path, digest: str, seed: int = HASH_SEED, copies: bool = True
) -> PackageChild:
    """A checked bundle in a sandbox; `copies` as for `PackageChild`."""
    files = [str(one.__file__) for one in (taskset_models, taskset_surface, taskset_modules)]
    work = f"more[0].TasksetWork(text, view, box, {files!r})"
    boot = write_boot(file, digest, seed, (taskset_box.__file__,), work, copies, files)
    return PackageChild(file, digest, seed, boot)
