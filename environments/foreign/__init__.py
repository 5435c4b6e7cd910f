"""Environments that others wrote: read, vetted and run in a cage.

A package is an archive of Python, named by its SHA-256 and found among the files that a machine
names. Its code runs in the caged child alone, which has no file, no network, no clock that it may
import and no other process; only a wholly right answer is taken from it. Nothing of it is ever
executed here. Start with `package_environment`; `vetting` says whether one is fit to pay by.
"""

from assay.environments.foreign.new_package import write_new_package
from assay.environments.foreign.package_environment import PackageEnvironment
from assay.environments.foreign.package_file import is_packed, pack_folder
from assay.environments.foreign.vetting import (
    VetCheck,
    VetReport,
    VetSubject,
    vet_package,
    vet_subject,
)

__all__ = [
    "PackageEnvironment",
    "VetCheck",
    "VetReport",
    "VetSubject",
    "is_packed",
    "pack_folder",
    "vet_package",
    "vet_subject",
    "write_new_package",
]
