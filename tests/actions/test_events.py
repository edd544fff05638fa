"""What happened to orders, found by looking at a terminal that publishes nothing."""

import json
from typing import Any

import nats
import pytest
from nats.aio.msg import Msg

from gateway.events import by_ticket, differences
from gateway.sim.orders import OrderType
from tests.support.nats_server import NatsServer
from tests.support.stack import EXISTING_SERVER, Stack, eventually

NEVER = "1970.01.01 00:00:00"
Orders = dict[int, dict[str, Any]]


def order(ticket: int, **more: Any) -> Orders:
    """Make one order, a position unless told otherwise."""
    plain = {
        "ticket": ticket,
        "symbol": "EURUSD",
        "order_type": 0,
        "lots": 0.3,
        "open_price": 1.1,
        "sl": 0.0,
        "tp": 0.0,
        "profit": 1.0,
        "expiration": NEVER,
        "comment": "",
    }
    return {ticket: plain | more}


def told(before: Orders, now: Orders, history: Orders | None = None) -> list[tuple[Any, ...]]:
    """Shorten the events to what, why, which, and which it was before."""
    events = differences(before, now, history or {}, ())
    return [
        (event["event"], event["reason"], event["order"]["ticket"], event["previous_ticket"])
        for event in events
    ]


UNTOLD = "unknown"


@pytest.mark.parametrize(
    ("before", "now", "history", "expected"),
    [
        pytest.param({}, {}, {}, [], id="nothing"),
        pytest.param(order(1), order(1, profit=9.0), {}, [], id="only the price moved"),
        pytest.param({}, order(1), {}, [("opened", UNTOLD, 1, None)], id="opened"),
        pytest.param(order(1), order(1, sl=1.0), {}, [("modified", UNTOLD, 1, None)], id="stop"),
        pytest.param(
            order(1, order_type=2),
            order(1, order_type=2, open_price=1.05),
            {},
            [("modified", UNTOLD, 1, None)],
            id="pending price",
        ),
        pytest.param(
            order(1, order_type=2),
            order(1, open_price=1.09),
            {},
            [("filled", UNTOLD, 1, None)],
            id="filled",
        ),
        pytest.param(order(1), {}, order(1), [("closed", UNTOLD, 1, None)], id="closed"),
        pytest.param(
            order(1),
            {},
            order(1, comment="~AAAAAAAAAAAAA mine[sl]"),
            [("closed", "stop_loss", 1, None)],
            id="stop loss",
        ),
        pytest.param(
            order(1),
            {},
            order(1, comment="[tp]"),
            [("closed", "take_profit", 1, None)],
            id="take profit",
        ),
        pytest.param(
            order(1, order_type=4),
            {},
            order(1, order_type=4),
            [("deleted", UNTOLD, 1, None)],
            id="deleted",
        ),
        pytest.param(
            order(1, order_type=4),
            {},
            order(1, order_type=4, comment="[expiration]"),
            [("deleted", "expired", 1, None)],
            id="expired",
        ),
        pytest.param(
            order(1, order_type=4),
            {},
            order(1, comment="[sl]"),
            [("filled", UNTOLD, 1, None), ("closed", "stop_loss", 1, None)],
            id="filled and closed between two looks",
        ),
        pytest.param(
            order(1),
            order(2, lots=0.2, comment="from #1"),
            order(1, lots=0.1, comment="to #2"),
            [("partially_closed", UNTOLD, 2, 1)],
            id="partially closed",
        ),
        pytest.param(
            order(1),
            order(2, lots=0.2, comment="from #1"),
            {},
            [("partially_closed", UNTOLD, 2, 1)],
            id="partially closed, told by the rest alone",
        ),
        pytest.param(
            order(1),
            order(3, lots=0.1, comment="from #2"),
            order(1, comment="to #2") | order(2, comment="to #3"),
            [("partially_closed", UNTOLD, 3, 1)],
            id="partially closed twice",
        ),
        pytest.param(
            order(1),
            {},
            order(1, comment="to #2") | order(2, comment="[tp]"),
            [("partially_closed", UNTOLD, 2, 1), ("closed", "take_profit", 2, None)],
            id="partially closed, then closed",
        ),
        pytest.param(
            {},
            {},
            order(5),
            [("opened", UNTOLD, 5, None), ("closed", UNTOLD, 5, None)],
            id="came and went between two looks",
        ),
        pytest.param({}, {}, order(6, order_type=6), [], id="a deposit"),
        pytest.param(
            order(1), {}, {}, [("closed", UNTOLD, 1, None)], id="history shows too little"
        ),
        pytest.param(
            order(2),
            order(2),
            order(1, comment="to #2"),
            [("opened", UNTOLD, 1, None), ("closed", UNTOLD, 1, None)],
            id="an older part comes to light",
        ),
    ],
)
def test_differences_are_events(
    before: Orders, now: Orders, history: Orders, expected: list[tuple[Any, ...]]
) -> None:
    """Two looks at the orders tell what happened in between."""
    assert expected == told(before, now, history)


