"""No child of a program gets the secrets of its user: the rule, and each kind of child."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from assay.sandbox.cluster import make_remote_sandbox
from assay.sandbox.guest import preparing
from assay.sandbox.parent import Budget, Sandbox
from assay.sandbox.preloaded import PreloadedPython
from assay.sandbox.secret_variables import is_secret, list_plain_variables

SECRETS = {
    "HF_TOKEN": "hf_abc",
    "HUGGING_FACE_HUB_TOKEN": "hf_abc",
    "WANDB_API_KEY": "0123",
    "OPENAI_API_KEY": "sk-1",
    "GITHUB_TOKEN": "ghp_1",
    "GITHUB_PAT": "ghp_1",
    "AWS_SECRET_ACCESS_KEY": "s",
    "AWS_PROFILE": "owner",
    "AZURE_CLIENT_SECRET": "s",
    "GOOGLE_APPLICATION_CREDENTIALS": "/home/me/key.json",
    "ASSAY_WALLET_PASSWORD": "hunter2",
    "BT_PW__HOME_ME_WALLET": "hunter2",
    "PGPASSWORD": "hunter2",
    "AZURE_STORAGE_CONNECTION_STRING": "AccountKey=hunter2",
    "COLDKEY_SEED": "hunter2",
    "DBPASS": "hunter2",
    "GIT_ORIGIN": "https://ghp_hunter2@github.com/x",
    "MINIO_ROOT_USER": "hunter2",
    "MNEMONICS": "hunter2",
    "PRIVKEY": "hunter2",
    "SEED_PHRASE": "hunter2",
    "SLACK_HOOK": "hunter2",
    "SSHPASS": "hunter2",
    "SURI": "hunter2",
    "MYSQL_PWD": "hunter2",
    "npm_token": "n",
    "SSH_AUTH_SOCK": "/tmp/agent",
    "DATABASE_URL": "postgres://me:hunter2@host/db",
    "SENTRY_DSN": "https://1@host/2",
    "RAY_AUTH_TOKEN": "r",
}
PLAIN = {
    "PATH": "/usr/bin",
    "HOME": "/root",
    "PWD": "/root",
    "HF_HOME": "/data/hf",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "CUDA_VISIBLE_DEVICES": "0",
    "OMP_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "VLLM_CPU_KVCACHE_SPACE": "2",
    "VLLM_FUSED_MOE_MAX_TOKENS": "9",
    "https_proxy": "http://me:hunter2@proxy:3128",
    "BT_CHAIN_ENDPOINT": "ws://127.0.0.1:9944",
    "PIP_INDEX": "https://host/simple",
}
_TELL = (
    "import os, json; from assay.sandbox.child import serve; "
    "serve(lambda request: json.dumps(dict(os.environ)).encode(), memory=None)"
)


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


def test_the_rule() -> None:
    assert [name for name, value in SECRETS.items() if not is_secret(name, value)] == []
    assert [name for name, value in PLAIN.items() if is_secret(name, value)] == []


@pytest.mark.usefixtures("secrets")
def test_what_a_child_needs_is_kept() -> None:
    """A tracker's own key, and no other."""
    kept = list_plain_variables("WANDB_")
    assert kept.keys() & SECRETS.keys() == {"WANDB_API_KEY"}
    assert kept["PATH"] == os.environ["PATH"]  # noqa: TID251 - what is compared


def ask(sandbox: Sandbox) -> set[str]:
    with sandbox:
        reply = sandbox.ask(b"?", 1 << 20, Budget(60.0))
    assert isinstance(reply, bytes)
    return {*json.loads(reply)}


@pytest.mark.usefixtures("secrets")
def test_a_child_of_the_sandbox_has_none() -> None:
    assert not ask(Sandbox("child", _TELL)) & SECRETS.keys()


@pytest.mark.usefixtures("secrets")
def test_a_process_that_forks_children_has_none_and_gives_none() -> None:
    preloaded = PreloadedPython(["json"])
    try:
        assert not ask(Sandbox("child", _TELL, preloaded=preloaded)) & SECRETS.keys()
        assert preloaded.refusal == ""
        assert preloaded.pid is not None
        held = Path(f"/proc/{preloaded.pid}/environ").read_bytes().split(b"\0")
    finally:
        preloaded.close()
    assert not {entry.partition(b"=")[0].decode() for entry in held} & SECRETS.keys()


@pytest.mark.usefixtures("secrets")
def test_a_child_that_joins_a_cluster_has_only_the_clusters() -> None:
    sandbox = make_remote_sandbox("worker", "127.0.0.1:1", "json:loads", 1, 0, 1.0)
    sandbox.boot = _TELL
    assert ask(sandbox) & SECRETS.keys() == {"RAY_AUTH_TOKEN"}


@pytest.mark.usefixtures("secrets")
def test_a_child_that_compiles_the_interpreter_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "told"

    def tell(code: str, *arguments: object, **options: object) -> "subprocess.Popen[bytes]":
        env = f"import json, os; json.dump(dict(os.environ), open({str(told)!r}, 'w'))"
        return subprocess.Popen([sys.executable, "-c", env], **options)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(preparing, "start_python", tell)
    preparing._work("nothing", tmp_path / "image", b"")  # noqa: SLF001 - it starts the child
    assert not json.loads(told.read_text()).keys() & SECRETS.keys()
