"""No bad body gets through: each is answered or counted, and the terminal never hears of it.

400 bodies by default, `MT4GW_FUZZ=20000` for more; the seed is fixed, so a failure repeats.
"""

import asyncio
import json
import os
import random
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import nats
import pytest
from nats.aio.msg import Msg

from gateway.envelope import format_time
from gateway.subjects import encode_token
from tests.support.nats_server import NatsServer
from tests.support.stack import EXISTING_SERVER, QUIET, Stack, eventually

COUNT = int(os.environ.get("MT4GW_FUZZ", "400"))
AT_ONCE = 100
GROWTH_BYTES = 48 * 1024 * 1024
"""A leak of one body of 60 kB in fifty would show; the allocator's play does not."""

OWN_READS = {"HELLO", "PING", "GET_ACCOUNT_INFO", "GET_SYMBOL_INFO", "GET_SYMBOL_TICK", "GET_ORDER"}
"""What the gateway asks in its own name: greetings, probes and symbol rules."""

Bodies = tuple[str, bytes]  # the end of the subject, and the body
Random = random.Random

SEND = "trade.fuzz.DO_ORDER_SEND"
ORDER: dict[str, Any] = {"symbol": "EURUSD", "order_type": "BUY", "lots": 0.1}
GOOD: dict[str, dict[str, Any]] = {
    SEND: ORDER,
    "trade.fuzz.DO_ORDER_MODIFY": {"ticket": 1, "sl": 1.1},
    "trade.fuzz.DO_ORDER_CLOSE": {"ticket": 1},
    "trade.fuzz.DO_ORDER_DELETE": {"ticket": 1},
    "query.GET_ORDER": {"ticket": 1},
    "query.GET_SYMBOL_TICK": {"symbol": "EURUSD"},
    "query.GET_SYMBOL_INFO": {"names": ["EURUSD"]},
    "query.GET_ACCOUNT_INFO_DOUBLE": {"property_name": "ACCOUNT_EQUITY"},
    "query.GET_SYMBOL_INFO_STRING": {"symbol": "EURUSD", "property_id": 20},
    "query.GET_SYMBOL_MARKET_INFO": {"symbol": "EURUSD", "property": "MODE_BID"},
    "query.GET_OHLCV": {"symbol": "EURUSD", "timeframe": 5, "limit": 5, "timeout": 500},
    "query.RUN_INDICATOR": {"indicator": "iAC", "argv": ["EURUSD", 60, 0], "timeout": 500},
    "query.GET_SIGNAL_INFO": {"names": ["Alpha Trend"]},
}
WRONG: tuple[Any, ...] = (
    *(True, False, [], {}, [[]], [None], {"a": 1}, "", -1, -0.5, 1e300, -(2**63), 2**62),
    *("\u0000", "EUR\nUSD", "\x7f", "\u202e", "\ud800", "x" * 500),
)
"""Values that are wrong for every parameter there is."""


def timely(params: dict[str, Any]) -> dict[str, Any]:
    """Give a body a deadline, so that nothing but its fault denies it."""
    return params | {"deadline": format_time(time.time() + 30)}


def wrong_value(chance: Random) -> Bodies:
    """Put a value of a wrong type or size in the place of a right one."""
    subject, good = chance.choice(list(GOOD.items()))
    key = chance.choice(list(good))
    bad = timely(good | {key: chance.choice(WRONG)})
    if "\ud800" in bad.values() or chance.random() < 0.5:
        return subject, json.dumps(bad).encode()  # msgpack cannot write half a surrogate pair
    return subject, msgpack.packb(bad)


def missing(chance: Random) -> Bodies:
    """Leave one out; null is the same."""
    subject, good = chance.choice(list(GOOD.items()))
    key = chance.choice(list(good))
    if subject == "trade.fuzz.DO_ORDER_MODIFY" or chance.random() < 0.5:
        return subject, json.dumps(timely(good | dict.fromkeys(good, None))).encode()
    return subject, json.dumps(timely({k: v for k, v in good.items() if k != key})).encode()


def surplus(chance: Random) -> Bodies:
    """Add what nobody knows, as a typing error would."""
    subject, good = chance.choice(list(GOOD.items()))
    key = chance.choice(["magic", "Symbol", "action", "stoploss", "session", "epoch", "", "\u0000"])
    return subject, json.dumps(timely(good | {key: chance.choice([1, "x", None])})).encode()


