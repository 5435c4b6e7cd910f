"""The content of deploy/, the Dockerfile and compose.yaml: units, services, settings, alerts."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

from assay.cli.app import app
from assay.environments.gym import GYM
from assay.sandbox.guest import INTERPRETER
from assay.settings.loading import load_settings

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
SETTINGS = sorted((DEPLOY / "settings").glob("*.toml"))
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
PROGRAMS = {name: one for name, one in COMPOSE["services"].items() if "build" in one}
UNIT = DEPLOY / "systemd" / "assay@.service"


def find_tool(*names: str) -> str:
    for name in names:
        if path := shutil.which(name):
            return path
    pytest.skip(f"{' or '.join(names)} is not installed: see docs/testing.md")


def parse_command(words: list[str]) -> None:
    """Raises click's UsageError: there is no such command or option."""
    commands = typer.main.get_command(app)
    command = commands.get_command(typer.Context(commands, info_name="assay"), words[0])  # type: ignore[attr-defined]
    assert command is not None, words[0]
    command.make_context(words[0], words[1:])


@pytest.mark.parametrize("file", SETTINGS, ids=lambda path: path.name)
def test_settings_can_be_read(file):
    settings = load_settings(file, {})
    if file.name != "explorer.toml":
        assert settings.chain.netuid == 1
        assert settings.store.locator is not None


@pytest.mark.parametrize("file", SETTINGS, ids=lambda path: path.name)
def test_the_unit_s_command_is_one_for_each_file_of_settings(file, tmp_path):
    line = re.search(r"^ExecStart=/opt/assay/bin/assay (.*)$", UNIT.read_text(), re.M)
    assert line is not None
    words = line[1].replace("/etc/assay", str(DEPLOY / "settings")).replace("%i", file.stem)
    parse_command(words.split())


@pytest.mark.parametrize("file", SETTINGS, ids=lambda path: path.name)
def test_systemd_verifies_the_unit(file, tmp_path):
    analyze = find_tool("systemd-analyze")
    unit = tmp_path / f"assay@{file.stem}.service"
    program = Path(sys.executable).with_name("assay")
    unit.write_text(UNIT.read_text().replace("/opt/assay/bin/assay", str(program)))
    done = subprocess.run([analyze, "verify", unit], capture_output=True, text=True, timeout=300)
    said = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (done.returncode, said) == (0, [])


def test_every_service_is_there():
    assert set(PROGRAMS) == {"miner", "validator", "trainer", "explorer"}
    assert set(COMPOSE["services"]) == {*PROGRAMS, "prometheus", "grafana"}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_service_s_command_is_one(name):
    words = PROGRAMS[name]["command"].replace("/etc/assay", str(DEPLOY / "settings"))
    parse_command(words.split())


def test_every_file_that_a_service_mounts_is_there():
    mounts = [mount for one in COMPOSE["services"].values() for mount in one["volumes"]]
    inside = {mount.split(":")[0] for mount in mounts if mount.startswith("./")}
    assert len(inside) >= 5
    assert [place for place in inside if not (ROOT / place).exists()] == []
    assert (ROOT / "docs" / "grafana" / "assay.json").exists()


@pytest.fixture(scope="module")
def unit_of_the_explorer():
    more = DEPLOY / "systemd" / "assay@explorer.service.d" / "keys.conf"
    return re.search(r"^InaccessiblePaths=(.*)$", more.read_text(), re.M)[1].split()


def test_the_public_explorer_sees_no_keys(unit_of_the_explorer):
    """The bucket's keys and hotkeys are where the settings and the page say."""
    mounted = {mount.split(":")[0] for mount in COMPOSE["services"]["explorer"]["volumes"]}
    assert mounted == {"data", "index", "./deploy/settings/explorer.toml"}
    credentials = {load_settings(file, {}).store.credentials for file in SETTINGS} - {None}
    hidden = {Path(place.removeprefix("-")) for place in unit_of_the_explorer}
    assert hidden == credentials | {Path("/var/lib/assay/.bittensor")}


def test_a_service_that_only_reads_writes_no_file_of_another():
    """Who takes over the explorer, which answers strangers, would change a validator's journal."""
    volumes = {
        name: [mount.split(":") for mount in one["volumes"]]
        for name, one in COMPOSE["services"].items()
    }
    assert ["data", "/data", "ro"] in volumes["explorer"]
    written = {
        name: {mount[0] for mount in mounts if mount[-1] != "ro"}
        for name, mounts in volumes.items()
        if name not in ("miner", "validator", "trainer")
    }
    assert written == {"explorer": {"index"}, "prometheus": {"prometheus"}, "grafana": {"grafana"}}
    words = PROGRAMS["explorer"]["command"].split()
    assert words[words.index("--index") + 1] == "/index"
    assert re.search(r"install -d -o assay .*/index\b", (ROOT / "Dockerfile").read_text())


