"""Files of examples that steps imitate beside their groups, in a folder of steps.

    examples/<SHA-256>    rows of JSON or a Parquet table, see `assay.training.rows`

A step's record names the file by its SHA-256. The file is in no store: whoever repeats the step
must have it. Specification, section 11.
"""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from assay.artifacts.steps.config import StepChoice
from assay.artifacts.steps.folder import StepError
from assay.environments.problem_file import (
    ProblemFileError,
    list_unread_columns,
    read_problem_file,
    read_table,
)
from assay.inference.checkpoint import Checkpoint
from assay.inference.context_length import count_positions
from assay.inference.folder import read_config
from assay.network.files import write_file
from assay.training.examples import EXAMPLE_MAX, describe_left_out
from assay.training.imitation import Example
from assay.training.rows import first
from assay.training.rows.dialogues import ROW_COLUMNS
from assay.training.rows.reader import read_conversations
from assay.training.rows.writing import DialogueWriter


def keep_examples(steps: Path, file: Path) -> str:
    """Copy a file of examples into a folder of steps, if it is not there. Returns its SHA-256 in
    hex.

    Raises:
        ProblemFileError: the file cannot be read, or is too large.
        OSError: the copy cannot be written.
    """
    data = read_problem_file(file)
    digest = sha256(data).hexdigest()
    path = _get_path(steps, digest)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, data)
    return digest


def read_examples(
    steps: Path,
    choice: StepChoice,
    checkpoint: Checkpoint,
    report: Callable[[str], None] = lambda line: None,
) -> list[Example]:
    """The examples of a file that was kept, as a checkpoint's tokenizer writes them, in order.

    Args:
        choice: names the file, or none, and the version of its reader.
        report: called with what was read and left out, in lines; of the first reader's with none.

    Raises:
        StepError: the file is not here or damaged, or has nothing to imitate.
    """
    digest = choice.sft_sha256
    if not digest:
        return []
    path = _get_path(steps, digest)
    if not path.exists():
        raise StepError(
            f"the step imitates examples of a file with SHA-256 {digest}, which is not here: name "
            f"it with --examples, or copy it to {path}"
        )
    try:
        data = read_problem_file(path)
        if sha256(data).hexdigest() != digest:
            raise StepError(f"{path} is damaged: its SHA-256 is another")
        columns = () if choice.sft_reader == 1 else ROW_COLUMNS
        rows = read_table(data, path, columns)[1]
    except ProblemFileError as error:
        raise StepError(str(error)) from None
    most = count_positions(read_config(checkpoint.folder)) or EXAMPLE_MAX
    ends = checkpoint.manifest.end_tokens
    if choice.sft_reader == 1:
        found, counts = first.read_conversations(rows, checkpoint.tokenizer, ends, most)
        left_out = describe_left_out(counts)
    else:
        reading = read_conversations(rows, DialogueWriter(checkpoint.tokenizer, ends, most))
        reading.count_columns(list_unread_columns(data, ROW_COLUMNS))
        found, left_out = reading.found, reading.describe_left_out()
        for line in reading.describe():
            report(f"sft: {line}")
    if not found:
        raise StepError(f"{path} has no row to imitate: {left_out}")
    return found


def _get_path(steps: Path, digest: str) -> Path:
    return steps / "examples" / digest
