"""Runtime calls: what clients ask the runtime itself, computed from state at a block.

Only what is computed here is answered; whatever else the metadata names is an error, not a made-up
value. Structures are filled by name, and fields that this network has nothing for are zero.
"""

from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any

from subtensor_devnet.errors import MalformedError, RpcError
from subtensor_devnet.extrinsics import take_apart
from subtensor_devnet.pallets.balances import compute_fee, get_nonce, make_dispatch_info
from subtensor_devnet.pallets.schedule import get_next_epoch
from subtensor_devnet.pallets.staking import PRICE_UNIT, compute_purchase, compute_sale, get_price
from subtensor_devnet.pallets.subnets import compute_lock_cost
from subtensor_devnet.runtime import MODULE, NOBODY, Arguments
from subtensor_devnet.scale import ScaleReader, encode_bytes
from subtensor_devnet.scale_codec import ScaleCodec
from subtensor_devnet.state import StateView
from subtensor_devnet.subnet_info import (
    describe_metagraph,
    describe_neuron,
    describe_settings,
    describe_stake,
    describe_subnet,
    list_availability,
    list_neurons,
    list_settings,
    list_stakes,
    list_subnets,
)

Answer = Callable[[StateView, Mapping[str, Any]], Any]


def _simulate_purchase(view: StateView, arguments: Arguments) -> dict[str, int]:
    netuid, tao = arguments["netuid"], arguments["tao"]
    alpha, fee = compute_purchase(view, netuid, tao)
    ideal = (tao - fee) * PRICE_UNIT // max(1, get_price(view, netuid))
    return {
        "tao_amount": tao - fee,
        "alpha_amount": alpha,
        "tao_fee": fee,
        "alpha_fee": 0,
        "tao_slippage": 0,
        "alpha_slippage": max(0, ideal - alpha),
    }


def _simulate_sale(view: StateView, arguments: Arguments) -> dict[str, int]:
    netuid, alpha = arguments["netuid"], arguments["alpha"]
    tao, fee = compute_sale(view, netuid, alpha)
    ideal = (alpha - fee) * get_price(view, netuid) // PRICE_UNIT
    return {
        "tao_amount": tao,
        "alpha_amount": alpha - fee,
        "tao_fee": 0,
        "alpha_fee": fee,
        "tao_slippage": max(0, ideal - tao),
        "alpha_slippage": 0,
    }


def find_lock() -> None:
    """The lock on a coldkey's stake: none. This chain refuses the calls that lock stake with
    System.CallFiltered, so nobody has a lock, as on a runtime where nobody has made that call."""
    return None


#: API.method → what it answers, from state and arguments by name.
ANSWERS: Mapping[str, Answer] = {
    "AccountNonceApi.account_nonce": lambda v, a: get_nonce(v, a["account"]),
    "SubnetInfoRuntimeApi.get_next_epoch_start_block": lambda v, a: get_next_epoch(v, a["netuid"]),
    "SubnetInfoRuntimeApi.get_metagraph": lambda v, a: describe_metagraph(v, a["netuid"]),
    "SubnetInfoRuntimeApi.get_mechagraph": lambda v, a: (
        None if a["mecid"] else describe_metagraph(v, a["netuid"])
    ),
    "SubnetInfoRuntimeApi.get_dynamic_info": lambda v, a: describe_subnet(v, a["netuid"]),
    "SubnetInfoRuntimeApi.get_all_dynamic_info": lambda v, a: list_subnets(v),
    "SubnetInfoRuntimeApi.get_subnet_hyperparams": lambda v, a: describe_settings(v, a["netuid"]),
    "SubnetInfoRuntimeApi.get_subnet_hyperparams_v2": lambda v, a: describe_settings(
        v, a["netuid"]
    ),
    "SubnetInfoRuntimeApi.get_subnet_hyperparams_v3": lambda v, a: list_settings(v, a["netuid"]),
    "NeuronInfoRuntimeApi.get_neurons": lambda v, a: list_neurons(v, a["netuid"]),
    "NeuronInfoRuntimeApi.get_neurons_lite": lambda v, a: list_neurons(v, a["netuid"]),
    "NeuronInfoRuntimeApi.get_neuron": lambda v, a: describe_neuron(v, a["netuid"], a["uid"]),
    "NeuronInfoRuntimeApi.get_neuron_lite": lambda v, a: describe_neuron(v, a["netuid"], a["uid"]),
    "SubnetRegistrationRuntimeApi.get_network_registration_cost": (
        lambda v, a: compute_lock_cost(v, v.get("System", "Number"))
    ),
    "StakeInfoRuntimeApi.get_coldkey_lock": lambda v, a: find_lock(),
    "StakeInfoRuntimeApi.get_stake_info_for_coldkey": lambda v, a: list_stakes(
        v, a["coldkey_account"]
    ),
    "StakeInfoRuntimeApi.get_stake_info_for_coldkeys": (
        lambda v, a: [(coldkey, list_stakes(v, coldkey)) for coldkey in a["coldkey_accounts"]]
    ),
    "StakeInfoRuntimeApi.get_stake_info_for_hotkey_coldkey_netuid": (
        lambda v, a: describe_stake(v, *a.values())
    ),
    "StakeInfoRuntimeApi.get_stake_availability_for_coldkeys": (
        lambda v, a: list_availability(v, a["coldkey_accounts"], a["netuids"])
    ),
    "SwapRuntimeApi.current_alpha_price": lambda v, a: get_price(v, a["netuid"]),
    "SwapRuntimeApi.current_alpha_price_all": lambda v, a: [
        {"netuid": netuid, "price": get_price(v, netuid)}
        for netuid, _ in v.list_entries(MODULE, "NetworksAdded")
    ],
    "SwapRuntimeApi.sim_swap_tao_for_alpha": _simulate_purchase,
    "SwapRuntimeApi.sim_swap_alpha_for_tao": _simulate_sale,
}

