"""The AsyncAPI 3 document: every subject, who says what on it, and in which shape.

Written from the catalogue and the schemas, seen from the gateway: it *receives* commands and
*sends* results, ticks and events. docs/asyncapi.json is this, and `mt4-gateway asyncapi` prints it.
"""

from __future__ import annotations

from typing import Any

from gateway import __version__
from gateway.actions import ACTIONS, Action
from gateway.core.messages import Dialect, Effect, Json
from gateway.envelope import (
    CONTENT_TYPE_HEADER,
    DEADLINE_HEADER,
    ERROR_CODE_HEADER,
    ERROR_HEADER,
    ID_HEADER,
    REASON_HEADER,
    TRACE_HEADER,
)
from gateway.schemas import EVENTS, TEXT, Schema, ref, schemas
from gateway.subjects import Subjects

VERSION = "3.0.0"
NAMES = Subjects("{prefix}", "{terminal}")
AT = "2026-01-31T12:00:00.000000Z"

PARAMETERS: dict[str, Schema] = {
    "prefix": {"description": "`bus.prefix`.", "default": "mt4"},
    "terminal": {"description": "`terminal.name`: the terminal's alias.", "default": "demo"},
    "client": {"description": "The client's alias, `[a-z0-9-]{1,32}`; permissions rest on it."},
    "id": {"description": "The command's id, `[A-Za-z0-9_-]{1,64}`."},
    "symbol": {"description": "The symbol; bytes outside `[A-Za-z0-9_-]` are written `=XX`."},
    "action": {"description": "A trade of the catalogue."},
    "name": {"description": "What a service answers, `[A-Za-z0-9_-]{1,64}`."},
}

EXAMPLES: dict[str, Json] = {
    "tick": {
        "seq": 17,
        "symbol": "EURUSD",
        "time": 1769860800123,
        "broker_time": 1769868000,
        "bid": 1.1212,
        "ask": 1.12132,
        "last": 0.0,
        "volume": 0,
        "mode": "event",
    },
    "error": {
        "source": "gateway",
        "code": 403,
        "name": "FORBIDDEN",
        "message": "lots 2 are too many for one order; policy.max_lots_per_order = 1",
    },
    "event.gateway": {"event": "started", "terminal": "demo", "version": "0.1.0", "at": AT},
    "stored": {"stream": "mt4_demo_jobs", "seq": 17},
    "refused": {"error": "the journal does not answer"},
}
EXAMPLES["result"] = {
    "id": "breakout-1",
    "terminal": "demo",
    "client": "breakout",
    "action": "DO_ORDER_SEND",
    "outcome": "denied",
    "response": None,
    "warning": None,
    "error": EXAMPLES["error"],
    "attempts": 0,
    "resolved": False,
    "received_at": AT,
    "finished_at": AT,
    "queued_s": 0.0,
    "channel_s": 0.0,
}
EXAMPLES["state"] = {"state": "finished", "result": EXAMPLES["result"]}
EXAMPLES["audit"] = {
    "event": "denied",
    "at": AT,
    "gateway": "host-1a2b3c4d",
    "term": 3,
    "policy": "9c41d2aa",
    "id": "breakout-1",
    "client": "breakout",
    "action": "DO_ORDER_SEND",
    "via": "trade",
    "params": {"symbol": "EURUSD", "order_type": "BUY", "lots": 2.0},
    "deadline_at": AT,
    "received_at": AT,
    "trace": None,
    "steps": [],
    "steps_left_out": 0,
    "outcome": "denied",
    "error": EXAMPLES["error"],
    "warning": None,
    "attempts": 0,
    "resolved": False,
    "number": 2,
    "before": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
}

