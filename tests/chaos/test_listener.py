"""The listener of a chaos run hears what it is there for."""

from __future__ import annotations

from tests.chaos.history import History
from tests.chaos.listener import Listener
from tests.support.nats_server import NatsServer
from tests.support.stack import Stack, eventually


async def test_all_that_is_said_is_held_against_its_schema(nats_server: NatsServer) -> None:
    """Requests, answers on inboxes, results, events, ticks, the audit; what is odd is found."""
    listener, history = Listener(), History()
    await listener.start(nats_server.url, "mt4.demo")
    async with Stack(nats_server.url) as stack:
        await stack.buy()
        await stack.client.query("GET_ORDERS")
        await stack.client.job("DO_ORDER_SEND", {"symbol": "EURUSD", "order_type": 0, "lots": 0.1})
        await stack.client.outcome_of("nobody-s")
        await stack.terminal.quote("EURUSD", 1.1, 1.1002)
        kinds = {
            *("DO_ORDER_SEND.request", "DO_ORDER_SEND.result", "GET_ORDERS.result", "stored"),
            *("state", "result", "tick", "event.order", "event.gateway", "audit"),
        }
        await eventually(lambda: kinds <= listener.heard.keys())
        assert [] == listener.misfits
        await stack.client.connection.publish("mt4.demo.tick.EURUSD", b'{"seq": "one"}')
        await eventually(lambda: listener.misfits)
        await listener.stop(history)

    assert history.misfits[0].startswith("mt4.demo.tick.EURUSD is no tick: ")
    assert history.heard["audit"] >= 2
