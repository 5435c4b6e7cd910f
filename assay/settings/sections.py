"""Every setting, once: its type, range, default, purpose, and how it is written as a flag.

Light: `assay COMMAND --help` loads it. `loading` reads the values.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic.fields import FieldInfo

from assay.settings.losses import FLAT, Loss, LossTable, list_bounds, read_flat, write_table


@dataclass(frozen=True, slots=True)
class Flag:
    """The form of a field on the command line, where a command offers it."""

    metavar: str | None = None  # placeholder for its value; None: from its type
    #: with its dashes, and with `/--other` for the opposite; None: the field's name
    name: str | None = None


def get_flag(field: FieldInfo) -> Flag:
    """The flag of a field whose type is X, X | None or tuple[X, ...]. X may itself be annotated."""
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
#: A checkpoint's folder.
Folder = Annotated[Path, Flag("FOLDER")]
Url = Annotated[str, Flag("URL")]
#: An SS58 address.
Address = Annotated[str, Flag("SS58")]
#: A contract on the EVM.
Contract = Annotated[str, Flag("0x…")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid")


class DemoSettings(_Section):
    """`[demo]`: a whole subnet in one process."""

    out: Dir = Field(Path("assay-demo"), description="folder for all files of the demo")
    fast: Annotated[bool, Flag(name="--fast/--real-time")] = Field(
        False, description="virtual clock, no waiting between blocks"
    )
    episodes: Annotated[bool, Flag(name="--episodes/--sums")] = Field(
        False, description="guess numbers, turn by turn, in more windows, on a virtual clock"
    )
    recipe: Annotated[str, Flag("RECIPE")] | None = Field(
        None,
        description="play this recipe's subnet, on a virtual clock: a file, or a shipped one's "
        "name; None: the demo's own",
    )
    model: Folder | None = Field(
        None,
        description="with recipe, the model that becomes checkpoint 0, or a checkpoint: a folder, "
        "or ORG/NAME",
    )
    windows: int | None = Field(
        None,
        ge=6,
        le=100,
        description="number of windows; None: 8, with episodes 24, with a recipe 12",
    )
    groups: int | None = Field(
        None,
        ge=4,
        le=256,
        description="groups of each honest miner in a window; None: 24, or 8 with a recipe",
    )
    problems: int | None = Field(
        None,
        ge=100,
        le=100_000,
        description="number of held-out problems; None: 1,500, with episodes 400, with a recipe "
        "300",
    )
    seed: Annotated[str, Flag("TEXT")] = Field(
        "assay", description="seed of all keys; with `fast`, of everything"
    )

    @property
    def is_virtual(self) -> bool:
        """Return whether blocks come as fast as the programs take them. Episodes and recipes need
        that: what a window teaches is to be in force in the next one, whatever the machine's
        speed."""
        return self.fast or self.episodes or self.recipe is not None


class StatusSettings(_Section):
    """`[status]`: the run that `assay status` shows."""

    dir: Dir | None = Field(
        None, description="folder of a run; None: all that run here, or the last that ran"
    )


class PublishSettings(_Section):
    """`[publish]`: the parameters that a subnet's owner publishes."""

    recipe: Annotated[str, Flag("RECIPE")] | None = Field(
        None, description="file of a recipe, or the name of a shipped one; None: none"
    )
    model: Folder | None = Field(
        None, description="with a recipe, model that becomes checkpoint 0: a folder, or ORG/NAME"
    )
    out: Dir = Field(Path("assay-genesis"), description="folder for the new checkpoint 0")
    compared: int = Field(
        100_000,
        ge=4_096,
        description="tokens on which two implementations of a model that no family describes are "
        "compared before it becomes checkpoint 0",
    )
    preset: Literal["main", "demo"] | None = Field(
        None, description="a set of parameters that fit together; None: the recipe's, or main"
    )
    environment: Annotated[str, Flag("NAME")] | None = Field(
        None,
        description="name of an environment, such as sat or sat,k=4; "
        "None: the recipe's, or arithmetic",
    )
    genesis: Folder | None = Field(
        None, description="first checkpoint: a folder, or ORG/NAME; None: the shipped one"
    )
    trainer: Address | None = Field(None, description="hotkey that publishes checkpoints, SS58")
    amender: Address | None = Field(
        None,
        description="hotkey that alone may amend the network, for ever, SS58; "
        "None: whoever owns the subnet",
    )
    changes: File | None = Field(None, description="parameters to change, TOML or JSON")
    beacon_info: File | None = Field(None, description="info of a drand chain; None: quicknet")
    slot_ms: int | None = Field(
        None, ge=1, description="milliseconds of a slot; None: the preset's"
    )


