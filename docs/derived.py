"""Files that are written from code, and kept current: what the generators share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

Files = Mapping[str, Callable[[], str]]
"""By path from the root: what writes each."""


def outdated(files: Files) -> list[str]:
    """List the files that are not what their source says."""
    return [path for path, write in files.items() if _read(ROOT / path) != write()]


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def main(files: Files, program: str, purpose: str | None, arguments: list[str]) -> int:
    """Write the files; with `--check` only compare, 1 when one is not current."""
    if arguments not in ([], ["--check"]):
        print(f"{purpose}\nusage: python {program} [--check]", file=sys.stderr)
        return 2
    changed = outdated(files)
    for path in changed:
        if arguments:
            print(f"{path} is not current: run python {program}", file=sys.stderr)
        else:
            (ROOT / path).write_text(files[path](), encoding="utf-8", newline="\n")
            print(f"wrote {path}")
    return 1 if arguments and changed else 0
