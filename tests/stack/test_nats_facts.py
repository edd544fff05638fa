"""What nats-py and the NATS server do, shown with a real server: why bus.py and the client are so.

Each would lose or delay a command if it were otherwise, and may change with a new version.
"""

from __future__ import annotations

import asyncio
import gc
import os
import re
import signal
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import AuthorizationError, NoServersError, OutboundBufferLimitError
from nats.js.api import StorageType, StreamConfig

from tests.support.nats_server import NatsServer, nats_server_path
from tests.support.net import free_port
from tests.support.stack import eventually

PATIENCE_S = 5.0


@asynccontextmanager
async def connected(url: str, **options: Any) -> AsyncIterator[Client]:
    """Connect, quick to come back; what goes wrong meanwhile is the test's business."""

    async def quiet(_: Exception) -> None:
        """Say nothing."""

    defaults = {"error_cb": quiet, "reconnect_time_wait": 0.01, "max_reconnect_attempts": -1}
    client = await nats.connect(url, **(defaults | options))
    try:
        yield client
    finally:
        await client.close()


async def listen(client: Client, subject: str) -> list[bytes]:
    """Subscribe; what is heard goes into the list, also after a reconnect."""
    heard: list[bytes] = []

    async def note(msg: Msg) -> None:
        heard.append(msg.data)

    await client.subscribe(subject, cb=note)
    await asyncio.sleep(0)  # see test_flush_overtakes_what_was_subscribed_in_the_same_turn
    await client.flush()
    return heard


async def heard_over_an_outage(server: NatsServer, **options: Any) -> list[bytes]:
    """Publish an order while the server is away and a marker after; return what arrived."""
    async with connected(server.url, **options) as client:
        heard = await listen(client, "order")
        server.stop()
        await eventually(lambda: not client.is_connected)
        try:
            await client.publish("order", b"BUY")
        except OutboundBufferLimitError:
            heard.append(b"refused")
        server.start()
        await eventually(lambda: client.is_connected)
        await client.publish("order", b"marker")
        await eventually(lambda: b"marker" in heard)
    return heard


# ---- an absent server ----------------------------------------------------------------------


async def test_pending_size_0_refuses_at_once_and_sends_nothing_later(
    own_nats_server: NatsServer,
) -> None:
    """A refused command is certainly not executed: so our client says `NotConnected`."""
    heard = await heard_over_an_outage(own_nats_server, pending_size=0)

    assert [b"refused", b"marker"] == heard


async def test_by_default_a_command_is_buffered_and_delivered_late(
    own_nats_server: NatsServer,
) -> None:
    """Why our client never buffers, and why a trade needs a deadline whoever sends it."""
    heard = await heard_over_an_outage(own_nats_server)

    assert [b"BUY", b"marker"] == heard


async def test_unlimited_attempts_survive_a_restart_with_all_subscriptions(
    own_nats_server: NatsServer,
) -> None:
    """`max_reconnect_attempts=-1` means for ever, on the same subscriptions."""
    async with connected(own_nats_server.url) as client:
        heard = await listen(client, "tick")
        for number in range(3):
            own_nats_server.kill()
            await eventually(lambda: client.is_reconnecting)
            own_nats_server.start()
            await eventually(lambda: client.is_connected)
            await client.publish("tick", b"%d" % number)
            await eventually(lambda: len(heard) > number)  # noqa: B023 - called in this turn

    assert [b"0", b"1", b"2"] == heard


async def test_limited_attempts_close_the_client_for_good(own_nats_server: NatsServer) -> None:
    """The default of 60 would end in a gateway that is alive and deaf."""
    closed = asyncio.Event()

    async def note() -> None:
        closed.set()

    async with connected(own_nats_server.url, max_reconnect_attempts=1, closed_cb=note) as client:
        own_nats_server.stop()
        async with asyncio.timeout(PATIENCE_S):
            await closed.wait()
        own_nats_server.start()

        assert client.is_closed


