"""The repository stays portable: no machine's paths, no registry's address, no dead link."""

import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Put together here so that this file passes its own test.
MACHINE_PATHS = [f"/{folder}/" for folder in ("work", "root")]
WELL_KNOWN_REGISTRIES = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("yarnpkg", "com"),
        ("crates", "io"),
        ("proxy", "golang", "org"),
        ("deb", "debian", "org"),
    )
]
REGISTRY_VARIABLES = re.compile(r"(PIP|UV|NPM_CONFIG)_.*(INDEX|REGISTRY|LINKS)|GOPROXY", re.I)
URL = re.compile(r"https?://[^\s'\",]+")
FENCED_CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK_TARGET = re.compile(r"\]\(([^)\s#]+)")


@pytest.mark.parametrize(
    "name", ["requirements.lock", "requirements-dev.lock", "requirements-deploy.lock"]
)
def test_lock_file_names_no_address(name: str) -> None:
    """Any mirror can serve the locks: they pin versions and hashes, not places."""
    assert [] == URL.findall((ROOT / name).read_text(encoding="utf-8"))


def test_no_file_names_a_machine_path_or_a_registry() -> None:
    """What is true of one machine only does not belong in the repository."""
    forbidden = re.compile(
        "|".join(
            [rf"(?<!\w){re.escape(path)}" for path in MACHINE_PATHS]
            + [rf"(?<![\w-]){re.escape(host)}\b" for host in WELL_KNOWN_REGISTRIES]
            + [rf"[/@]{re.escape(host)}\b" for host in _configured_registries()]
        )
    )

    found = [
        f"{path.relative_to(ROOT)}:{number}: {match[0]}"
        for path in _repository_files()
        for number, line in enumerate(_text(path).splitlines(), start=1)
        if (match := forbidden.search(line))
    ]

    assert not found, "\n".join(found)


def test_relative_links_in_markdown_point_to_files() -> None:
    """A reader never meets a dead link inside the repository."""
    dead = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in _repository_files()
        if page.suffix == ".md"
        for target in LINK_TARGET.findall(FENCED_CODE.sub("", _text(page)))
        if not urlsplit(target).scheme and not (page.parent / target).exists()
    ]

    assert not dead, "\n".join(dead)


def _repository_files() -> list[Path]:
    """List the files git tracks or would track."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout, so there is no list of the repository's files")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    paths = {ROOT / name for name in listed.split("\0") if name}
    return sorted(path for path in paths if path.is_file())


def _text(path: Path) -> str:
    content = path.read_bytes()
    return "" if b"\0" in content else content.decode(errors="replace")


def _configured_registries() -> set[str]:
    """Return the hosts this machine installs from, by pip's configuration and the environment."""
    pip = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    variables = [value for name, value in os.environ.items() if REGISTRY_VARIABLES.search(name)]
    hosts = {
        urlsplit(url).hostname or "" for url in URL.findall("\n".join([pip.stdout, *variables]))
    }
    return hosts - {"", "localhost", "127.0.0.1"}
