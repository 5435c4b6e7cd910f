"""Every flow of clients that nobody here wrote, unmodified, end to end; one test for each."""

import pytest

from tests.integration.chain.clients.clients import BTCLI, FLOWS, Clients
from tests.integration.chain.clients.results import FlowError

#: The flow of btcli, each seconds of its own process, that stays beside those of a library: it
#: reads the chain and changes it.
QUICK = {"stake add"}
#: A library that btcli uses as well, and another way to a chain. Two libraries stay: the one that
#: it was made from, and one of another language, which needs npm.
AGAIN = {"async-substrate-interface", "substrate-interface over HTTP"}


@pytest.mark.parametrize(
    ("client", "flow"),
    [
        pytest.param(
            client,
            flow,
            id=f"{client} {flow}",
            marks=[pytest.mark.nightly]
            * (client in AGAIN or (client == BTCLI and flow not in QUICK)),
        )
        for client, flow in FLOWS
    ],
)
def test_it_works_and_shows_what_the_chain_holds(clients: Clients, client: str, flow: str) -> None:
    words = clients.lacks.get((client, flow))
    if words is None:
        clients.try_flow(client, flow)
        return
    with pytest.raises(FlowError) as refusal:  # an older runtime than the client's
        clients.try_flow(client, flow)
    assert words in str(refusal.value)
