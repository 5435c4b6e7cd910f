"""The gate: what a stranger's model folder may hold, checked before any library sees a file of it.

Start with `tokenizer_file`. A library builds whatever a file says, and panics at what it did not
expect. So every part of a file is of a closed list here, with bounds on its numbers and texts, and
a chat template's rendering has budgets. This folder does not know whether the files make a model
that is any good, and it never loads one. config.json is checked in `assay.inference.families`.

Specification, section 7.
"""
