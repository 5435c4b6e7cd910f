"""Environments that others wrote: read, vetted and run in a sandbox.

A package is an archive of Python. Its SHA-256 names it, and each machine finds it among the files
that its operator names. Its code runs only inside the sandbox of programs, where there is nothing
to reach. Assay takes one thing from it: that an answer is wholly right. Start with
`package_environment`; `guest_archive` asks an archive, `package_world` plays episodes in one that
has turns, `vetting` says whether a package is fit to pay by, and `world_vetting` attacks worlds.
"""

from typing import TYPE_CHECKING

from assay.protocol.lazy_names import load_lazily

if TYPE_CHECKING:
    from assay.environments.foreign.new_package import write_new_package as write_new_package
    from assay.environments.foreign.package_environment import (
        PackageEnvironment as PackageEnvironment,
    )
    from assay.environments.foreign.package_file import is_packed as is_packed
    from assay.environments.foreign.package_file import pack_folder as pack_folder
    from assay.environments.foreign.vet_report import VetCheck as VetCheck
    from assay.environments.foreign.vet_report import VetReport as VetReport
    from assay.environments.foreign.vetting import vet_package as vet_package
    from assay.environments.foreign.vetting import vet_subject as vet_subject
else:
    __getattr__ = load_lazily(
        __name__,
        {
            "new_package": ("write_new_package",),
            "package_environment": ("PackageEnvironment",),
            "package_file": ("is_packed", "pack_folder"),
            "vet_report": ("VetCheck", "VetReport"),
            "vetting": ("vet_package", "vet_subject"),
        },
    )
