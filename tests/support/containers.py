"""Build and run images without a daemon and without an image registry.

buildah and podman keep everything in `.tools/containers`, with a configuration of their own, so
that neither the machine's images nor its settings matter. The base image is made with debootstrap
once and kept there.
"""

from __future__ import annotations

import fcntl
import functools
import json
import os
import shutil
import ssl
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STORE = ROOT / ".tools" / "containers"
BASE = "localhost/python-base:bookworm"
IMAGE = "localhost/mt4-gateway:test"
SUITE = "bookworm"
PACKAGES = "python3,python3-venv,ca-certificates"

STORAGE = """[storage]
driver = "overlay"
graphroot = "{store}/root"
runroot = "{store}/run"
"""

# The limits: in a container without CAP_SYS_RESOURCE the defaults cannot be set. runc: crun
# refuses hybrid control groups. netavark: containers find each other by name.
CONTAINERS = """[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
"""


@functools.cache
def environment() -> dict[str, str]:
    """Write the tools' configuration and return the environment that points to it."""
    STORE.mkdir(parents=True, exist_ok=True)
    storage, containers = STORE / "storage.conf", STORE / "containers.conf"
    storage.write_text(STORAGE.format(store=STORE), encoding="utf-8")
    containers.write_text(CONTAINERS, encoding="utf-8")
    return {
        **os.environ,
        "CONTAINERS_STORAGE_CONF": str(storage),
        "CONTAINERS_CONF": str(containers),
        "BUILDAH_ISOLATION": "chroot",
    }


def run(*command: str, check: bool = True, timeout_s: float = 300.0) -> str:
    """Run one tool and return what it printed; on failure raise with all of it."""
    done = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=timeout_s, check=False
    )
    if check and done.returncode != 0:
        said = f"{done.stdout}\n{done.stderr}"
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}\n{said}")
    return done.stdout.strip()


def has_image(name: str) -> bool:
    """Tell whether the store has an image."""
    return bool(run("buildah", "images", "--quiet", "--filter", f"reference={name}"))


def make_base() -> None:
    """Make the base image: Debian with its Python and nothing else. Takes 40 s, once."""
    if has_image(BASE):
        return
    rootfs = STORE / "rootfs"
    for mounted in (
        "proc",
        "sys",
    ):  # a debootstrap that was cut short leaves them; never delete those
        run("umount", "--lazy", str(rootfs / mounted), check=False)
    shutil.rmtree(rootfs, ignore_errors=True)
    bootstrap = ("debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE)
    run(*bootstrap, str(rootfs), *_mirror(), timeout_s=900.0)
    shutil.rmtree(rootfs / "var/cache/apt", ignore_errors=True)
    shutil.rmtree(rootfs / "var/lib/apt/lists", ignore_errors=True)
    container = run("buildah", "from", "scratch")
    mounted = run("buildah", "mount", container)
    run("cp", "-a", f"{rootfs}/.", mounted)
    run("buildah", "config", "--env", "LANG=C.UTF-8", "--cmd", "python3", container)
    run("buildah", "umount", container)
    run("buildah", "commit", "--quiet", container, BASE)
    run("buildah", "rm", container)
    shutil.rmtree(rootfs)


def _mirror() -> list[str]:
    """Return the mirror this machine's apt uses, if it says so."""
    form = ("--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)", "Created-By: Packages")
    said = run("apt-get", "indextargets", *form, check=False)
    lines = [line.split() for line in said.splitlines()]
    return [line[0] for line in lines if line[1:] == [SUITE, "main"]][:1]


def build(dockerfile: Path = ROOT / "Dockerfile", name: str = IMAGE) -> str:
    """Build the image from the Dockerfile, on the base made here, and return its name.

    The machine's CA certificates are lent to the build, for networks that have their own.
    """
    STORE.mkdir(parents=True, exist_ok=True)
    with (STORE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests of several processes build it once
        make_base()
        _build(dockerfile, name)
    return name


def _build(dockerfile: Path, name: str) -> None:
    certificates = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
    lent: list[str] = []
    if certificates is not None:
        pip_conf = STORE / "pip.conf"
        inside = "/etc/ssl/certs/ca-certificates.crt"
        pip_conf.write_text(f"[global]\ncert = {inside}\n", encoding="utf-8")
        lent = ["-v", f"{certificates}:{inside}:ro", "-v", f"{pip_conf}:/etc/pip.conf:ro"]
    run(
        *("buildah", "bud", "--format", "docker", "--pull-never", "--network", "host"),
        *("--build-arg", f"PYTHON_IMAGE={BASE}", "--layers", *lent),
        *("-f", str(dockerfile), "-t", name, str(ROOT)),
    )


def size_bytes(image: str) -> int:
    """Return an image's size."""
    return int(json.loads(run("podman", "image", "inspect", image))[0]["Size"])


def log_of(container: str) -> str:
    """Return what a container wrote, on both of its outputs."""
    done = subprocess.run(
        ["podman", "logs", container],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.stdout + done.stderr


class Container:
    """One container of an image, under the restrictions a cluster would put on it.

    Args:
        arguments: Of the program in it.
        environment: Its variables.
        mounts: Files and folders of this machine, read-only, by their place in the container.
    """

    def __init__(
        self,
        name: str,
        *arguments: str,
        environment: dict[str, str] | None = None,
        mounts: dict[str, Path] | None = None,
        image: str = IMAGE,
    ) -> None:
        self.name = name
        options = [f"--env={key}={value}" for key, value in (environment or {}).items()]
        options += [f"-v={path}:{place}:ro" for place, path in (mounts or {}).items()]
        run("podman", "rm", "--force", "--ignore", name)
        run(
            *("podman", "run", "--detach", "--name", name, "--network", "host"),
            *("--read-only", "--read-only-tmpfs=false", "--cap-drop=all"),
            *("--security-opt", "no-new-privileges", "--memory", "256m"),
            *("--health-interval=disable", *options, image, *arguments),
        )

    def execute(self, *command: str) -> str:
        """Run a command inside and return what it printed."""
        return run("podman", "exec", self.name, *command)

    def state(self) -> dict[str, object]:
        """Return what podman knows of it."""
        inspected: list[dict[str, dict[str, object]]] = json.loads(
            run("podman", "inspect", self.name)
        )
        return inspected[0]["State"]

    def is_healthy(self) -> bool:
        """Run its HEALTHCHECK."""
        done = subprocess.run(
            ["podman", "healthcheck", "run", self.name],
            env=environment(),
            capture_output=True,
            timeout=30,
            check=False,
        )
        return done.returncode == 0

    def stop(self, patience_s: int = 20) -> tuple[int, float]:
        """Send SIGTERM; return the exit code and how long it took, in seconds."""
        started_s = time.monotonic()
        run("podman", "stop", "--time", str(patience_s), self.name)
        return int(str(self.state()["ExitCode"])), time.monotonic() - started_s

    def log(self) -> str:
        """Return what it wrote."""
        return log_of(self.name)

    def remove(self) -> None:
        """Remove it, running or not."""
        run("podman", "rm", "--force", "--time", "1", "--ignore", self.name)
