#!/usr/bin/env python3
"""Write the reference pages from the code: `python docs/generate.py`, with `--check` compare only.

A new page is one function that returns Markdown and one line in PAGES.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from docs import derived
from gateway import asyncapi, schemas
from gateway.actions import ACTIONS, Action
from gateway.config import ENVIRONMENT_PREFIX, Config
from gateway.core.evidence import COMMENT_LEFT, TOKEN_LENGTH
from gateway.core.messages import Dialect, Effect
from gateway.metrics import OTHER, Metrics

ROOT = derived.ROOT
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
carries exemplars: a bucket of `mt4_gateway_command_duration_seconds` names the trace (`trace_id`)
of a command that fell into it or, of one without a trace, the command (`id`, as `client/id`).

Labels are closed sets, so that no message can add a series: `symbol` has the configured symbols,
`action` the catalogue's actions, and both `{OTHER}` for the rest. Counters start at 0. A
histogram by action or lane appears with the first of its kind.

The process itself is in the usual `process_*` (Linux) and `python_gc_*` metrics.
"""

FAULTS = """# What was tried: a catalogue of faults

{note}

Each fault, what must happen then, and the tests that show it. Most use real parts: NATS servers,
ZeroMQ sockets, processes. The simulated terminal and the MQL4 programs, compiled on a host of our
own, stand for MetaTrader. Beside them, `make chaos` does many of these at random, all at once.

Of {count} faults {shown} have tests; where there is none, or where tests leave something out, the
reason is told. What is promised is in [safety.md](safety.md).
"""

CATALOGUE = ROOT / "tests/faults/catalogue.toml"

BRIDGE_NOTE = "**Bridge only.** "

ACTIONS_PAGE = f"""# Actions

{NOTE}

What a command may ask for. The names are those of the existing *MetaTrader 4 Server*; how a command
is sent and what comes back is in [subjects.md](subjects.md). An action that is not listed here is
denied (400), and so is a parameter that is not listed, or one of a wrong type: nothing is guessed.

* A **query** only reads, and is asked again inside the gateway while its deadline allows. A
  **trade** changes the account, and its id makes it happen at most once.
* The **lane** is the queue in which a command waits for the terminal: *reduce* (closes, deletes)
  goes before *trade*, then *read*, then *poll*.
* {BRIDGE_NOTE.strip()} marks what needs a terminal of dialect `bridge`. The existing server would
  ignore such a parameter, so there the command is denied (400) instead.
* `sl` or `tp` of 0 on a modify means *take it away*. The existing server would ignore it, so there
  it is denied.
* An order's comment begins with the gateway's token, {TOKEN_LENGTH} characters by which the order
  is found again; {COMMENT_LEFT} are left for yours.
* Every action takes `"raw": true`: the result then has `raw` too, the response as the terminal gave
  it.

## The order

What `GET_ORDER` returns, what `GET_ORDERS` and `GET_HISTORICAL_ORDERS` list, and what a send or
modify answers with. As the terminal gives it: `ticket`, `magic_number`, `symbol`, `order_type`
(0 to 5; 6 and above are balance operations), `lots`, `open_price`, `close_price` (of an open
order: the current price), `open_time`, `close_time`, `expiration`, `sl`, `tp`, `profit`,
`commission`, `swap`, `comment`. Times are texts on the broker's clock, without a zone;
`1970.01.01 00:00:00` means never.

Beside them the gateway puts `order_type_name` (`OP_BUY`), and `open_time_utc`, `close_time_utc`,
`expiration_utc`, RFC 3339: null for never, and while the broker's offset from UTC is not known.

The offset is measured where quotes move: the gateway looks at the time of the last quote, in the
heartbeats of dialect `bridge` and in each `GET_SYMBOL_TICK` (so, at the existing server, name
`terminal.poll_symbols`), and believes two moves at least ten seconds apart that agree on a quarter
of an hour. Until then it is what a terminal of dialect `bridge` said in its greeting; else, on a
weekend too, the times in UTC are null. It is today's offset: a time from before the last change of
the clocks is an hour off. `control.status` shows it, `terminal.broker_offset_s`.

A close or delete answers `{{"ticket": 1001, "text": "Closed order # 1001", "order": null}}`. Where
the reply was lost and the effect was found (`resolved`), `order` is that order, and `text` is null.

`DO_CLOSE_ALL` answers with one object per position, `{{"ticket": 1001, "closed": true}}`, or
`false` with `error_code` and `error_message`. If some stay open, it is `succeeded` with a `warning`
that names them; if all do, `rejected` (`NONE_CLOSED`); if the fate of one is in doubt, `unknown`,
with the tickets to look at in `warning`. Pending orders stay. Where `policy.symbols` lists what may
be traded, it must name a `symbol`.
"""

