"""What the lock files name."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def locked(name: str) -> set[tuple[str, str]]:
    """Read the names and versions in a lock file."""
    return set(re.findall(r"(?m)^([\w.-]+)==(\S+)", (ROOT / name).read_text(encoding="utf-8")))
