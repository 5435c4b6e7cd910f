"""The validator: judges a window's submissions, settles epochs, sets weights, publishes its record.

`program.py` puts the program together, and `validator.py` is the loop's step. `judged_window.py`
holds one window's verdicts and one settlement. `journal.py` saves all of it, so that a kill makes
the validator judge or settle nothing twice. `weights_outbox.py` brings weights to the chain and
`post_outbox.py` settlements to the ledger contract: they retry, and lose or double nothing.
`make_records` and `record_book` publish the record with its statistics. `run_archive` writes files
for later inspection. The validator never takes a miner's word, and never judges late. Start with
`program.py`.
"""

__all__ = [
    "judged_window",
    "make_records",
    "post_outbox",
    "program",
    "record_book",
    "run_archive",
    "status",
    "validator",
    "weights_outbox",
]
