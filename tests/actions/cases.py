"""Every action, in every dialect, plainly, with its undocumented parameters, and going wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from gateway.client import CommandResult
from gateway.core.messages import Dialect
from gateway.sim.orders import OrderType
from tests.support.stack import Stack

Params = dict[str, Any]
BRIDGE = (Dialect.BRIDGE,)
EXISTING = (Dialect.METATRADER4_SERVER,)
BOTH = BRIDGE + EXISTING


@dataclass(frozen=True)
class Case:
    """One line of the table.

    Attributes:
        prepare: Makes the parameters, from what it has done to the terminal.
        fault: What goes wrong at the terminal.
        says: Parts of the error's message, or of the warning of a success.
        gives: What holds of a success's response.
    """

    action: str
    what: str
    params: Params = field(default_factory=dict)
    outcome: str = "succeeded"
    code: int | None = None
    says: tuple[str, ...] = ()
    gives: Callable[[Any], Any] | None = None
    prepare: Callable[[Stack], Params] | None = None
    fault: str | None = None
    dialects: tuple[Dialect, ...] = BOTH

    async def run(self, stack: Stack) -> CommandResult:
        """Send it over the bus."""
        if self.fault is not None:
            stack.terminal.faults.add_spec(self.fault)
        params = self.params | (self.prepare(stack) if self.prepare else {})
        send: Callable[..., Awaitable[CommandResult]] = stack.client.query
        if self.action.startswith("DO_"):
            send = stack.client.trade
        try:
            return await send(self.action, params)
        finally:
            stack.terminal.faults.clear()


def position(stack: Stack, symbol: str = "EURUSD", lots: float = 0.3, **more: Any) -> Params:
    """Open a position behind the gateway's back."""
    quote = stack.terminal.broker.quotes[symbol]
    ticket, code = stack.terminal.broker.order_send(
        symbol, OrderType.BUY, lots, quote.ask, 100, comment="by hand", **more
    )
    assert not code
    return {"ticket": ticket}


def pending(stack: Stack, **more: Any) -> Params:
    """Place a buy limit a hundred points below the market."""
    ticket, code = stack.terminal.broker.order_send(
        "EURUSD", OrderType.BUY_LIMIT, 0.3, 1.1200, 0, comment="by hand", **more
    )
    assert not code
    return {"ticket": ticket}


def closed(stack: Stack) -> Params:
    """Open and close a position."""
    params = position(stack)
    bid = stack.terminal.broker.quotes["EURUSD"].bid
    assert stack.terminal.broker.order_close(params["ticket"], 0.3, bid, 100)[0]
    return params


def expiring(stack: Stack) -> Params:
    """Place a pending order that expires in a day."""
    return pending(stack, expiration_s=stack.terminal.broker.now_s + 86_400)


