"""The terminal's responses in one shape for the bus, whichever dialect it speaks. Pure.

* A list that the existing server leaves out when it is empty is `[]`; a text that it writes as
  null is "".
* An order has `order_type_name` beside `order_type`, and beside each of its times, which are
  the broker's clock without a zone, the same in UTC: `open_time_utc`, `close_time_utc`,
  `expiration_utc`, RFC 3339. They are null for "never", and while the broker's offset is not
  known. The offset is today's: a time from before the last clock change is an hour off.
* What closes or deletes answers `{"ticket", "text", "order"}`: the terminal's sentence, or the
  order in which the effect was found.
* What closes many tells of each. If some stay open, a `warning` names them; if all do, that is
  `rejected`.

With `raw: true` in the request the result also has `raw`: the response as the terminal gave it.
Nothing here raises, whatever the terminal says: what has no known shape is passed on as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from gateway.core.broker_codes import describe
from gateway.core.evidence import NEVER, PENDING_TYPES
from gateway.core.messages import Cause, Command, Conclusion, Json, Outcome, Raw, Source
from gateway.mt4_enums import INDICATORS, ORDER_TYPES

LISTS = frozenset(
    {"GET_ORDERS", "GET_HISTORICAL_ORDERS", "GET_SYMBOLS", "GET_SIGNALS", "GET_OHLCV"}
)
ORDER_LISTS = frozenset({"GET_ORDERS", "GET_HISTORICAL_ORDERS"})
ORDERS = frozenset({"GET_ORDER", "DO_ORDER_SEND", "DO_ORDER_MODIFY"})
ENDINGS = frozenset({"DO_ORDER_CLOSE", "DO_ORDER_DELETE"})
TEXTS = frozenset({"GET_ACCOUNT_INFO", "GET_SIGNAL_INFO"})
"""Objects in which a null can only be an empty text."""

TIMES = ("open_time", "close_time", "expiration")
DEEPEST = 8
NAMED = 20
"""How many positions that stayed open a warning names; the response has all."""

SAME = 5e-9
"""The existing server writes numbers with eight decimals."""

ZERO_IS_AN_ERROR = (
    "; the existing server says this for every value that is 0, also while history is loading"
)


def finished(
    command: Command,
    conclusion: Conclusion,
    *,
    offset_s: int | None,
    raw: bool = False,
    notes: tuple[str, ...] = (),
) -> Conclusion:
    """Bring a conclusion into the one shape.

    Args:
        command: What was asked for.
        conclusion: How it ended, with the terminal's own response.
        offset_s: The broker's clock minus UTC; None when it is not known.
        raw: The request asked for the terminal's own response, too.
        notes: What the client has allowed the terminal to change.
    """
    if conclusion.outcome is Outcome.REJECTED:
        return replace(conclusion, cause=_explained(command, conclusion.cause))
    if conclusion.outcome is not Outcome.SUCCEEDED:
        return conclusion
    changes = [
        change
        for change in (*notes, *differences(command, conclusion.response))
        if change not in (conclusion.warning or "")
    ]
    if command.action == "DO_CLOSE_ALL":
        conclusion = _closed(conclusion)
    return replace(
        conclusion,
        response=normalised(command, conclusion.response, offset_s),
        warning="; ".join(filter(None, [conclusion.warning, *changes])) or None,
        raw=Raw(conclusion.response) if raw else None,
    )


def normalised(command: Command, response: Json, offset_s: int | None) -> Json:
    """Bring one response into the one shape."""
    action = command.action
    if response is None and action in LISTS:
        return []
    if action in ORDER_LISTS and isinstance(response, list):
        return [order_shown(order, offset_s) for order in response]
    if action in ORDERS:
        return order_shown(response, offset_s)
    if action in ENDINGS:
        return _ending(command, response, offset_s)
    if action in LISTS and isinstance(response, list):
        return ["" if item is None else item for item in response]
    if action in TEXTS:
        return _without_nulls(response)
    if response is None and action == "GET_SYMBOL_INFO_STRING":
        return ""
    return response


def order_shown(order: Json, offset_s: int | None) -> Json:
    """Show one order: the terminal's keys, and ours beside them."""
    if not isinstance(order, dict):
        return order
    shown = {key: _finite(value) for key, value in order.items()}
    for key in ("comment", "symbol"):
        if key in shown and shown[key] is None:
            shown[key] = ""
    for key in ("ticket", "magic_number", "order_type"):
        if isinstance(shown.get(key), float) and shown[key].is_integer():
            shown[key] = int(shown[key])
    kind = shown.get("order_type")
    shown["order_type_name"] = ORDER_TYPES.get(kind) if type(kind) is int else None
    for key in TIMES:
        shown[f"{key}_utc"] = _utc(shown.get(key), offset_s)
    return shown


