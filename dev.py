#!/usr/bin/env python3
"""Run the project's chores with nothing but Python: `python dev.py demo`, `python dev.py test`.

The Makefile only calls this file, so machines without make (Windows) lose nothing.
"""

from __future__ import annotations  # An old Python must get as far as the message in main().

import hashlib
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Callable
from pathlib import Path

USAGE = """usage: python dev.py COMMAND [ARGUMENT ...]

  demo          run NATS, a simulated terminal and the gateway   (arguments go to the demo)
  test          run every test that needs no system package      (arguments go to pytest)
  test-all      run every test; a missing system package fails   (arguments go to pytest)
  check         check format, lint and types
  format        format the code and apply safe lint fixes
  bench         measure throughput and latency beside the floor  (arguments go to bench)
  bench-full    the same with longer runs and large sizes
  chaos         run random faults against the invariants
  audit         ask for known vulnerabilities of what is locked  (arguments go to pip-audit)
  lock          resolve the dependencies again, write the lock files
  setup         make .venv and stop
  setup-deploy  also install what checks image, chart, dashboards and releases"""

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements-dev.lock"
DEPLOY_LOCK = ROOT / "requirements-deploy.lock"
BENCH_LOCK = ROOT / "requirements-bench.lock"
STAMP = VENV / "dev-stamp"
WINDOWS = os.name == "nt"
BIN = VENV / ("Scripts" if WINDOWS else "bin")
PYTHON = BIN / ("python.exe" if WINDOWS else "python")


def main(arguments: list[str]) -> int:
    """Run one chore and return its exit code."""
    if sys.version_info < (3, 11):  # noqa: UP036 - this file may meet any Python
        print(f"mt4-gateway needs Python 3.11 or newer, this is {sys.version.split()[0]}")
        return 1
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if arguments else 2
    command, *rest = arguments
    if command == "lock":
        return lock()
    setup()
    chores: dict[str, Callable[[], int]] = {
        "demo": lambda: run("-m", "gateway", "demo", *rest),
        "test": lambda: pytest(*rest),
        "test-all": lambda: pytest(*rest, MT4GW_TEST_SYSTEM="1"),
        "check": check,
        "format": lambda: run("-m", "ruff", "check", "--fix") or run("-m", "ruff", "format"),
        "bench": lambda: bench(*rest),
        "bench-full": lambda: bench("--full", *rest),
        "chaos": lambda: run_folder("tests/chaos", *rest),
        "audit": lambda: audit(*rest),
        "setup": lambda: 0,
        "setup-deploy": setup_deploy,
    }
    if command not in chores:
        print(f"dev.py: no such command: {command}\n\n{USAGE}", file=sys.stderr)
        return 2
    return chores[command]()


def pytest(*arguments: str, **environment: str) -> int:
    """Run tests in two processes per core: half of them wait for other processes."""
    workers = 2 * (os.cpu_count() or 1)
    share = (f"--numprocesses={workers}", "--dist=worksteal")
    return run("-m", "pytest", *share, *arguments, **environment)


def run(*arguments: str, **environment: str) -> int:
    """Run the project's Python and return its exit code."""
    inherited = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"}
    # Tests start the gateway a hundred times: without bytecode each start would compile it again.
    inherited.pop("PYTHONDONTWRITEBYTECODE", None)
    child = subprocess.Popen([PYTHON, *arguments], cwd=ROOT, env=inherited | environment)
    # Ctrl-C reaches the child by itself; wait for it to shut down in its own order.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    return child.wait()


def run_folder(folder: str, *arguments: str) -> int:
    """Run a folder that has a `__main__.py`, or say that it is missing."""
    if not (ROOT / folder).is_dir():
        print(f"dev.py: nothing to run yet: there is no folder {folder}/", file=sys.stderr)
        return 2
    return run("-m", folder.replace("/", "."), *arguments)


def check() -> int:
    """Check format, lint and types; stop at the first that fails."""
    folders = ("gateway", "tests", "bench", "deploy", "examples", "dev.py")
    typed = [path for path in folders if (ROOT / path).exists()]
    return (
        run("-m", "ruff", "format", "--check")
        or run("-m", "ruff", "check")
        or run("-m", "mypy", *typed)
    )


