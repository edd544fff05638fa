"""JSON Schemas of everything on the bus: requests from the catalogue, the rest written here.

`everything()` is docs/schemas.json, `schema_of(name)` one of them, whole. A reference in here is
`#/components/schemas/NAME`, as in the AsyncAPI document. What is received is closed; what is sent
is open: an object may have more keys than are described, so that a newer gateway breaks no reader.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import cache
from typing import Any

from gateway.actions import ACTIONS, Action
from gateway.core.messages import Dialect, Effect, Outcome, Source
from gateway.envelope import CLIENT_PATTERN, ID_PATTERN
from gateway.tick import TickMode

Schema = dict[str, Any]

DRAFT = "https://json-schema.org/draft/2020-12/schema"
REFERENCE = "#/components/schemas/"


def ref(name: str) -> Schema:
    """Refer to another schema."""
    return {"$ref": f"{REFERENCE}{name}"}


def record(description: str, optional: Schema | None = None, /, **required: Schema) -> Schema:
    """Describe an object that may have more keys than these."""
    return {
        "type": "object",
        "description": description,
        "required": list(required),
        "properties": required | (optional or {}),
    }


def or_null(schema: Schema) -> Schema:
    """Allow null as well."""
    return {"anyOf": [schema, {"type": "null"}]}


def listing(items: Schema) -> Schema:
    """Describe a list."""
    return {"type": "array", "items": items}


def mapping(values: Schema, description: str) -> Schema:
    """Describe an object with names for keys."""
    return {"type": "object", "description": description, "additionalProperties": values}


def words(kind: Any) -> Schema:
    """Describe one of the words of an enumeration."""
    return {"type": "string", "enum": [str(word) for word in kind]}


def fixed(text: str) -> Schema:
    """Describe one word."""
    return {"type": "string", "const": text}


TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
COUNT: Schema = {"type": "integer", "minimum": 0}
INTEGER: Schema = {"type": "integer"}
FLAG: Schema = {"type": "boolean"}
ANYTHING: Schema = {}
SECONDS: Schema = {"type": "number", "minimum": 0, "description": "Seconds."}
MOMENT: Schema = {"type": "string", "format": "date-time", "description": "RFC 3339, UTC."}
BROKER_S: Schema = {"type": "integer", "description": "The broker's clock, seconds, no zone."}
BROKER_TIME: Schema = {
    "type": "string",
    "description": "The broker's clock, YYYY.MM.DD HH:MM:SS, no zone; 1970 for never.",
}
ID: Schema = {"type": "string", "pattern": f"^{ID_PATTERN.pattern}$"}
CLIENT: Schema = {"type": "string", "pattern": f"^{CLIENT_PATTERN.pattern}$"}
TICKET: Schema = {"type": "integer", "description": "The order's number."}

ORDER = record(
    "An order, as the terminal gives it, with its type by name and its times in UTC beside it.",
    {
        f"{name}_utc": or_null(MOMENT) | {"description": "null for never, or not known."}
        for name in ("open_time", "close_time", "expiration")
    },
    ticket=TICKET,
    magic_number=INTEGER,
    symbol=TEXT,
    order_type={"type": "integer", "description": "0 to 5; 6 and above are no trades."},
    order_type_name=or_null(TEXT),
    lots=NUMBER,
    open_price=NUMBER,
    close_price=NUMBER | {"description": "Of an open order: the current price."},
    open_time=BROKER_TIME,
    close_time=BROKER_TIME,
    expiration=BROKER_TIME,
    sl=NUMBER | {"description": "Stop loss; 0 for none."},
    tp=NUMBER | {"description": "Take profit; 0 for none."},
    profit=or_null(NUMBER),
    commission=or_null(NUMBER),
    swap=or_null(NUMBER),
    comment=TEXT,
)

ERROR = record(
    "Why it did not succeed.",
    source=words(Source),
    code=or_null(INTEGER) | {"description": "MT4's, or ours: docs/subjects.md."},
    name=TEXT,
    message=TEXT,
)

ENDING = record(
    "What a close or delete answers: the terminal's sentence, or the order that was found.",
    ticket=TICKET,
    text=or_null(TEXT),
    order=or_null(ref("order")),
)

RESPONSES: dict[str, Schema] = {
    "GET_ACCOUNT_INFO": record(
        "The account.",
        login=INTEGER,
        trade_mode=INTEGER | {"description": "0 demo, 1 contest, 2 real."},
        name=TEXT,
        server=TEXT,
        currency=TEXT,
        company=TEXT,
    ),
    "GET_ACCOUNT_INFO_INTEGER": INTEGER,
    "GET_ACCOUNT_INFO_DOUBLE": NUMBER,
    "GET_SYMBOLS": listing(TEXT),
    "GET_SYMBOL_INFO": mapping(
        record(
            "One symbol.",
            name=TEXT,
            point=NUMBER,
            digits=COUNT,
            volume_min=NUMBER,
            volume_step=NUMBER,
            volume_max=NUMBER,
            trade_contract_size=NUMBER,
            trade_tick_value=NUMBER,
            trade_tick_size=NUMBER,
            trade_stops_level=COUNT,
            trade_freeze_level=COUNT,
        ),
        "By the symbol's name.",
    ),
    "GET_SYMBOL_MARKET_INFO": NUMBER,
    "GET_SYMBOL_INFO_INTEGER": INTEGER,
    "GET_SYMBOL_INFO_DOUBLE": NUMBER,
    "GET_SYMBOL_INFO_STRING": TEXT,
    "GET_SYMBOL_TICK": record(
        "A quote.", time=BROKER_S, bid=NUMBER, ask=NUMBER, last=NUMBER, volume=NUMBER
    ),
    "GET_OHLCV": listing(
        record(
            "A bar.",
            time=BROKER_S,
            open=NUMBER,
            high=NUMBER,
            low=NUMBER,
            close=NUMBER,
            tick_volume=COUNT,
        )
    ),
    "GET_SIGNALS": listing(TEXT),
    "GET_SIGNAL_INFO": mapping({"type": "object"}, "By the signal's name."),
    "RUN_INDICATOR": NUMBER,
    "GET_ORDER": ref("order"),
    "GET_ORDERS": listing(ref("order")),
    "GET_HISTORICAL_ORDERS": listing(ref("order")),
    "DO_ORDER_SEND": ref("order"),
    "DO_ORDER_MODIFY": ref("order"),
    "DO_ORDER_CLOSE": ref("ending"),
    "DO_ORDER_DELETE": ref("ending"),
    "DO_CLOSE_ALL": listing(
        record(
            "One position.",
            {"error_code": INTEGER, "error_message": or_null(TEXT)},
            ticket=TICKET,
            closed=FLAG,
        )
    ),
    "GET_SERVER_TIME": record(
        "Two clocks.", broker_time=BROKER_S, utc_time=INTEGER, broker_offset_s=or_null(INTEGER)
    ),
    "GET_TERMINAL_INFO": record(
        "The terminal.",
        name=TEXT,
        company=TEXT,
        build=INTEGER,
        path=TEXT,
        connected=FLAG,
        trade_allowed=FLAG,
        dlls_allowed=FLAG,
        ping_ms=or_null(INTEGER),
    ),
    "SUBSCRIBE_TICKS": record("All that are published now.", symbols=listing(TEXT)),
    "UNSUBSCRIBE_TICKS": record("All that are published now.", symbols=listing(TEXT)),
}
"""What a success answers, by action."""

RESULT = record(
    "The one final answer to a command.",
    {"raw": {"description": "The response as the terminal gave it; where it was asked for."}},
    id=ID,
    terminal=TEXT,
    client=or_null(TEXT) | {"description": "null of a query."},
    action=TEXT,
    outcome=words(Outcome),
    response=ANYTHING | {"description": "What the action answers; null where there is none."},
    warning=or_null(TEXT),
    error=or_null(ref("error")),
    attempts=COUNT,
    resolved=FLAG | {"description": "The reply was missing, and the truth was found out."},
    received_at=MOMENT,
    finished_at=MOMENT,
    queued_s=SECONDS,
    channel_s=SECONDS,
)

TICK = record(
    "A quote. `seq` counts per symbol, +1 each, so that a gap is visible.",
    seq=COUNT,
    symbol=TEXT,
    time={"type": "integer", "description": "UTC, milliseconds since 1970."},
    broker_time=BROKER_S,
    bid=NUMBER,
    ask=or_null(NUMBER),
    last=NUMBER,
    volume=NUMBER,
    mode=words(TickMode),
)

EVENTS: dict[str, Schema] = {
    "terminal": record(
        "The link to the terminal is up or down.",
        event={"type": "string", "enum": ["up", "down"]},
        terminal=TEXT,
        dialect=or_null(words(Dialect)),
        session=or_null(TEXT),
        connected=or_null(FLAG),
        trade_allowed=or_null(FLAG),
        at=MOMENT,
    ),
    "order": record(
        "Something happened to an order, whoever has caused it.",
        event={
            "type": "string",
            "enum": ["opened", "modified", "partially_closed", "closed", "deleted", "filled"],
        },
        reason=TEXT
        | {"description": "request, stop_loss, take_profit, expired, stop_out, unknown"},
        order=ref("order"),
        previous_ticket=or_null(INTEGER),
    ),
    "account": record(
        "The account has changed.",
        balance=NUMBER,
        equity=NUMBER,
        margin=NUMBER,
        free_margin=NUMBER,
        profit=NUMBER,
        currency=TEXT,
    ),
    "gateway": record(
        "A gateway began, ended, or was told something.",
        event={
            "type": "string",
            "enum": ["started", "stopping", "halt", "resume", "stepdown"],
        },
        terminal=TEXT,
        version=TEXT,
        at=MOMENT,
    ),
}

STATE = record(
    "What became of a command.",
    state=or_null({"type": "string", "enum": ["waiting", "in_progress", "finished", "not_known"]}),
    result=or_null(ref("result")),
)

STORED = {
    "description": "JetStream's answer: stored, or not.",
    "anyOf": [
        record("It is stored.", stream=TEXT, seq=COUNT),
        record("It is not.", error={"type": "object"}),
    ],
}

STATUS = record(
    "How the gateway is.",
    version=TEXT,
    started_at=MOMENT,
    instance=TEXT,
    role={"type": "string", "enum": ["starting", "standby", "active", "reading"]},
    halted={"anyOf": [{"type": "boolean", "const": False}, TEXT]},
    term=COUNT,
    journal=TEXT | {"description": "`ok`, or why nothing is traded."},
    trading=FLAG,
    policy=TEXT | {"description": "Names the policy in force, as the audit does."},
    policy_problem=or_null(TEXT),
    terminal={"type": "object"},
    nats={"type": "object"},
    channel={"type": "object"},
    queues=mapping(record("A lane.", depth=COUNT, capacity=COUNT), "By lane."),
    last_commands=listing({"type": "object"}),
    ticks={"type": "object"},
)

REFUSED = record("Why it was not done.", error=TEXT)

AUDIT = record(
    "What became of a trade, and why.",
    event={"type": "string", "enum": ["denied", "finished", "proved"]},
    at=MOMENT,
    gateway=TEXT,
    term=COUNT,
    policy=TEXT | {"description": "Names the policy that was in force."},
    id=TEXT,
    client=TEXT,
    action=TEXT,
    via=or_null(TEXT) | {"description": "`trade`, `job` or `front_door`; null if taken over."},
    params={"type": "object"},
    deadline_at=or_null(MOMENT),
    received_at=MOMENT,
    trace=or_null(TEXT),
    steps=listing(record("A step.", at=MOMENT, what=TEXT)),
    steps_left_out=COUNT,
    outcome=words(Outcome),
    error=or_null(ref("error")),
    warning=or_null(TEXT),
    attempts=COUNT,
    resolved=FLAG,
)


def request_schema(action: Action) -> Schema:
    """Describe a command's body: its parameters, id and deadline."""
    schema = action.parameters.model_json_schema()
    deadline = MOMENT | {"description": "Nothing is sent after it; a trade needs one."}
    common = {"id": ID | {"description": "Names the command."}, "deadline": deadline}
    schema["properties"] = _without_titles(schema["properties"]) | common
    return schema | {"title": f"{action.name} request", "description": action.help}