def no_number(chance: Random) -> Bodies:
    """Write NaN and infinity in every way."""
    key = chance.choice(["lots", "price", "sl", "tp"])
    value = chance.choice([float("nan"), float("inf"), float("-inf")])
    if chance.random() < 0.5:
        return SEND, msgpack.packb(timely(ORDER | {key: value}))
    return SEND, json.dumps(timely(ORDER | {key: value})).encode()


def torn(chance: Random) -> Bodies:
    """Cut a good body, or flip bytes of it, so that it cannot be read."""
    subject, good = chance.choice(list(GOOD.items()))
    body = json.dumps(timely(good)).encode()
    return subject, body[: chance.randrange(1, len(body))]


def noise(chance: Random) -> Bodies:
    """Send bytes that mean nothing."""
    subject = chance.choice(list(GOOD))
    return subject, b"\xc1" + chance.randbytes(chance.randrange(1, 200))


def deep(chance: Random) -> Bodies:
    """Nest deeper than any parser should follow."""
    depth = chance.choice([9, 100, 5000])
    if chance.random() < 0.5:
        return SEND, b'{"symbol":' + b"[" * depth + b"]" * depth + b"}"
    return SEND, b"\x81\xa6symbol" + b"\x91" * depth + b"\x00"


def huge(chance: Random) -> Bodies:
    """Send a lot: a long text, many keys, a big number, a length that lies."""
    return SEND, chance.choice(
        [
            json.dumps(timely(ORDER | {"comment": "x" * 60_000})).encode(),
            json.dumps(timely(ORDER | {f"k{n}": n for n in range(3000)})).encode(),
            json.dumps(timely(ORDER)).encode().replace(b"0.1", b"1" * 30_000),
            b" " * 70_000,
            b"\xdf" + struct.pack(">I", 2**32 - 1),
            b"\x81\xa6symbol\xdb" + struct.pack(">I", 2**31) + b"EURUSD",
        ]
    )


def twice(_: Random) -> Bodies:
    """Give a key twice: the last would win."""
    body = json.dumps(timely(ORDER))[:-1] + ', "lots": 5.0}'
    return SEND, body.encode()


def no_object(chance: Random) -> Bodies:
    """Send something else than one object."""
    value = chance.choice([1, "x", None, True, [ORDER], 1.5])
    packs: list[Callable[[Any], bytes]] = [msgpack.packb, lambda v: json.dumps(v).encode()]
    return SEND, chance.choice(packs)(value)


def unknown_action(chance: Random) -> Bodies:
    """Ask for what is not in the catalogue, or is on the other subject."""
    name = chance.choice(["DO_ORDER_SEND", "HELLO", "RESOLVE", "PING", "x", "get_orders", "GET"])
    where = chance.choice(["query", "trade.fuzz"])
    if (where, name) == ("trade.fuzz", "DO_ORDER_SEND"):
        where = "query"
    return f"{where}.{name}", json.dumps(timely(ORDER)).encode()


def bad_symbol(chance: Random) -> Bodies:
    """Name symbols that do not exist or could mean something else on the way."""
    symbol = chance.choice(["EURUSD\u0000", "EUR\u00e9", "", "a" * 33, "EURUSD\r\n", "\t", "NOPE"])
    return SEND, json.dumps(timely(ORDER | {"symbol": symbol})).encode()


def bad_identity(chance: Random) -> Bodies:
    """Give ids, deadlines and clients that are none."""
    extra: dict[str, Any] = chance.choice(
        [
            {"id": "a b"},
            {"id": 5},
            {"id": "x" * 65},
            {"id": "../x"},
            {"deadline": "tomorrow"},
            {"deadline": 5},
            {"deadline": "2026-01-01T00:00:00"},
        ]
    )
    body = json.dumps(timely(ORDER) | extra).encode()
    return chance.choice([SEND, "trade.FUZZ.DO_ORDER_SEND"]), body


KINDS: tuple[Callable[[Random], Bodies], ...] = (
    *(wrong_value, missing, surplus, no_number, torn, noise, deep, huge),
    *(twice, no_object, unknown_action, bad_symbol, bad_identity),
)


