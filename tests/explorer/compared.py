"""What `assay audit compare --json` says of three validators: `python -m tests.explorer.compared`
writes `tests/data/comparison.json`, which explorers show in tests.

One judges, one has other verdicts on a miner, and one publishes no record and shows what others had
settled an epoch before.
"""

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from assay.audit.comparison import compare
from assay.cli.compare_view import describe_comparison
from assay.protocol.reason import Reason
from tests.audit.audited import LIAR, RIVAL, WINDOWS, Liar, Shelf, play_network, read_records
from tests.audit.test_comparing_validators import COPIER, CopiedChain

FILE = Path(__file__).parents[1] / "data" / "comparison.json"
#: The window and the miner that two records disagree about.
WINDOW, MINER = 4, "alice"


def compare_played(network):
    """The document, of a network that was played."""
    honest = network.make_public()
    windows, settlements = read_records(network.records)
    liar = Liar(honest.history, network.chain, windows, settlements)
    liar.change_row(WINDOW, MINER, reason=Reason.SKETCH_MISMATCH, values=(), score=0)
    liar.agree()
    _, settled = read_records(network.records, "rival")
    chain = CopiedChain(liar.make_chain(), settled)
    lying = replace(honest, chain=chain, records=Shelf(liar.list_objects()))
    judging = replace(honest, chain=chain)
    return describe_comparison(compare({LIAR: lying, RIVAL: judging, COPIER: None}, WINDOWS))


def main():
    with TemporaryDirectory(prefix="assay-") as folder:
        document = compare_played(play_network(Path(folder)))
    FILE.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
