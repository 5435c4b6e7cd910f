"""Every flow of clients that nobody here wrote, unmodified, end to end; one test for each."""

import pytest

from tests.integration.chain.clients.clients import FLOWS, Clients
from tests.integration.chain.clients.results import FlowError


@pytest.mark.parametrize(("client", "flow"), FLOWS, ids=map(" ".join, FLOWS))
def test_it_works_and_shows_what_the_chain_holds(clients: Clients, client: str, flow: str) -> None:
    words = clients.lacks.get((client, flow))
    if words is None:
        clients.try_flow(client, flow)
        return
    with pytest.raises(FlowError) as refusal:  # an older runtime than the client's
        clients.try_flow(client, flow)
    assert words in str(refusal.value)
