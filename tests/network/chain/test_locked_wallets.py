"""Keys with a password: its source, and the message if nobody can be asked for it."""

import shutil
import warnings
from pathlib import Path

import pytest
from bittensor import Wallet
from bittensor.signing import resolve_signer

from assay.network.chain.errors import ChainError
from assay.network.chain.wallets import SigningKeys, open_wallet, require_keys
from tests.commands import run_command

PASSWORD = "a long password"
LOCKED = Path(__file__).parents[2] / "data" / "locked"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two wallets: of one the coldkey has a password, of the other the hotkey, which is the same
    key, as the SDK once wrote it: to encipher one takes seconds."""
    folder = tmp_path_factory.mktemp("wallets")
    cold, hot = (Wallet(name, "default", str(folder)) for name in ("cold", "hot"))
    cold.create_new_hotkey(suppress=True)
    hot.create_new_coldkey(use_password=False, suppress=True)
    hot.create_new_hotkey(suppress=True)
    for locked, plain in (("coldkey", "default"), ("coldkeypub.txt", "defaultpub.txt")):
        shutil.copy(LOCKED / locked, folder / "cold")
        shutil.copy(LOCKED / locked, folder / "hot" / "hotkeys" / plain)
    return folder


def test_the_sdk_enciphers_as_it_did(tmp_path: Path) -> None:
    wallet = Wallet("cold", "default", str(tmp_path))
    wallet.create_new_coldkey(coldkey_password=PASSWORD, suppress=True)
    one, other = (path.read_bytes() for path in (LOCKED / "coldkey", tmp_path / "cold/coldkey"))
    assert one[:5] == other[:5]
    assert abs(len(one) - len(other)) <= 12 * (8 - 3)  # the phrase: twelve words of 3 to 8 letters


@pytest.mark.parametrize(
    ("name", "signer", "file"),
    [("cold", "coldkey", "cold/coldkey"), ("hot", "hotkey", "hot/hotkeys/default")],
)
def test_a_password_that_nobody_can_be_asked_for_is_named_at_once(
    folder: Path, name: str, signer: str, file: str
) -> None:
    said = f"the {signer} in {folder / file} has a password.* set BT_WALLET_PASSWORD_FILE"
    with warnings.catch_warnings(action="error"):  # getpass would warn of an echo
        with pytest.raises(ChainError, match=said):
            require_keys(name, "default", folder, signer)
        with pytest.raises(ChainError, match=said):
            getattr(open_wallet(name, "default", folder), signer)
    other = {"coldkey": "hotkey", "hotkey": "coldkey"}[signer]
    require_keys(name, "default", folder, other)
    require_keys(name, "default", folder)


@pytest.mark.parametrize(("name", "signer"), [("cold", "coldkey"), ("hot", "hotkey")])
def test_a_password_in_a_file_unlocks_once_for_every_signature(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, signer: str
) -> None:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    monkeypatch.setenv("BT_WALLET_PASSWORD_FILE", str(file))
    require_keys(name, "default", folder, signer)
    wallet = open_wallet(name, "default", folder)
    address = getattr(wallet, f"{signer}pub").ss58_address
    for _ in range(2):
        pair = resolve_signer(SigningKeys.unlock(wallet, signer), signer)
        assert pair.ss58_address == address
        assert pair.sign(b"anything")
        monkeypatch.delenv("BT_WALLET_PASSWORD_FILE", raising=False)  # nothing is asked again


def test_a_file_without_a_password_is_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "password"
    monkeypatch.setenv("BT_WALLET_PASSWORD_FILE", str(file))
    with pytest.raises(ChainError, match=f"cold/coldkey stays locked: cannot read .*{file}"):
        require_keys("cold", "default", folder, "coldkey")


def test_a_wrong_password_is_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "password"
    monkeypatch.setenv("BT_WALLET_PASSWORD_FILE", str(file))
    file.write_text("another")
    with pytest.raises(ChainError, match="cold/coldkey cannot be used: wrong password"):
        _ = open_wallet("cold", "default", folder).coldkey


def test_a_coldkey_that_is_elsewhere_is_missed_only_where_it_signs(tmp_path: Path) -> None:
    wallet = Wallet("cold", "default", str(tmp_path))
    wallet.create_new_coldkey(use_password=False, suppress=True)
    wallet.create_new_hotkey(suppress=True)
    (tmp_path / "cold" / "coldkey").unlink()
    require_keys("cold", "default", tmp_path, "hotkey")
    with pytest.raises(ChainError, match="cold/coldkey does not exist"):
        require_keys("cold", "default", tmp_path, "coldkey")


@pytest.mark.parametrize(
    ("name", "words"),
    [("cold", ["register"]), ("cold", ["stake", "1"]), ("hot", ["mine"]), ("hot", ["validate"])],
)
def test_a_command_says_so_in_a_line_before_anything_is_opened(
    folder: Path, name: str, words: list[str]
) -> None:
    done = run_command(*words, "--netuid", "1", "--wallet", name, "--wallet-path", folder)
    assert done.returncode == 2
    lines = done.stderr.splitlines()  # a miner without a store lacks that, too
    assert sum("has a password, and there is no terminal to ask on" in one for one in lines) == 1
    assert len(lines) == 1 + (words == ["mine"])
    assert not done.stdout
