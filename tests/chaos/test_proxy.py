"""The proxy between the parts of a chaos run: it lets pass, holds up and cuts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.chaos.history import Frame
from tests.chaos.proxy import DOWN, UP, FrameReader, Proxy

PATIENCE_S = 5.0


@asynccontextmanager
async def _echo() -> AsyncIterator[Proxy]:
    """Run a proxy in front of a server that says everything again."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(1000):
            writer.write(chunk)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy = Proxy("link", server.sockets[0].getsockname()[1])
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.close()
        server.close()


@asynccontextmanager
async def _connected(
    proxy: Proxy,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def _is_alive(proxy: Proxy) -> bool:
    async with _connected(proxy) as (reader, writer):
        writer.write(b"1")
        try:
            return await reader.readexactly(1) == b"1"
        except (ConnectionError, asyncio.IncompleteReadError):
            return False


async def test_what_is_held_up_arrives_later() -> None:
    """A stall loses nothing."""
    async with _echo() as proxy, asyncio.timeout(PATIENCE_S), _connected(proxy) as (reader, writer):
        for direction in (UP, DOWN):
            proxy.stall(direction)
            writer.write(b"hello")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.readexactly(5), 0.05)
            proxy.heal()

            assert b"hello" == await reader.readexactly(5)


async def test_cut_ends_connections_and_refuses_new_ones() -> None:
    """While a link is cut nobody gets through; afterwards everybody does."""
    async with _echo() as proxy, asyncio.timeout(PATIENCE_S), _connected(proxy) as (reader, writer):
        writer.write(b"1")
        await reader.readexactly(1)
        proxy.cut()

        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        assert not await _is_alive(proxy)

        proxy.heal()

        assert await _is_alive(proxy)


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
def test_frames_are_read_however_the_stream_is_cut(size: int) -> None:
    """Trades and RESOLVEs are noticed, once each, whatever else passes; reads are not."""
    seen: list[Frame] = []
    read = FrameReader("gateway-a", seen.append)
    bodies = [
        {"action": action, "id": "alpha/c1", "attempt": attempt, "epoch": 3, "text": "x{"}
        for attempt in (1, 2)
        for action in ("DO_ORDER_SEND", "GET_ORDERS", "RESOLVE")
    ]
    stream = b"".join(b"\x00\x07" + json.dumps(body).encode() for body in bodies)
    for start in range(0, len(stream), size):
        read(stream[start : start + size])

    wanted = [("DO_ORDER_SEND", 1), ("RESOLVE", 1), ("DO_ORDER_SEND", 2), ("RESOLVE", 2)]
    assert wanted == [(frame.action, frame.attempt) for frame in seen]
    assert {3} == {frame.epoch for frame in seen}
