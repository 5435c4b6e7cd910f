"""Every setting, once: its type, range, default, what it is for, and how it is written as a flag.

Light: `assay COMMAND --help` reads it. Where values come from is in `loading`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic.fields import FieldInfo


@dataclass(frozen=True, slots=True)
class Flag:
    """How a field is written on the command line, where a command offers it."""

    metavar: str | None = None  # what its value is called; None: by its type
    #: with its dashes, and with `/--other` for the opposite; None: the field's name
    name: str | None = None
    exists: bool = False  # it names a file that can be read


def get_flag(field: FieldInfo) -> Flag:
    """Of a field whose type is such as X, X | None or tuple[X, ...]; X may be annotated, too."""
    flag = next((part for part in field.metadata if isinstance(part, Flag)), Flag())
    kind = field.annotation
    while get_origin(kind) is not None:
        kind, *rest = get_args(kind)
        flag = next((part for part in rest if isinstance(part, Flag)), flag)
    return flag


def get_flag_name(name: str, field: FieldInfo) -> str:
    return get_flag(field).name or f"--{name.replace('_', '-')}"


Dir = Annotated[Path, Flag("DIR")]
File = Annotated[Path, Flag("FILE")]
#: Of a checkpoint.
Folder = Annotated[Path, Flag("FOLDER")]
Url = Annotated[str, Flag("URL")]
#: SS58.
Address = Annotated[str, Flag("SS58")]
#: On the EVM.
Contract = Annotated[str, Flag("0x…")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid")


class DemoSettings(_Section):
    """`[demo]`: the whole loop in one process."""

    out: Dir = Field(Path("assay-demo"), description="folder for everything the demo leaves")
    fast: Annotated[bool, Flag(name="--fast/--real-time")] = Field(
        False, description="virtual clock: no waiting between blocks"
    )
    windows: int = Field(8, ge=6, le=100, description="windows to mine")
    groups: int = Field(24, ge=4, le=256, description="groups an honest miner does a window")
    problems: int = Field(1_500, ge=1_000, le=100_000, description="problems that are held out")
    seed: str = Field("assay", description="keys follow from it; with `fast`, all else too")


class StatusSettings(_Section):
    """`[status]`: where a run is looked at."""

    dir: Dir = Field(Path("assay-demo"), description="folder of a run")


class PublishSettings(_Section):
    """`[publish]`: the rules that a subnet's owner publishes."""

    recipe: Annotated[str, Flag("RECIPE")] | None = Field(
        None, description="a recipe's file, or a shipped one's name; None: none"
    )
    model: Folder | None = Field(
        None, description="with a recipe, folder of the model that checkpoint 0 is made of"
    )
    out: Dir = Field(
        Path("assay-genesis"), description="folder for the checkpoint that is made of model"
    )
    preset: Literal["main", "demo"] | None = Field(
        None, description="rules that fit together; None: the recipe's, or main"
    )
    environment: Annotated[str, Flag("NAME")] | None = Field(
        None,
        description="which problems are asked: sat, or sat,k=4; None: the recipe's, or arithmetic",
    )
    genesis: Folder | None = Field(None, description="the first checkpoint; None: the shipped")
    trainer: Address | None = Field(None, description="hotkey that publishes checkpoints, SS58")
    changes: File | None = Field(None, description="TOML or JSON file: parameters to change")
    beacon_info: File | None = Field(None, description="a drand chain's info; None: quicknet")
    slot_ms: int | None = Field(None, ge=1, description="the chain's slot; None: the preset's")


class AmendSettings(_Section):
    """`[amend]`: parameters that a subnet's owner changes on a living network."""

    changes: File | None = Field(None, description="TOML or JSON file: parameters to change")
    window: int | None = Field(
        None, ge=1, description="the first they hold for; None: as soon as can be"
    )
    checkpoint: Folder | None = Field(
        None, description="to be calibrated for them, where that is needed"
    )
    out: Dir = Field(Path("assay-amended"), description="folder for the calibrated checkpoint")


class EnvironmentsSettings(_Section):
    """`[environments]`: what problems need beside code."""

    files: tuple[Annotated[Path, Flag("FILE", "--file", exists=True)], ...] = Field(
        (),
        description="files of problems, JSON Lines or Parquet: those of code:SHA256, gsm:SHA256, "
        "math:SHA256; archives: those of package:SHA256 and verifiers:SHA256",
    )


