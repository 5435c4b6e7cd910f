"""The validator: judges a window's submissions, settles epochs, sets weights, publishes its record.

`validator.py` is the loop's step. `judged_window.py` holds one window's verdicts and one
settlement. `journal.py` saves all of it, so that a kill makes the validator judge or settle nothing
twice. `weights_outbox.py` brings weights to the chain and `post_outbox.py` settlements to the
ledger contract: they retry, and lose or double nothing. `make_records` and `record_book` publish
the record with its statistics. `run_archive` writes files for later inspection. The validator never
takes a miner's word, and never judges late. Start with `validator.py`.
"""

__all__ = [
    "judged_window",
    "make_records",
    "post_outbox",
    "record_book",
    "run_archive",
    "validator",
    "validator_status",
    "weights_outbox",
]
