"""The existing server's wire protocol, as its clients know it: one request, one reply. Pure.

A reply has the bytes that server would have sent: key order, eight decimals, `null` for an empty
text, no `response` for an empty list, and one of its three shapes of error:

    {"error_message"}                                            the server's own refusal
    {"error_code", "error_code_description", "error_message"}    a call of MQL4 failed
    {"error_code", "error_code_description"}                     the same, without a sentence

What the gateway itself says is of the first shape. A request is read strictly: where that server
guesses (a text for a number, a cut-off frame), this is an error.

Source: docs/existing-server.md; measured against the simulated server in
tests/stack/test_front_door.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.actions import ACTIONS, Action
from gateway.core.evidence import TOKEN_LENGTH
from gateway.core.messages import Json, Outcome, Result
from gateway.envelope import parse_request
from gateway.errors import InvalidCommand

_TOKEN = re.compile(rf"~[A-Z2-7]{{{TOKEN_LENGTH - 1}}}")
_ESCAPES = {ord(c): f"\\{c}" for c in '\\"/'} | {
    8: "\\b",
    9: "\\t",
    10: "\\n",
    12: "\\f",
    13: "\\r",
}
_ESCAPES |= {code: f"\\u{code:04x}" for code in range(32) if code not in _ESCAPES}


ERROR_KEYS = ("error_code", "error_code_description", "error_message")
_ENDED = {
    "DO_ORDER_CLOSE": "Closed order # {}",
    "DO_ORDER_DELETE": "Deleted pending order # {}.",
}
_FAILED = "Failed to modify order # {}."
NOT_CHANGED: Mapping[str, Json] = {
    "error_code": 1,
    "error_code_description": "no error, trade conditions not changed",
}
"""What that server says of a modify whose values hold already; to the bus it is a success."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request.

    Attributes:
        id: Only of a client that knows more than the existing server.
        deadline_at_s: The same.
    """

    action: Action
    params: Mapping[str, Json]
    id: str | None
    deadline_at_s: float | None


def read_request(bodies: list[bytes]) -> Asked:
    """Read one message's frames, its envelope aside.

    Raises:
        InvalidCommand: It cannot be read; in that server's words where it has some.
    """
    if len(bodies) != 1:
        raise InvalidCommand([f"One frame is expected in a request, {len(bodies)} came."])
    if not bodies[0]:
        raise InvalidCommand(["Request was empty."])
    said = parse_request(bodies[0], {})
    if said.problem is not None:
        raise InvalidCommand([f"Failed to parse request. ({said.problem})"])
    params = {key: value for key, value in said.params.items() if value is not None}
    name = params.pop("action", None)
    if not name:
        raise InvalidCommand(["No request action specified."])
    action = ACTIONS.get(name) if isinstance(name, str) else None
    if action is None:
        raise InvalidCommand([f"Unrecognized requested action ({str(name)[:80]})."])
    return Asked(action, params, said.id, said.deadline_at_s)


def failure(message: str) -> bytes:
    """Write an error of the first shape."""
    return _bytes({"error_message": message})


def reply(result: Result, params: Mapping[str, Json]) -> bytes:
    """Write what became of a command as that server would have.

    Args:
        result: What became of it.
        params: What was asked for.
    """
    try:
        return _reply(result, params)
    except RecursionError:
        what = "but the terminal's response is nested too deeply to be told"
        return failure(f"{result.outcome}, {what} (id {result.key.id})")


def _reply(result: Result, params: Mapping[str, Json]) -> bytes:
    conclusion, cause = result.conclusion, result.conclusion.cause
    if result.outcome is Outcome.SUCCEEDED:
        response = _response(result, params.get("ticket"))
        if response is None and result.action == "DO_ORDER_MODIFY":
            return _bytes({**NOT_CHANGED, "error_message": _FAILED.format(params.get("ticket"))})
        return _bytes(_success(response, conclusion.warning))
    if result.outcome is Outcome.REJECTED and cause is not None and cause.said:
        return _bytes(dict(cause.said))
    message = cause.message if cause is not None else "no reason given"
    if result.outcome is Outcome.REJECTED:
        return failure(message)
    if result.outcome is Outcome.UNKNOWN:
        return failure(
            f"unknown, it may have run: look at the orders before you send it again. {message} "
            f"(id {result.key.id})"
        )
    return failure(f"{result.outcome}, nothing ran: {message} (id {result.key.id})")


def not_told_yet(id_: str) -> bytes:
    """Write that a trade's result takes longer than its client waits."""
    return failure(
        f"no result yet, it may run: look at the orders before you send it again. (id {id_})"
    )


def _response(result: Result, ticket: Json) -> Json:
    """Return the terminal's own response; where its reply was lost, what it would have said."""
    conclusion, action = result.conclusion, result.action
    said = conclusion.raw.value if conclusion.raw is not None else conclusion.response
    if action not in _ENDED or isinstance(said, str):
        return said
    return _ENDED[action].format(ticket)


def _success(response: Json, warning: str | None) -> dict[str, Json]:
    body: dict[str, Json] = {}
    if response not in (None, [], {}):
        body["response"] = response
    if warning is not None:
        body["warning"] = warning
    return body


def _bytes(body: Mapping[str, Json]) -> bytes:
    return _written(body).encode("utf-8", "replace")  # half a surrogate pair cannot be written


def _written(value: Json, key: str = "") -> str:
    match value:
        case str() if key == "comment":
            return _text(_TOKEN.sub("", value, count=1) if _TOKEN.match(value) else value)
        case str():
            return _text(value)
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return f"{value:.8f}"
        case dict():
            members = (f"{_text(name)}:{_written(inner, name)}" for name, inner in value.items())
            return "{" + ",".join(members) + "}"
        case list():
            return "[" + ",".join(map(_written, value)) + "]"
        case _:
            return "null"


def _text(text: str) -> str:
    return f'"{text.translate(_ESCAPES)}"' if text else "null"
