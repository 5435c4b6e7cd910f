"""The validator: judges a window's submissions, settles epochs, sets weights, publishes its record.

`validator.py` is the loop's step; `judged_window.py` one window's verdicts and one settlement;
`journal.py` keeps all of it, so that no kill judges or settles twice. `weights_outbox.py` and
`post_outbox.py` bring (again, if need be) weights to the chain and settlements to the ledger
contract, never lost and never doubled. `make_records` and `record_book` publish the
record, with its statistics; `run_archive` leaves files to look at again. It never takes a miner's
word, nor judges late. Start with `validator.py`.
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
