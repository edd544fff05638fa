"""The replies of the existing server as text: three shapes of error, eight decimals, no empties."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeAlias

from gateway.sim.codes import describe
from gateway.sim.orders import Order

Json: TypeAlias = "str | int | float | bool | Mapping[str, Json] | Sequence[Json] | None"
Body: TypeAlias = dict[str, Json]
"""The top-level object of one reply."""

_ESCAPES = {
    "\\": "\\\\",
    '"': '\\"',
    "/": "\\/",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
}
_FIRST_PRINTABLE = 0x20


class Refused(Exception):  # noqa: N818  # an answer on its way out, not an error of the program
    """Carry an error reply out of the depth of a handler, as `sendError` and `return` do there."""

    def __init__(self, body: Body) -> None:
        super().__init__(str(body))
        self.body = body


def success(value: Json, warning: str | None = None) -> Body:
    """Return a success reply; an empty collection loses its `response` key, as it does there."""
    body: Body = {}
    if value not in ([], {}):
        body["response"] = value
    if warning is not None:
        body["warning"] = warning
    return body


def failure(message: str) -> Body:
    """Return an error reply that has a message only."""
    return {"error_message": message}


def failure_code(code: int, message: str | None = None) -> Body:
    """Return an error reply with a code, its text and, if given, a message."""
    body: Body = {"error_code": int(code), "error_code_description": describe(code)}
    return body if message is None else body | {"error_message": message}


def order_record(order: Order) -> Body:
    """Return an order as replies and events show it, keys in the order of the wire."""
    return {
        "ticket": order.ticket,
        "magic_number": order.magic_number,
        "symbol": order.symbol,
        "order_type": int(order.order_type),
        "lots": order.lots,
        "open_price": order.open_price,
        "close_price": order.close_price,
        "open_time": broker_time_text(order.open_time_s),
        "close_time": broker_time_text(order.close_time_s),
        "expiration": broker_time_text(order.expiration_s),
        "sl": order.stop_loss,
        "tp": order.take_profit,
        "profit": order.profit,
        "commission": order.commission,
        "swap": order.swap,
        "comment": order.comment,
    }


def broker_time_text(time_s: int) -> str:
    """Return broker seconds as MQL4's `TimeToStr` writes them; 0 is `1970.01.01 00:00:00`."""
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y.%m.%d %H:%M:%S")


def encode(body: Json, *, strict: bool) -> str:
    """Write a reply as JSON: floats with eight decimals, an empty string as null, no spaces.

    Args:
        body: The reply.
        strict: True escapes keys and every control character; False leaves both as the existing
            server does, so that a key with a quote in it gives malformed JSON.
    """
    if isinstance(body, Mapping):
        members = (
            f'"{_escaped(key, strict=True) if strict else key}":{encode(value, strict=strict)}'
            for key, value in body.items()
        )
        return "{" + ",".join(members) + "}"
    if isinstance(body, str) or not isinstance(body, Sequence):
        return _scalar(body, strict=strict)
    return "[" + ",".join(encode(item, strict=strict) for item in body) + "]"


def _scalar(value: str | float | None, *, strict: bool) -> str:
    match value:
        case None | "":
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(int(value))
        case float():
            return f"{value:.8f}"
        case _:
            return f'"{_escaped(value, strict=strict)}"'


def _escaped(text: str, *, strict: bool) -> str:
    return "".join(_escaped_character(character, strict=strict) for character in text)


def _escaped_character(character: str, *, strict: bool) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if strict and ord(character) < _FIRST_PRINTABLE:
        return f"\\u{ord(character):04x}"
    return character
