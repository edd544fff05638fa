"""Bodies on the bus: JSON or msgpack, commands in, results and ticks out. Pure.

The same body is read by the gateway and by its clients, so both import it from here. Shapes:
docs/subjects.md.
"""

from __future__ import annotations

import json
import math
import re
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum

import msgpack

from gateway.core.messages import (
    Cause,
    CommandId,
    Conclusion,
    Json,
    Outcome,
    Raw,
    Result,
    Source,
)
from gateway.errors import InvalidCommand, RemoteProtocolError

MAX_BODY_BYTES = 65_536
MAX_DEPTH = 8
MAX_VALUES = 5_000

ID_HEADER = "Mt4-Id"
DEADLINE_HEADER = "Mt4-Deadline"
TRACE_HEADER = "traceparent"
CONTENT_TYPE_HEADER = "Content-Type"
ERROR_CODE_HEADER = "Nats-Service-Error-Code"
ERROR_HEADER = "Nats-Service-Error"
REASON_HEADER = "Mt4-Reason"

ID_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,64}")
TIME_PATTERN = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
"""Less than what ISO 8601 allows and Python reads: no weeks, no half zones."""

YEARS = range(1970, 9999)
"""What can be written again in any zone."""

TRACE_PATTERN = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
CLIENT_PATTERN = re.compile(r"[a-z0-9-]{1,32}")


class Encoding(StrEnum):
    """How a body is written; the value is its `Content-Type`."""

    JSON = "application/json"
    MSGPACK = "application/msgpack"


_MSGPACK_TYPES = frozenset({"application/msgpack", "application/x-msgpack"})


def encoding_of(body: bytes, content_type: str | None) -> Encoding:
    """Tell how a body is written: by its header, else by its first byte."""
    if content_type is not None:
        kind = content_type.partition(";")[0].strip().lower()
        if kind in _MSGPACK_TYPES:
            return Encoding.MSGPACK
        if kind == Encoding.JSON:
            return Encoding.JSON
    # No JSON text begins with a byte of a msgpack map (0x80-0x8f, 0xde, 0xdf).
    is_map = bool(body) and (0x80 <= body[0] <= 0x8F or body[0] in (0xDE, 0xDF))  # noqa: PLR2004
    return Encoding.MSGPACK if is_map else Encoding.JSON


def encode(value: Json, encoding: Encoding) -> bytes:
    """Write a body."""
    if encoding is Encoding.MSGPACK:
        packed: bytes = msgpack.packb(value)
        return packed
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def decode(body: bytes, encoding: Encoding) -> dict[str, Json]:
    """Read a body: one object or map, with text keys, without duplicates, not too deep.

    Raises:
        InvalidCommand: Saying what is wrong with it.
    """
    if len(body) > MAX_BODY_BYTES:
        raise InvalidCommand([f"the body has {len(body)} bytes, at most {MAX_BODY_BYTES} are read"])
    if not body:
        return {}
    try:
        value = _decode_msgpack(body) if encoding is Encoding.MSGPACK else _decode_json(body)
        _check(value)
    except (ValueError, RecursionError, OverflowError, msgpack.UnpackException) as exc:
        kind = encoding.value.removeprefix("application/")
        raise InvalidCommand([f"the body is not {kind}: {str(exc) or type(exc).__name__}"]) from exc
    if not isinstance(value, dict):
        raise InvalidCommand([f"the body is not one object but {type(value).__name__}"])
    return value


def decode_published(body: bytes, encoding: Encoding) -> dict[str, Json]:
    """Read what the gateway published: of any size and depth, for it is ours.

    Raises:
        RemoteProtocolError: It is not one object.
    """
    try:
        value = msgpack.unpackb(body) if encoding is Encoding.MSGPACK else json.loads(body)
    except (ValueError, msgpack.UnpackException) as exc:
        raise RemoteProtocolError(f"not a gateway's message: {exc}") from exc
    if not isinstance(value, dict):
        raise RemoteProtocolError(f"not a gateway's message: {type(value).__name__}")
    return value


def _decode_json(body: bytes) -> Json:
    return json.loads(
        body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant
    )


def _decode_msgpack(body: bytes) -> Json:
    return msgpack.unpackb(
        body, object_pairs_hook=_unique, strict_map_key=True, ext_hook=_refuse_ext, timestamp=0
    )


def _unique(pairs: list[tuple[Json, Json]]) -> dict[str, Json]:
    """Refuse a repeated key: the last would win, and nobody would know."""
    result: dict[str, Json] = {}
    for key, value in pairs:
        if not isinstance(key, str):
            raise ValueError(f"key {key!r} is not text")
        if key in result:
            raise ValueError(f"key {key!r} is given twice")
        result[key] = value
    return result