async def test_first_connect_with_unlimited_attempts_never_gives_up(
    own_nats_server: NatsServer,
) -> None:
    """So whoever must answer a person in time bounds the first connect, as our client does."""
    failures = 0

    async def count(_: Exception) -> None:
        nonlocal failures
        failures += 1

    own_nats_server.stop()
    client = Client()
    connecting = asyncio.create_task(
        client.connect(
            own_nats_server.url,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.001,  # type: ignore[arg-type] # a float works
            error_cb=count,
        )
    )
    await eventually(lambda: failures > 100 or connecting.done())
    gave_up = connecting.done()
    own_nats_server.start()
    await connecting
    await client.close()

    assert not gave_up


async def test_first_connect_with_limited_attempts_raises() -> None:
    """The other way to bound it."""
    with pytest.raises(NoServersError):
        async with connected(f"nats://127.0.0.1:{free_port()}", max_reconnect_attempts=1):
            pass


# ---- publishing ----------------------------------------------------------------------------


async def test_batch_published_without_a_yield_arrives_whole_and_in_order(
    nats_server: NatsServer,
) -> None:
    """`publish` does not suspend below its buffer's size: a batch of ticks is one write."""
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with connected(nats_server.url) as receiver, connected(nats_server.url) as sender:
        heard = await listen(receiver, "tick.batch")
        batch = [b"%d" % number for number in range(10_000)]
        counting = asyncio.create_task(count_turns())
        for body in batch:
            await sender.publish("tick.batch", body)
        turns_during_the_batch = turns
        await eventually(lambda: len(heard) == len(batch))
        counting.cancel()

    assert 0 == turns_during_the_batch
    assert batch == heard


@pytest.mark.parametrize(
    ("turns", "order"), [(0, [b"PING", b"SUB order"]), (1, [b"SUB order", b"PING"])]
)
async def test_flush_overtakes_what_was_subscribed_in_the_same_turn(
    turns: int, order: list[bytes]
) -> None:
    """The PONG proves that a subscription is in place only if the loop has turned in between."""
    received: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","version":"2.12.0","max_payload":1000}\r\n')
        while line := await reader.readline():
            received.append(line.strip())
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with connected(f"nats://127.0.0.1:{port}", ping_interval=60) as client:
        at_connect = len(received)
        await client.subscribe("order")
        for _ in range(turns):
            await asyncio.sleep(0)
        await client.flush()
        await eventually(lambda: len(received) == at_connect + 2)
    server.close()
    await server.wait_closed()

    assert order == [
        line.replace(b"  ", b" ")[: len(b"SUB order")] for line in received[at_connect:]
    ]


async def test_memory_stream_of_one_message_per_subject_keeps_the_last_value(
    nats_server: NatsServer,
) -> None:
    """Who starts late reads the last tick of each symbol."""
    async with connected(nats_server.url) as client:
        stream = client.jetstream()
        await stream.add_stream(
            StreamConfig(
                name="facts",
                subjects=["facts.tick.*"],
                storage=StorageType.MEMORY,
                max_msgs_per_subject=1,
                allow_direct=True,
            )
        )
        for number in range(1_000):
            for symbol in ("EURUSD", "USDJPY"):
                await client.publish(f"facts.tick.{symbol}", b"%s %d" % (symbol.encode(), number))
        async with asyncio.timeout(PATIENCE_S):
            while (await stream.stream_info("facts")).state.last_seq < 2_000:
                pass  # the server stores after it has taken
        last = [
            (await stream.get_last_msg("facts", f"facts.tick.{symbol}", direct=True)).data
            for symbol in ("EURUSD", "USDJPY")
        ]
        kept = (await stream.stream_info("facts")).state.messages
        await stream.delete_stream("facts")

    assert [b"EURUSD 999", b"USDJPY 999"] == last
    assert 2 == kept


# ---- other credentials ------------------------------------------------------------------------


