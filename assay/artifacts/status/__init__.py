"""The shape of `status.json`, which each program writes into its folder every few seconds.

The programs build these records, and everybody who reads the file reads them by these types:
`assay status`, the explorer, the doctor, and a program's own metrics. A record is the JSON object
itself, a `TypedDict`: writing and reading change nothing, and a field that nobody reads can neither
fail nor be lost. So a file of an older or newer program, or a damaged one, is read as far as its
reader needs: it expects `records.run_folder.BROKEN`, and asks with `get` for fields that older
programs do not have. docs/status.md is printed from here. Times are Unix seconds, hotkeys SS58,
digests hex, and blocks those of the finalized chain. Start with `program`.
"""
