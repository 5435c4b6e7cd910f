"""The one typed schema: a TOML file, then `ASSAY_*` variables, then flags; later wins.

The only place where the environment is read. A nested name is written with two underscores:
`ASSAY_DEMO__WINDOWS=8` is `windows = 8` under `[demo]`.
"""

import os
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from assay.neurons.settings.store_settings import StoreSettings
from assay.protocol.errors import OperatorError

_PREFIX = "ASSAY_"


class ConfigError(OperatorError):
    """A setting that cannot be used: says which, and what to do."""


class DemoSettings(BaseModel):
    """`[demo]`: the whole loop in one process."""

    model_config = ConfigDict(extra="forbid")

    out: Path = Field(Path("assay-demo"), description="folder for everything the demo leaves")
    fast: bool = Field(False, description="virtual clock: no waiting between blocks")
    windows: int = Field(8, ge=6, le=100, description="windows to mine")
    groups: int = Field(24, ge=4, le=256, description="groups an honest miner does a window")
    problems: int = Field(1_500, ge=1_000, le=100_000, description="held-out problems")
    seed: str = Field("assay", description="keys follow from it; with `fast`, all else too")


class StatusSettings(BaseModel):
    """`[status]`: where a run is looked at."""

    model_config = ConfigDict(extra="forbid")

    dir: Path = Field(Path("assay-demo"), description="folder of a run")


class PublishSettings(BaseModel):
    """`[publish]`: the rules that a subnet's owner publishes."""

    model_config = ConfigDict(extra="forbid")

    preset: Literal["main", "demo"] = Field("main", description="rules that fit together")
    environment: str = Field("arithmetic", description="which problems are asked: sat, or sat,k=4")
    genesis: Path | None = Field(None, description="the first checkpoint; None: the shipped")
    trainer: str | None = Field(None, description="hotkey that publishes checkpoints, SS58")
    changes: Path | None = Field(None, description="TOML or JSON file: parameters to change")
    beacon_info: Path | None = Field(None, description="a drand chain's info; None: quicknet")
    slot_ms: int | None = Field(None, ge=1, description="the chain's slot; None: the preset's")


class EnvironmentsSettings(BaseModel):
    """`[environments]`: what problems need beside code."""

    model_config = ConfigDict(extra="forbid")

    files: tuple[Path, ...] = Field(
        (), description="files of word problems, JSON Lines or Parquet: those of gsm:SHA256"
    )


class CalibrateSettings(BaseModel):
    """`[calibrate]`: two implementations of the reference, compared."""

    model_config = ConfigDict(extra="forbid")

    model: Path | None = Field(None, description="folder of a checkpoint")
    a: str = Field("fp32-sdpa", description="implementation that draws")
    b: str = Field("fp32-eager", description="implementation that judges")
    problems: int | None = Field(None, ge=2, description="contexts of its set; None: all")
    cap: float | None = Field(None, gt=0, le=16, description="margin cap, logits; None: 2e-4")
    out: Path = Field(Path("assay-calibration"), description="folder for what was found")


class GauntletSettings(BaseModel):
    """`[gauntlet]`: every strategy against the judge."""

    model_config = ConfigDict(extra="forbid")

    models: Path = Field(
        Path("assay-models"), description="folder of the bench models, built where they are missing"
    )
    out: Path | None = Field(None, description="folder for gauntlet.json")
    fast: bool = Field(False, description="the shipped model only, few groups, nothing is built")
    groups: int = Field(16, ge=2, le=256, description="groups measured of each strategy")
    only: str | None = Field(None, description="part of the name of the strategies to run")


class ChainSettings(BaseModel):
    """`[chain]`: which chain, through which nodes, and which subnet on it."""

    model_config = ConfigDict(extra="forbid")

    network: str = Field("finney", description="finney, test, local, or a ws:// or wss:// URL")
    fallbacks: tuple[str, ...] = Field((), description="URLs of nodes asked when that one fails")
    archives: tuple[str, ...] = Field((), description="URLs of nodes that keep all state")
    genesis_hash: str | None = Field(
        None, pattern=r"^(0x)?[0-9a-f]{64}$", description="block 0 of the chain; finney's is known"
    )
    netuid: int | None = Field(None, ge=0, le=65_535, description="the subnet's number")