class AmendSettings(_Section):
    """`[amend]`: changes of a running network's parameters by its owner."""

    changes: File | None = Field(None, description="parameters to change, TOML or JSON")
    window: int | None = Field(
        None, ge=1, description="first window of the new parameters; None: the earliest possible"
    )
    checkpoint: Folder | None = Field(
        None, description="checkpoint to calibrate, if the changes need it: a folder, or ORG/NAME"
    )
    out: Dir = Field(Path("assay-amended"), description="folder for the calibrated checkpoint")


class EnvironmentsSettings(_Section):
    """`[environments]`: the files that some environments need."""

    files: tuple[Annotated[Path, Flag("FILE", "--file")], ...] = Field(
        (),
        description="problem files (JSON Lines, JSON, CSV or Parquet), or data sets ORG/NAME on "
        "the Hub; archives of package:SHA256 and verifiers:SHA256",
    )


class HubSettings(_Section):
    """`[hub]`: the Hub of Hugging Face, for models and data sets that are named ORG/NAME. Its
    address is the library's: HF_ENDPOINT."""

    dir: Annotated[Path, Flag("DIR", "--hub-dir")] | None = Field(
        None, description="folder for downloads; None: assay in the library's folder, HF_HOME"
    )
    token_file: File | None = Field(
        None,
        description="file with a token; None: HF_TOKEN, or the library's store (hf auth login)",
    )


class JudgeSettings(_Section):
    """`[judge]`: a language model that compares answers in contests. Its key has no flag."""

    url: Annotated[str, Flag("URL", "--judge")] | None = Field(
        None, description="base URL of a chat completions API; None: no judge"
    )
    model: Annotated[str, Flag("NAME", "--judge-model")] = Field(
        "assay", min_length=1, max_length=200, description="name of the model on that server"
    )
    key: SecretStr | None = Field(
        None, description="bearer token, sent only over https or to this machine; None: none"
    )
    seconds: float = Field(120.0, gt=0, le=3_600, description="seconds to wait for one answer")


class CalibrateSettings(_Section):
    """`[calibrate]`: a comparison of two implementations of the reference."""

    model: Folder | None = Field(None, description="checkpoint: a folder, or ORG/NAME")
    a: Annotated[str, Flag("IMPLEMENTATION")] = Field(
        "fp32-sdpa", description="implementation that draws, such as fp32-sdpa or cpu:fp32-sdpa"
    )
    b: Annotated[str, Flag("IMPLEMENTATION")] = Field(
        "fp32-eager", description="implementation that judges, such as split3 or cuda:0:split3"
    )
    problems: int | None = Field(
        None, ge=2, description="number of prompts to compare; None: all of the set"
    )
    cap: Annotated[float, Flag("LOGITS")] | None = Field(
        None, gt=0, le=16, description="cap on the logit gap (margin), in logits; None: 2e-4"
    )
    out: Dir = Field(Path("assay-calibration"), description="folder for the results")


class GauntletSettings(_Section):
    """`[gauntlet]`: every strategy, run against the judge."""

    models: Dir = Field(
        Path("assay-models"), description="folder of the bench models; missing ones are built"
    )
    out: Dir | None = Field(None, description="folder for gauntlet.json")
    fast: Annotated[bool, Flag(name="--fast/--whole")] = Field(
        False, description="only the shipped model and few groups; builds nothing"
    )
    groups: int = Field(16, ge=2, le=256, description="groups to measure for each strategy")
    only: Annotated[str, Flag("NAME")] | None = Field(
        None, description="run only strategies whose name contains this"
    )


