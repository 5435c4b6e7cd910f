"""What the chain does to a subnet's owner: its settings, what to choose for Assay, and why.

Declared once: `assay subnet show` compares each with the chain's own value, and docs/owner.md
prints them as a table. They were read in the sources that are named, and not run: no runtime on
which Assay was tried has the newer ones.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from assay.network.chain.ports import SubnetReader
from assay.network.chain.values import Setting
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.parameters import MILLION, Parameters

#: Day on which the sources were read.
READ_ON = "2026-11-30"
_PULL = "https://github.com/RaoFoundation/subtensor/pull/"
_SDK = "https://pypi.org/project/bittensor/"
#: Where a setting is described: what it is, and its address. Pull requests are subtensor's.
SOURCES = {
    "spec 461": (
        "the runtime's metadata of spec 461, which bittensor 11.3.0 has",
        f"{_SDK}11.3.0/",
    ),
    "SDK": (
        "bittensor 11.3.1rc73, a release candidate: emission_weights.py, hyperparams.py, "
        "reads/collateral.py",
        f"{_SDK}11.3.1rc73/",
    ),
    "#2800": ("conviction is enforced, of 2026-06-26", f"{_PULL}2800"),
    "#3071": ("burnt incentive scales emission again, of 2026-08-11", f"{_PULL}3071"),
    "#3083": ("one hotkey with 18 % takes over, spec 447, of 2026-08-14", f"{_PULL}3083"),
}
#: Tempos that a newcomer may need until its first pay: to its settlement, to the epoch that pays
#: it, one more where weights are encrypted, and one to spare.
_FIRST_PAY = 4
#: Blocks until a subnet's owner can change: the runtime's year.
OWNED_BLOCKS = 7_200 * 365 + 1_800
#: Slots of the vector of emission, of which the first two are reserved, and its whole.
SPLIT = ("burnt", "recycled", "owner", "validators", "miners")
_SPLIT_WHOLE = 2**64 - 1
#: The vector with which a subnet begins, and what is taken as the same.
_SPLIT_CHOSEN, _SPLIT_NEAR = (0, 0, 0.18, 0.41, 0.41), 0.01
_U16_WHOLE = 65_535


class Unit(Enum):
    """What a stored value counts."""

    BLOCKS = "blocks"
    EPOCHS = "epochs"
    YES = "yes or no"
    U16_SHARE = "share of 65,535"
    SHARE = "share of 1"
    RATIO = "ratio"
    SPLIT = "shares of 2^64 − 1"
    CHOICE = "choice"
    SINCE = "block of the subnet's registration"


@dataclass(frozen=True, slots=True)
class ChainSetting:
    """One setting of the chain.

    Attributes:
        name: as in btcli, where it has one.
        item: of the pallet's storage. needs: a further item without which the runtime has no such
            rule.
        is_own: whether each subnet has its own value.
        set_by: owner, root (the chain's own administration), or chain, which computes it.
        choose: what to choose, for Assay; empty: there is nothing to choose.
        fits: whether a value is what `choose` says; None: no value is better.
        sources: keys of `SOURCES`.
    """

    name: str
    item: str
    unit: Unit
    set_by: str
    choose: str
    why: str
    sources: tuple[str, ...]
    fits: Callable[[Any, Parameters], bool] | None = None
    needs: str | None = None
    is_own: bool = True


def _is_split(value: Sequence[int], parameters: Parameters) -> bool:
    shares = [part / _SPLIT_WHOLE for part in value]
    return len(shares) == len(_SPLIT_CHOSEN) and all(
        abs(share - chosen) <= _SPLIT_NEAR
        for share, chosen in zip(shares, _SPLIT_CHOSEN, strict=True)
    )


CHAIN_SETTINGS = (
    ChainSetting(
        "miner_burned",
        "MinerBurned",
        Unit.SHARE,
        "chain",
        "0: keep `burn_share` at 0",
        "the part of miners' incentive that goes to hotkeys of the owner; the subnet's share of "
        "emission is multiplied by what is left",
        ("#3071",),
        lambda value, parameters: value == 0,
    ),
    ChainSetting(
        "recycle_or_burn",
        "RecycleOrBurn",
        Unit.CHOICE,
        "owner",
        "",
        "what becomes of incentive for hotkeys of the owner; both count as burnt",
        ("#3071",),
    ),
    ChainSetting(
        "emission_gate_bar",
        "EmissionGateBar",
        Unit.SHARE,
        "chain",
        "",
        "the price gate: a subnet whose share of demand, after burning, is below this bar gets "
        "far less than its share. Root sets where the bar is and how steep the gate",
        ("spec 461",),
        is_own=False,
    ),
    ChainSetting(
        "subnet_emission_enabled",
        "SubnetEmissionEnabled",
        Unit.YES,
        "root",
        "yes",
        "without it the pool gets no TAO and no alpha, and pay in alpha goes on",
        ("SDK",),
        lambda value, parameters: bool(value),
    ),
    ChainSetting(
        "subnet_emission_weights",
        "SubnetEmissionWeights",
        Unit.SPLIT,
        "owner",
        "as it begins: owner 18, validators 41, miners 41 %",
        "trainers are paid out of the owner's part, and `assay plan --price` shows who bears "
        "which cost. Owner at most 33, validators at most 50 and more than root's part, miners "
        "at least 33 %; to burn and to recycle are reserved at 0; once in 50,400 blocks",
        ("SDK",),
        _is_split,
    ),
    ChainSetting(
        "owner_cut_enabled",
        "OwnerCutEnabled",
        Unit.YES,
        "owner",
        "yes",
        "it pays the trainer, whom the protocol does not pay",
        ("spec 461",),
        lambda value, parameters: bool(value),
    ),
    ChainSetting(
        "owner_cut_auto_lock_enabled",
        "OwnerCutAutoLockEnabled",
        Unit.YES,
        "owner",
        "yes",
        "a locked cut is conviction for the owner's hotkey: whoever buys in later needs more",
        ("#3083", "SDK"),
        lambda value, parameters: bool(value),
    ),
    ChainSetting(
        "owner_replaceable_from",
        "NetworkRegisteredAt",
        Unit.SINCE,
        "chain",
        "an amender in the parameters",
        "from a year after its registration, a subnet goes to the owner of the hotkey with most "
        "conviction if that is above 18 % of eligible alpha (all that is out, without the "
        "protocol's and what was burnt). The amender stays",
        ("#2800", "#3083"),
        lambda value, parameters: parameters.identity.amender != ZERO_DIGEST,
        needs="OwnerLock",
    ),
    ChainSetting(
        "collateral_lock_share",
        "CollateralLockShare",
        Unit.U16_SHARE,
        "owner",
        "0",
        "the part of a uid's price that is locked instead of burnt, at most 95 %, and freed by "
        "what the hotkey earns. A hotkey that comes back is credited what is locked, so that "
        "further tries of a cheat cost less; and `assay register` and `assay metagraph` do not "
        "show locks",
        ("spec 461", "SDK"),
        lambda value, parameters: value == 0,
    ),
    ChainSetting(
        "collateral_drain_ratio",
        "CollateralDrainRatio",
        Unit.RATIO,
        "owner",
        "",
        "alpha that is freed for each alpha earned, at most 10; of no effect while nothing is "
        "locked",
        ("spec 461",),
    ),
    ChainSetting(
        "tempo",
        "Tempo",
        Unit.BLOCKS,
        "owner",
        "the parameters' `tempo`",
        "settlements end with epochs. The owner may set 360 to 50,400, once in 360 blocks, which "
        "begins an epoch anew: amend `timing.tempo` at once",
        ("spec 461",),
        lambda value, parameters: value == parameters.timing.tempo,
    ),
    ChainSetting(
        "weights_rate_limit",
        "WeightsSetRateLimit",
        Unit.BLOCKS,
        "root",
        "at most a tempo",
        "validators set weights once in a settlement; a longer limit delays pay",
        ("spec 461",),
        lambda value, parameters: value <= parameters.timing.tempo,
    ),
    ChainSetting(
        "commit_reveal_weights_enabled",
        "CommitRevealWeightsEnabled",
        Unit.YES,
        "owner",
        "yes",
        "others can copy weights in the clear instead of auditing",
        ("spec 461",),
        lambda value, parameters: bool(value),
    ),
    ChainSetting(
        "commit_reveal_period",
        "RevealPeriodEpochs",
        Unit.EPOCHS,
        "owner",
        "1",
        "`assay status` looks for the pay of encrypted weights one epoch later than for others",
        ("spec 461",),
        lambda value, parameters: value == 1,
    ),
    ChainSetting(
        "immunity_period",
        "ImmunityPeriod",
        Unit.BLOCKS,
        "owner",
        "at least four tempos",
        "a newcomer is first paid up to three tempos after its first window, and on a full "
        "subnet loses its uid before that if it is not immune",
        ("spec 461",),
        lambda value, parameters: value >= _FIRST_PAY * parameters.timing.tempo,
    ),
    ChainSetting(
        "owner_hparam_rate_limit",
        "OwnerHyperparamRateLimit",
        Unit.EPOCHS,
        "root",
        "",
        "how long an owner waits between two changes of one setting",
        ("spec 461",),
        is_own=False,
    ),
    ChainSetting(
        "admin_freeze_window",
        "AdminFreezeWindow",
        Unit.BLOCKS,
        "root",
        "",
        "the last blocks of an epoch, in which most settings cannot be changed",
        ("spec 461",),
        is_own=False,
    ),
)


@dataclass(frozen=True, slots=True)
class ComparedSetting:
    """A setting beside the chain's value.

    Attributes:
        is_there: whether the runtime has it; else `value` and `fits` are None.
        shown: the value for people.
        fits: whether the value is the one to choose; None: there is none to choose.
    """

    setting: ChainSetting
    is_there: bool
    value: Setting
    shown: str
    fits: bool | None

    def to_json(self) -> dict[str, Any]:
        """The comparison for scripts."""
        setting = asdict(self.setting)
        named = {name: setting[name] for name in ("name", "item", "set_by", "choose", "sources")}
        own = {"unit": self.setting.unit.value, "there": self.is_there, "value": self.value}
        return named | own | {"shown": self.shown, "fits": self.fits}

    def describe(self) -> str:
        """A line for people."""
        if self.fits is False:
            return f"{self.setting.name} {self.shown}; choose {self.setting.choose}".replace(
                "`", ""
            )
        return f"{self.setting.name} {self.shown}"


def compare_settings(chain: SubnetReader, parameters: Parameters) -> list[ComparedSetting]:
    """All settings beside the chain's present values. Raises ChainError: it cannot be read."""
    items = {setting.item: setting.is_own for setting in CHAIN_SETTINGS}
    items |= {setting.needs: True for setting in CHAIN_SETTINGS if setting.needs is not None}
    values = chain.get_settings(items)
    return [_compare(setting, values, parameters) for setting in CHAIN_SETTINGS]


def _compare(
    setting: ChainSetting, values: Mapping[str, Setting], parameters: Parameters
) -> ComparedSetting:
    if not {setting.item, setting.needs or setting.item} <= values.keys():
        return ComparedSetting(setting, False, None, "not on this runtime", None)
    value = values[setting.item]
    if value is None:
        return ComparedSetting(setting, True, None, "not set", None)
    fits = None if setting.fits is None else setting.fits(value, parameters)
    return ComparedSetting(setting, True, value, _show(setting.unit, value), fits)


def _show(unit: Unit, value: Any) -> str:
    """A stored value for people."""
    match unit:
        case Unit.BLOCKS:
            return f"{value:,} blocks"
        case Unit.EPOCHS:
            return f"{value:,} epoch" + ("" if value == 1 else "s")
        case Unit.YES:
            return "yes" if value else "no"
        case Unit.U16_SHARE:
            return _show_share(value / _U16_WHOLE)
        case Unit.SHARE:
            return _show_share(value)
        case Unit.RATIO:
            return f"{value:g}"
        case Unit.SPLIT:
            shares = [_show_share(part / _SPLIT_WHOLE) for part in value]
            return ", ".join(map(" ".join, zip(SPLIT, shares, strict=False)))
        case Unit.SINCE:
            return f"block {value + OWNED_BLOCKS:,}"
        case Unit.CHOICE:
            return str(value).lower()


def _show_share(share: float) -> str:
    return f"{100 * share:.4g} %"


def list_burn_notes(parameters: Parameters) -> list[str]:
    """What burning costs a subnet on chains that answer it with less emission, in lines; none:
    nothing is burnt."""
    share = parameters.identity.burn_share
    if not share:
        return []
    return [
        f"identity.burn_share sends {_show_share(share / MILLION)} of what miners would get to the "
        "owner's uid: the chain counts it as burnt, and since 2026-08-11 takes as much of the "
        "subnet's share of emission (subtensor pull request 3071, read and not run): set it to 0"
    ]
