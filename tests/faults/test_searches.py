"""What the existing server opened is found again, whatever became of it meanwhile."""

import asyncio

from gateway.client import Outcome
from tests.support.nats_server import NatsServer
from tests.support.stack import EXISTING_SERVER, Stack, eventually


async def test_order_that_its_stop_closed_before_the_search_is_found(
    nats_server: NatsServer,
) -> None:
    """It has left the open orders by then, and its comment has another end."""
    async with Stack(nats_server.url, EXISTING_SERVER) as stack:
        broker = stack.terminal.broker
        stack.terminal.faults.add_spec("drop:DO_ORDER_SEND:1")
        ordering = asyncio.create_task(
            stack.client.order_send("EURUSD", "BUY", 0.1, sl_points=100, comment="mine")
        )
        await eventually(lambda: any(order.stop_loss for order in broker.orders.values()))
        (ticket,) = broker.orders
        bid = broker.quotes["EURUSD"].bid
        await stack.terminal.quote("EURUSD", bid - 0.01, bid - 0.0099)
        was_closed = not broker.orders
        result = await ordering

        assert was_closed
        assert broker.history[-1].comment.endswith("[sl]")
        assert (Outcome.SUCCEEDED, True) == (result.outcome, result.resolved)
        assert ticket == result.response["ticket"]
        assert not broker.orders
