"""The log: one line per fact on standard error, for people or for machines."""

from __future__ import annotations

import json
import logging
import math
import re
import sys

from gateway.config import Log
from gateway.envelope import format_time

_NAMES = re.compile(r"(\w+)=%")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class _Text(logging.Formatter):
    """UTC with milliseconds, level, message; what others wrote makes no line and no colour."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        return format_time(record.created)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return _CONTROLS.sub(_escaped, super().formatMessage(record))


class _Json(logging.Formatter):
    """One object a line: `event` and the message's `key=value` pairs, each under its name."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": format_time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        event, _, pairs = str(record.msg).partition(" ")
        names = _NAMES.findall(pairs)
        if isinstance(record.args, tuple) and len(names) == len(record.args):
            said = dict(zip(names, map(_plain, record.args), strict=True))
            entry |= said | {"event": event} | entry  # no message can set time or level
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def _plain(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no such number
    return value if isinstance(value, bool | int | float | None) else str(value)


def _escaped(control: re.Match[str]) -> str:
    return control[0].encode("unicode_escape").decode()


def configure(settings: Log) -> None:
    """Send the log to standard error in the configured form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if settings.format == "json" else _Text())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    # nats-py logs a traceback for every refused connection; bus.py says the same in one line.
    logging.getLogger("nats").setLevel(logging.CRITICAL)