# What a parameter means where its own model does not say. The order: as a reader needs it.
MEANINGS = {
    "ticket": "The order, by its number.",
    "symbol": "Its name at the broker, with the suffix (`EURUSD.m`); printable ASCII.",
    "names": "Names of symbols.",
    "lots": "Volume.",
    "price": "Left out: the market's.",
    "slippage": "How far the price may move away, in points; left out: the terminal's default.",
    "expiration": "Broker's clock, seconds; 0 for never; pending orders only.",
    "magic_number": "Marks the orders of a strategy.",
}

# Where the schema's type does not say it all.
KINDS = {
    "argv": "list of strings and numbers",
    "order_type": "integer or string",
    "timeframe": "integer or string",
    "timeout": "integer, milliseconds",
}

# What a schema with a name is called on the page of actions.
SHAPES = {
    "order": "[an order](#the-order)",
    "ending": '`{"ticket", "text", "order"}`, [see above](#the-order)',
}

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
                "" if is_table(field) else f"`{ENVIRONMENT_PREFIX}{name.upper()}__{key.upper()}`",
                ("**Secret.** " if is_secret(field) else "") + field.get("description", ""),
            ]
            for key, field in section["properties"].items()
        ),
    )


def _kind(key: str, field: Schema) -> str:
    """Say what a value is, with its unit."""
    field = without_null(field)
    if is_table(field):
        return "tables by name"
    if field["type"] == "array":
        return f"list of {_kind('', field['items'])}s"
    kind = "path" if field.get("format") == "path" else str(field["type"])
    units = [unit for end, unit in UNITS.items() if key.endswith(end)]
    return ", ".join([kind, *units])


def _range(field: Schema) -> str:
    """Say which values are allowed."""
    field = without_null(field)
    field = {**field.get("items", {}), **field}
    if is_table(field):
        return ", ".join(f"`{pattern}`" for pattern in field["patternProperties"])
    if "const" in field or "enum" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    limits = [text.format(_number(field[key])) for key, text in RANGES.items() if key in field]
    pattern = [f"`{field['pattern']}`"] if "pattern" in field else []
    return ", ".join(pattern + limits)


def _number(value: float) -> str:
    """Write 1000000.0 as 1,000,000."""
    return f"{int(value):,}" if value == int(value) else f"{value:,}"


def _value(value: Any) -> str:
    return "none" if value is None else f"`{json.dumps(value)}`"


def is_table(field: Schema) -> bool:
    """Tell whether it is a table of tables, which only a file can hold."""
    return field.get("type") == "object"


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
            default = None if is_table(field) else field.get("default")
            # JSON's strings, numbers, booleans and lists are TOML's too.
            lines.append(f"# {key} =" if default is None else f"{key} = {json.dumps(default)}")
    return "\n".join(lines).lstrip()


def actions() -> str:
    """Describe every action of the catalogue."""
    rows = (
        [f"[`{one.name}`](#{one.name.lower()})", str(one.effect), one.lane.label, one.help]
        for one in ACTIONS.values()
    )
    lines = [ACTIONS_PAGE, "## All", "", *table(["Name", "Effect", "Lane", "What"], rows), ""]
    for action in ACTIONS.values():
        lines += [f"## {action.name}", "", *_action(action), ""]
    return "\n".join(lines)