def _refuse_constant(name: str) -> Json:
    raise ValueError(f"{name} is not a number")


def _refuse_ext(code: int, _: bytes) -> Json:
    raise ValueError(f"extension type {code} is not allowed")


def _check(value: Json, depth: int = 0) -> int:
    """Refuse what one encoding can carry and another cannot, and what is too deep or too much.

    Returns:
        How many values there are.
    """
    count = 1
    match value:
        case dict():
            for key, inner in value.items():
                _check(key, depth)
                count = _few(count + _check(inner, depth + 1))
        case list():
            for inner in value:
                count = _few(count + _check(inner, depth + 1))
        case str():
            value.encode()  # half a surrogate pair is a UnicodeError
        case bool() | None:
            pass
        case int() if not -(2**63) <= value < 2**63:
            raise ValueError("a number does not fit into 64 bits")
        case float() if not math.isfinite(value):
            raise ValueError(f"{value} is no finite number")
        case int() | float():
            pass
        case _:
            raise ValueError(f"{type(value).__name__} is neither text nor number")
    if depth > MAX_DEPTH:
        raise ValueError(f"it is nested deeper than {MAX_DEPTH}")
    return count


def _few(count: int) -> int:
    if count > MAX_VALUES:
        raise ValueError(f"it has more than {MAX_VALUES} values")
    return count


# ---- times ------------------------------------------------------------------------------


def format_time(at_s: float) -> str:
    """Write UTC seconds as RFC 3339 with microseconds."""
    moment = datetime.fromtimestamp(at_s, UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_time(text: Json) -> float:
    """Read RFC 3339 with a zone as UTC seconds.

    Raises:
        InvalidCommand: It is not such a time.
    """
    moment = None
    if isinstance(text, str) and TIME_PATTERN.fullmatch(text):
        with suppress(ValueError):  # a thirteenth month
            moment = datetime.fromisoformat(text.upper())
    if moment is None or moment.year not in YEARS:
        raise InvalidCommand(
            [f"deadline: must be RFC 3339 with a zone, 2026-01-31T12:00:00Z (got {text!r})"]
        )
    return moment.timestamp()


def new_id() -> str:
    """Make a UUIDv7: unique, and sorted by the time it was made."""
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76 | 0b11 << 62) | 0x7 << 76 | 0b10 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


# ---- results and ticks ------------------------------------------------------------------


def cause_body(cause: Cause | None) -> dict[str, Json] | None:
    """Write an error as it stands in a result."""
    if cause is None:
        return None
    return {
        "source": str(cause.source),
        "code": cause.code,
        "name": cause.name,
        "message": cause.message,
    }


def result_body(result: Result) -> dict[str, Json]:
    """Write a result; `raw`, the terminal's own response, only where it was asked for."""
    conclusion = result.conclusion
    body: dict[str, Json] = {
        "id": result.key.id,
        "terminal": result.terminal,
        "client": result.key.client,
        "action": result.action,
        "outcome": str(conclusion.outcome),
        "response": conclusion.response,
        "warning": conclusion.warning,
        "error": cause_body(conclusion.cause),
        "attempts": conclusion.attempts,
        "resolved": conclusion.resolved,
        "received_at": format_time(result.received_at_s),
        "finished_at": format_time(result.finished_at_s),
        "queued_s": round(result.queued_s, 6),
        "channel_s": round(result.channel_s, 6),
    }
    if conclusion.raw is not None:
        body["raw"] = conclusion.raw.value
    return body


def result_of(body: Mapping[str, Json]) -> Result:
    """Read a result that the gateway wrote."""
    error = body["error"]
    cause = error and Cause(Source(error["source"]), error["code"], error["name"], error["message"])
    conclusion = Conclusion(
        Outcome(body["outcome"]),
        response=body["response"],
        warning=body["warning"],
        cause=cause,
        attempts=body["attempts"],
        resolved=body["resolved"],
        raw=Raw(body["raw"]) if "raw" in body else None,
    )
    return Result(
        key=CommandId(body["client"], body["id"]),
        terminal=body["terminal"],
        action=body["action"],
        conclusion=conclusion,
        received_at_s=parse_time(body["received_at"]),
        finished_at_s=parse_time(body["finished_at"]),
        queued_s=body["queued_s"],
        channel_s=body["channel_s"],
    )


