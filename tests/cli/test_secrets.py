"""A user and password in an address that an operator names: no message repeats them."""

import pytest

from tests.commands import run_command

URL = "https://me:hunter2@store.example/r"
ALICE = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"


@pytest.mark.parametrize(
    "words",
    [
        ("explorer", "--record", URL),
        ("explorer", "--record", URL, "--hotkey", ALICE),
        ("explorer", "--record", URL.replace("https", "ftp")),
        ("explorer", "--record", "https://me:hunt/er2@store.example/r"),
        ("status", "--record", URL),
        ("status", "--record", URL, "--hotkey", ALICE),
        ("export", "--dir", ".", "--push", URL),
        ("mine", "--netuid", "1", "--store", URL),
        ("mine", "--netuid", "1", "--network", URL),
    ],
)
def test_no_message_repeats_a_password(words, tmp_path):
    done = run_command(*words, cwd=tmp_path, env={"HOME": str(tmp_path)})
    assert done.returncode == 2
    assert done.stderr.startswith("assay: ")
    assert "hunt" not in done.stdout + done.stderr
