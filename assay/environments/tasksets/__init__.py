"""Tasksets of verifiers 0.4: exports environments as tasksets, and runs tasksets as environments.
Environments are also exported as tasks of Inspect.

An exported wheel or task asks the same problems and calls the same scorer. For the other direction,
a wheel and its data become one bundle, named by its SHA-256, which runs in the sandbox of
`foreign`. Such a taskset has a single turn, its rewards are a function of the reply, and only full
ones pay. Nothing here imports verifiers or Inspect. Start with `export`, then `environment`;
`vetting` says whether a taskset is fit to pay by.
"""

from assay.environments.tasksets.bundle import MANIFEST, write_bundle
from assay.environments.tasksets.environment import TasksetEnvironment
from assay.environments.tasksets.export import export_inspect_task, export_taskset, is_exported
from assay.environments.tasksets.vetting import look_at_wheel, vet_bundle

__all__ = [
    "MANIFEST",
    "TasksetEnvironment",
    "export_inspect_task",
    "export_taskset",
    "is_exported",
    "look_at_wheel",
    "vet_bundle",
    "write_bundle",
]
