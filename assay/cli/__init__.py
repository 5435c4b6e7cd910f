"""The command line: every command, its options and its output. No neuron needs it.

`commands` has every command as one function, in a file for each subject, and `app` puts them
together. `command` makes options from the settings that a command offers, and `options` has what
several commands share. The files here do the longer work of commands and print it; a command
imports its own only when it is called. So `assay --help` loads neither torch nor the chain's SDK.
Everything that can be checked without them is checked first (`checks`). A failure that a person can
fix is raised as an `OperatorError`, and `exits` turns it into a line and exit code 2. Nothing here
decides a verdict, or keeps anything between two commands. Start with `app`.
"""

__all__ = ["app", "entry"]