def differences(command: Command, response: Json) -> list[str]:
    """List where an order is not as it was asked for."""
    if command.action not in ("DO_ORDER_SEND", "DO_ORDER_MODIFY") or not isinstance(response, dict):
        return []
    names = {"sl": "sl", "tp": "tp"}
    if command.action == "DO_ORDER_SEND":
        names["lots"] = "lots"
    kind = response.get("order_type")
    if type(kind) is int and kind in PENDING_TYPES:
        names["price"] = "open_price"
    changed = [
        f"{name}: {command.params[name]:.10g} asked for, {response[key]:.10g} set"
        for name, key in names.items()
        if name in command.params
        and type(response.get(key)) in (int, float)
        and not math.isclose(command.params[name], response[key], rel_tol=0.0, abs_tol=SAME)
    ]
    # Where points end up depends on the market; but somewhere they must.
    return changed + [
        f"the {name} that was asked for is not set"
        for name in ("sl", "tp")
        if f"{name}_points" in command.params and not response.get(name)
    ]


def _ending(command: Command, response: Json, offset_s: int | None) -> Json:
    ticket = command.params.get("ticket")
    if isinstance(response, dict):
        return {"ticket": ticket, "text": None, "order": order_shown(response, offset_s)}
    return {"ticket": ticket, "text": response, "order": None}


def _closed(conclusion: Conclusion) -> Conclusion:
    """Say which positions a close of many has left open; if it is all of them, nothing ran."""
    lines = conclusion.response
    if not isinstance(lines, list) or not all(isinstance(line, dict) for line in lines):
        return replace(conclusion, warning="the terminal did not say which positions it closed")
    left = [line for line in lines if line.get("closed") is not True]
    if not left:
        return conclusion
    named = ", ".join(map(_reason_left, left[:NAMED]))
    more = f", and {len(left) - NAMED} more" if len(left) > NAMED else ""
    message = f"closed {len(lines) - len(left)} of {len(lines)}; still open: {named}{more}"
    if len(left) < len(lines):
        return replace(conclusion, warning=message)
    code = left[0].get("error_code")
    code = code if type(code) is int and code != 0 else None
    cause = Cause(Source.TERMINAL, code, "NONE_CLOSED", message)
    return replace(conclusion, outcome=Outcome.REJECTED, cause=cause)


def _reason_left(line: Mapping[str, Json]) -> str:
    code, said = line.get("error_code"), line.get("error_message")
    name = f"{code} {describe(code).name}: " if type(code) is int and code != 0 else ""
    return f"{str(line.get('ticket'))[:20]} ({name}{str(said or 'no reason given')[:200]})"


def _explained(command: Command, cause: Cause | None) -> Cause | None:
    """Say what the existing server means by not recognizing an indicator that it knows."""
    if cause is None or command.action != "RUN_INDICATOR":
        return cause
    name = command.params.get("indicator")
    if name in INDICATORS and cause.message == f"Indicator not recognized: {name}.":
        return replace(cause, message=cause.message + ZERO_IS_AN_ERROR)
    return cause


def _without_nulls(value: Json) -> Json:
    match value:
        case None:
            return ""
        case dict():
            return {key: _without_nulls(inner) for key, inner in value.items()}
        case _:
            return value


def _finite(value: Json) -> Json:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _utc(text: Json, offset_s: int | None) -> str | None:
    """Write a broker's `YYYY.MM.DD HH:MM:SS` as UTC."""
    if offset_s is None or not isinstance(text, str) or text == NEVER:
        return None
    try:
        # Thirty times as fast as strptime: an account's history is long.
        moment = datetime.fromisoformat(f"{text[:10].replace('.', '-')}T{text[11:]}+00:00")
        return (moment - timedelta(seconds=offset_s)).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError):
        return None


def event_shown(said: Mapping[str, Json], offset_s: int | None) -> dict[str, Json]:
    """Show what the terminal publishes about an order or the account.

    It came as msgpack, which can carry what JSON cannot: that is left out.
    """
    shown = {str(key): _plain(value) for key, value in said.items()}
    if "order" in shown:
        shown["order"] = order_shown(shown["order"], offset_s)
    return shown


def _plain(value: Json, depth: int = 0) -> Json:
    match value:
        case dict() if depth < DEEPEST:
            return {str(key): _plain(inner, depth + 1) for key, inner in value.items()}
        case list() if depth < DEEPEST:
            return [_plain(inner, depth + 1) for inner in value]
        case str():
            return value.encode("utf-8", "replace").decode()
        case bool() | int():
            return value
        case float():
            return _finite(value)
        case _:
            return None
