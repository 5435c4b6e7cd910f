"""The command line: every command, its options and its output. No neuron needs it.

Start with `app`. Every command is declared in one of three files: `chain_commands` (programs,
wallets, subnet, ledger), `record_commands` (what looks at records and files), `app` (all others).
Options that are settings come from `neurons/settings/sections` by `options`. What a command does is
in the file that its `runs` names or its own function imports, and only when it is called, so that
`assay --help` loads neither torch nor the chain's SDK; what can be checked without either is
checked first (`first_checks`). What a person can mend is raised as an `OperatorError`, wherever it
comes up, and becomes a line and exit code 2 in `options`. Nothing here decides a verdict, or keeps
anything between two commands.
"""

__all__ = ["app", "entry"]