@pytest.mark.parametrize("garbage", [1, "x", [1], [{}], [{"ticket": "1", "order_type": 0}], {}])
def test_garbage_is_no_list_of_orders(garbage: object) -> None:
    """What cannot be read is looked at again later, and nothing is taken for closed."""
    assert by_ticket(garbage) is None


async def test_existing_servers_orders_are_told_like_the_bridges(nats_server: NatsServer) -> None:
    """Open, modify, close in part, stop out, delete: each is told once."""
    heard: list[tuple[str, dict[str, Any]]] = []
    connection = await nats.connect(nats_server.url)

    async def note(msg: Msg) -> None:
        heard.append((msg.subject.rpartition(".")[2], json.loads(msg.data)))

    await connection.subscribe("mt4.demo.event.*", cb=note)
    await connection.flush()

    async def next_order(event: str) -> dict[str, Any]:
        def found() -> list[dict[str, Any]]:
            return [body for kind, body in heard if kind == "order" and body["event"] == event]

        await eventually(found, 20)
        body = found()[0]
        heard.clear()
        return body

    settings = {"event_interval_s": 0.05}
    async with Stack(nats_server.url, EXISTING_SERVER, terminal=settings) as stack:
        await eventually(lambda: any(kind == "account" for kind, _ in heard))
        account = next(body for kind, body in heard if kind == "account")
        broker = stack.terminal.broker
        opened = await stack.buy(0.3)
        ticket = opened.response["ticket"]
        told_open = await next_order("opened")
        await stack.client.trade("DO_ORDER_MODIFY", {"ticket": ticket, "sl": 1.12, "tp": 1.13})
        told_change = await next_order("modified")
        await stack.client.trade("DO_ORDER_CLOSE", {"ticket": ticket, "lots": 0.1})
        told_part = await next_order("partially_closed")
        await stack.terminal.quote("EURUSD", 1.1199, 1.12)
        told_stop = await next_order("closed")
        waiting, _ = broker.order_send("EURUSD", OrderType.BUY_LIMIT, 0.1, 1.11, 0)
        await next_order("opened")
        broker.order_delete(waiting)
        told_delete = await next_order("deleted")
    await connection.close()

    assert {"balance", "equity", "margin", "free_margin", "profit", "currency"} == account.keys()
    assert ticket == told_open["order"]["ticket"]
    assert "OP_BUY" == told_open["order"]["order_type_name"]
    assert (1.12, 1.13) == (told_change["order"]["sl"], told_change["order"]["tp"])
    assert ticket == told_part["previous_ticket"]
    assert 0.2 == told_part["order"]["lots"]
    assert "stop_loss" == told_stop["reason"]
    assert told_part["order"]["ticket"] == told_stop["order"]["ticket"]
    assert waiting == told_delete["order"]["ticket"]


async def test_nothing_is_looked_for_where_it_is_switched_off(nats_server: NatsServer) -> None:
    """An interval of 0 leaves the terminal alone."""
    settings = {"event_interval_s": 0.0}
    async with Stack(nats_server.url, EXISTING_SERVER, terminal=settings) as stack:
        await stack.buy()

        asked = {fact["action"] for fact in stack.terminal.truth.of("received")}
        assert "GET_HISTORICAL_ORDERS" not in asked
