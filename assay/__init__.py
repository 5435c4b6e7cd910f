"""Assay: miners are paid for rollouts that anyone can check, and a model learns from them.

Start with `protocol` (the rules) and `verification` (the judge), then `neurons` (the programs that
run a subnet). `cli` has a function for each command. `docs/architecture.md` says which package may
import which. Nothing is imported here, so that a program loads only what it uses.
"""
