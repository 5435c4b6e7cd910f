"""The command line: what each command offers, does and prints. No neuron needs it.

Start with `app`, `chain_commands` and `record_commands`: every command with its own options. Those
that are settings come from `neurons/settings/sections` by `options`. What a command does is in the
file that it imports when it is called, so that `assay --help` loads neither torch nor the chain's
SDK. Nothing here decides a verdict, or keeps anything between two commands.
"""

__all__ = ["app", "entry"]
