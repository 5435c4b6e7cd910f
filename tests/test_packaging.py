"""The shipped files: the package's metadata, the locks, the content of the wheel."""

import ast
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.tree import PACKAGES, ROOT, list_sources, walk_package

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
LOCKS = {path.stem: path.read_text() for path in (ROOT / "locks").glob("*.txt")}
#: Locks of environments that have nothing of ours but PyTorch.
APART = {f"apart/{path.stem}": path.read_text() for path in (ROOT / "locks/apart").glob("*.txt")}
#: Locks that no extra of the same name asks for.
OTHER_LOCKS = {
    *("run", "torch", "torch-cpu", "cuda", "judge", "atropos", "smollm2", "toploc", "zig"),
    "library",
}
PIN = re.compile(r"^([a-z0-9.-]+)==(\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.M)


def read_pins(name: str) -> dict[str, str]:
    return {package: version for package, version, _ in PIN.findall((LOCKS | APART)[name])}


#: Folders at the top that are linked into the package.
LINKED = ("protocol", "verification", "neurons")
#: The other distributions, which come from this repository and from no index.
DEVNET, PYTHON_WASM, JUDGE = (
    tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
    for folder in ("devnet", "python-wasm", "judge")
)
OTHERS = {one["name"] for one in (DEVNET, PYTHON_WASM, JUDGE)}
#: Distribution → its folder, and the packages of `tests.tree` in it.
DISTRIBUTIONS = {
    "assay": (ROOT, "assay"),
    "assay-judge": (ROOT / "judge", "assay"),
    "assay-python-wasm": (ROOT / "python-wasm", "assay_python_wasm"),
    "subtensor-devnet": (ROOT / "devnet", "subtensor_devnet"),
}
#: The packages of `assay` that assay-judge has.
JUDGED = {"environments", "gate", "judge", "protocol", "sandbox", "verification"}
#: Modules that the devnet may import → the requirement that brings them.
DEVNET_MODULES = {
    "Crypto": "pycryptodome",
    "bittensor_core": "bittensor-core",
    "h11": "h11",
    "kyber_py": "kyber-py",
    "websockets": "websockets",
}


def list_package_files(distribution: str) -> set[str]:
    """The files of a distribution's package. Those of `assay` are shared out between two."""
    _, package = DISTRIBUTIONS[distribution]
    files = {path.relative_to(PACKAGES[package].parent) for path in walk_package(package)}
    if package == "assay":
        judged = {path for path in files if path.parts[1] in JUDGED}
        files = judged if distribution == "assay-judge" else files - judged
    return {str(path) for path in files}


def build_wheel(distribution: str, tmp_path: Path) -> Path:
    """A distribution's wheel, built in a copy from the sdist next to it."""
    root, package = DISTRIBUTIONS[distribution]
    out, checkout = tmp_path / distribution, tmp_path / f"{distribution}-copy"
    copy = checkout / root.relative_to(ROOT)
    copy.mkdir(parents=True)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / file, copy)
    source = root / package
    if source.is_symlink():
        (copy / package).symlink_to(source.readlink())
    top = source.resolve().parent  # of what is copied
    for folder in (package, *(LINKED if package == "assay" else ())):
        ignored = shutil.ignore_patterns("__pycache__", ".*")
        into = checkout / top.relative_to(ROOT) / folder
        shutil.copytree(top / folder, into, symlinks=True, ignore=ignored)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", out, copy]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (wheel,) = out.glob("*.whl")
    return wheel


def test_the_version_is_one_and_the_changelog_describes_it():
    engine = tomllib.loads((ROOT / "engines" / "vllm" / "pyproject.toml").read_text())
    changelog = (ROOT / "CHANGELOG.md").read_text()
    told = [one for one in re.findall(r"^## (\S+)", changelog, re.M) if one != "Unreleased:"]
    assert told[0] == PROJECT["version"]
    assert engine["project"]["version"] == PROJECT["version"]
    version = PROJECT["version"]
    assert DEVNET["version"] == PYTHON_WASM["version"] == JUDGE["version"] == version
    asked = {f"subtensor-devnet=={version}", f"assay-judge=={version}"}
    assert asked <= set(PROJECT["dependencies"])
    assert f"assay-judge=={version}" in engine["project"]["dependencies"]
    assert PROJECT["optional-dependencies"]["envs"] == [f"assay-judge[envs]=={version}"]
    assert f"assay-python-wasm=={version}" in JUDGE["optional-dependencies"]["envs"]
    assert not Version(PROJECT["version"]).is_prerelease


def test_every_extra_has_a_lock():
    assert set(LOCKS) == set(PROJECT["optional-dependencies"]) | OTHER_LOCKS
    assert {"gpu", "cluster", "train", "envs"} <= set(PROJECT["optional-dependencies"])


@pytest.mark.parametrize("name", LOCKS | APART)
def test_a_lock_is_pins_with_hashes_and_names_no_index(name):
    text = (LOCKS | APART)[name]
    left = PIN.sub("", text)
    assert [line for line in left.splitlines() if line and line[0] != "#"] == []
    assert "://" not in text
    assert read_pins(name)


@pytest.mark.parametrize("name", APART)
def test_a_lock_of_others_has_what_is_asked_and_no_other_pytorch(name):
    pins = read_pins(name)
    asked = (ROOT / "locks" / f"{name}.in").read_text().splitlines()
    for requirement in (Requirement(line) for line in asked if line[0] != "#"):
        assert requirement.specifier.contains(pins[requirement.name]), requirement
    assert not pins.keys() & (read_pins("torch").keys() | read_pins("cuda").keys())


