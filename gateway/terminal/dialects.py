"""Bytes to nouns and back, per dialect. Pure: no socket, no clock.

Source: docs/protocol.md; for the existing server also docs/existing-server.md.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.core.broker_codes import Ran, describe
from gateway.core.evidence import token_of
from gateway.core.messages import (
    Cause,
    Command,
    Dialect,
    Json,
    Purpose,
    Reply,
    Request,
    Source,
    Verdict,
)

MAX_REQUEST_BYTES = 65_536
MAX_REPLY_BYTES = 8 * 1024 * 1024

LONGEST_TEXT = 2000
"""Of an error or warning: a result must fit through NATS, whatever a terminal says."""

ERROR_KEYS = ("error_code", "error_code_description", "error_message")

_encode_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no finite number")
    return value


def _integer_64(text: str) -> int:
    value = int(text)
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"{text[:30]} does not fit into 64 bits")
    return value


decode_json = json.JSONDecoder(
    parse_constant=_finite, parse_float=_finite, parse_int=_integer_64, strict=False
).decode
"""Reads a JSON text in which every number is finite; raises ValueError or RecursionError."""


@dataclass(frozen=True, slots=True)
class Fence:
    """What marks a trade frame as meant for this terminal now, and from us.

    Attributes:
        not_after_ms: The command's deadline on the terminal's monotonic clock.
        journal: How many trades our journal has recorded as sent, for the ledger to remember.
    """

    session: str
    epoch: int
    seq: int
    ledger: str
    not_after_ms: int
    journal: int = 0


def encode(request: Request, dialect: Dialect | None, fence: Fence | None) -> bytes:
    """Write one request frame.

    Args:
        request: Its params must be finite and JSON-like.
        dialect: Of the terminal it goes to; None while that is not known.
        fence: For trades and `RESOLVE` in the bridge dialect; None otherwise.
    """
    body: dict[str, Json] = {"action": request.action, **request.params}
    command = request.command
    if dialect is Dialect.BRIDGE:
        body |= {"id": _wire_id(command), "attempt": request.attempt}
    if command is not None and request.action == "DO_ORDER_SEND":
        body["comment"] = token_of(command.key) + str(request.params.get("comment", ""))
    if fence is not None and command is not None:
        body |= {
            "digest": command.digest,
            "session": fence.session,
            "epoch": fence.epoch,
            "seq": fence.seq,
            "ledger": fence.ledger,
            "not_after": fence.not_after_ms,
            "journal": fence.journal,
        }
    return _encode_json(body).encode()


def _wire_id(command: Command | None) -> str:
    """Name a frame's command; a query and the gateway's own frames are the gateway's."""
    if command is None:
        return "gateway/keeper"
    return str(command.key) if command.key.client else f"gateway/{command.key.id}"


