#!/usr/bin/env python3
"""Write what is derived: `python deploy/generate.py`, with `--check` compare only."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from deploy import chart_readme, chart_schema, dashboards

ROOT = Path(__file__).resolve().parents[1]
CHART = "deploy/helm/mt4-gateway"


def _json(value: object) -> str:
    return json.dumps(value, indent=2) + "\n"


def _dashboard(name: str) -> str:
    return _json(dashboards.DASHBOARDS[name]())


FILES: dict[str, Callable[[], str]] = {
    f"{CHART}/README.md": chart_readme.readme,
    f"{CHART}/values.schema.json": lambda: _json(chart_schema.values()),
    **{
        f"{CHART}/files/dashboards/{name}.json": partial(_dashboard, name)
        for name in dashboards.DASHBOARDS
    },
}


def outdated() -> list[str]:
    """List the files that are not what their source says."""
    return [path for path, write in FILES.items() if _read(ROOT / path) != write()]


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def main(arguments: list[str]) -> int:
    """Write the files; with `--check` only compare, 1 when one is not current."""
    if arguments not in ([], ["--check"]):
        print(f"{__doc__}\nusage: python deploy/generate.py [--check]", file=sys.stderr)
        return 2
    changed = outdated()
    for path in changed:
        if arguments:
            print(f"{path} is not current: run python deploy/generate.py", file=sys.stderr)
        else:
            (ROOT / path).write_text(FILES[path](), encoding="utf-8", newline="\n")
            print(f"wrote {path}")
    return 1 if arguments and changed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