HEADERS: dict[str, Schema] = {
    CONTENT_TYPE_HEADER: {
        "type": "string",
        "enum": ["application/json", "application/msgpack"],
        "description": "Left out: told by the first byte.",
    },
    TRACE_HEADER: {"type": "string", "description": "W3C Trace Context; comes back."},
    ID_HEADER: {"type": "string", "description": "Instead of `id` in the body."},
    DEADLINE_HEADER: {"type": "string", "description": "Instead of `deadline` in the body."},
    ERROR_CODE_HEADER: {"type": "string", "description": "Where it did not succeed: a number."},
    ERROR_HEADER: {"type": "string", "description": "Where it did not succeed: why."},
    REASON_HEADER: {"type": "string", "description": "Why the job was put aside."},
}
ASKING = (CONTENT_TYPE_HEADER, TRACE_HEADER, ID_HEADER, DEADLINE_HEADER)
ANSWERING = (CONTENT_TYPE_HEADER, TRACE_HEADER, ERROR_CODE_HEADER, ERROR_HEADER)


def document() -> Schema:
    """Write the whole document."""
    parts = _Parts()
    for action in ACTIONS.values():
        parts.command(action)
    parts.others()
    return {
        "asyncapi": VERSION,
        "info": {
            "title": "mt4-gateway",
            "version": __version__,
            "description": "Commands to a MetaTrader 4 terminal over NATS, one result each; "
            "ticks and events. See docs/subjects.md for what the words mean. Bodies are JSON or "
            "msgpack of the same shape.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "nats": {
                "host": "127.0.0.1:4222",
                "protocol": "nats",
                "description": "`nats.servers`.",
            }
        },
        "channels": parts.channels,
        "operations": parts.operations,
        "components": {
            "schemas": schemas(),
            "messages": parts.messages,
            "parameters": PARAMETERS,
        },
    }


