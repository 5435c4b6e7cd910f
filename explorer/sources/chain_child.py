"""The child that reads a chain for the explorer: it holds the connection and the SDK."""

import json
from contextlib import ExitStack
from typing import Any

from assay.artifacts.discovery import find_parameters
from assay.audit.weights_check import iterate_looks
from assay.network.chain import SubtensorChain
from assay.neurons.session.resources import open_chain, open_stores
from assay.neurons.settings.loading import load_settings
from assay.neurons.settings.sections import ChainSettings, StoreSettings
from assay.protocol import Tag, encode_ss58, parse_commitment
from assay.protocol.errors import OperatorError


class ChainReader:
    """Answers requests: JSON in, JSON out."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._chain: SubtensorChain | None = None

    def answer(self, request: bytes) -> bytes:
        """What was asked for, or `{"error": sentence}`."""
        asked = json.loads(request)
        try:
            found = self._answer(asked)
        except OperatorError as error:
            found = {"error": str(error)}
        return json.dumps(found).encode()

    def _answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        if self._chain is None:
            settings = ChainSettings.model_validate(asked["chain"])
            self._chain = self._stack.enter_context(open_chain(settings))
        chain = self._chain
        match asked["do"]:
            case "head":
                return {"head": chain.get_head()}
            case "find":
                return self._find(chain, StoreSettings.model_validate(asked["store"]))
            case _:
                return self._find_weights(chain, asked)

    def _find(self, chain: SubtensorChain, store: StoreSettings) -> dict[str, Any]:
        settings = load_settings(None, {"store": store.model_dump()})
        parameters = find_parameters(chain, open_stores(settings).open)
        announced = {}
        for hotkey, payload in chain.get_commitments(chain.get_head()).items():
            slot = parse_commitment(payload)
            if slot is not None and slot.tag is Tag.RECORD:
                announced[encode_ss58(hotkey)] = slot.locator
        return {"parameters": parameters.to_json(), "announced": announced}

    def _find_weights(self, chain: SubtensorChain, asked: dict[str, Any]) -> dict[str, Any]:
        """The first block after an epoch that shows the wanted weights, else the first of all."""
        wanted = {int(uid): int(weight) for uid, weight in asked["wanted"]}
        validator, first = bytes.fromhex(asked["validator"]), None
        for number in iterate_looks(chain, asked["epoch"]):
            row = dict(chain.get_weights(number).get(validator, {}))
            if row == wanted:
                return {"block": number, "weights": sorted(row.items())}
            first = first or (number, row)
        if first is None:
            return {"weights": None}
        return {"block": first[0], "weights": sorted(first[1].items())}
