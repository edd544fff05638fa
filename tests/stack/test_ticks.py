"""Flow 2 end to end: quotes from the terminal, ticks on the bus."""

import asyncio
import os
from contextlib import suppress
from pathlib import Path

import msgpack
import nats
import pytest
from nats.aio.msg import Msg
from nats.js.errors import NotFoundError

from gateway import ticks
from gateway.client import TickMessage
from gateway.metrics import Metrics
from gateway.sim.quotes import Replay, spec_for_file
from tests.support.nats_server import NatsServer
from tests.support.stack import EXISTING_SERVER, Stack, eventually

QUOTES = os.environ.get("MT4GW_QUOTES")
"""A file of real quotes to replay; a made one is used without it."""


def made_quotes(folder: Path, count: int = 400) -> Path:
    """Write quotes in the form in which they are published, a second apart."""
    file = folder / "eurusd.csv"
    lines = (
        f"20200101 17{n // 60:02d}{n % 60:02d}000,{1.12 + n / 1e5:.6f},{1.1201 + n / 1e5:.6f},0"
        for n in range(count)
    )
    file.write_text("\n".join(lines) + "\n")
    return file


def prices_in(file: Path) -> list[tuple[float, float]]:
    """Read what must arrive."""
    rows = (line.split(",") for line in file.read_text().splitlines())
    return [(float(bid), float(ask)) for _, bid, ask, _ in rows]


class Subscriber:
    """A plain NATS subscriber to one symbol's ticks."""

    def __init__(self) -> None:
        self.ticks: list[TickMessage] = []

    async def start(self, url: str) -> None:
        """Return once the server has the subscription."""
        self.connection = await nats.connect(url, reconnect_time_wait=0.05)
        await self.connection.subscribe("mt4.*.tick.EURUSD", cb=self._note)
        await self.connection.flush()

    async def _note(self, msg: Msg) -> None:
        last = self.ticks[-1].seq if self.ticks else None
        self.ticks.append(TickMessage.read(msgpack.unpackb(msg.data), last))


@pytest.mark.timeout(120)
async def test_replayed_quotes_all_arrive_in_order(nats_server: NatsServer, tmp_path: Path) -> None:
    """A thousand times faster than life: identical prices, contiguous numbers."""
    file = Path(QUOTES) if QUOTES else made_quotes(tmp_path)
    expected = prices_in(file)
    subscriber = Subscriber()
    await subscriber.start(nats_server.url)
    replay = Replay(file, spec_for_file(file, "EURUSD"), speed=1000.0)
    async with Stack(nats_server.url, quotes=replay):
        await eventually(lambda: len(subscriber.ticks) >= len(expected), 90)
    await subscriber.connection.close()

    assert expected == [(tick.bid, tick.ask) for tick in subscriber.ticks]
    assert list(range(1, len(expected) + 1)) == [tick.seq for tick in subscriber.ticks]


