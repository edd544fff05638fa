"""The names that dashboards and alerts may use."""

from __future__ import annotations

import re

from gateway.metrics import PREFIX, Metrics

NAME = re.compile(rf"\b({PREFIX}[a-z_]+|process_[a-z_]+)\b")


def kinds() -> dict[str, str]:
    """Return the kind of every metric by its name: the gateway's and the process'."""
    found = {one.name: one.kind for one in Metrics().catalogue}
    process = {
        "process_start_time_seconds": "gauge",
        "process_resident_memory_bytes": "gauge",
        "process_cpu_seconds_total": "counter",
        "process_open_fds": "gauge",
        "process_max_fds": "gauge",
    }
    return process | found


def used(expression: str) -> set[str]:
    """List the metrics of an expression; a histogram's parts count as the histogram."""
    known = kinds()
    return {_whole(name, known) for name in NAME.findall(expression)}


def _whole(name: str, known: dict[str, str]) -> str:
    for part in ("_bucket", "_count", "_sum"):
        if known.get(name.removesuffix(part)) == "histogram":
            return name.removesuffix(part)
    return name