class _Parts:
    """Channels, operations and messages, collected."""

    def __init__(self) -> None:
        self.channels: dict[str, Schema] = {}
        self.operations: dict[str, Schema] = {}
        self.messages: dict[str, Schema] = {}

    def command(self, action: Action) -> None:
        """Add a read, or a trade with its durable form."""
        name = action.name
        example = dict(action.parameters.example)
        if action.effect is Effect.TRADE:
            example |= {"id": "breakout-1", "deadline": AT}
        asked = self._message(f"{name}.request", action.help, ASKING, example)
        answered = self._message(f"{name}.result", f"What became of {name}.", ANSWERING)
        terminals = [str(one) for one in Dialect if one in action.dialects]
        extra = {"x-lane": action.lane.label, "x-dialects": terminals}
        if action.effect is Effect.QUERY:
            self._asked(f"query.{name}", NAMES.query(name), asked, answered, action.help, extra)
            return
        stored = self._message("stored", "JetStream's answer.", ())
        trade, job = NAMES.trade("{client}", name), NAMES.job("{client}", name)
        self._asked(f"trade.{name}", trade, asked, answered, action.help, extra)
        durable = f"{action.help} Stored first; the result comes on the result subject."
        self._asked(f"job.{name}", job, asked, stored, durable, extra)

    def others(self) -> None:
        """Add what is no command."""
        empty = self._message(
            "empty", "Nothing.", (), payload={"type": "object", "maxProperties": 0}
        )
        reason = {"type": "object", "properties": {"reason": TEXT}}
        halt = self._message("halt", "Why trading is stopped.", (), payload=reason)
        state = self._message("state", "What became of a command.", ANSWERING)
        status = self._message("status", "How the gateway is.", ANSWERING)
        refused = self._message("refused", "Why it was not done.", ANSWERING)
        asked = NAMES.command("{client}", "{id}")
        self._asked("command", asked, empty, state, "What became of a trade or job?")
        for verb, what in (
            ("status", "How is the gateway?"),
            ("halt", "Stop trading, until `resume`."),
            ("resume", "Allow trading again."),
            ("stepdown", "Let a standby take over."),
        ):
            body = halt if verb == "halt" else empty
            subject = NAMES.control(verb)
            self._asked(f"control.{verb}", subject, body, status, what, others=[refused])
        result = self._message("result", "A trade's result, after it is stored.", ANSWERING)
        self._told("result", NAMES.result("{client}", "{id}"), result)
        tick = self._message("tick", "A quote.", (), kind="application/msgpack")
        self._told("tick", f"{NAMES.base}.tick.{{symbol}}", tick)
        for kind, schema in EVENTS.items():
            event = self._message(f"event.{kind}", schema["description"], ())
            self._told(f"event.{kind}", NAMES.event(kind), event)
        dead = self._message(
            "dead", "A job that could not be taken, as it was.", (REASON_HEADER,), payload={}
        )
        self._told("dead", NAMES.dead("{client}", "{action}"), dead)
        asked = self._message("call", "What an MQL4 program asks: any JSON value.", (), payload={})
        said = self._message(
            "call.answer", "Your service's answer, any JSON value.", (), payload={}
        )
        what = "A question of an MQL4 program's, for any service to answer."
        self._asked("call", NAMES.call("{name}"), asked, said, what)
        self.operations["call"]["action"] = "send"
        audit = self._message("audit", "What became of a trade, and why.", ())
        self._told("audit", NAMES.audit("{client}", "{id}"), audit)

    def _message(
        self,
        name: str,
        summary: str,
        headers: tuple[str, ...],
        example: Json = None,
        *,
        payload: Schema | None = None,
        kind: str = "application/json",
    ) -> str:
        """Add a message; its body is the schema of its name, if no other is given."""
        message: Schema = {
            "name": name,
            "summary": summary,
            "contentType": kind,
            "payload": ref(name) if payload is None else payload,
        }
        if headers:
            properties = {header: HEADERS[header] for header in headers}
            message["headers"] = {"type": "object", "properties": properties}
        shown = example if example is not None else EXAMPLES.get(name)
        if shown is not None:
            message["examples"] = [{"payload": shown}]
        self.messages[name] = message
        return name

    def _channel(self, name: str, address: str | None, messages: list[str]) -> Schema:
        channel: Schema = {
            "address": address,
            "messages": {one: {"$ref": f"#/components/messages/{one}"} for one in messages},
        }
        used = [one for one in PARAMETERS if f"{{{one}}}" in (address or "")]
        if used:
            channel["parameters"] = {
                one: {"$ref": f"#/components/parameters/{one}"} for one in used
            }
        self.channels[name] = channel
        return {"$ref": f"#/channels/{name}"}

    def _asked(  # noqa: PLR0917 - a row of the table
        self,
        name: str,
        subject: str,
        request: str,
        answer: str,
        summary: str,
        extra: Schema | None = None,
        *,
        others: list[str] | None = None,
    ) -> None:
        """Add what is asked of the gateway, and its answer on the caller's inbox."""
        answers = [answer, *(others or [])]
        channel = self._channel(name, subject, [request])
        inbox = self._channel(f"{name}.reply", None, answers)
        said = [{"$ref": f"#/channels/{name}.reply/messages/{one}"} for one in answers]
        self.operations[name] = {
            "action": "receive",
            "summary": summary,
            "channel": channel,
            "messages": [{"$ref": f"#/channels/{name}/messages/{request}"}],
            "reply": {"channel": inbox, "messages": said},
            **(extra or {}),
        }

    def _told(self, name: str, subject: str, message: str) -> None:
        """Add what the gateway tells."""
        channel = self._channel(name, subject, [message])
        self.operations[name] = {
            "action": "send",
            "summary": self.messages[message]["summary"],
            "channel": channel,
            "messages": [{"$ref": f"#/channels/{name}/messages/{message}"}],
        }


def examples() -> list[tuple[str, Any]]:
    """List every example with the name of its schema."""
    return [
        (name, shown["payload"])
        for name, message in document()["components"]["messages"].items()
        for shown in message.get("examples", [])
    ]