class WalletSettings(BaseModel):
    """`[wallet]`: the SDK's wallet that signs. Passwords are asked for, never configured."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field("default", description="coldkey; //Name is a development key")
    hotkey: str = Field("default", description="hotkey within the wallet")
    path: Path = Field(Path("~/.bittensor/wallets"), description="folder of wallets")


class BeaconSettings(BaseModel):
    """`[beacon]`: where drand is reached. What it says is verified whoever says it."""

    model_config = ConfigDict(extra="forbid")

    endpoints: tuple[str, ...] = Field((), description="URLs; none: drand's public ones")


class MinerSettings(BaseModel):
    """`[miner]`: a miner."""

    model_config = ConfigDict(extra="forbid")

    dir: Path = Field(Path("assay-mine"), description="folder of the miner's own files")
    groups: int = Field(1_024, ge=1, le=16_384, description="groups a window, at most")
    groups_per_step: int = Field(8, ge=1, le=1_024, description="groups generated together")
    commit_margin: int = Field(
        6, ge=1, le=1_000, description="blocks between sending a commitment and its deadline"
    )
    threads: int | None = Field(None, ge=1, le=1_024, description="of PyTorch; None: its choice")


class ValidatorSettings(BaseModel):
    """`[validator]`: a validator."""

    model_config = ConfigDict(extra="forbid")

    dir: Path = Field(Path("assay-validate"), description="folder of the validator's own files")
    fetches: int = Field(
        24, ge=0, le=256, description="files read at a time, ahead of the judge; 0: in its turn"
    )
    mirrored: int = Field(
        4, ge=0, le=10_000, description="windows whose audited groups stay in its store; 0: none"
    )
    threads: int | None = Field(None, ge=1, le=1_024, description="of PyTorch; None: its choice")


class TrainerSettings(BaseModel):
    """`[trainer]`: the trainer."""

    model_config = ConfigDict(extra="forbid")

    dir: Path = Field(Path("assay-train"), description="folder of the trainer's own files")
    threads: int | None = Field(None, ge=1, le=1_024, description="of PyTorch; None: its choice")
    learning_rate: float = Field(5e-5, gt=0, le=1, description="of AdamW")
    weight_decay: float = Field(0.0, ge=0, le=1, description="of AdamW")
    max_gradient: float = Field(1.0, gt=0, description="gradients are scaled down to this norm")
    epochs: int = Field(4, ge=1, le=64, description="passes over a window's groups")
    groups_per_batch: int = Field(8, ge=1, le=16_384, description="groups behind one update")
    rows_per_pass: int = Field(
        0, ge=0, le=1 << 20, description="rollouts a forward pass holds, gradients summed; 0: all"
    )
    clip_low: float = Field(0.2, gt=0, lt=1, description="ratios count down to 1 − this")
    clip_high: float = Field(0.28, gt=0, description="ratios count up to 1 + this")
    clip_cap: float = Field(4.0, gt=1, description="and to this where the advantage is negative")
    level: Literal["token", "sequence"] = Field(
        "token", description="what has a ratio and counts alike: tokens or whole rollouts"
    )
    scaled: bool = Field(False, description="advantages over their group's standard deviation")
    kl_weight: float = Field(0.0, ge=0, description="of the divergence from the reference")
    kl_reference: Literal["behaviour", "genesis"] = Field(
        "behaviour", description="the reference: who sampled, or the network's first checkpoint"
    )
    lora_rank: int = Field(
        0, ge=0, le=1_024, description="of factors that learn in place of all weights; 0: all"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="of the order of groups, and of LoRA")
    sync: Literal["sequential", "async"] = Field(
        "async", description="sequential: learn only from the newest checkpoint's own rollouts"
    )
    staleness: int = Field(
        8, ge=0, le=1_000, description="async: checkpoints that rollouts may be behind, at most"
    )
    local_groups: int = Field(
        0, ge=0, le=16_384, description="groups a window that the trainer generates itself"
    )
    external_groups: int | None = Field(
        None, ge=0, le=16_384, description="miners' groups a window, at most; None: all"
    )
    steps_kept: int = Field(
        1, ge=0, le=10_000, description="old states of the optimiser kept: so many can be verified"
    )
    publish_states: bool = Field(
        False, description="upload what steps begin with: 12 bytes a weight, for verify-step"
    )
    problems: int = Field(
        256,
        ge=0,
        le=100_000,
        description="held-out problems a checkpoint is tried on; 0: no levels move",
    )


class LedgerSettings(BaseModel):
    """`[ledger]`: the contract on the EVM that a validator's settlements are posted to."""

    model_config = ConfigDict(extra="forbid")

    endpoint: str | None = Field(
        None, description="http(s) URL of an EVM node; None: nothing is posted"
    )
    chain_id: int | None = Field(
        None, ge=1, lt=2**63, description="of the EVM; None: that of finney, test or local"
    )
    contract: str | None = Field(None, description="address of the ScoreLedger")
    weights_check: str | None = Field(None, description="address of a WeightsCheck over it")
    key: Path | None = Field(
        None, description="keystore of the key that posts; None: evmkeys/<hotkey> in the wallet"
    )
    password_file: Path | None = Field(
        None, description="file with the keystore's password; None: it is asked for"
    )
    confirmations: int = Field(
        6, ge=0, le=1_000, description="blocks on top before a transaction is held to stand"
    )
    max_gas_price: int = Field(
        100, ge=1, le=1_000_000, description="gwei; nothing is sent while gas costs more"
    )