class ChainSettings(_Section):
    """`[chain]`: the chain, the nodes that serve it, and the subnet."""

    network: Annotated[str, Flag("NAME")] = Field(
        "finney", description="finney, test, local, or a ws:// or wss:// URL"
    )
    fallbacks: tuple[str, ...] = Field(
        (), description="URLs of further nodes, used if the first fails and trusted as much"
    )
    archives: tuple[str, ...] = Field((), description="URLs of nodes that keep all state")
    genesis_hash: str | None = Field(
        None, pattern=r"^(0x)?[0-9a-f]{64}$", description="hash of block 0; finney's is known"
    )
    netuid: int | None = Field(None, ge=0, le=65_535, description="the subnet's number")


class WalletSettings(_Section):
    """`[wallet]`: the SDK's wallet that signs. No setting takes its password."""

    name: Annotated[str, Flag("NAME", "--wallet")] = Field(
        "default", description="name of the wallet; //Name is a development key"
    )
    hotkey: Annotated[str, Flag("NAME")] = Field("default", description="a hotkey of the wallet")
    path: Annotated[Path, Flag("DIR", "--wallet-path")] = Field(
        Path("~/.bittensor/wallets"), description="folder of wallets"
    )


class StoreSettings(_Section):
    """`[store]`: your store, and the other stores that may be read. Secrets have no flags."""

    locator: Annotated[str, Flag("URL", "--store")] | None = Field(
        None, description="public URL of your files; file:///folder if others can read that folder"
    )
    upload: str | None = Field(
        None, description="s3://bucket/path to write to; others read the same files at the locator"
    )
    endpoint: str | None = Field(None, description="URL of the S3 service; None: AWS's")
    ca_file: Path | None = Field(
        None,
        description="PEM file of your own certificate authority, trusted for endpoint and locator "
        "only",
    )
    region: str | None = Field(None, description="region of the bucket; only AWS needs it")
    credentials: Path | None = Field(
        None, description="file with the bucket's key, as for AWS's tools; None: the settings below"
    )
    profile: str = Field("default", description="section of the credentials file")
    access_key_id: SecretStr | None = Field(
        None, description="id of the bucket's key; or set AWS_ACCESS_KEY_ID"
    )
    secret_access_key: SecretStr | None = Field(
        None, description="secret of the bucket's key; or set AWS_SECRET_ACCESS_KEY"
    )
    session_token: SecretStr | None = Field(
        None, description="session token, if the key has one; or set AWS_SESSION_TOKEN"
    )
    readable: tuple[Url, ...] = Field(
        (),
        description="URLs that store URLs on chain may lead to, or to a path below; https at a "
        "public address is always allowed",
    )
    mirrors: tuple[str, ...] = Field(
        (), description="URLs of further stores to read checkpoints and submissions from"
    )


class BeaconSettings(_Section):
    """`[beacon]`: the sources of drand's rounds. Every round is verified."""

    endpoints: tuple[Annotated[str, Flag("URL", "--beacon")], ...] = Field(
        (), description="URLs of drand relays; none: drand's public ones"
    )


class ComputeSettings(_Section):
    """`[compute]`: the device and implementation of models, in programs and commands that judge."""

    device: Annotated[str, Flag("DEVICE")] = Field(
        "auto", description="cpu, cuda:0, …; auto is the first GPU, or the CPU if there is none"
    )
    implementation: Annotated[str, Flag("NAME")] = Field(
        "fp32-sdpa",
        description="implementation of the verification pass: fp32-sdpa, fp32-eager or split3",
    )
    memory_share: Annotated[float, Flag("SHARE")] = Field(
        0.9, gt=0, le=1, description="largest share of the device's free memory to use"
    )
    threads: int | None = Field(
        None, ge=1, le=1_024, description="threads of PyTorch; None: PyTorch's choice"
    )