def reads() -> list[Case]:
    """The reading actions."""
    eurusd = {"symbol": "EURUSD"}
    no_symbol = {"symbol": "NOPE"}
    bars = eurusd | {"timeframe": 5, "limit": 10, "timeout": 1000}
    average = {"indicator": "iMA", "argv": ["EURUSD", 60, 14, 0, 0, 0, 0], "timeout": 1000}
    cases = [
        Case("GET_ACCOUNT_INFO", "plain", gives=lambda r: r["login"] == 5001234),
        Case("GET_ACCOUNT_INFO", "trade_mode", gives=lambda r: r["trade_mode"] == 0),
        Case("GET_ACCOUNT_INFO", "unknown parameter", {"verbose": 1}, "denied", 400, ("verbose",)),
        Case("GET_SYMBOLS", "plain", gives=lambda r: "AIRF.PA" in r and "GOLD spot" in r),
        Case(
            "GET_SYMBOL_INFO",
            "plain",
            {"names": ["EURUSD", "#AAPL"]},
            gives=lambda r: r["#AAPL"]["trade_stops_level"] == 10,
        ),
        Case("GET_SYMBOL_INFO", "one unknown", {"names": ["EURUSD", "NOPE"]}, "rejected", 4106),
        Case("GET_SYMBOL_INFO", "no array", {"names": "EURUSD"}, "denied", 400, ("names",)),
        Case("GET_SYMBOL_INFO", "empty array", {"names": []}, "denied", 400, ("names",)),
        Case("GET_SYMBOL_INFO", "missing", {}, "denied", 400, ("names: missing",)),
        Case("GET_SYMBOL_INFO", "null", {"names": None}, "denied", 400, ("names",)),
        Case(
            "GET_SYMBOL_MARKET_INFO",
            "plain",
            eurusd | {"property": "MODE_STOPLEVEL"},
            gives=lambda r: r == 0.0,
        ),
        Case(
            "GET_SYMBOL_MARKET_INFO",
            "unknown property",
            eurusd | {"property": "MODE_X"},
            "denied",
            400,
            ("MODE_X", "MODE_SPREAD"),
        ),
        Case(
            "GET_SYMBOL_MARKET_INFO",
            "unknown symbol",
            no_symbol | {"property": "MODE_BID"},
            "rejected",
            4106,
            ("NOPE",),
        ),
        Case("GET_SYMBOL_TICK", "plain", eurusd, gives=lambda r: r["bid"] < r["ask"]),
        Case("GET_SYMBOL_TICK", "unknown symbol", no_symbol, "rejected", 4106, ("NOPE",)),
        Case("GET_SYMBOL_TICK", "not ASCII", {"symbol": "EUR\u00e9"}, "denied", 400, ("ASCII",)),
        Case("GET_OHLCV", "minutes", bars, gives=lambda r: len(r) == 10),
        Case("GET_OHLCV", "name", bars | {"timeframe": "M5"}, gives=lambda r: len(r) == 10),
        Case("GET_OHLCV", "0 minutes", bars | {"timeframe": 0}, "denied", 400, ("M1 (1)",)),
        Case("GET_OHLCV", "7 minutes", bars | {"timeframe": 7}, "denied", 400, ("MN1 (43200)",)),
        Case("GET_OHLCV", "99 ms", bars | {"timeout": 99}, "denied", 400, ("timeout", "99")),
        Case("GET_OHLCV", "an hour", bars | {"timeout": 3_600_000}, "denied", 400, ("30000",)),
        Case("GET_OHLCV", "past deadline", bars | {"timeout": 30_000}, "denied", 400, ("left",)),
        Case("GET_OHLCV", "no bars", bars | {"limit": 0}, "denied", 400, ("limit",)),
        Case("GET_OHLCV", "too many bars", bars | {"limit": 10**6}, "denied", 400, ("5000",)),
        Case("GET_OHLCV", "unknown symbol", bars | no_symbol, "rejected", 4106, ("NOPE",)),
        Case("GET_SIGNALS", "plain", gives=lambda r: "Alpha Trend" in r),
        Case(
            "GET_SIGNAL_INFO",
            "plain",
            {"names": ["Alpha Trend"]},
            gives=lambda r: r["Alpha Trend"]["gain"] == 42.0,
        ),
        Case(
            "GET_SIGNAL_INFO",
            "unknown",
            {"names": ["a"]},
            "rejected",
            None,
            ("Signals not found", '"a"'),
        ),
        Case(
            "GET_SIGNAL_INFO",
            "a quote in the name",
            {"names": ['Grid "Pro"']},
            gives=lambda r: r['Grid "Pro"']["id"] == 2,
            dialects=BRIDGE,
        ),
        Case(
            "GET_SIGNAL_INFO",
            "a quote in the name",
            {"names": ['Grid "Pro"']},
            "denied",
            400,
            ("cannot write",),
            dialects=EXISTING,
        ),
        Case("RUN_INDICATOR", "plain", average, gives=lambda r: 1 < r < 2),
        Case(
            "RUN_INDICATOR",
            "timeframe by name",
            average | {"argv": ["EURUSD", "H1", 14, 0, 0, 0, 0]},
            gives=lambda r: 1 < r < 2,
        ),
        Case(
            "RUN_INDICATOR",
            "argument missing",
            average | {"argv": ["EURUSD", 60, 14, 0, 0, 0]},
            "denied",
            400,
            ("takes 7", "applied_price"),
        ),
        Case(
            "RUN_INDICATOR",
            "argument of a wrong type",
            average | {"argv": ["EURUSD", 60, "14", 0, 0, 9, 0]},
            "denied",
            400,
            ("argv[2] ma_period", "'14'", "argv[5] applied_price", "0 to 6"),
        ),
        Case(
            "RUN_INDICATOR",
            "iCustom",
            average | {"indicator": "iCustom"},
            "denied",
            400,
            ("iCustom cannot be run",),
        ),
        Case(
            "RUN_INDICATOR",
            "iMAOnArray",
            average | {"indicator": "iMAOnArray"},
            "denied",
            400,
            ("an array cannot be passed",),
        ),
        Case(
            "RUN_INDICATOR",
            "unknown",
            average | {"indicator": "iNone"},
            "denied",
            400,
            ("iNone", "iWPR"),
        ),
        Case("RUN_INDICATOR", "99 ms", average | {"timeout": 99}, "denied", 400, ("timeout",)),
        Case(
            "RUN_INDICATOR",
            "value 0",
            {"indicator": "iFractals", "argv": ["EURUSD", 60, 1, 0], "timeout": 500},
            gives=lambda r: r == 0.0,
            dialects=BRIDGE,
        ),
        Case(
            "RUN_INDICATOR",
            "value 0",
            {"indicator": "iFractals", "argv": ["EURUSD", 60, 1, 0], "timeout": 500},
            "rejected",
            None,
            ("not recognized", "every value that is 0"),
            dialects=EXISTING,
        ),
        Case("GET_ORDER", "plain", prepare=position, gives=lambda r: r["order_type"] == 0),
        Case("GET_ORDER", "closed", prepare=closed, gives=lambda r: r["close_time"][:4] != "1970"),
        Case("GET_ORDER", "unknown", {"ticket": 99}, "rejected", None, ("# 99 is not found",)),
        Case("GET_ORDER", "ticket 0", {"ticket": 0}, "denied", 400, ("ticket",)),
        Case("GET_ORDER", "a text", {"ticket": "1001"}, "denied", 400, ("ticket", "'1001'")),
        Case("GET_ORDER", "a float", {"ticket": 1001.0}, "denied", 400, ("ticket",)),
        Case("GET_ORDER", "true", {"ticket": True}, "denied", 400, ("ticket", "True")),
        Case("GET_ORDERS", "plain", prepare=lambda s: position(s) and {}, gives=len),
        Case("GET_HISTORICAL_ORDERS", "plain", gives=lambda r: r[-1]["order_type_name"]),
        Case("GET_NOTHING", "unknown action", {}, "denied", 400, ("GET_NOTHING", "GET_ORDERS")),
    ]
    named: tuple[tuple[str, Params, str, int, int], ...] = (
        ("GET_ACCOUNT_INFO_INTEGER", {}, "ACCOUNT_LEVERAGE", 35, 36),
        ("GET_ACCOUNT_INFO_DOUBLE", {}, "ACCOUNT_BALANCE", 37, 0),
        ("GET_SYMBOL_INFO_INTEGER", eurusd, "SYMBOL_DIGITS", 17, 1),
        ("GET_SYMBOL_INFO_DOUBLE", eurusd, "SYMBOL_POINT", 16, 17),
        ("GET_SYMBOL_INFO_STRING", eurusd, "SYMBOL_CURRENCY_BASE", 22, 16),
    )
    for action, base, name, number, wrong in named:
        by_name, by_id = {"property_name": name}, {"property_id": number}
        cases += [
            Case(action, "by name", base | by_name, gives=lambda r: r is not None),
            Case(action, "by id", base | by_id, gives=lambda r: r is not None),
            Case(action, "by both", base | by_name | by_id, "denied", 400, ("either",)),
            Case(action, "by neither", base, "denied", 400, ("either",)),
            Case(
                action,
                "unknown name",
                base | {"property_name": "X_Y"},
                "denied",
                400,
                ("X_Y", name),
            ),
            Case(
                action,
                "unknown id",
                base | {"property_id": wrong},
                "denied",
                400,
                (f"property_id: {wrong}", name),
            ),
        ]
    cases += [
        Case(
            "GET_SYMBOL_INFO_STRING",
            "empty text",
            eurusd | {"property_name": "SYMBOL_DESCRIPTION"},
            gives=lambda r: r == "",
        ),
        Case(
            "GET_SYMBOL_INFO_DOUBLE",
            "unknown symbol",
            no_symbol | {"property_id": 16},
            "rejected",
            4106,
        ),
    ]
    return cases