class LogSettings(BaseModel):
    """`[log]`: what the programs say while they run."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["human", "json"] = Field(
        "human", description="lines for people, or JSON documents; with --json always JSON"
    )


class MetricsSettings(BaseModel):
    """`[metrics]`: figures of a running miner, validator or trainer, for Prometheus."""

    model_config = ConfigDict(extra="forbid")

    listen: str | None = Field(
        None, description="HOST:PORT, or PORT on 127.0.0.1, they are served on; None: nowhere"
    )
    hosts: tuple[str, ...] = Field(
        (), description="further names and addresses that Prometheus asks for them under"
    )


class ExplorerSettings(BaseModel):
    """`[explorer]`: the web page over a validator's record."""

    model_config = ConfigDict(extra="forbid")

    dir: Path | None = Field(None, description="folder of a demo or a validator")
    record: str | None = Field(None, description="store that the record lies in; None: found")
    hotkey: str | None = Field(None, description="whose record, SS58; None: the only one there")
    model: Path | None = Field(None, description="folder of checkpoints; None: the run's own")
    trainer: Path | None = Field(None, description="folder of a trainer; None: the run's own")
    gauntlet: Path | None = Field(None, description="gauntlet.json that is shown")
    evm_explorer: str | None = Field(
        None, max_length=200, description="URL of an EVM explorer that entries link to"
    )
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8_400, ge=0, le=65_535, description="port; 0: any that is free")
    hosts: tuple[str, ...] = Field((), description="further names the page is served under")
    index: Path = Field(Path("assay-explorer"), description="folder of the index")


class LocalnetSettings(BaseModel):
    """`[localnet]`: a subnet on this machine, for development."""

    model_config = ConfigDict(extra="forbid")

    dir: Path = Field(Path("assay-localnet"), description="folder for everything of it")
    block_time: float | None = Field(
        None, ge=0.5, le=60, description="seconds between blocks; None: as before, or 1"
    )
    port: int | None = Field(
        None, ge=0, le=65_534, description="of the chain, the beacon's is the next; 0: any two free"
    )