class JudgeSettings(_Section):
    """`[judge]`: a language model that compares answers in contests. Its key is no flag."""

    url: Annotated[str, Flag("URL", "--judge")] | None = Field(
        None, description="base URL of an API with chat completions; None: no judge is asked"
    )
    model: Annotated[str, Flag("NAME", "--judge-model")] = Field(
        "assay", min_length=1, max_length=200, description="model, as that server names it"
    )
    key: SecretStr | None = Field(
        None, description="sent as a bearer token, over https or to this machine; None: none"
    )
    seconds: float = Field(120.0, gt=0, le=3_600, description="for one answer")


class CalibrateSettings(_Section):
    """`[calibrate]`: two implementations of the reference, compared."""

    model: Folder | None = Field(None, description="folder of a checkpoint")
    a: Annotated[str, Flag("IMPLEMENTATION")] = Field(
        "fp32-sdpa", description="implementation that draws, as fp32-sdpa or cpu:fp32-sdpa"
    )
    b: Annotated[str, Flag("IMPLEMENTATION")] = Field(
        "fp32-eager", description="implementation that judges, as split3 or cuda:0:split3"
    )
    problems: int | None = Field(
        None, ge=2, description="contexts that are compared; None: all of the set"
    )
    cap: Annotated[float, Flag("LOGITS")] | None = Field(
        None, gt=0, le=16, description="margin cap, logits; None: 2e-4"
    )
    out: Dir = Field(Path("assay-calibration"), description="folder for what was found")


class GauntletSettings(_Section):
    """`[gauntlet]`: every strategy against the judge."""

    models: Dir = Field(
        Path("assay-models"), description="folder of the bench models, built where they are missing"
    )
    out: Dir | None = Field(None, description="folder for gauntlet.json")
    fast: Annotated[bool, Flag(name="--fast/--whole")] = Field(
        False, description="the shipped model only, few groups, nothing is built"
    )
    groups: int = Field(16, ge=2, le=256, description="groups measured of each strategy")
    only: Annotated[str, Flag("NAME")] | None = Field(
        None, description="part of the name of the strategies to run"
    )


class ChainSettings(_Section):
    """`[chain]`: which chain, through which nodes, and which subnet on it."""

    network: Annotated[str, Flag("NAME")] = Field(
        "finney", description="finney, test, local, or a ws:// or wss:// URL"
    )
    fallbacks: tuple[str, ...] = Field(
        (), description="URLs of nodes used when that one fails, and then trusted like it"
    )
    archives: tuple[str, ...] = Field((), description="URLs of nodes that keep all state")
    genesis_hash: str | None = Field(
        None, pattern=r"^(0x)?[0-9a-f]{64}$", description="block 0 of the chain; finney's is known"
    )
    netuid: int | None = Field(None, ge=0, le=65_535, description="the subnet's number")


class WalletSettings(_Section):
    """`[wallet]`: the SDK's wallet that signs. Passwords are asked for, never configured."""

    name: Annotated[str, Flag("NAME", "--wallet")] = Field(
        "default", description="the wallet's coldkey; //Name is a development key"
    )
    hotkey: Annotated[str, Flag("NAME")] = Field("default", description="hotkey within the wallet")
    path: Annotated[Path, Flag("DIR", "--wallet-path")] = Field(
        Path("~/.bittensor/wallets"), description="folder of wallets"
    )


class StoreSettings(_Section):
    """`[store]`: where one's own files go, and where other people's may be read. Secrets are no
    flags."""

    locator: Annotated[str, Flag("URL", "--store")] | None = Field(
        None, description="public URL where others read one's files; without upload, file:///folder"
    )
    upload: str | None = Field(
        None, description="s3://bucket/path, written to and read by others at the locator"
    )
    endpoint: str | None = Field(None, description="URL of the S3 service; None: AWS's")
    ca_file: Path | None = Field(
        None,
        description="PEM file of a private authority, trusted beside the system's for endpoint and "
        "locator alone",
    )
    region: str | None = Field(None, description="of the bucket; needed at AWS alone")
    credentials: Path | None = Field(
        None, description="file with the bucket's keys, as AWS's tools keep it; None: as below"
    )
    profile: str = Field("default", description="section of that file")
    access_key_id: SecretStr | None = Field(
        None, description="of the bucket's key; AWS_ACCESS_KEY_ID serves as well"
    )
    secret_access_key: SecretStr | None = Field(
        None, description="AWS_SECRET_ACCESS_KEY serves as well"
    )
    session_token: SecretStr | None = Field(
        None, description="where the key has one; AWS_SESSION_TOKEN serves as well"
    )
    readable: tuple[Url, ...] = Field(
        (),
        description="URLs: below these, locators on chain are read wherever they lead; "
        "elsewhere only https at public addresses",
    )
    mirrors: tuple[str, ...] = Field(
        (), description="URLs: checkpoints and submissions are read from these, too"
    )


