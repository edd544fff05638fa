"""The words of `mt4-gateway send`: read as its action means them, and explained."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from gateway.actions import ACTIONS, Action
from gateway.core.messages import Dialect, Json

HOW = """\
A parameter is written key=value: lots=0.1, symbol=EURUSD, raw=true; a list names=EURUSD,GBPUSD.
`send ACTION --help` shows the parameters of one.
"""


def read(action: Action, words: Iterable[str]) -> dict[str, Json]:
    """Read `key=value` words: a text stays text, a list may be written `a,b`, the rest is JSON.

    Raises:
        ValueError: A word is no such pair, or names a key twice.
    """
    properties = action.parameters.model_json_schema()["properties"]
    params: dict[str, Json] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise ValueError(f"{word!r} is not key=value")
        if key in params:
            raise ValueError(f"{key} is given twice")
        params[key] = _value(text, _kinds(properties.get(key, {})))
    return params


def _kinds(schema: dict[str, Any]) -> set[str]:
    return {part["type"] for part in (schema, *schema.get("anyOf", ())) if "type" in part}


def _value(text: str, kinds: set[str]) -> Json:
    if "string" in kinds and kinds.isdisjoint({"integer", "number"}):
        return text
    if "array" in kinds and not text.startswith("["):
        return [_json_or_text(part) for part in text.split(",")]
    return _json_or_text(text)


def _json_or_text(text: str) -> Json:
    try:
        return json.loads(text)
    except ValueError:
        return text


def catalogue() -> str:
    """List the actions, a line each."""
    lines = (f"  {action.name:<26}{action.help}" for action in ACTIONS.values())
    return "\n".join(["actions:", *lines, "", HOW])


def explain(action: Action) -> str:
    """Say what an action does and takes."""
    schema = action.parameters.model_json_schema()
    required = schema.get("required", [])
    only = "" if len(action.dialects) == len(Dialect) else " (dialect bridge only)"
    lines = [f"{action.name}: {action.help}{only}", "", "parameters:"]
    for name, field in sorted(
        schema["properties"].items(), key=lambda item: item[0] not in required
    ):
        must = "needed. " if name in required else ""
        bridge = "Dialect bridge only. " if name in action.parameters.bridge_only else ""
        text = f"{must}{bridge}{field.get('description', '')}"
        lines.append(f"  {name:<16}{text}".rstrip())
    example = " ".join(
        f"{key}={_written(value)}" for key, value in action.parameters.example.items()
    )
    return "\n".join([*lines, "", f"example:\n  mt4-gateway send {action.name} {example}".rstrip()])


def _written(value: Json) -> str:
    if isinstance(value, list):
        return ",".join(map(_written, value))
    text = value if isinstance(value, str) else json.dumps(value)
    return f"'{text}'" if " " in text else text