#: API → its version, where that is not 1. Clients ask the metadata's API for format 15 from 2 on.
_VERSIONS = {"Metadata": 2, "TransactionPaymentApi": 4}
#: Each API that answers here, as a runtime's version names it: the hash of its name, its version.
RUNTIME_APIS = [
    ["0x" + blake2b(api.encode(), digest_size=8).hexdigest(), _VERSIONS.get(api, 1)]
    for api in sorted({*_VERSIONS, *(name.partition(".")[0] for name in ANSWERS)})
]


class RuntimeApis:
    """Answers runtime calls; `metadata` by format. What cannot be answered is an `RpcError`."""

    def __init__(self, codec: ScaleCodec, metadata: Mapping[int, bytes]) -> None:
        self._codec = codec
        self._metadata = metadata

    def call(self, name: str, data: bytes, view: StateView) -> bytes:
        """The encoded answer to a call, such as "AccountNonceApi_account_nonce"."""
        api, _, method = name.partition("_")
        if api == "Metadata":
            return self._get_metadata(method, data)
        if api == "TransactionPaymentApi" and method == "query_info":
            return self._quote(data)
        answer = ANSWERS.get(f"{api}.{method}")
        if answer is None:
            raise RpcError(
                4003,
                "Client error: Execution failed",
                f"Exported method {name} is not found: the development network does not answer it",
            )
        definition = self._codec.runtime_apis[api][method]
        value = answer(view, self.decode_arguments(api, method, data))
        return self.encode_filled(definition["output"], value)

    def encode_filled(self, type_name: str, value: Any) -> bytes:
        """A value of a type; fields that it lacks are zero."""
        filled = _fill(self._codec.types, int(type_name.partition("::")[2]), value)
        return self._codec.encode(type_name, filled)

    def decode_arguments(self, api: str, method: str, data: bytes) -> dict[str, Any]:
        """Arguments of a call by name. Each is cut off by encoding it again."""
        arguments, rest = {}, data
        for name, type_name in self._codec.runtime_apis[api][method]["inputs"]:
            try:
                value = self._codec.decode(type_name, rest, whole=False)
            except MalformedError as error:
                raise RpcError(-32602, f"Invalid params: {name}: {error}") from error
            rest = rest[len(self._codec.encode(type_name, value)) :]
            arguments[name] = value
        return arguments

    def _get_metadata(self, method: str, data: bytes) -> bytes:
        versions = sorted(self._metadata)
        if method == "metadata":
            return encode_bytes(self._metadata[versions[0]])
        if method == "metadata_versions":
            return self._codec.encode("Vec<u32>", versions)
        metadata = self._metadata.get(int.from_bytes(data[:4], "little"))
        return b"\x00" if metadata is None else b"\x01" + encode_bytes(metadata)

    def _quote(self, data: bytes) -> bytes:
        """An extrinsic's fee, whoever signed it: clients ask with made-up signatures."""
        try:
            reader = ScaleReader(data)
            reader.take(reader.take_compact())
            parts = take_apart(data[: reader.position])  # its length follows once more
            call = self._codec.decode_call(parts.call)
        except MalformedError as error:
            raise RpcError(-32602, f"Invalid params: {error}") from error
        info = make_dispatch_info(call)
        quote = {
            "weight": info["weight"],
            "class": info["class"],
            "partial_fee": compute_fee(call, parts.length),
        }
        output = self._codec.runtime_apis["TransactionPaymentApi"]["query_info"]["output"]
        return self._codec.encode(output, quote)


def _fill(types: Mapping[int, dict[str, Any]], number: int, value: Any) -> Any:
    """A value with everything that its type asks for: what is missing is zero."""
    definition = types[number]["def"]
    if "composite" in definition:
        fields = definition["composite"].get("fields") or []
        if isinstance(value, Mapping) and fields and fields[0].get("name"):
            zeros = _make_zero(types, number)
            kinds = {field["name"]: field["type"] for field in fields}
            given = {n: _fill(types, kinds[n], v) for n, v in value.items() if n in kinds}
            return zeros | given
        return value
    if "sequence" in definition and isinstance(value, list | tuple):
        return [_fill(types, definition["sequence"]["type"], element) for element in value]
    if "tuple" in definition and isinstance(value, tuple):
        return tuple(_fill(types, *pair) for pair in zip(definition["tuple"], value, strict=True))
    if types[number].get("path") == ["Option"] and value is not None:
        some = next(v for v in definition["variant"]["variants"] if v["name"] == "Some")
        return _fill(types, some["fields"][0]["type"], value)
    return value


def _make_zero(types: Mapping[int, dict[str, Any]], number: int) -> Any:
    """The zero, empty or absent value of a type."""
    entry = types[number]
    definition, path = entry["def"], entry.get("path") or [""]
    if path[-1] == "AccountId32":
        return NOBODY
    if "primitive" in definition:
        return {"bool": False, "str": ""}.get(definition["primitive"], 0)
    if "sequence" in definition:
        return []
    if "array" in definition:
        return [_make_zero(types, definition["array"]["type"])] * definition["array"]["len"]
    if "tuple" in definition:
        return tuple(_make_zero(types, element) for element in definition["tuple"])
    if "composite" in definition:
        fields = definition["composite"].get("fields") or []
        if fields and fields[0].get("name"):
            return {field["name"]: _make_zero(types, field["type"]) for field in fields}
        return _make_zero(types, fields[0]["type"])
    if "variant" in definition:
        return None if path[-1] == "Option" else definition["variant"]["variants"][0]["name"]
    return 0  # compact
