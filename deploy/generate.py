#!/usr/bin/env python3
"""Write what is derived: `python deploy/generate.py`, with `--check` compare only."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial

from deploy import chart_readme, chart_schema, dashboards
from docs import derived

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
    return derived.outdated(FILES)


if __name__ == "__main__":
    sys.exit(derived.main(FILES, "deploy/generate.py", __doc__, sys.argv[1:]))