class BeaconSettings(_Section):
    """`[beacon]`: where drand is reached. What it says is verified whoever says it."""

    endpoints: tuple[Annotated[str, Flag("URL", "--beacon")], ...] = Field(
        (), description="URLs of drand endpoints; none: drand's public ones"
    )


class ComputeSettings(_Section):
    """`[compute]`: where and how models run, in programs and in every command that judges."""

    device: Annotated[str, Flag("DEVICE")] = Field(
        "auto", description="cpu, cuda:0, …; auto: the first card, or the processor without one"
    )
    implementation: Annotated[str, Flag("NAME")] = Field(
        "fp32-sdpa", description="of the reference: fp32-sdpa, fp32-eager, split3"
    )
    memory_share: Annotated[float, Flag("SHARE")] = Field(
        0.9, gt=0, le=1, description="of the memory that is free on the device, at most"
    )
    threads: int | None = Field(
        None, ge=1, le=1_024, description="threads of PyTorch; None: its choice"
    )


class MinerSettings(_Section):
    """`[miner]`: a miner."""

    dir: Dir = Field(Path("assay-mine"), description="folder of the miner's own files")
    groups: int = Field(1_024, ge=1, le=16_384, description="groups a window, at most")
    groups_per_step: int = Field(8, ge=1, le=1_024, description="groups generated together")
    commit_margin: int = Field(
        6, ge=1, le=1_000, description="blocks between sending a commitment and its deadline"
    )
    engines: tuple[Annotated[str, Flag("URL", "--engine")], ...] = Field(
        (),
        max_length=64,
        description="http://host:port of servers that draft, vLLM with assay-vllm; #name behind it "
        "where the model is not served as assay; auto: this program starts one for each card; "
        "none: this program drafts",
    )
    engine_python: Annotated[Path | None, Flag("FILE", "--engine-python")] = Field(
        None,
        description="with auto, the Python of the environment that has vLLM and assay-vllm; None: "
        "this program's own",
    )
    engine_flags: tuple[str, ...] = Field(
        (), max_length=64, description="with auto, more flags of vllm serve"
    )
    exact: bool = Field(
        False,
        description="with engines, read each group once more: its file is then the same to the bit "
        "whoever drafts",
    )


class ValidatorSettings(_Section):
    """`[validator]`: a validator; `devices` judge for a trainer, too."""

    dir: Dir = Field(Path("assay-validate"), description="folder of the validator's own files")
    fetches: int = Field(
        24, ge=0, le=256, description="files read at a time, ahead of the judge; 0: in its turn"
    )
    mirrored: int = Field(
        4,
        ge=0,
        le=10_000,
        description="windows of whose files the audited parts stay in its store; 0: none",
    )
    devices: tuple[Annotated[str, Flag("DEVICE", "--worker")], ...] = Field(
        (),
        max_length=256,
        description="cuda:0, cuda:1, …, or cpu several times: a worker process on each judges, of "
        "one thread unless threads says more; none: this process judges",
    )


class ClusterSettings(_Section):
    """`[cluster]`: a Ray cluster whose hosts judge, in place of this machine alone."""

    address: Annotated[str, Flag("ADDRESS", "--cluster")] | None = Field(
        None,
        description="HOST:PORT of the cluster, or auto: its hosts run a worker for each of "
        "devices; None: this machine does",
    )


