"""The settings of an operator, and the sources that they are read from.

Start with `sections`: it has every setting once, with its type, range, default, purpose and form as
an option. The command line's options and docs/settings.md are made from it. `loading` reads
settings from a TOML file, `ASSAY_*` variables and flags, and is the only place where the
environment is read. `placing` finds the device that models run on, and `learning` says how a
trainer learns. Nothing here opens a chain or a store.
"""

__all__ = ["learning", "loading", "placing", "sections"]