def _without_titles(value: Any) -> Any:
    match value:
        case dict():
            return {k: _without_titles(v) for k, v in value.items() if k != "title"}
        case list():
            return [_without_titles(one) for one in value]
        case _:
            return value


def result_schema(action: Action) -> Schema:
    """Describe the result of an action: what a success answers.

    A trade that succeeded may lack its response, where that was too long to be told.
    """
    response = RESPONSES[action.name]
    if action.effect is Effect.TRADE:
        response = or_null(response)
    succeeded = {"properties": {"outcome": fixed(str(Outcome.SUCCEEDED))}}
    return {
        "title": f"{action.name} result",
        "allOf": [
            ref("result"),
            {"properties": {"action": fixed(action.name)}},
            {"if": succeeded, "then": {"properties": {"response": response}}},
        ],
    }


@cache
def schemas() -> dict[str, Schema]:
    """Return every schema by name, with references between them; it is shared: do not change it."""
    bodies = {
        "order": ORDER,
        "error": ERROR,
        "ending": ENDING,
        "result": RESULT,
        "tick": TICK,
        **{f"event.{kind}": schema for kind, schema in EVENTS.items()},
        "state": STATE,
        "stored": STORED,
        "status": STATUS,
        "refused": REFUSED,
        "audit": AUDIT,
    }
    requests = {f"{action.name}.request": request_schema(action) for action in ACTIONS.values()}
    results = {f"{action.name}.result": result_schema(action) for action in ACTIONS.values()}
    return bodies | requests | results


