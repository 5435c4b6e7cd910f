"""Environments that others wrote: read, vetted and run in a sandbox.

A package is an archive of Python. Its SHA-256 names it, and each machine finds it among the files
that its operator names. Its code runs only inside the sandbox of programs, where there is nothing
to reach. Assay takes one thing from it: that an answer is wholly right. Start with
`package_environment`; `guest_archive` asks an archive, `package_world` plays episodes in one that
has turns, `vetting` says whether a package is fit to pay by, and `world_vetting` attacks worlds.
"""

from assay.environments.foreign.new_package import write_new_package
from assay.environments.foreign.package_environment import PackageEnvironment
from assay.environments.foreign.package_file import is_packed, pack_folder
from assay.environments.foreign.vet_report import VetCheck, VetReport
from assay.environments.foreign.vetting import vet_package, vet_subject

__all__ = [
    "PackageEnvironment",
    "VetCheck",
    "VetReport",
    "is_packed",
    "pack_folder",
    "vet_package",
    "vet_subject",
    "write_new_package",
]