class MinerSettings(_Section):
    """`[miner]`: the miner."""

    dir: Dir = Field(Path("assay-mine"), description="folder of the miner's own files")
    groups: int = Field(1_024, ge=1, le=16_384, description="highest number of groups in a window")
    groups_per_step: int = Field(8, ge=1, le=1_024, description="most groups to generate together")
    commit_margin: int = Field(
        6, ge=1, le=1_000, description="blocks between sending a commitment and its deadline"
    )
    engines: tuple[Annotated[str, Flag("URL", "--engine")], ...] = Field(
        (),
        max_length=64,
        description="servers that draft (vLLM with assay-vllm): http://host:port, with #name if "
        "the model's name there is not assay; auto starts one on each GPU; none: this "
        "program drafts",
    )
    engine_python: Annotated[Path | None, Flag("FILE", "--engine-python")] = Field(
        None,
        description="with auto, the Python of the environment with vLLM and assay-vllm; None: this "
        "program's own",
    )
    engine_flags: tuple[str, ...] = Field(
        (), max_length=64, description="with auto, further flags of vllm serve"
    )
    exact: bool = Field(
        False,
        description="with engines, read each group once more, so that the file has the same bits "
        "with any engine",
    )


class ValidatorSettings(_Section):
    """`[validator]`: the validator. A trainer uses `devices`, too."""

    dir: Dir = Field(Path("assay-validate"), description="folder of the validator's own files")
    fetches: int = Field(
        24, ge=0, le=256, description="files to read at once, ahead of the judge; 0: none"
    )
    mirrored: int = Field(
        4,
        ge=0,
        le=10_000,
        description="windows whose audited parts the validator's store mirrors; 0: none",
    )
    devices: tuple[Annotated[str, Flag("DEVICE", "--worker")], ...] = Field(
        (),
        max_length=256,
        description="devices of worker processes that judge: cuda:0, cuda:1, …, or cpu several "
        "times; each has one thread unless threads is set; none: this process judges",
    )


class ClusterSettings(_Section):
    """`[cluster]`: a Ray cluster whose hosts judge instead of this machine."""

    address: Annotated[str, Flag("ADDRESS", "--cluster")] | None = Field(
        None,
        description="HOST:PORT of the Ray cluster that runs the workers, or auto for the one of "
        "this machine; None: the workers run here",
    )