def schema_of(name: str) -> Schema:
    """Return one schema that stands for itself: what it refers to is in it."""
    known = schemas()
    wanted, definitions = [name], dict[str, Schema]()
    while wanted:
        for other in _references(known[wanted.pop()]):
            if other not in definitions:
                definitions[other] = known[other]
                wanted.append(other)
    whole = {"$schema": DRAFT, "title": name, **copy.deepcopy(known[name])}
    if definitions:
        whole["$defs"] = copy.deepcopy(definitions)
    pointed: Schema = _repointed(whole)
    return pointed


def everything() -> Schema:
    """Return all schemas as one, each below `$defs`."""
    whole: Schema = _repointed({"$schema": DRAFT, "$defs": schemas()})
    return whole


def _references(value: Any) -> Iterator[str]:
    match value:
        case {"$ref": str(target)}:
            yield target.removeprefix(REFERENCE)
        case dict():
            for inner in value.values():
                yield from _references(inner)
        case list():
            for inner in value:
                yield from _references(inner)


def _repointed(value: Any) -> Any:
    match value:
        case {"$ref": str(target)}:
            return {"$ref": target.replace(REFERENCE, "#/$defs/")}
        case dict():
            return {key: _repointed(inner) for key, inner in value.items()}
        case list():
            return [_repointed(inner) for inner in value]
        case _:
            return value