def test_no_service_has_a_password_that_everybody_knows():
    password = COMPOSE["services"]["grafana"]["environment"]["GF_SECURITY_ADMIN_PASSWORD"]
    assert re.fullmatch(r"\$\{GRAFANA_PASSWORD:\?[^}]+\}", password)


def test_images_of_others_can_be_named_by_digest():
    named = [one["image"] for one in COMPOSE["services"].values() if "build" not in one]
    assert len(named) == 2
    assert all(re.fullmatch(r"\$\{[A-Z]+_IMAGE:-[a-z/]+:v?[0-9.]+\}", image) for image in named)
    base = re.search(r"\$\{BASE_IMAGE:-(.*)\}", PROGRAMS["miner"]["build"]["args"]["BASE"])[1]
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert f"ARG BASE={base}" in lines
    assert {line.split()[1] for line in lines if line.startswith("FROM ")} == {"$BASE"}


@pytest.mark.parametrize("file", ["Dockerfile", "Makefile"])
def test_every_image_of_the_sandbox_is_prepared(file):
    """In a container nobody could do it later: its home goes with it."""
    text = (ROOT / file).read_text()
    assert all(f"{image.remedy} --quiet" in text for image in (INTERPRETER, GYM))


def test_prometheus_asks_every_program_that_serves_metrics_under_its_name():
    asked = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    (job,) = asked["scrape_configs"]
    served = {
        f"{name}:{port[1]}"
        for name, one in PROGRAMS.items()
        if (port := re.search(r"--metrics 0\.0\.0\.0:(\d+)", one["command"]))
    }
    assert set(job["static_configs"][0]["targets"]) == served
    for target in served:
        name = target.partition(":")[0]
        assert PROGRAMS[name]["environment"] == {"ASSAY_METRICS__HOSTS": f'["{name}"]'}


def test_alerts_are_those_of_the_page():
    text = (ROOT / "docs" / "metrics.md").read_text()
    table = re.search(r"^### Alerts\n(.*?)^## ", text, re.M | re.S)
    assert table is not None
    wanted = set(re.findall(r"^\| `([^`]+)`", table[1], re.M))
    (group,) = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
    there = {rule["expr"] for rule in group["rules"]}
    assert there - {'up{job="assay"} == 0'} == wanted
    night = (ROOT / "docs" / "running.md").read_text()
    assert set(re.findall(r"^\| `([A-Z]\w+)` \|", night, re.M)) == {
        r["alert"] for r in group["rules"]
    }


def test_prometheus_can_read_its_configuration():
    promtool = find_tool("promtool")
    command = [promtool, "check", "config", DEPLOY / "prometheus" / "prometheus.yml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("more", [[], ["-f", "deploy/compose.gpu.yaml"]], ids=["plain", "cards"])
def test_compose_can_read_its_file(more):
    has_plugin = subprocess.run(
        [find_tool("docker", "docker-compose"), "compose", "version"],
        capture_output=True,
        timeout=300,
    )
    words = ["docker", "compose"] if has_plugin.returncode == 0 else [find_tool("docker-compose")]
    command = [*words, "-f", "compose.yaml", *more, "config", "-q"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "HOME": "/home/somebody", "GRAFANA_PASSWORD": "x"},  # noqa: TID251 - a child's
    )
    assert done.returncode == 0, done.stderr


def test_the_image_leaves_out_nothing_that_the_package_needs():
    """.dockerignore names folders that hold no package."""
    left_out = set((ROOT / ".dockerignore").read_text().split("\n")) - {""}
    needed = {"locks", "pyproject.toml", "README.md", "LICENSE", "devnet", "judge", "python-wasm"}
    assert not left_out & (needed | {"assay", "protocol", "verification", "neurons"})
    assert {"tests", "docs", "bench"} <= left_out


def test_the_image_is_built_and_plays_the_demo():
    """At night: the Dockerfile's own steps, on a Debian that debootstrap makes."""
    find_tool("buildah")
    find_tool("debootstrap")
    if os.geteuid() != 0:
        pytest.skip("buildah in a chroot needs root")
    done = subprocess.run([DEPLOY / "check-image.sh"], capture_output=True, text=True, timeout=3400)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The sandbox for reasoning_gym was prepared before" in done.stdout
    assert "Every cheat earned 0" in done.stdout