class TrainerSettings(_Section):
    """`[trainer]`: the trainer."""

    dir: Dir = Field(Path("assay-train"), description="folder of the trainer's own files")
    processes: int = Field(
        1, ge=1, le=64, description="of this machine that learn together, one a card"
    )
    learning_rate: float = Field(5e-5, gt=0, le=1, description="of AdamW")
    weight_decay: float = Field(0.0, ge=0, le=1, description="of AdamW")
    max_gradient: float = Field(1.0, gt=0, description="gradients are scaled down to this norm")
    epochs: int = Field(4, ge=1, le=64, description="passes over a window's groups")
    groups_per_batch: int = Field(8, ge=1, le=16_384, description="groups behind one update")
    tokens_per_pass: int = Field(
        8_192, ge=1, le=1 << 24, description="tokens a forward pass holds, gradients summed"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="of products; masters, gradients and moments are float32"
    )
    recompute: bool = Field(
        False, description="compute layers twice instead of keeping them: less memory, a third more"
    )
    offload: bool = Field(
        False, description="keep weights and moments off the card, and bring layers to it in turn"
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


class LedgerSettings(_Section):
    """`[ledger]`: the contract on the EVM that a validator's settlements are posted to."""

    endpoint: Annotated[str, Flag("URL", "--evm")] | None = Field(
        None, description="URL of an EVM node, http or https; None: none"
    )
    chain_id: int | None = Field(
        None, ge=1, lt=2**63, description="chain id of the EVM; None: that of finney, test or local"
    )
    contract: Contract | None = Field(None, description="address of the ScoreLedger")
    weights_check: Contract | None = Field(None, description="address of a WeightsCheck over it")
    key: File | None = Field(
        None, description="keystore of the key that posts; None: evmkeys/<hotkey> in the wallet"
    )
    password_file: File | None = Field(
        None, description="file with the keystore's password; None: it is asked for"
    )
    confirmations: int = Field(
        6, ge=0, le=1_000, description="blocks on top before a transaction is held to stand"
    )
    max_gas_price: int = Field(
        100, ge=1, le=1_000_000, description="gwei; nothing is sent while gas costs more"
    )


class LogSettings(_Section):
    """`[log]`: what the programs say while they run."""

    format: Annotated[Literal["human", "json"], Flag(name="--log-format")] = Field(
        "human", description="lines for people, or JSON documents; with --json always JSON"
    )


class MetricsSettings(_Section):
    """`[metrics]`: figures of a running miner, validator or trainer, for Prometheus."""

    listen: Annotated[str, Flag("HOST:PORT", "--metrics")] | None = Field(
        None, description="HOST:PORT, or PORT on 127.0.0.1, where figures are served; None: nowhere"
    )
    hosts: tuple[str, ...] = Field(
        (), description="further names and addresses that Prometheus asks for them under"
    )


class ExplorerSettings(_Section):
    """`[explorer]`: the web page over a validator's record."""

    dir: Dir | None = Field(
        None,
        description="folder of a demo, a validator or a localnet; None: assay-demo, else "
        "assay-localnet",
    )
    record: Annotated[str, Flag("STORE")] | None = Field(
        None, description="store that the record lies in; None: found"
    )
    hotkey: Address | None = Field(None, description="whose record, SS58; None: the only one there")
    model: Folder | None = Field(None, description="folder of checkpoints; None: the run's own")
    trainer: Dir | None = Field(None, description="folder of a trainer; None: the run's own")
    gauntlet: File | None = Field(None, description="the gauntlet.json that is shown")
    evm_explorer: Url | None = Field(
        None, max_length=200, description="URL of an EVM explorer that entries link to"
    )
    host: Annotated[str, Flag("ADDRESS")] = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8_400, ge=0, le=65_535, description="port to listen on; 0: any that is free")
    hosts: tuple[Annotated[str, Flag("NAME", "--allow-host")], ...] = Field(
        (), description="further names the page is served under"
    )
    index: Dir = Field(Path("assay-explorer"), description="folder of the index")


class LocalnetSettings(_Section):
    """`[localnet]`: a subnet on this machine, for development."""

    dir: Dir = Field(Path("assay-localnet"), description="folder for everything of it")
    block_time: Annotated[float, Flag("S")] | None = Field(
        None, ge=0.5, le=60, description="seconds between blocks; None: as before, or 1"
    )
    port: int | None = Field(
        None,
        ge=0,
        le=65_534,
        description="port of the chain, the beacon's is the next; 0: any two free",
    )


class Settings(_Section):
    """Everything that can be configured."""

    chain: ChainSettings = ChainSettings()
    wallet: WalletSettings = WalletSettings()
    store: StoreSettings = StoreSettings()
    beacon: BeaconSettings = BeaconSettings()
    compute: ComputeSettings = ComputeSettings()
    miner: MinerSettings = MinerSettings()
    validator: ValidatorSettings = ValidatorSettings()
    cluster: ClusterSettings = ClusterSettings()
    trainer: TrainerSettings = TrainerSettings()
    publish: PublishSettings = PublishSettings()
    amend: AmendSettings = AmendSettings()
    environments: EnvironmentsSettings = EnvironmentsSettings()
    judge: JudgeSettings = JudgeSettings()
    calibrate: CalibrateSettings = CalibrateSettings()
    demo: DemoSettings = DemoSettings()
    status: StatusSettings = StatusSettings()
    gauntlet: GauntletSettings = GauntletSettings()
    localnet: LocalnetSettings = LocalnetSettings()
    ledger: LedgerSettings = LedgerSettings()
    log: LogSettings = LogSettings()
    metrics: MetricsSettings = MetricsSettings()
    explorer: ExplorerSettings = ExplorerSettings()