class TrainerSettings(_Section):
    """`[trainer]`: the trainer."""

    dir: Dir = Field(Path("assay-train"), description="folder of the trainer's own files")
    processes: int = Field(
        1, ge=1, le=64, description="processes on this machine that learn together, one on each GPU"
    )
    follow: bool = Field(
        False,
        description="under torchrun: the trainer is on another host, and this one only learns with "
        "it, without wallet, store and folder",
    )
    local_addr: Annotated[str | None, Flag("ADDRESS")] = Field(
        None,
        description="under torchrun, this host's address in the private network of the team's "
        "hosts; the team uses its interface alone",
    )
    open_to_network: bool = Field(
        False,
        description="under torchrun, start although further addresses of this machine are open: "
        "whoever reaches their ports can run code as this program",
    )
    optimizer: Literal["adamw", "adamw8bit", "muon"] = Field(
        "adamw",
        description="adamw; adamw8bit: moments of 8 bits, needs the extra `adamw8bit`; muon: for "
        "the matrices of layers",
    )
    learning_rate: float = Field(
        5e-5, gt=0, le=1, description="highest learning rate of the optimiser"
    )
    schedule: Literal["constant", "linear", "cosine", "wsd"] = Field(
        "constant", description="shape of the learning rate after the warm-up; wsd falls at the end"
    )
    warmup_steps: int = Field(
        0, ge=0, lt=1 << 24, description="steps in which the learning rate rises to its highest"
    )
    schedule_steps: int = Field(
        0, ge=0, lt=1 << 24, description="steps of the whole schedule, from which on the rate stays"
    )
    decay_steps: int = Field(
        0, ge=0, lt=1 << 24, description="with wsd, steps at the end in which the rate falls"
    )
    schedule_begin: int = Field(
        0, ge=0, lt=1 << 24, description="steps before the schedule: raise it to begin a new one"
    )
    final_share: float = Field(
        0.1,
        gt=0,
        le=1,
        description="learning rate at the schedule's end, as a share of the highest",
    )
    weight_decay: float = Field(0.0, ge=0, le=1, description="weight decay of the optimiser")
    max_gradient: float = Field(1.0, gt=0, description="gradients are scaled down to this norm")
    epochs: int = Field(4, ge=1, le=64, description="passes over a window's groups")
    groups_per_batch: int = Field(8, ge=1, le=16_384, description="groups in one optimiser update")
    refill: bool = Field(
        False,
        description="fill each update up to groups_per_batch groups with non-zero advantage, "
        "from further "
        "groups of the window",
    )
    tokens_per_pass: int = Field(
        8_192, ge=1, le=1 << 24, description="tokens in one forward pass; gradients are summed"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="precision of products; master weights, gradients and moments are float32",
    )
    recompute: bool = Field(
        False, description="compute layers twice to save memory: takes a third more time"
    )
    offload: bool = Field(
        False, description="keep weights and moments off the GPU, and move layers to it in turn"
    )
    loss: Loss = Field(
        "grpo", description="formula of the loss with its bounds, a table: see [trainer.loss]"
    )
    clip_low: float = Field(
        0.2, gt=0, lt=1, description="former name of a bound where loss is a name: low, or fall"
    )
    clip_high: float = Field(
        0.28,
        gt=0,
        allow_inf_nan=False,
        description="former name of a bound where loss is a name: high, or rise",
    )
    clip_cap: float = Field(
        4.0,
        gt=1,
        allow_inf_nan=False,
        description="former name of a bound where loss is a name: cap",
    )
    scaled: bool = Field(False, description="divide advantages by their group's standard deviation")
    kl_weight: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="weight of the KL divergence from kl_reference"
    )
    kl_reference: Literal["behaviour", "genesis"] = Field(
        "behaviour", description="behaviour: the checkpoint that sampled; genesis: the first one"
    )
    lora_rank: int = Field(
        0, ge=0, le=1_024, description="rank of LoRA factors; 0 trains all weights"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="seed of the order of groups, and of LoRA")
    sync: Literal["sequential", "async"] = Field(
        "async", description="sequential learns only from rollouts of the newest checkpoint"
    )
    staleness: int = Field(
        8, ge=0, le=1_000, description="with async, by how many checkpoints rollouts may be behind"
    )
    local_groups: int = Field(
        0, ge=0, le=16_384, description="groups that the trainer itself generates in a window"
    )
    external_groups: int | None = Field(
        None,
        ge=0,
        le=16_384,
        description="most groups of miners, without the zero-variance ones, to learn from in a "
        "window; None: all",
    )
    replay_share: float = Field(
        0.0,
        ge=0,
        le=0.9,
        description="share of the miners' groups with non-zero advantage that a step may replay "
        "from earlier "
        "windows",
    )
    replay_staleness: int = Field(
        4, ge=1, le=64, description="by how many steps replayed groups may be behind"
    )
    proposal_tries: int = Field(
        0,
        ge=0,
        le=1 << 16,
        description="samples of a proposal's problems before a step learns from it, also from how "
        "learnable they are; 0: it learns at once, from whether it is valid",
    )
    sft: File | None = Field(
        None, description="file of conversations to imitate beside the groups; None: none"
    )
    sft_weight: float = Field(
        0.0, ge=0, le=100, description="weight of the cross-entropy of these examples in the loss"
    )
    sft_batch: int = Field(8, ge=1, le=4_096, description="examples of an update")
    steps_kept: int = Field(
        1,
        ge=0,
        le=10_000,
        description="optimiser states to keep; as many steps can be verified, while their "
        "checkpoints are kept",
    )
    publish_states: bool = Field(
        False, description="upload the state before each step for verify-step, 12 bytes a weight"
    )
    problems: int = Field(
        256,
        ge=0,
        le=100_000,
        description="held-out problems to test each checkpoint on; with 0, levels stay",
    )
    suites: tuple[Annotated[Path, Flag("FILE", "--suite")], ...] = Field(
        (), description="files of problems to evaluate checkpoints on, which nobody trains on"
    )
    suite_prompts: File | None = Field(
        None, description="your own words for suites: changes of parameters or a recipe"
    )
    suites_every: int = Field(
        10, ge=1, le=1_000_000, description="checkpoints from one evaluation on suites to the next"
    )
    tracker: Literal["off", "wandb"] = Field(
        "off",
        description="where a training run's figures are also shown; needs the extra of that name",
    )
    tracker_project: str = Field(
        "assay",
        min_length=1,
        max_length=100,
        pattern=r"^[A-Za-z0-9._-]+$",
        description="project of the tracker",
    )

    @property
    def loss_table(self) -> LossTable:
        """The loss with its bounds, whichever form it was written in."""
        if isinstance(self.loss, LossTable):
            return self.loss
        return read_flat(self.loss, {name: getattr(self, name) for name in FLAT})

    def list_flat(self) -> list[str]:
        """The names of the loss's flat form that say something other than the default."""
        fields, names = type(self).model_fields, list(FLAT)
        names += [] if isinstance(self.loss, LossTable) else ["loss"]
        return sorted(name for name in names if getattr(self, name) != fields[name].default)

    def describe_flat(self) -> str | None:
        """A line where the loss's flat form is used; None: it is not."""
        names = self.list_flat()
        if not names:
            return None
        new = write_table(self.loss_table)
        return f"[trainer] {' and '.join(names)}: a former way to write {new}"

    @property
    def is_shared(self) -> bool:
        """Whether a learner's weights are shared by processes, or kept in host memory."""
        return self.processes > 1 or self.offload

    def find_conflict(self) -> str | None:
        """The reason why nobody can learn by these settings together; None: it is possible."""
        finders = self._find_loss_fault, self._find_schedule_fault, self._find_optimizer_fault
        for find in finders:
            if (fault := find()) is not None:
                return fault
        if (self.sft is None) != (not self.sft_weight):
            return "sft, a file of examples, needs sft_weight above 0, and the other way round"
        if self.external_groups == 0 and not self.local_groups:
            return "external_groups: 0, with local_groups = 0, leaves no group to learn from"
        if self.replay_share and self.sync == "sequential":
            return "replay_share: replayed groups are of older checkpoints: set sync = async"
        if self.proposal_tries and self.sync == "sequential":
            return "proposal_tries: delayed groups are of older checkpoints: set sync = async"
        return None

    def _find_loss_fault(self) -> str | None:
        table = self.loss_table
        known = list_bounds(type(table))
        for name in self.list_flat():
            if isinstance(self.loss, LossTable):
                return f"{name}: loss is a table: write its bounds there, {', '.join(known)}"
            if name != "loss" and not set(FLAT[name]) & set(known):
                return f"{name}: {table.type} has no such bound, but {', '.join(known)}"
        conflict = table.find_conflict()
        if conflict is None or isinstance(self.loss, LossTable):
            return conflict
        return f"clip_cap: {self.clip_cap} is below 1 + clip_high, {1 + self.clip_high}"

    def _find_schedule_fault(self) -> str | None:
        falling = self.schedule_steps - self.warmup_steps
        if self.schedule == "constant" and self.schedule_steps:
            return f"schedule_steps: {self.schedule_steps}, and schedule = constant has no end"
        if self.schedule != "constant" and falling < 1:
            return (
                f"schedule_steps: {self.schedule_steps}; schedule = {self.schedule} needs more "
                f"than warmup_steps, {self.warmup_steps}"
            )
        if self.schedule == "wsd" and not 1 <= self.decay_steps <= falling:
            return (
                f"decay_steps: {self.decay_steps}; schedule = wsd needs 1 to {falling}, its steps "
                "without the warm-up"
            )
        if self.schedule != "wsd" and self.decay_steps:
            return f"decay_steps: {self.decay_steps}, and only schedule = wsd has them"
        return None

    def _find_optimizer_fault(self) -> str | None:
        if self.optimizer == "adamw":  # the only one that learns by all settings
            return None
        from assay.training.optimizers import find_conflict  # loads PyTorch

        return find_conflict(self.optimizer, self.is_shared, bool(self.lora_rank))