def encode_fitting(result: Result, encoding: Encoding, most_bytes: int) -> tuple[Result, bytes]:
    """Write a result that the bus takes, whatever the terminal's response is.

    Where that is too long, or nothing that the encoding can say, the result goes without it. A
    read is then no success: a list that is missing must not be taken for an empty one. A trade
    stays what it was; `raw` goes first, for the response has its ticket.
    """
    encoded, problem = _encode_result(result, encoding, most_bytes)
    if problem is not None and result.key.client is not None:
        result = _without(result, problem, response=result.conclusion.response)
        encoded, problem = _encode_result(result, encoding, most_bytes)
    if problem is not None:
        result = _without(result, problem)
        encoded = encode(result_body(result), encoding)
    return result, encoded


def _encode_result(
    result: Result, encoding: Encoding, most_bytes: int
) -> tuple[bytes, Cause | None]:
    """Write a result, and say why it cannot be told like this."""
    try:
        encoded = encode(result_body(result), encoding)
    except (ValueError, TypeError, OverflowError, RecursionError) as exc:
        kind = encoding.value.removeprefix("application/")
        message = f"the response cannot be written as {kind}: {exc}"
        return b"", Cause(Source.GATEWAY, 406, "NOT_WRITABLE", message)
    if len(encoded) <= most_bytes:
        return encoded, None
    message = (
        f"the response takes {len(encoded)} bytes and NATS carries {most_bytes}: raise its "
        f"max_payload, or ask for less"
    )
    return encoded, Cause(Source.GATEWAY, 413, "TOO_LONG", message)


def _without(result: Result, problem: Cause, response: Json = None) -> Result:
    """Leave out what cannot be told, and say so."""
    conclusion = replace(result.conclusion, response=response, raw=None)
    if result.key.client is None:
        conclusion = replace(conclusion, outcome=Outcome.REJECTED, warning=None, cause=problem)
    elif problem.message not in (conclusion.warning or ""):
        warnings = filter(None, [conclusion.warning, problem.message])
        conclusion = replace(conclusion, warning="; ".join(warnings))
    return replace(result, conclusion=conclusion)


_ERROR_CODES = {Outcome.EXPIRED: 408, Outcome.REJECTED: 422, Outcome.UNKNOWN: 504}


def error_headers(result: Result) -> dict[str, str]:
    """Return the headers by which NATS tools see that a request did not succeed."""
    outcome, cause = result.outcome, result.conclusion.cause
    if outcome is Outcome.SUCCEEDED:
        return {}
    code = _ERROR_CODES.get(outcome) or (cause.code if cause else None) or 500
    return service_error(code, cause.message if cause else str(outcome))


def trace_in(headers: Mapping[str, str]) -> str | None:
    """Read the trace that a message belongs to; nonsense is no trace."""
    trace = headers.get(TRACE_HEADER, "")
    return trace if TRACE_PATTERN.fullmatch(trace) else None


def result_headers(result: Result, encoding: Encoding) -> dict[str, str]:
    """Return the headers that a result has wherever it is told."""
    headers = {CONTENT_TYPE_HEADER: str(encoding)}
    return headers | ({TRACE_HEADER: result.trace} if result.trace else {})


def service_error(code: int, text: str) -> dict[str, str]:
    """Return the headers of an answer that says no."""
    printable = "".join(c if " " <= c <= "~" else "?" for c in text[:200])
    return {ERROR_CODE_HEADER: str(code), ERROR_HEADER: printable}


@dataclass(frozen=True, slots=True)
class Said:
    """What a command's message said. `problem` tells what was wrong; the id is kept if it can."""

    params: dict[str, Json] = field(default_factory=dict)
    id: str | None = None
    deadline_at_s: float | None = None
    problem: str | None = None


def parse_request(body: bytes, headers: Mapping[str, str]) -> Said:
    """Split a command's body into parameters, id and deadline (UTC seconds)."""
    id_: str | None = None
    try:
        params = decode(body, encoding_of(body, headers.get(CONTENT_TYPE_HEADER)))
        id_ = _id_in(params.pop("id", None), headers.get(ID_HEADER))
        deadline = _one_of(params.pop("deadline", None), headers.get(DEADLINE_HEADER), "deadline")
        return Said(params, id_, None if deadline is None else parse_time(deadline))
    except InvalidCommand as exc:
        return Said(id=id_, problem=str(exc))


def _id_in(in_body: Json, in_header: str | None) -> str | None:
    id_ = _one_of(in_body, in_header, "id")
    if id_ is None or (isinstance(id_, str) and ID_PATTERN.fullmatch(id_)):
        return id_
    raise InvalidCommand([f"id: must match [A-Za-z0-9_-]{{1,64}} (got {id_!r})"])


def _one_of(in_body: Json, in_header: str | None, name: str) -> Json:
    if in_body is not None and in_header is not None and in_body != in_header:
        raise InvalidCommand([f"{name}: body and header differ ({in_body!r}, {in_header!r})"])
    return in_body if in_body is not None else in_header