class Settings(BaseSettings):
    """Everything that can be configured."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        nested_model_default_partial_update=True,
    )

    chain: ChainSettings = ChainSettings()
    wallet: WalletSettings = WalletSettings()
    store: StoreSettings = StoreSettings()
    beacon: BeaconSettings = BeaconSettings()
    miner: MinerSettings = MinerSettings()
    validator: ValidatorSettings = ValidatorSettings()
    trainer: TrainerSettings = TrainerSettings()
    publish: PublishSettings = PublishSettings()
    environments: EnvironmentsSettings = EnvironmentsSettings()
    calibrate: CalibrateSettings = CalibrateSettings()
    demo: DemoSettings = DemoSettings()
    status: StatusSettings = StatusSettings()
    gauntlet: GauntletSettings = GauntletSettings()
    localnet: LocalnetSettings = LocalnetSettings()
    ledger: LedgerSettings = LedgerSettings()
    log: LogSettings = LogSettings()
    metrics: MetricsSettings = MetricsSettings()
    explorer: ExplorerSettings = ExplorerSettings()


def load_settings(
    file: Path | None,
    flags: dict[str, dict[str, Any]],
    below: dict[str, dict[str, Any]] | None = None,
) -> Settings:
    """Settings from all three sources.

    Args:
        flags: section → field → value; None means the flag was not given.
        below: of the same shape: stands in for defaults, every source wins over it.

    Raises:
        ConfigError: a missing or broken file, an unknown name or a value out of its range.
    """
    _require_known_variables()
    if file is not None:
        try:
            tomllib.loads(file.read_text())
        except OSError as error:
            raise ConfigError(f"--config {file}: {error.strerror}") from None
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"--config {file} is not TOML: {error}") from None
    given = {
        section: present
        for section, fields in flags.items()
        if (present := {name: value for name, value in fields.items() if value is not None})
    }

    class AllSettings(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            """Earlier in the tuple wins."""
            return (
                init_settings,
                env_settings,
                TomlConfigSettingsSource(settings_cls, toml_file=file),
                InitSettingsSource(settings_cls, init_kwargs={"store": _read_aws_variables()}),
                InitSettingsSource(settings_cls, init_kwargs=dict(below or {})),
            )

    try:
        return AllSettings(**given)  # type: ignore[arg-type] # sections by name
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            _explain(first["type"], list(map(str, first["loc"])), first["msg"])
        ) from None


def _read_aws_variables() -> dict[str, str]:
    """The credentials that every tool of S3 finds in the environment."""
    names = ("access_key_id", "secret_access_key", "session_token")
    found = {name: os.environ.get(f"AWS_{name}".upper()) for name in names}
    return {name: value for name, value in found.items() if value}


def list_settings() -> dict[str, dict[str, FieldInfo]]:
    """Section → name → field, of all settings."""
    return {
        section: field.annotation.model_fields  # type: ignore[union-attr] # all are models
        for section, field in Settings.model_fields.items()
    }


def _explain(kind: str, where: list[str], message: str) -> str:
    """A setting that pydantic refused, with what was probably meant."""
    name = ".".join(where)
    if kind != "extra_forbidden":
        return f"setting {name!r}: {message}"
    known = list_settings()
    names = known.get(where[0], known)
    near = get_close_matches(where[-1], names, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(names))}"
    return f"{name!r} is no setting: {hint}"


def _require_known_variables() -> None:
    """pydantic-settings ignores unknown variables; a typing mistake should not pass silently."""
    known = {
        f"{_PREFIX}{section}__{name}".upper()
        for section, fields in list_settings().items()
        for name in fields
    }
    for variable in os.environ:
        if variable.startswith(_PREFIX) and variable not in known | _TOOL_VARIABLES:
            near = get_close_matches(variable, known, 3)
            hint = f"did you mean {' or '.join(near)}?" if near else "see docs/settings.md"
            raise ConfigError(f"environment variable {variable} is not a setting: {hint}")


#: Read by test suites, not by programs.
_TOOL_VARIABLES = frozenset({"ASSAY_CHAIN_ENDPOINT", "ASSAY_SUBTENSOR_DIR"})


def use_sdk_cache(folder: Path) -> None:
    """Has the bittensor SDK keep runtime metadata in a folder of our own.

    It files metadata by the first half of a genesis hash and by spec version, which local chains
    share: the metadata of one would be taken for another's. The variable is its only setting.
    """
    os.environ["BITTENSOR_RUNTIME_CACHE_DIR"] = str(folder)