def decode(frame: bytes, request: Request) -> Reply:
    """Read one reply frame and say what it proves about its request.

    Never raises: what cannot be read is `MALFORMED`, which for a trade means doubt.
    """
    try:
        body = decode_json(frame.decode("utf-8"))
        if b"\\ud" in frame.lower():  # maybe half a surrogate pair, which nothing can write again
            json.dumps(body, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as exc:
        return _malformed(f"not JSON: {exc}")
    if not isinstance(body, dict):
        return _malformed(f"not an object but {type(body).__name__}")
    if request.purpose not in (Purpose.COMMAND, Purpose.RESOLVE) or request.dialect is None:
        return _read_reply(body)
    if request.dialect is Dialect.BRIDGE:
        return _ledger_reply(body, request)
    return _existing_server_trade(body, request)


def has_error(body: Mapping[str, Json]) -> bool:
    """Tell an error reply: any error key that is there and not null."""
    return any(body.get(key) is not None for key in ERROR_KEYS)


def _malformed(message: str) -> Reply:
    return Reply(
        Verdict.MALFORMED, cause=Cause(Source.TERMINAL, None, "MALFORMED_REPLY", message[:200])
    )


def _cause(body: Mapping[str, Json]) -> Cause:
    """Read any of the existing server's three error shapes."""
    said = {key: _short(body[key]) for key in ERROR_KEYS if body.get(key) is not None}
    code = body.get("error_code")
    message = body.get("error_message") or body.get("error_code_description") or "no reason given"
    message = str(message)[:LONGEST_TEXT]
    if not isinstance(code, int) or isinstance(code, bool):
        return Cause(Source.TERMINAL, None, "TERMINAL_ERROR", message, said)
    known = describe(code)
    source = Source.BROKER if 0 < code < 4000 else Source.TERMINAL  # noqa: PLR2004 - MT4's split
    return Cause(source, code, known.name, f"{message} ({known.meaning})", said)


def _short(value: Json) -> Json:
    return value[:LONGEST_TEXT] if isinstance(value, str) else value


def _text(value: Json) -> str | None:
    return value[:LONGEST_TEXT] if isinstance(value, str) and value else None


def _integer(value: Json) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _read_reply(body: Mapping[str, Json]) -> Reply:
    """Classify a read's reply. The existing server writes an empty list as `{}`."""
    session, clock_ms = _text(body.get("session")), _integer(body.get("clock_ms"))
    if has_error(body):
        return Reply(Verdict.REJECTED, cause=_cause(body), session=session, clock_ms=clock_ms)
    return Reply(
        Verdict.DONE,
        response=body.get("response"),
        warning=_text(body.get("warning")),
        session=session,
        clock_ms=clock_ms,
    )


def _ledger_reply(body: Mapping[str, Json], request: Request) -> Reply:
    """Classify a reply of the bridge dialect, in which the terminal says what it proves."""
    command = request.command
    try:
        verdict = Verdict(str(body.get("state")))
    except ValueError:
        return _malformed(f"state is {body.get('state')!r}")
    if verdict is Verdict.MALFORMED or command is None or body.get("id") != str(command.key):
        return _malformed(f"reply for id {body.get('id')!r}, state {body.get('state')!r}")
    evidence = body.get("evidence")
    return Reply(
        verdict,
        response=body.get("response"),
        warning=_text(body.get("warning")),
        cause=_cause(body) if has_error(body) else None,
        reason=_text(body.get("reason")),
        evidence=evidence if isinstance(evidence, dict) else {},
        replayed=body.get("replayed") is True,
        session=_text(body.get("session")),
        clock_ms=_integer(body.get("clock_ms")),
    )


_REFUSED_TEXTS = {
    "DO_ORDER_SEND": ("Failed to send order.",),
    "DO_ORDER_MODIFY": ("Failed to modify order",),
    "DO_ORDER_CLOSE": ("Failed to close order",),
    "DO_ORDER_DELETE": ("Failed to delete order", "Failed to close order"),
}
_CREATED_TEXT = "was created, but "
_REREAD_FAILED_TEXT = "is not found in the Trades or Account History tabs"
_VERDICTS = {
    Ran.NO: Verdict.REJECTED,
    Ran.NOT_NOW: Verdict.NOT_NOW,
    Ran.IN_DOUBT: Verdict.IN_DOUBT,
}
ERR_NO_RESULT = 1


_ENDED = ("Closed order #", "Deleted pending order #")


def _is_success(action: str, response: Json) -> bool:
    """Tell what the existing server answers to a trade that ran from anything else."""
    if action in ("DO_ORDER_SEND", "DO_ORDER_MODIFY"):
        return isinstance(response, dict) and type(response.get("ticket")) is int
    return isinstance(response, str) and response.startswith(_ENDED)


def _existing_server_trade(body: Mapping[str, Json], request: Request) -> Reply:
    """Classify a reply of the existing server, where an error may hide an open order."""
    if not has_error(body):
        if not _is_success(request.action, body.get("response")):
            return _malformed("a trade's reply has neither an error nor what a success has")
        return Reply(Verdict.DONE, response=body["response"], warning=_text(body.get("warning")))
    cause = _cause(body)
    message = str(body.get("error_message") or "")
    is_send = request.action == "DO_ORDER_SEND"
    if _CREATED_TEXT in message or (is_send and _REREAD_FAILED_TEXT in message):
        return Reply(Verdict.IN_DOUBT, cause=cause, evidence={"created": True})
    if _REREAD_FAILED_TEXT in message:
        return Reply(Verdict.IN_DOUBT, cause=cause)  # said after the call, when it looks again
    if "error_code" not in body:
        return Reply(Verdict.REJECTED, cause=cause)  # refused by the server before any call
    if message == request.params.get("symbol"):
        return Reply(Verdict.REJECTED, cause=cause)  # `SymbolSelect` failed, before any call
    if cause.code == ERR_NO_RESULT and request.action == "DO_ORDER_MODIFY":
        return Reply(Verdict.DONE, warning="the values were set already")
    if not message.startswith(_REFUSED_TEXTS.get(request.action, ())):
        return Reply(Verdict.IN_DOUBT, cause=cause)  # not what the trade call itself says
    return Reply(_VERDICTS[describe(cause.code or 0).ran], cause=cause)
