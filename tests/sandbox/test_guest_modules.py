"""Modules of an image: of the releases that are named, and of no others."""

from hashlib import sha256
from importlib.metadata import version

import pytest

from assay.sandbox.guest import SandboxError
from assay.sandbox.guest.descriptor import Release
from assay.sandbox.guest.modules import pack, read

CHOSEN = r"pytest/__(?:init|main)__\.py"


def test_a_release_s_files_are_packed_by_path_and_bytes() -> None:
    files = {"b/c.py": b"2", "a.py": b""}
    assert pack(files) == pack(dict(sorted(files.items())))
    assert pack(files) == b"\4\0\0\0a.py\0\0\0\0\6\0\0\0b/c.py\1\0\0\x002"


def test_only_the_files_that_the_digest_names_are_taken() -> None:
    """A pattern alone could match what another build of a release has."""
    here = version("pytest")
    with pytest.raises(SandboxError, match="has other files here than its release: pip install"):
        read(Release("pytest", here, CHOSEN, "0" * 64))
    nothing = sha256(pack({})).hexdigest()
    assert read(Release("pytest", here, "no such path", nothing)) == {}


@pytest.mark.parametrize(
    ("name", "found"),
    [("pytest", "pip install pytest==0.0.1"), ("absent-package", "assay-judge\\[envs")],
)
def test_another_release_or_none_is_named_with_what_to_install(name: str, found: str) -> None:
    with pytest.raises(SandboxError, match=found):
        read(Release(name, "0.0.1", CHOSEN, ""))
