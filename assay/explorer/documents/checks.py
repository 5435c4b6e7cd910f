"""The document of the page that lists what was checked here."""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from assay.explorer.documents.shared import AuditedDocument, Count


class CheckRow(TypedDict):
    """A check that the explorer makes itself, of all that was read."""

    name: str
    what: Annotated[str, Field(description="one that was checked")]
    checked: Count
    sound: Annotated[int, Field(description="of these, how many are as they should be", ge=0)]
    how: str


class ChecksDocument(AuditedDocument):
    """What the explorer checked itself, and the command that audits the newest windows."""

    checks: list[CheckRow]