class LedgerSettings(_Section):
    """`[ledger]`: the contract on the EVM to which a validator posts its settlements."""

    endpoint: Annotated[str, Flag("URL", "--evm")] | None = Field(
        None, description="URL of an EVM node, http or https; None: none"
    )
    chain_id: int | None = Field(
        None, ge=1, lt=2**63, description="chain id of the EVM; None: that of finney, test or local"
    )
    contract: Contract | None = Field(None, description="address of the ScoreLedger contract")
    weights_check: Contract | None = Field(None, description="address of the WeightsCheck contract")
    key: File | None = Field(
        None, description="keystore of the key that posts; None: evmkeys/<hotkey> in the wallet"
    )
    password_file: File | None = Field(
        None, description="file with the keystore's password; None: asks on the terminal"
    )
    confirmations: int = Field(
        6, ge=0, le=1_000, description="blocks after a transaction before it counts as final"
    )
    max_gas_price: int = Field(
        100, ge=1, le=1_000_000, description="highest gas price, in gwei; above it nothing is sent"
    )


class LogSettings(_Section):
    """`[log]`: the log of a running program."""

    format: Annotated[Literal["human", "json"], Flag(name="--log-format")] = Field(
        "human", description="lines of text, or JSON documents; --json implies json"
    )


class MetricsSettings(_Section):
    """`[metrics]`: metrics of a running miner, validator or trainer, for Prometheus."""

    listen: Annotated[str, Flag("HOST:PORT", "--metrics")] | None = Field(
        None, description="HOST:PORT to serve metrics on, or PORT on 127.0.0.1; None: serves none"
    )
    hosts: tuple[str, ...] = Field(
        (), description="further names and addresses that Prometheus may use for this host"
    )


