"""The settings of an operator, and the sources that they are read from.

Start with `sections`: every setting once, with its type, range, default and what it is for; the
command line's options and docs/settings.md are made from it. `loading` fills it from a TOML file,
`ASSAY_*` variables and flags, and is the only place where the environment is read; `placing` finds
the device that models run on. Nothing here opens a chain or a store.
"""

__all__ = ["loading", "placing", "sections"]
