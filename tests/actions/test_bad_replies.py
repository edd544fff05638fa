"""A terminal that answers nonsense: no crash, no lie, an answer to every client.

100 replies by default, `MT4GW_FUZZ=20000` for 5,000; the seed is fixed.
"""

import asyncio
import json
import os
import random
from contextlib import suppress
from typing import Any, Self

import msgpack
import pytest
import zmq
import zmq.asyncio

from gateway.app import App, Role
from gateway.client import Mt4Client, Outcome
from gateway.config import Config
from tests.support.nats_server import NatsServer
from tests.support.stack import FAST, eventually

COUNT = max(100, int(os.environ.get("MT4GW_FUZZ", "400")) // 4)
ACCOUNT = {"login": 1, "trade_mode": 0, "name": None, "server": "s", "currency": "USD"}
HELLO = {
    "dialect": "bridge",
    "protocol": 1,
    "session": "s1",
    "ledger": "l1",
    "epoch": 1,
    "account": ACCOUNT,
    "broker_offset_s": 7200,
    "connected": True,
    "trade_allowed": True,
}
Chance = random.Random


def _any(chance: Chance, depth: int = 0) -> Any:
    """Make a JSON value of no meaning."""
    plain: list[Any] = [None, True, 0, -1, 1e308, 2**62, "", "x", "\u0000", "1970.01.01 00:00:00"]
    if depth < 3 and chance.random() < 0.5:
        items = [_any(chance, depth + 1) for _ in range(chance.randrange(4))]
        keys = ["ticket", "comment", "order_type", "sl", "EURUSD", "bid", "open_time", "closed"]
        return items if chance.random() < 0.5 else {chance.choice(keys): item for item in items}
    return chance.choice(plain)


def garbage(chance: Chance, request: dict[str, Any]) -> bytes:
    """Write a reply that is none, or one whose parts make no sense."""
    good = json.dumps({"response": ACCOUNT}).encode()
    echo = {key: request[key] for key in ("id", "attempt") if key in request}
    state = chance.choice(["done", "rejected", "in_doubt", "fenced", "x", None, 5, "malformed"])
    return chance.choice(
        [
            b"",
            chance.randbytes(chance.randrange(1, 100)),
            good[: chance.randrange(len(good))],
            good + good,
            b"[" * 10_000,
            b'{"response":' + b"[" * 5000 + b"]" * 5000 + b"}",
            b'{"response": NaN}',
            b'{"response": 1e999}',
            b'{"response": ' + b"9" * 5000 + b"}",
            b'{"response": "\\ud800"}',
            b"null",
            b"[]",
            b'"x"',
            b'{"error_code": "x"}',
            b'{"error_code": 1e3, "error_message": {}}',
            b'{"response": "' + b"x" * 200_000 + b'"}',
            json.dumps({"response": _any(chance)}).encode(),
            json.dumps({"response": [_any(chance) for _ in range(5)]}).encode(),
            json.dumps({"error_message": _any(chance), "error_code": _any(chance)}).encode(),
            json.dumps(echo | {"state": state, "response": _any(chance)}).encode(),
            json.dumps(echo | {"state": state, "evidence": _any(chance), "reason": 5}).encode(),
            json.dumps({"id": "other/1", "state": "done", "response": {"ticket": 1}}).encode(),
        ]
    )


class Peer:
    """A terminal that greets as it should and answers nonsense otherwise."""

    def __init__(self, *, is_bridge: bool) -> None:
        self.is_bridge = is_bridge
        self.is_sane = False
        self.bad_replies = 0
        self.asked: list[str] = []
        self._chance = random.Random(f"bad replies {is_bridge}")

    async def __aenter__(self) -> Self:
        self._context = zmq.asyncio.Context()
        self._socket: Any = self._context.socket(zmq.ROUTER)
        self.endpoint = f"tcp://127.0.0.1:{self._socket.bind_to_random_port('tcp://127.0.0.1')}"
        self._pub: Any = self._context.socket(zmq.PUB)
        self.tick_endpoint = f"tcp://127.0.0.1:{self._pub.bind_to_random_port('tcp://127.0.0.1')}"
        self._serving = asyncio.create_task(self._serve())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._serving.cancel()
        with suppress(asyncio.CancelledError):
            await self._serving
        self._context.destroy(linger=0)

    async def _serve(self) -> None:
        while True:
            identity, correlation, empty, body = await self._socket.recv_multipart()
            request = json.loads(body)
            self.asked.append(request["action"])
            envelope = [identity, correlation, empty]
            await self._socket.send_multipart([*envelope, *self._reply(request)])

    def _reply(self, request: dict[str, Any]) -> list[bytes]:
        if request["action"] == "HELLO" and not self.is_bridge:
            return [b'{"error_message": "Unrecognized requested action (HELLO)."}']
        known = {"session": "s1", "clock_ms": 1}
        if request["action"] == "HELLO":
            return [json.dumps({"response": HELLO} | known).encode()]
        if self.is_sane or request["action"] == "PING":
            return [json.dumps({"response": ACCOUNT} | known).encode()]
        self.bad_replies += 1
        frames = [garbage(self._chance, request)]
        return frames if self._chance.random() < 0.95 else [*frames, b"more"]

    async def publish_garbage(self, count: int) -> None:
        """Publish what no terminal would."""
        chance = self._chance
        topics = [b"tick.EURUSD", b"order", b"account", b"heartbeat", b"\xff", b"", b"x"]
        for _ in range(count):
            value = chance.choice(
                [
                    chance.randbytes(30),
                    b"",
                    msgpack.packb(_any(chance)),
                    msgpack.packb({"order": _any(chance), "event": b"\xff", "x": float("nan")}),
                    msgpack.packb({"session": 5, "connected": "x", "market_open": []}),
                    msgpack.packb({"balance": {"a": float("inf")}, 5: msgpack.Timestamp(1)}),
                    msgpack.packb({"seq": -1, "symbol": "\x00", "bid": "x"}),
                ]
            )
            frames = [chance.choice(topics), value]
            await self._pub.send_multipart(frames if chance.random() < 0.9 else frames * 2)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("is_bridge", [True, False], ids=["bridge", "metatrader4-server"])
async def test_nonsense_from_the_terminal_harms_nobody(
    nats_server: NatsServer, is_bridge: bool
) -> None:
    """Each command gets an answer, none of them a success that the terminal did not tell."""
    async with Peer(is_bridge=is_bridge) as peer:
        polls = {"poll_symbols": ("EURUSD",), "poll_interval_s": 0.1, "event_interval_s": 0.1}
        endpoints = {"request_endpoint": peer.endpoint, "tick_endpoint": peer.tick_endpoint}
        config = Config.model_validate(
            {
                "terminal": FAST | endpoints | polls | {"give_up_s": 1.0},
                "nats": {"servers": (nats_server.url,)},
                "policy": {"trading": True},
                "http": {"address": "127.0.0.1:0"},
                "commands": {"longest_retry_s": 0.1},
            }
        )
        app = App(config)
        running = asyncio.create_task(app.run())
        await eventually(lambda: app.line.is_usable and app.role is Role.ACTIVE)
        async with await Mt4Client.connect(nats_server.url, client="tester") as client:
            await ask_until(client, peer, COUNT)
            trades = await asyncio.gather(
                client.order_send("EURUSD", "BUY", 0.1, timeout_s=1.0),
                client.trade("DO_ORDER_CLOSE", {"ticket": 1}, timeout_s=1.0),
                client.trade("DO_ORDER_MODIFY", {"ticket": 1, "sl": 1.0}, timeout_s=1.0),
            )
            await peer.publish_garbage(200)
            peer.is_sane = True
            await eventually(lambda: app.line.is_usable, 20)
            healed = await client.query("GET_ACCOUNT_INFO", timeout_s=20.0)

        print(f"\n{peer.bad_replies} bad replies; trades: {[str(t.outcome) for t in trades]}")
        assert not running.done()
        assert healed.succeeded
        assert "" == healed.response["name"]
        assert Outcome.SUCCEEDED != trades[0].outcome
        assert peer.bad_replies >= COUNT
        app.stop()
        await running


async def ask_until(client: Mt4Client, peer: Peer, count: int) -> None:
    """Ask for all kinds of things, twenty at once, until so many bad replies were given."""
    questions: list[tuple[str, dict[str, Any]]] = [
        ("GET_ACCOUNT_INFO", {}),
        ("GET_ORDERS", {"raw": True}),
        ("GET_HISTORICAL_ORDERS", {}),
        ("GET_ORDER", {"ticket": 1}),
        ("GET_SYMBOLS", {}),
        ("GET_SYMBOL_INFO", {"names": ["EURUSD"]}),
        ("GET_SYMBOL_INFO_STRING", {"symbol": "EURUSD", "property_id": 20}),
        ("GET_SIGNAL_INFO", {"names": ["a"]}),
        ("RUN_INDICATOR", {"indicator": "iAC", "argv": ["EURUSD", 1, 0], "timeout": 100}),
    ]
    while peer.bad_replies < count:
        batch = (questions * 3)[:20]
        results = await asyncio.gather(
            *(client.query(action, params, timeout_s=0.5) for action, params in batch)
        )

        assert {result.outcome for result in results} <= {
            Outcome.SUCCEEDED,
            Outcome.REJECTED,
            Outcome.EXPIRED,
        }
