"""What checkpoints have shown by their gate, up to the newest one that is known."""

from assay.explorer.documents.curves import CurvePoint
from assay.explorer.documents.training import GateShown
from assay.explorer.page_reader import PageReader
from assay.explorer.ports import Training
from assay.protocol.parameters import GateRule


def view_gate(reader: PageReader, training: Training | None) -> GateShown | None:
    """None: the network has no gate, or the newest checkpoint's manifest is not at hand.

    Args:
        training: the trainer's records, which may have a newer checkpoint than is in force.
    """
    row = reader.ask_one(
        "SELECT checkpoint, window FROM windows WHERE length(checkpoint) = 32 "
        "AND checkpoint != zeroblob(32) ORDER BY window DESC LIMIT 1"
    )
    subject = reader.subject
    parameters = subject.get_parameters(0 if row is None else row["window"])
    gate = parameters.gate
    if gate.rule is GateRule.NONE:
        return None
    known = [parameters.first_checkpoint if row is None else row["checkpoint"]]
    known += [bytes.fromhex(step.child) for step in (training.steps if training else ())[-1:]]
    origins = {digest: reader.sources.read_manifest(digest) for digest in known}
    numbers = {d: origin.number for d, origin in origins.items() if origin and origin.number}
    newest = max(numbers, key=lambda digest: numbers[digest], default=known[0])
    found = reader.sources.read_gate(newest, gate)
    if found is None:
        return None
    return GateShown(
        sentence=found.sentence,
        course=found.course,
        rule="better" if gate.rule is GateRule.BETTER else "not-worse",
        problems=gate.problems,
        of_file=bool(gate.environment),
        whole=found.is_whole,
        measured=list(found.measured),
        ends=list(found.ends),
    )


def list_gains(gate: GateShown) -> list[CurvePoint]:
    """The gain over the first checkpoint of each measured one, with its band. A new part begins
    behind each return."""
    returns = [end["number"] for end in gate["ends"] if end["outcome"] == "return"]
    return [
        CurvePoint(
            x=row["number"],
            y=row["gain"],
            low=row["low"],
            high=row["high"],
            part=sum(number < row["number"] for number in returns),
        )
        for row in gate["measured"]
    ]