def setup() -> None:
    """Make `.venv` from the lock file, unless it is there already."""
    # The launcher and the .pth file hold the folder's path: a moved checkout installs again.
    wanted = f"{hashlib.sha256(LOCK.read_bytes()).hexdigest()} {sys.version} {ROOT}"
    if STAMP.exists() and STAMP.read_text(encoding="utf-8") == wanted:
        return
    print(f"dev.py: installing {LOCK.name} into {VENV.name} (once)", flush=True)
    install(make_venv(VENV), LOCK)
    put_on_path()
    STAMP.write_text(wanted, encoding="utf-8")


def setup_deploy() -> int:
    """Install `requirements-deploy.lock` on top of `.venv`."""
    add(DEPLOY_LOCK)
    return 0


def bench(*arguments: str) -> int:
    """Install what is measured beside us, on top of `.venv`, and measure."""
    add(BENCH_LOCK)
    return run("-m", "bench", *arguments)


def audit(*arguments: str) -> int:
    """Ask a database about each locked package.

    Fails where a vulnerability is known, and where the package is not: what proves to be malware
    is taken away from the index, and would be passed over.
    """
    add(DEPLOY_LOCK)
    locks = [f"--requirement={file}" for file in sorted(ROOT.glob("requirements*.lock"))]
    return run(
        "-m", "pip_audit", "--strict", "--disable-pip", "--require-hashes", *locks, *arguments
    )


def add(lock_file: Path) -> None:
    """Install a further lock file on top of `.venv`."""
    install([sys.executable, "-m", "pip", "--python", str(PYTHON)], lock_file)


def install(pip: list[str], lock_file: Path) -> None:
    """Install a lock file: wheels only, each checked by its hash."""
    hashed = ("--require-hashes", "--only-binary=:all:", "-r", str(lock_file))
    subprocess.run([*pip, "install", "--quiet", *hashed], check=True)


def make_venv(folder: Path) -> list[str]:
    """Make a virtual environment and return the pip command that installs into it."""
    try:
        import ensurepip  # noqa: F401, PLC0415 - Debian ships it apart, in python3-venv

        with_pip = True
    except ImportError:
        with_pip = False
    venv.create(folder, with_pip=with_pip, clear=True, symlinks=not WINDOWS)
    python = str(folder / PYTHON.relative_to(VENV))
    return [python, "-m", "pip"] if with_pip else [sys.executable, "-m", "pip", "--python", python]


def put_on_path() -> None:
    """Make `import gateway` and the `mt4-gateway` command work without a build."""
    base = {"base": str(VENV), "platbase": str(VENV)}
    packages = Path(sysconfig.get_path("purelib", "venv", base))
    (packages / "mt4-gateway.pth").write_text(f"{ROOT}\n", encoding="utf-8")
    if WINDOWS:
        (BIN / "mt4-gateway.cmd").write_text(f'@"{PYTHON}" -m gateway %*\n', encoding="utf-8")
        return
    launcher = BIN / "mt4-gateway"
    launcher.write_text(f'#!/bin/sh\nexec "{PYTHON}" -m gateway "$@"\n', encoding="utf-8")
    launcher.chmod(0o755)


def lock() -> int:
    """Resolve all dependencies again, for every platform, and write the lock files."""
    # Not uv.lock: it records where each file was downloaded from, so it differs by mirror.
    options = "--universal --python-version 3.11 --generate-hashes --no-header --upgrade --quiet"
    with tempfile.TemporaryDirectory() as folder:
        pip = make_venv(Path(folder))
        subprocess.run([*pip, "install", "--quiet", "uv"], check=True)
        uv = Path(folder) / BIN.name / "uv"
        compile_lock = [str(uv), "pip", "compile", *options.split()]
        # What the image has: all that a gateway can use, and nothing for a person at a shell.
        runtime = ["pyproject.toml", "--extra", "fast", "--extra", "nkeys"]
        runtime += ["-o", "requirements.lock"]
        developing = ["pyproject.toml", "--all-extras", "--group", "dev"]
        everything = [*developing, "-o", LOCK.name]
        # On top of the one before, so that they add to .venv and change nothing there.
        deploy = [*developing, "--group", "deploy", "-c", LOCK.name, "-o", DEPLOY_LOCK.name]
        measured = ["--group", "bench", "-c", LOCK.name, "-o", BENCH_LOCK.name]
        for output in (runtime, everything, deploy, measured):
            subprocess.run([*compile_lock, *output], cwd=ROOT, check=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except subprocess.CalledProcessError as error:
        sys.exit(f"dev.py: failed, see above: {' '.join(map(str, error.cmd))}")
