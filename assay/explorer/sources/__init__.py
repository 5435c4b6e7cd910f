"""The sources of the explorer's pages: adapters behind `assay.explorer.ports`.

Start with `record_sources.open_source`: it finds the record that was asked for, and puts
`opened_sources` together around it.
`run_view` shows what programs have left in a folder, `chain_view` a chain, `ledger_events` the
EVM, each by a thread that no page waits for (`peer_health` tells since when a node is silent);
`groups` runs rollouts again, in a child process (`group_child`);
`shell_commands` writes the command that derives a page again. Nothing here writes a page, and
nothing but the opening raises: what cannot be read is not there.
"""

__all__ = ["opened_sources", "record_sources", "shell_commands"]