def list_unhashed_installs(text: str) -> list[str]:
    """Commands that install other than files of the tree by pip, or other than a lock's by npm."""
    commands = re.findall(
        r"\bpip\b[^&|;\n]* install [^&|;\n]*|\bnpm \w+|\bnpx ", text.replace("\\\n", "")
    )
    return [
        one
        for one in commands
        if not re.search(r"^npm ci$| --no-deps .*[./]|--require-hashes", one)
    ]


@pytest.mark.parametrize("path", ["Makefile", "Dockerfile", ".ci/run", "locks/install.sh"])
def test_nothing_is_installed_without_its_hash(path):
    assert list_unhashed_installs((ROOT / path).read_text()) == []


@pytest.mark.parametrize(
    "command", ["bin/pip install -qq vllm==1", "pip install -r a.txt", "npm install"]
)
def test_an_install_without_hashes_is_found(command):
    assert list_unhashed_installs(f"\t@x/{command} && true") != []


def test_locks_agree_on_every_version():
    versions: dict[str, set[str]] = {}
    for name in LOCKS.keys() - {"library"}:  # another version is what that one is for
        for package, version in read_pins(name).items():
            versions.setdefault(package, set()).add(version.removesuffix("+cpu"))
    assert {package: found for package, found in versions.items() if len(found) > 1} == {}


@pytest.mark.parametrize("name", [None, *PROJECT["optional-dependencies"]])
def test_a_lock_has_what_pyproject_asks_for(name):
    """`make lock` was run after the last change of a requirement."""
    pins = read_pins("torch") | read_pins("run") | (read_pins(name) if name else {})
    asked = PROJECT["optional-dependencies"][name] if name else PROJECT["dependencies"]
    for requirement in map(Requirement, asked):
        if requirement.name in OTHERS:  # built from the tree
            continue
        version = pins[requirement.name.lower().replace("_", "-")]
        assert requirement.specifier.contains(version, prereleases=True), requirement


def test_locks_have_what_the_judge_asks_for():
    alone, every = read_pins("judge"), read_pins("run") | read_pins("envs")
    assert {Requirement(text).name for text in JUDGE["dependencies"]} == alone.keys()
    for extra in (JUDGE["dependencies"], *JUDGE["optional-dependencies"].values()):
        for requirement in map(Requirement, extra):
            if requirement.name not in OTHERS:
                assert requirement.specifier.contains(every[requirement.name]), requirement


def test_the_lock_has_what_the_devnet_asks_for():
    pins = read_pins("run")
    for requirement in map(Requirement, DEVNET["dependencies"]):
        assert requirement.specifier.contains(pins[requirement.name]), requirement


def test_the_devnet_imports_what_it_asks_for_and_nothing_else():
    imported = set()
    for path in list_sources("subtensor_devnet"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").partition(".")[0])
            elif isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
    assert imported - sys.stdlib_module_names - {"subtensor_devnet"} == DEVNET_MODULES.keys()
    asked = {Requirement(text).name for text in DEVNET["dependencies"]}
    assert asked == set(DEVNET_MODULES.values())


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ([{"name": "a", "version": "1", "vulns": []}], 0),
        ([{"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}], 1),
        ([{"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "no"}], 2),
        ([], 2),
    ],
)
def test_an_audit_that_could_not_ask_is_no_clean_one(found, code):
    assert runpy.run_path(str(ROOT / "locks" / "audit.py"))["judge"](found) == code


def test_the_bill_of_materials_has_what_pages_bring():
    component = {"bom-ref": "root-component"}
    other = {"ref": "httpx==1"}
    document = {
        "metadata": {"component": component},
        "components": [],
        "dependencies": [other, {"ref": "root-component", "dependsOn": ["httpx==1"]}],
    }
    runpy.run_path(str(ROOT / "locks" / "bundled.py"))["add"](document)
    (uplot,) = document["components"]
    assert document["dependencies"][1]["dependsOn"] == ["httpx==1", uplot["bom-ref"]]
    static = ROOT / "assay" / "explorer" / "static"
    for file in uplot["components"]:
        content = (static / Path(file["name"]).name).read_bytes()
        assert file["hashes"] == [{"alg": "SHA-256", "content": sha256(content).hexdigest()}]


@pytest.mark.slow
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_wheel_and_sdist_have_every_file_of_the_package(tmp_path, distribution):
    """A file that both lack is missing for users. No file is in two wheels."""
    wheel = build_wheel(distribution, tmp_path)
    (sdist,) = wheel.parent.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        shipped = {name for name in archive.namelist() if ".dist-info/" not in name}
        (metadata,) = [name for name in archive.namelist() if name.endswith("METADATA")]
        said = archive.read(metadata).decode()
    assert shipped == list_package_files(distribution)
    assert f"\nVersion: {PROJECT['version']}\n" in said
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
        assert not any(member.issym() or member.islnk() for member in archive)
    assert list_package_files(distribution) | {"LICENSE"} <= names


def test_the_wheels_play_the_demo_in_an_environment_that_was_empty(tmp_path):
    """At night: `.ci/run` does the same with its own demo."""
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True, timeout=300)
    python = environment / "bin" / "python"
    install = [ROOT / "locks" / "install.sh", python, "torch", "run"]
    subprocess.run(install, check=True, timeout=3000)
    wheels = [build_wheel(name, tmp_path) for name in DISTRIBUTIONS]
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "-qq", "--no-deps", *wheels], check=True, timeout=300)
    subprocess.run([*pip, "check"], check=True, timeout=300)
    demo = [environment / "bin" / "assay", "demo", "--fast", "--out", tmp_path / "demo"]
    done = subprocess.run(demo, cwd=tmp_path, capture_output=True, text=True, timeout=2000)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Every cheat earned 0" in done.stdout
