#!/usr/bin/env python3
"""Write the reference pages from the code: `python docs/generate.py`, with `--check` compare only.

A new page is one function that returns Markdown and one line in PAGES.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from gateway.config import ENVIRONMENT_PREFIX, Config
from gateway.metrics import OTHER, Metrics

ROOT = Path(__file__).resolve().parents[1]
NOTE = "<!-- Written by docs/generate.py. Change the code, then run it again. -->"

CONFIGURATION = f"""# Configuration

{NOTE}

A TOML file, then the environment, which wins. A list in the environment is written with commas.
Unknown keys, bad values and contradictions are reported all at once, with exit code 2.
**Secret** values belong in a file or the environment and are never printed.
"""

METRICS = f"""# Metrics

{NOTE}

Served on `/metrics`, as Prometheus text or as OpenMetrics, by the `Accept` header. OpenMetrics
carries exemplars: a bucket of `mt4_gateway_command_duration_seconds` names a command
(`client/id`) that fell into it.

Labels are closed sets, so that no message can add a series: `symbol` has the configured symbols,
`action` the catalogue's actions, and both `{OTHER}` for the rest. Counters start at 0. A
histogram by action or lane appears with the first of its kind.

The process itself is in the usual `process_*` (Linux) and `python_gc_*` metrics.
"""

# What the end of a key's name says about its value.
UNITS = {"_s": "seconds", "_bytes": "bytes", "_lots": "lots", "_points": "points"}

RANGES = {
    "exclusiveMinimum": "above {}",
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
    "minLength": "length at least {}",
    "maxLength": "length at most {}",
    "minItems": "entries at least {}",
    "maxItems": "entries at most {}",
}

Schema = dict[str, Any]
"""One JSON Schema, as pydantic writes it."""


def configuration() -> str:
    """Describe every key of the configuration."""
    schema = Config.model_json_schema()
    sections = {
        name: schema["$defs"][part["$ref"].rpartition("/")[2]]
        for name, part in schema["properties"].items()
    }
    lines = [CONFIGURATION]
    for name, section in sections.items():
        lines += [f"## `[{name}]`", "", section["description"], "", *_keys(name, section), ""]
    lines += ["## Example", "", "Every key with its default; those without one are commented out."]
    lines += ["", "```toml", example(sections), "```", ""]
    return "\n".join(lines)


def _keys(name: str, section: Schema) -> Iterator[str]:
    return table(
        ["Key", "Type", "Default", "Range", "Environment", "Meaning"],
        (
            [
                f"`{key}`",
                _kind(key, field),
                _value(field.get("default")),
                _range(field),
                f"`{ENVIRONMENT_PREFIX}{name.upper()}__{key.upper()}`",
                ("**Secret.** " if is_secret(field) else "") + field.get("description", ""),
            ]
            for key, field in section["properties"].items()
        ),
    )


def _kind(key: str, field: Schema) -> str:
    """Say what a value is, with its unit."""
    field = without_null(field)
    if field["type"] == "array":
        return f"list of {_kind('', field['items'])}s"
    kind = "path" if field.get("format") == "path" else str(field["type"])
    units = [unit for end, unit in UNITS.items() if key.endswith(end)]
    return ", ".join([kind, *units])


def _range(field: Schema) -> str:
    """Say which values are allowed."""
    field = without_null(field)
    field = {**field.get("items", {}), **field}
    if "const" in field or "enum" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    limits = [text.format(f"{field[key]:,}") for key, text in RANGES.items() if key in field]
    pattern = [f"`{field['pattern']}`"] if "pattern" in field else []
    return ", ".join(pattern + limits)


def _value(value: Any) -> str:
    return "none" if value is None else f"`{json.dumps(value)}`"


def is_secret(field: Schema) -> bool:
    """Tell whether a value must not be printed."""
    return bool(without_null(field).get("writeOnly"))


def without_null(field: Schema) -> Schema:
    """Return what an optional value is when it is there."""
    for choice in field.get("anyOf", []):
        if choice["type"] != "null":
            return {**field, **choice}
    return field


def example(sections: dict[str, Schema]) -> str:
    """Write a configuration file with every default."""
    lines = []
    for name, section in sections.items():
        lines.append(f"\n[{name}]")
        for key, field in section["properties"].items():
            default = field.get("default")
            # JSON's strings, numbers, booleans and lists are TOML's too.
            lines.append(f"# {key} =" if default is None else f"{key} = {json.dumps(default)}")
    return "\n".join(lines).lstrip()


def metrics() -> str:
    """Describe every metric."""
    catalogue = Metrics().catalogue
    rows = (
        [f"`{one.name}`", one.kind, ", ".join(f"`{label}`" for label in one.labels), one.text]
        for one in catalogue
    )
    buckets = (
        [f"`{one.name}`", ", ".join(map(_decimal, one.buckets_s))]
        for one in catalogue
        if one.buckets_s
    )
    lines = [METRICS, *table(["Name", "Type", "Labels", "Meaning"], rows), ""]
    lines += ["## Buckets", "", "Upper bounds in seconds.", ""]
    lines += [*table(["Name", "Bounds"], buckets), ""]
    return "\n".join(lines)


def _decimal(bound: float) -> str:
    """Write 5e-05 as 0.00005."""
    return f"{bound:.6f}".rstrip("0").rstrip(".")


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Write a Markdown table; a bar inside a cell is escaped."""
    head = list(head)
    for row in [head, ["---"] * len(head), *rows]:
        yield "| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |"


PAGES: dict[str, Callable[[], str]] = {
    "docs/configuration.md": configuration,
    "docs/metrics.md": metrics,
}


def outdated() -> list[str]:
    """List the pages that are not what the code says."""
    return [path for path, write in PAGES.items() if _read(ROOT / path) != write()]


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def main(arguments: list[str]) -> int:
    """Write the pages; with `--check` only compare, 1 when one is not current."""
    if arguments not in ([], ["--check"]):
        print(f"{__doc__}\nusage: python docs/generate.py [--check]", file=sys.stderr)
        return 2
    changed = outdated()
    for path in changed:
        if arguments:
            print(f"{path} is not current: run python docs/generate.py", file=sys.stderr)
        else:
            (ROOT / path).write_text(PAGES[path](), encoding="utf-8", newline="\n")
            print(f"wrote {path}")
    return 1 if arguments and changed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