def resident_bytes() -> int:
    """Read how much memory this process holds."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096


@pytest.mark.timeout(600)
@pytest.mark.parametrize("sim", [QUIET, EXISTING_SERVER], ids=["bridge", "metatrader4-server"])
async def test_no_bad_body_gets_through(nats_server: NatsServer, sim: Any) -> None:
    """Every one is denied with a reason; none is forwarded, and memory stays where it was."""
    chance = random.Random(f"bad input {sim.dialect}")
    settings = {"event_interval_s": 0.0}
    async with Stack(nats_server.url, sim, terminal=settings) as stack:
        connection = await nats.connect(nats_server.url)
        outcomes: dict[str, int] = {}
        held: list[int] = []

        async def send(kind: Callable[[Random], Bodies]) -> None:
            subject, body = kind(chance)
            reply = await connection.request(f"mt4.demo.{subject}", body, timeout=20)
            packed = (reply.headers or {}).get("Content-Type") == "application/msgpack"
            said = msgpack.unpackb(reply.data) if packed else json.loads(reply.data)

            assert "denied" == said["outcome"], (kind.__name__, subject, body[:200], said)
            assert said["error"]["message"]
            outcomes[kind.__name__] = outcomes.get(kind.__name__, 0) + 1

        for start in range(0, COUNT // 2, AT_ONCE):
            count = min(AT_ONCE, COUNT // 2 - start)
            await asyncio.gather(*(send(chance.choice(KINDS)) for _ in range(count)))
            held.append(resident_bytes())
        await connection.close()
        heard = {str(fact["action"]) for fact in stack.terminal.truth.of("received")}
        print(f"\n{sum(outcomes.values())} bad bodies denied: {outcomes}")  # the table of the issue

        assert heard <= OWN_READS
        assert [] == stack.terminal.truth.of("executed")
        assert COUNT // 2 == sum(outcomes.values())
        assert held[-1] - held[len(held) // 4] < GROWTH_BYTES
        assert (await stack.buy()).succeeded


@pytest.mark.timeout(120)
async def test_forged_reply_subjects_are_counted_and_hear_nothing(nats_server: NatsServer) -> None:
    """Good commands whose answer would go where the gateway alone may publish."""
    forged = [
        "mt4.demo.result.me.x",
        "$JS.API.STREAM.DELETE.x",
        "_INBOXX.a",
        "mt4.demo.tick.EURUSD",
    ]
    async with Stack(nats_server.url) as stack:
        connection = await nats.connect(nats_server.url)
        heard: list[str] = []

        async def note(msg: Msg) -> None:
            heard.append(msg.subject)

        for subject in forged:
            await connection.subscribe(subject, cb=note)
        for n in range(100):
            await connection.publish(
                f"mt4.demo.{SEND}", json.dumps(timely(ORDER)).encode(), reply=forged[n % 4]
            )
        await connection.flush()
        denied = {"action": "DO_ORDER_SEND", "outcome": "denied"}
        await eventually(lambda: 100 <= stack.metric("commands_total", **denied))
        await connection.flush()
        await connection.close()

        assert [] == heard
        assert not stack.terminal.broker.orders


@pytest.mark.parametrize("symbol", ["AIRF.PA", "EURUSD.m", "#AAPL", "GOLD spot"])
@pytest.mark.parametrize("sim", [QUIET, EXISTING_SERVER], ids=["bridge", "metatrader4-server"])
async def test_odd_symbol_goes_all_the_way(nats_server: NatsServer, sim: Any, symbol: str) -> None:
    """Orders, prices, rules and ticks, in a subject token that can be turned back."""
    polled = {"poll_symbols": (symbol,), "poll_interval_s": 0.05}
    async with Stack(nats_server.url, sim, terminal=polled) as stack:
        connection = await nats.connect(nats_server.url)
        ticks = await connection.subscribe(f"mt4.demo.tick.{encode_token(symbol)}")
        await connection.flush()
        order = await stack.client.order_send(symbol, "BUY", 1.0, sl_points=100)
        info = await stack.client.query("GET_SYMBOL_INFO", {"names": [symbol]})
        quote = await stack.client.query("GET_SYMBOL_TICK", {"symbol": symbol})
        bid, ask = quote.response["bid"], quote.response["ask"]
        point = info.response[symbol]["point"]
        await stack.terminal.quote(symbol, bid + 5 * point, ask + 5 * point)
        tick = await ticks.next_msg(timeout=5)
        closed = await stack.client.trade("DO_ORDER_CLOSE", {"ticket": order.response["ticket"]})
        await connection.close()

        assert symbol == order.response["symbol"]
        assert closed.succeeded
        assert symbol == msgpack.unpackb(tick.data)["symbol"]