def _action(action: Action) -> Iterator[str]:
    only = "" if Dialect.METATRADER4_SERVER in action.dialects else BRIDGE_NOTE
    yield f"{only}{action.help}"
    yield ""
    client = "" if action.effect is Effect.QUERY else "<client>."
    dialects = ", ".join(f"`{dialect}`" for dialect in sorted(action.dialects))
    yield f"Subject `<prefix>.<terminal>.{action.effect}.{client}{action.name}`;"
    yield f"lane *{action.lane.label}*; dialects {dialects}."
    yield ""
    schema = action.parameters.model_json_schema()
    required = schema.get("required", [])
    # The required ones first, then in the order of the model; what all have is told above.
    fields = {name: field for name, field in schema["properties"].items() if name != "raw"}
    if not fields:
        yield "No parameters."
        yield ""
        yield from _answer(action)
        return
    yield from table(
        ["Parameter", "Type", "Range", "Required", "Meaning"],
        (
            [
                f"`{name}`",
                KINDS.get(name) or _kind(name, fields[name]),
                _range(fields[name]),
                "yes" if name in required else "",
                meaning(action, name),
            ]
            for name in sorted(fields, key=lambda name: name not in required)
        ),
    )
    yield ""
    yield from ["```json", json.dumps(action.parameters.example), "```"]
    yield ""
    yield from _answer(action)


def _answer(action: Action) -> Iterator[str]:
    """Say what a success answers."""
    schema = schemas.RESPONSES[action.name]
    yield f"Answers with {_shape(schema)}."
    described = schema.get("items") or schema.get("additionalProperties") or schema
    if "properties" not in described:
        return
    yield ""
    yield from table(
        ["Key", "Type", "Meaning"],
        (
            [f"`{name}`", _shape(field), field.get("description", "")]
            for name, field in described["properties"].items()
        ),
    )


def _shape(schema: Schema) -> str:
    """Say in words what a value is."""
    match schema:
        case {"$ref": str(target)}:
            return SHAPES[target.rpartition("/")[2]]
        case {"anyOf": [one, {"type": "null"}]}:
            return f"{_shape(one)} or null"
        case {"type": "array", "items": dict(items)}:
            return f"a list, each {_shape(items)}"
        case {"type": "object", "additionalProperties": dict(values)}:
            return f"an object by name, each {_shape(values)}"
        case {"type": "object"}:
            return "an object"
        case {"type": "integer"}:
            return "an integer"
        case _:
            return f"a {schema['type']}" if "type" in schema else "anything"


def meaning(action: Action, name: str) -> str:
    """Say what a parameter means; empty when nobody has written it down."""
    field = action.parameters.model_fields[name]
    only = BRIDGE_NOTE if name in action.parameters.bridge_only else ""
    return only + (field.description or MEANINGS.get(name, ""))


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


def faults() -> str:
    """Describe every fault that was thought of."""
    groups = tomllib.loads(CATALOGUE.read_text(encoding="utf-8"))["group"]
    listed = [fault for group in groups for fault in group["fault"]]
    shown = sum("tests" in fault for fault in listed)
    lines = [FAULTS.format(note=NOTE, count=len(listed), shown=shown)]
    for group in groups:
        rows = (
            [str(one["number"]), one["fault"], one["expected"], _shown_by(one)]
            for one in group["fault"]
        )
        head = ["No.", "Fault", "What must happen", "Shown by"]
        lines += [f"## {group['name']}", "", *table(head, rows), ""]
    return "\n".join(lines)


def _shown_by(fault: Mapping[str, Any]) -> str:
    """Name the tests, each with a link to its file, and what they leave out."""
    tests = [name.partition("::") for name in fault.get("tests", [])]
    links = [f"[`{test}`](../{path})" for path, _, test in tests]
    return "<br>".join([*links, *([fault["note"]] if "note" in fault else [])])


def _decimal(bound: float) -> str:
    """Write 5e-05 as 0.00005."""
    return f"{bound:.6f}".rstrip("0").rstrip(".")


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Write a Markdown table; a bar inside a cell is escaped."""
    head = list(head)
    for row in [head, ["---"] * len(head), *rows]:
        yield "| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |"


def as_json(value: Any) -> str:
    """Write a document for programs."""
    return json.dumps(value, indent=1) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "docs/actions.md": actions,
    "docs/asyncapi.json": lambda: as_json(asyncapi.document()),
    "docs/schemas.json": lambda: as_json(schemas.everything()),
    "docs/configuration.md": configuration,
    "docs/faults.md": faults,
    "docs/metrics.md": metrics,
}


def outdated() -> list[str]:
    """List the pages that are not what the code says."""
    return derived.outdated(PAGES)


if __name__ == "__main__":
    sys.exit(derived.main(PAGES, "docs/generate.py", __doc__, sys.argv[1:]))
