"""The environment variables that no child gets: secrets of the user, and settings of ours.

A child that serves others' programs or others' bytes, and a program of others, gets the rest of
the environment: it needs its paths, libraries, GPUs and proxies.
"""

import os
import re

#: Settings of Assay, of object stores and of wallets.
_OURS = ("ASSAY_", "AWS_", "BT_", "BITTENSOR_")
#: Of these, what the chain's SDK reads when it is imported: addresses.
_ADDRESSES = frozenset({"BT_CHAIN_ENDPOINT", "BT_EVM_ENDPOINT"})
#: A name with such a word, or with such letters anywhere.
_SECRET = re.compile(
    r"(?:^|_)(?:AUTH|BEARER|BOT|COOKIE|CREDS?|DSN|HOOK|JWT|KEYS?|NETRC|PAT|PSK|PWD|SEED|SESSION|SURI"
    r"|TOKEN|WALLET|WEBHOOK)(?:_|$)"
    r"|PASS|SECRET|CREDENTIAL|CONNECTION_STRING|MNEMONIC|ROOT_USER|TOKEN$|APIKEY|PRIVATE|PRIVKEY",
    re.IGNORECASE,
)
#: A user's name, password or token within an address.
_WITH_USER = re.compile(r"://[^/@\s]+@")
#: Names that look like secrets and are none, and addresses of proxies: they lead to the network.
_NONE = re.compile(r"PWD|OLDPWD|XDG_SESSION_.*|(?:HTTPS?|ALL|FTP|NO)_PROXY", re.IGNORECASE)


def is_secret(name: str, value: str) -> bool:
    """Whether a variable may hold a secret: by its name, or because it is an address with a
    user."""
    if name in _ADDRESSES or _NONE.fullmatch(name):
        return False
    return bool(name.startswith(_OURS) or _SECRET.search(name) or _WITH_USER.search(value))


def list_plain_variables(*kept: str) -> dict[str, str]:
    """This process's environment without secrets.

    Args:
        kept: beginnings of names that the child needs nevertheless.
    """
    return {
        name: value
        for name, value in os.environ.items()  # noqa: TID251 - what is handed on is chosen here
        if name.startswith(kept) or not is_secret(name, value)
    }
