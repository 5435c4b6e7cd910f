"""Adoption: what people have becomes a model folder that Assay takes, or is refused in one line.

Start with `adopt`. All conversion and guessing lives here, since an owner looks at what it says
and a loader must not guess: `source` finds the tensors of a folder, `config` and `texts` make the
small files, `weights` writes the tensors, a part at a time. What is read is a stranger's: the gate
of `assay.inference` has the last word on every file that is written.

Nothing here calibrates: `assay.subnet.genesis_checkpoint` makes checkpoint 0 of an adopted folder.
"""

__all__ = ["adopt", "notes"]