@pytest.mark.timeout(120)
async def test_cut_subscriber_loses_its_own_gap_only_and_can_count_it(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    """What came while it was away shows as missing numbers; nothing else is lost."""
    file = Path(QUOTES) if QUOTES else made_quotes(tmp_path)
    expected = prices_in(file)
    subscriber = Subscriber()
    await subscriber.start(nats_server.url)
    replay = Replay(file, spec_for_file(file, "EURUSD"), speed=1000.0)
    async with Stack(nats_server.url, quotes=replay) as stack:
        await eventually(lambda: len(subscriber.ticks) >= len(expected) // 2, 90)
        await subscriber.connection.force_reconnect()
        await eventually(lambda: stack.app.ticks.newest["EURUSD"].seq == len(expected), 90)
        await eventually(lambda: subscriber.connection.is_connected)
        await subscriber.connection.flush()
        await stack.quote("EURUSD", 1.5, 1.6)  # it may have been away for all that was left
        expected.append((1.5, 1.6))
        await eventually(lambda: subscriber.ticks[-1].seq == len(expected))
    await subscriber.connection.close()

    missed = sum(tick.missed for tick in subscriber.ticks)
    assert len(expected) == len(subscriber.ticks) + missed
    assert [expected[tick.seq - 1] for tick in subscriber.ticks] == [
        (tick.bid, tick.ask) for tick in subscriber.ticks
    ]


async def test_last_tick_of_each_symbol_is_kept(nats_server: NatsServer) -> None:
    """A late comer reads the price without waiting for the next tick."""
    async with Stack(nats_server.url) as stack:
        connection = await nats.connect(nats_server.url)
        for symbol in ("EURUSD.m", "GOLD spot"):
            await stack.quote(symbol, 7.5, 7.6)
        stream = connection.jetstream()
        kept = None
        while kept is None:
            with suppress(NotFoundError):  # not yet on its way
                kept = await stream.get_last_msg("mt4_demo_ticks", "mt4.demo.tick.GOLD=20spot")
        await connection.close()

        assert 7.5 == msgpack.unpackb(kept.data or b"")["bid"]


async def test_gap_in_the_terminals_numbers_is_counted(nats_server: NatsServer) -> None:
    """What was lost before the gateway is not hidden."""
    async with Stack(nats_server.url, ticks={"symbols": ("EURUSD",)}) as stack:
        ticks = stack.app.ticks
        for seq in (1, 2, 5):
            ticks.receive([(b"tick.EURUSD", packed_tick(seq))])

        assert 2 == stack.metric("ticks_missed_total", symbol="EURUSD")


async def test_slow_bus_gets_the_newest_tick_and_the_rest_is_counted(
    own_nats_server: NatsServer,
) -> None:
    """A stale price is worse than none."""
    async with Stack(own_nats_server.url, ticks={"symbols": ("EURUSD",)}) as stack:
        own_nats_server.stop()
        await eventually(lambda: not stack.app.bus.is_connected)
        for seq in range(1, 11):
            stack.app.ticks.receive([(b"tick.EURUSD", packed_tick(seq))])
        subscriber = Subscriber()
        own_nats_server.start()
        await subscriber.start(own_nats_server.url)
        await eventually(lambda: stack.app.bus.is_connected and subscriber.ticks)
        await subscriber.connection.close()

        assert [10] == [tick.seq for tick in subscriber.ticks]
        assert 9 == stack.metric("ticks_conflated_total", symbol="EURUSD")


async def test_existing_server_is_polled_for_ticks(nats_server: NatsServer) -> None:
    """It publishes none, so configured symbols are looked at, and said to be sampled."""
    subscriber = Subscriber()
    await subscriber.start(nats_server.url)
    polling = {"poll_symbols": ("EURUSD",), "poll_interval_s": 0.02}
    async with Stack(nats_server.url, EXISTING_SERVER, terminal=polling) as stack:
        await eventually(lambda: subscriber.ticks)
        await stack.terminal.quote("EURUSD", 1.5, 1.6)
        await eventually(lambda: subscriber.ticks[-1].bid == 1.5)
    await subscriber.connection.close()

    assert [1, 2] == [tick.seq for tick in subscriber.ticks]
    assert {"sampled"} == {tick.mode for tick in subscriber.ticks}


def packed_tick(seq: int) -> bytes:
    """Write a tick as the terminal does."""
    tick = {
        "seq": seq,
        "symbol": "EURUSD",
        "time": 1_577_898_000_000 + seq,
        "broker_time": 1_577_905_200,
        "bid": 1.1,
        "ask": 1.2,
        "last": 0.0,
        "volume": 1.0,
        "mode": "event",
    }
    body: bytes = msgpack.packb(tick)
    return body


async def test_nothing_is_offered_to_a_bus_that_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a gateway that was replaced would try for ever."""
    monkeypatch.setattr(ticks, "RETRY_S", 0.0)
    offers: list[list[tuple[str, bytes]]] = []

    def refuse(batch: list[tuple[str, bytes]]) -> bool:
        offers.append(batch)
        return False

    path = ticks.Ticks("msgpack", publish=refuse, heard=lambda *_: None, metrics=Metrics())
    path.polled("EURUSD", {"time": 1, "bid": 1.1, "ask": 1.2}, 1)
    await eventually(lambda: len(offers) > 1)
    path.close()
    offers.clear()
    for _ in range(10):
        await asyncio.sleep(0)

    assert [] == offers
