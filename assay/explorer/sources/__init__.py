"""The sources of the explorer's pages: adapters behind `assay.explorer.ports`.

Start with `record.open_source`: it finds the record. `named` has what the settings name beside it.
`run_view` reads a program's folder, `chain_view` a chain, `ledger_events` the EVM, each in a thread
that no page waits for (`peer_health` has the time since a node is silent). `groups` measures
rollouts again in a child process (`group_child`), `courses` and `proposals` read steps in others,
and `shell_commands` writes the commands that derive a page again. Nothing here writes a page. Only
opening raises: data that cannot be read later counts as missing.
"""

__all__ = ["named", "record", "shell_commands"]