def sends() -> list[Case]:
    """DO_ORDER_SEND."""
    name = "DO_ORDER_SEND"
    buy: Params = {"symbol": "EURUSD", "order_type": "BUY", "lots": 0.1}
    limit = buy | {"order_type": "OP_BUYLIMIT", "price": 1.12}
    apple = {"symbol": "#AAPL", "order_type": 0, "lots": 1.0}

    def bad(what: str, params: Params, *says: str) -> Case:
        return Case(name, what, params, "denied", 400, says)

    return [
        Case(name, "plain", buy, gives=lambda r: r["order_type_name"] == "OP_BUY"),
        Case(name, "by number", buy | {"order_type": 1}, gives=lambda r: r["order_type"] == 1),
        Case(name, "comment", buy | {"comment": "mine"}, gives=lambda r: "mine" in r["comment"]),
        bad("long s", buy | {"order_type": "\u017fELL"}, "order_type"),
        bad("stop of no tick", buy | {"sl": 5e-324}, "sl: 5e-324", "nearest: 0.00001"),
        bad("stop below zero", buy | {"sl_points": 10**7}, "sl_points: 10000000", "is no price"),
        Case(name, "slippage", buy | {"slippage": 5, "price": 1.12132}, gives=bool),
        Case(name, "absolute stops", buy | {"sl": 1.12, "tp": 1.13}, gives=lambda r: r["sl"]),
        Case(
            name,
            "stops in points",
            buy | {"sl_points": 100, "tp_points": 200},
            gives=lambda r: (r["sl"], r["tp"]) == (1.1202, 1.1232),
        ),
        Case(name, "pending", limit, gives=lambda r: r["open_price"] == 1.12),
        Case(
            name,
            "raw",
            buy | {"raw": True},
            gives=lambda r: "order_type_name" in r,
        ),
        Case(
            name,
            "magic_number, expiration",
            limit | {"magic_number": 7, "expiration": 2_000_000_000},
            gives=lambda r: r["magic_number"] == 7 and r["expiration_utc"] is not None,
            dialects=BRIDGE,
        ),
        Case(
            name,
            "magic_number",
            buy | {"magic_number": 7},
            "denied",
            400,
            ("ignores magic_number",),
            dialects=EXISTING,
        ),
        Case(
            name,
            "expiration",
            limit | {"expiration": 2_000_000_000},
            "denied",
            400,
            ("ignores expiration",),
            dialects=EXISTING,
        ),
        bad("unknown type", buy | {"order_type": "SELLL"}, "order_type", "SELLL"),
        bad("type true", buy | {"order_type": True}, "order_type", "True"),
        bad("type 1.9", buy | {"order_type": 1.9}, "order_type"),
        bad("type 6", buy | {"order_type": 6}, "order_type", "0 to 5"),
        bad("lots 0", buy | {"lots": 0.0}, "lots"),
        bad("lots -5", buy | {"lots": -5.0}, "lots", "-5"),
        bad("lots text", buy | {"lots": "abc"}, "lots", "abc"),
        bad("lots true", buy | {"lots": True}, "lots", "True"),
        bad("lots off step", buy | {"lots": 0.016}, "lots", "0.016", "0.01 or 0.02"),
        bad("lots below minimum", buy | {"lots": 0.001}, "0.001", "nearest: 0.01"),
        bad("lots above maximum", buy | {"lots": 100.5}, "100.5", "nearest: 100"),
        bad("half a share", apple | {"lots": 1.5}, "1.5", "1 or 2", "#AAPL"),
        bad("comment null byte", buy | {"comment": "a\x00"}, "comment"),
        bad("comment too long", buy | {"comment": "x" * 18}, "comment"),
        bad("comment with a token", buy | {"comment": "~A"}, "comment"),
        bad("both stops", buy | {"sl": 1.12, "sl_points": 9}, "sl and sl_points"),
        bad("both targets", buy | {"tp": 1.13, "tp_points": 9}, "tp and tp_points"),
        bad("stop 0", buy | {"sl": 0.0}, "sl 0 is no price"),
        bad("pending without price", buy | {"order_type": 2}, "price is needed"),
        bad("price off tick", limit | {"price": 1.123456}, "price", "1.12345 or 1.12346"),
        bad("stop off tick", buy | {"sl": 1.120001}, "sl", "tick size", "1.12000 or 1.12001"),
        bad("limit above market", limit | {"price": 1.13}, "price: 1.13000", "at most 1.12131"),
        bad("stop above market", buy | {"sl": 1.13}, "sl: 1.13000 must be at most", "bid 1.12120"),
        bad("target below market", buy | {"tp": 1.11}, "tp: 1.11000 must be at least"),
        bad("within stop level", apple | {"sl": 228.35}, "sl: 228.35", "228.30", "10 points"),
        bad("points within stop level", apple | {"sl_points": 9}, "sl_points: 9", "nearest: 10"),
        bad("unknown symbol", buy | {"symbol": "NOPE"}, "symbol", "NOPE"),
        bad("unknown parameter", buy | {"magic": 7}, "magic: unknown parameter"),
        bad("symbol missing", {"order_type": 0, "lots": 0.1}, "symbol: missing"),
        Case(
            name,
            "a stop 2 points away",
            buy | {"sl": 1.12118},
            gives=lambda r: r["sl"] == 1.12118,
            dialects=BRIDGE,
        ),
        Case(
            name,
            "a stop 2 points away",
            buy | {"sl": 1.12118},
            "denied",
            400,
            ("sl: 1.12118", "1.12117", "3 points"),
            dialects=EXISTING,
        ),
        Case(
            name,
            "a nudge that is allowed",
            buy | {"sl": 1.13, "tp_points": 1, "allow_nudge": True},
            says=("sl: 1.13 asked for, 1.12117 set", "tp_points: 1 asked for, 3 set"),
            gives=lambda r: (r["sl"], r["tp"]) == (1.12117, 1.12123),
            dialects=EXISTING,
        ),
        Case(
            name,
            "allow_nudge where nothing nudges",
            buy | {"sl": 1.13, "allow_nudge": True},
            "denied",
            400,
            ("sl: 1.13000",),
            dialects=BRIDGE,
        ),
        Case(
            name,
            "no money",
            buy,
            "rejected",
            134,
            ("Failed to send order.",),
            fault=f"refuse:{name}:134:1",
        ),
        Case(
            name,
            "stops refused after it has opened",
            buy | {"sl_points": 50},
            says=("failed to set sl/tp",),
            gives=lambda r: r["ticket"] and r["sl"] == 0,
            fault=f"refuse_stops:{name}:130:1",
            dialects=EXISTING,
        ),
    ]