class GuardedServer:
    """A server that wants a password, which can be changed."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self._file = folder / "nats.conf"
        self._process: asyncio.subprocess.Process | None = None

    def set_password(self, password: str) -> None:
        """Write the configuration; `start` or `reload` puts it in force."""
        self._file.write_text(
            f'listen: "127.0.0.1:{self.port}"\n'
            f"authorization {{ users: [ {{ user: gateway, password: {password} }} ] }}\n"
        )

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *(nats_server_path(), "-c", str(self._file)),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await eventually(self._listens)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def reload(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    async def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            async with asyncio.timeout(PATIENCE_S):
                await self._process.wait()


@pytest.fixture
async def guarded_server(tmp_path: Path) -> AsyncIterator[GuardedServer]:
    """Run a server with the password `old`."""
    server = GuardedServer(tmp_path)
    server.set_password("old")
    await server.start()
    yield server
    await server.stop()


async def test_refused_password_on_a_living_connection_closes_the_client_for_good(
    guarded_server: GuardedServer,
) -> None:
    """Also with unlimited attempts, and without an error callback: only `closed_cb` tells."""
    errors: list[Exception] = []
    closed = asyncio.Event()

    async def note_error(exc: Exception) -> None:
        errors.append(exc)

    async def note_closed() -> None:
        closed.set()

    async with connected(
        guarded_server.url,
        user="gateway",
        password="old",
        error_cb=note_error,
        closed_cb=note_closed,
    ) as client:
        guarded_server.set_password("new")
        guarded_server.reload()
        async with asyncio.timeout(PATIENCE_S):
            await closed.wait()

        assert client.is_closed
        assert [] == errors
        assert isinstance(client.last_error, AuthorizationError)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # nats-py leaves each refused socket
async def test_refused_password_after_a_restart_is_tried_for_ever(
    guarded_server: GuardedServer,
) -> None:
    """A reconnect that is refused is not the end: it heals when the password is right again."""
    refusals = 0
    restored = asyncio.Event()

    async def count(exc: Exception) -> None:
        nonlocal refusals
        refusals += "Authorization Violation" in str(exc)

    async def note() -> None:
        restored.set()

    async with connected(
        guarded_server.url,
        user="gateway",
        password="old",
        error_cb=count,
        reconnected_cb=note,
    ) as client:
        await guarded_server.stop()
        guarded_server.set_password("new")
        await guarded_server.start()
        await eventually(lambda: refusals >= 3)
        was_closed = client.is_closed
        guarded_server.set_password("old")
        guarded_server.reload()
        async with asyncio.timeout(PATIENCE_S):
            await restored.wait()
    gc.collect()

    assert not was_closed


async def test_gateway_whose_login_is_refused_says_so_and_goes_on(
    guarded_server: GuardedServer, tmp_path: Path
) -> None:
    """At its start and later: it serves as soon as the right secret is in its file."""
    terminal, http = free_port(), free_port()
    secret = tmp_path / "password"
    secret.write_text("mistyped\n")
    environment = {
        "MT4GW_NATS__SERVERS": guarded_server.url,
        "MT4GW_NATS__USER": "gateway",
        "MT4GW_NATS__PASSWORD_FILE": str(secret),
        "MT4GW_TERMINAL__REQUEST_ENDPOINT": f"tcp://127.0.0.1:{terminal}",
        "MT4GW_TERMINAL__TICK_ENDPOINT": f"tcp://127.0.0.1:{terminal}",
        "MT4GW_HTTP__ADDRESS": f"127.0.0.1:{http}",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "gateway", "run"),
        env={**os.environ, **environment},
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    said = b""

    async def until(words: bytes) -> None:
        nonlocal said
        assert process.stderr is not None
        while words not in (line := await process.stderr.readline()):
            assert line, said
            said += line

    def ready() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{http}/readyz") as page:
                return page.status, page.read().decode()
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code, exc.read().decode()

    try:
        async with asyncio.timeout(20):
            await until(b"NATS refuses the login as user 'gateway'")
            at_first = await asyncio.to_thread(ready)
            secret.write_text("old\n")
            await until(b"gateway_serving")
            at_last = await asyncio.to_thread(ready)
            guarded_server.set_password("new")
            guarded_server.reload()
            await until(b"NATS refuses the login as user 'gateway'")
            secret.write_text("new\n")
            await until(b"nats_reconnected")
            process.terminate()
            _, rest = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

    assert 503 == at_first[0]
    assert "refuses the login as user 'gateway'" in at_first[1]
    assert 200 == at_last[0]
    assert 0 == process.returncode
    assert b"Traceback" not in said + rest
    assert not re.search(rb"mistyped|\bold\b|\bnew\b", said + rest)