class ExplorerSettings(_Section):
    """`[explorer]`: the web pages of a validator's record."""

    dir: Dir | None = Field(
        None,
        description="folder of a demo, a validator or a localnet; None: assay-demo, else "
        "assay-localnet",
    )
    record: Annotated[str, Flag("STORE")] | None = Field(
        None, description="store with the record; None: found from the folder"
    )
    hotkey: Address | None = Field(None, description="the record's validator; None: the only one")
    model: Folder | None = Field(None, description="folder of checkpoints; None: the run's own")
    trainer: Dir | None = Field(None, description="folder of a trainer; None: the run's own")
    gauntlet: File | None = Field(None, description="gauntlet.json to show")
    rounds: Dir | None = Field(
        None, description="folder of `assay audit round`; None: assay-rounds"
    )
    comparison: File | None = Field(None, description="output of `assay audit compare --json`")
    evaluations: Dir | None = Field(
        None, description="folder of `assay eval`; None: assay-eval, and the trainer's own results"
    )
    rollouts: Dir | None = Field(None, description="folder of `assay export`, for its rollouts")
    beside: tuple[Annotated[Path, Flag("FILE")], ...] = Field(
        (), description="files with other explorers' /api/v1/training, drawn beside this run"
    )
    evm_explorer: Url | None = Field(
        None, max_length=200, description="URL of an EVM explorer to link entries to"
    )
    host: Annotated[str, Flag("ADDRESS")] = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8_400, ge=0, le=65_535, description="port to listen on; 0 takes any free one")
    hosts: tuple[Annotated[str, Flag("NAME", "--allow-host")], ...] = Field(
        (), description="further host names that visitors may use for this server"
    )
    trusted_proxies: tuple[Annotated[str, Flag("CIDR", "--trusted-proxy")], ...] = Field(
        (), description="networks of proxies whose X-Forwarded-For names the visitor"
    )
    rate: float = Field(20, gt=0, le=10_000, description="requests a second from one visitor")
    index: Dir = Field(Path("assay-explorer"), description="folder of the index")


class LocalnetSettings(_Section):
    """`[localnet]`: a subnet on this machine, for development."""

    dir: Dir = Field(Path("assay-localnet"), description="folder of the network")
    block_time: Annotated[float, Flag("S")] | None = Field(
        None, ge=0.5, le=60, description="seconds between blocks; None: as before, or 1"
    )
    port: int | None = Field(
        None,
        ge=0,
        le=65_534,
        description="port of the chain; the beacon gets the next; 0 takes any two free ones",
    )
    recipe: Annotated[str, Flag("RECIPE")] | None = Field(
        None,
        description="the subnet's recipe: a file, or a shipped one's name; None: as before, or the "
        "demo's rules",
    )
    model: Folder | None = Field(
        None,
        description="with recipe, the model that becomes checkpoint 0, or a checkpoint: a folder, "
        "or ORG/NAME",
    )
    members: Annotated[bool, Flag(name="--members/--no-members")] = Field(
        False,
        description="begin with a miner and a validator that have money, a uid and stake: the "
        "development keys //Miner and //Validator, which need no files",
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
    hub: HubSettings = HubSettings()
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
