"""The command line: every command, its options and its output. No neuron needs it.

Start with `app`. Three files declare all commands: `chain_commands` (programs, wallets, subnet,
ledger), `record_commands` (records and files), `app` (all others). `options` makes options from the
settings in `neurons/settings/sections`. The code of a command is in the file that its `runs` names,
or that its function imports, and is loaded only when the command is called. So `assay --help` loads
neither torch nor the chain's SDK. Everything that can be checked without them is checked first
(`first_checks`). A failure that a person can fix is raised as an `OperatorError`, and `options`
turns it into a line and exit code 2. Nothing here decides a verdict, or keeps anything between two
commands.
"""

__all__ = ["app", "entry"]