def changes() -> list[Case]:
    """DO_ORDER_MODIFY, DO_ORDER_CLOSE, DO_ORDER_DELETE and DO_CLOSE_ALL."""
    modify, close, delete = "DO_ORDER_MODIFY", "DO_ORDER_CLOSE", "DO_ORDER_DELETE"
    stops = {"sl": 1.12, "tp": 1.13}

    def with_stop(stack: Stack) -> Params:
        return position(stack, stop_loss=1.1)

    def bad(action: str, what: str, params: Params, *says: str, **more: Any) -> Case:
        return Case(action, what, params, "denied", 400, says, **more)

    return [
        Case(modify, "plain", stops, prepare=position, gives=lambda r: r["sl"] == 1.12),
        Case(modify, "in points", {"sl_points": 50}, prepare=position, gives=lambda r: r["sl"]),
        Case(
            modify,
            "pending price",
            {"price": 1.1190},
            prepare=pending,
            gives=lambda r: r["open_price"] == 1.119,
        ),
        Case(
            modify,
            "take a stop away",
            {"sl": 0.0},
            prepare=with_stop,
            gives=lambda r: r["sl"] == 0,
            dialects=BRIDGE,
        ),
        bad(
            modify,
            "take a stop away",
            {"sl": 0.0},
            "cannot remove sl",
            prepare=with_stop,
            dialects=EXISTING,
        ),
        Case(modify, "nothing new", {"sl": 1.1}, prepare=with_stop),
        bad(modify, "nothing", {}, "nothing to change", prepare=position),
        bad(modify, "both stops", {"sl": 1.1, "sl_points": 5}, "exclude", prepare=position),
        bad(modify, "wrong side", {"sl": 1.13}, "sl: 1.13000", "at most", prepare=position),
        bad(modify, "off tick", {"tp": 1.1300001}, "tick size", prepare=position),
        bad(modify, "price of a position", {"price": 1.1}, "a position already", prepare=position),
        bad(modify, "pending wrong side", {"price": 1.13}, "price: 1.13000", prepare=pending),
        Case(
            modify,
            "an order that expires",
            {"price": 1.119},
            prepare=expiring,
            gives=lambda r: r["expiration"][:4] != "1970",
            dialects=BRIDGE,
        ),
        bad(
            modify,
            "an order that expires",
            {"price": 1.119},
            "would take this order's away",
            prepare=expiring,
            dialects=EXISTING,
        ),
        Case(
            modify,
            "an expiration given up",
            {"price": 1.119, "allow_nudge": True},
            prepare=expiring,
            says=("expiration", "taken away"),
            dialects=EXISTING,
        ),
        Case(
            modify,
            "a nudge that is allowed",
            {"sl": 1.13, "allow_nudge": True},
            prepare=position,
            says=("sl: 1.13 asked for, 1.12117 set",),
            dialects=EXISTING,
        ),
        Case(
            modify,
            "unknown order",
            {"ticket": 99, "sl": 1.1},
            "rejected",
            None,
            ("Order # 99 not found.",),
        ),
        Case(modify, "closed order", {"sl": 1.1}, "rejected", 4108, prepare=closed),
        Case(
            modify,
            "refused",
            stops,
            "rejected",
            130,
            ("Failed to modify order",),
            prepare=position,
            fault=f"refuse:{modify}:130:1",
        ),
        Case(
            close,
            "plain",
            prepare=position,
            gives=lambda r: r["text"] == f"Closed order # {r['ticket']}",
        ),
        Case(close, "part", {"lots": 0.1}, prepare=position, gives=lambda r: r["ticket"]),
        Case(
            close,
            "price, slippage",
            {"price": 1.1212, "slippage": 3},
            prepare=position,
            gives=lambda r: r["ticket"],
        ),
        bad(close, "lots off step", {"lots": 0.016}, "0.01 or 0.02", prepare=position),
        bad(close, "more than held", {"lots": 0.4}, "more than the order's 0.3", prepare=position),
        bad(close, "price off tick", {"price": 1.1200001}, "tick size", prepare=position),
        bad(close, "ticket missing", {}, "ticket: missing"),
        Case(close, "unknown order", {"ticket": 99}, "rejected", None, ("Order # 99 not found.",)),
        Case(close, "closed order", {}, "rejected", 4108, prepare=closed),
        Case(
            close,
            "market closed",
            {},
            "rejected",
            132,
            ("Failed to close order",),
            prepare=position,
            fault=f"refuse:{close}:132:1",
        ),
        Case(
            delete,
            "plain",
            prepare=pending,
            gives=lambda r: r["text"] == f"Deleted pending order # {r['ticket']}.",
        ),
        Case(
            delete,
            "close_if_opened",
            {"close_if_opened": True},
            prepare=position,
            gives=lambda r: "Closed order #" in r["text"],
        ),
        bad(delete, "close_if_opened text", {"close_if_opened": "false"}, "close_if_opened"),
        bad(delete, "closeIfOpened", {"ticket": 1, "closeIfOpened": True}, "unknown parameter"),
        Case(delete, "a position", {}, "rejected", 4108, prepare=position),
        Case(delete, "unknown order", {"ticket": 99}, "rejected", None, ("Order # 99 not found.",)),
        Case(
            "DO_CLOSE_ALL",
            "by symbol and side",
            {"symbol": "GBPUSD", "side": "buy"},
            prepare=lambda s: position(s, "GBPUSD") and {},
            gives=lambda r: len(r) == 1 and r[0]["closed"],
            dialects=BRIDGE,
        ),
        Case(
            "DO_CLOSE_ALL",
            "by magic",
            {"magic_number": 77},
            prepare=lambda s: position(s, magic_number=77) and {},
            gives=lambda r: len(r) == 1 and r[0]["closed"],
            dialects=BRIDGE,
        ),
        Case(
            "DO_CLOSE_ALL",
            "wrong side",
            {"side": "long"},
            "denied",
            400,
            ("side", "long"),
            dialects=BRIDGE,
        ),
        Case(
            "DO_CLOSE_ALL",
            "not there",
            {},
            "denied",
            400,
            ("needs a terminal of dialect bridge",),
            dialects=EXISTING,
        ),
    ]


