"""What drawn packages and tasksets reply is the same on every machine, to the instruction."""

import pytest

from tests.absent import has_sandbox

if not has_sandbox():
    pytest.skip("no sandbox: assay sandbox prepare", allow_module_level=True)

from tests.environments.drawn_archives import DIGEST, FEW, FEW_COUNT, digest_replies
from tests.sandbox.busy import keep_busy


def test_drawn_archives_reply_as_on_every_machine() -> None:
    assert digest_replies(FEW_COUNT) == FEW


@pytest.mark.nightly
@pytest.mark.parametrize("beside", [0, 12])
def test_all_drawn_archives_reply_as_on_every_machine(beside: int) -> None:
    """Alone, and beside busy processes."""
    with keep_busy(beside):
        assert digest_replies() == DIGEST