def of_the_bridge() -> list[Case]:
    """The bridge's own reads, and that the existing server's gateway denies them."""
    eurusd = {"symbols": ["EURUSD"]}
    cases = [
        Case("GET_SERVER_TIME", "plain", gives=lambda r: r["broker_offset_s"] == 7200),
        Case("GET_TERMINAL_INFO", "plain", gives=lambda r: r["connected"]),
        Case("SUBSCRIBE_TICKS", "plain", eurusd, gives=lambda r: "EURUSD" in r["symbols"]),
        Case("UNSUBSCRIBE_TICKS", "plain", eurusd, gives=lambda r: "EURUSD" not in r["symbols"]),
    ]
    there = [Case(c.action, c.what, c.params, gives=c.gives, dialects=BRIDGE) for c in cases]
    elsewhere = [
        Case(c.action, "not there", c.params, "denied", 400, ("dialect bridge",), dialects=EXISTING)
        for c in cases
    ]
    unknown = {"symbols": ["NOPE"]}
    return [
        *there,
        *elsewhere,
        Case("SUBSCRIBE_TICKS", "unknown symbol", unknown, "rejected", 4106, dialects=BRIDGE),
        Case("SUBSCRIBE_TICKS", "empty", {"symbols": []}, "denied", 400, ("symbols",)),
    ]


CASES = [*reads(), *sends(), *changes(), *of_the_bridge()]
