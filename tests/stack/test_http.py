"""The HTTP side, asked over real sockets."""

import asyncio
import json
import logging
import re
import socket
import struct
import threading
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import http_server
from gateway.app import loop_factory
from gateway.errors import ConfigError
from gateway.metrics import Metrics
from gateway.status import PAGE, StatusServer, watch_loop_lag
from tests.support.stack import eventually

PIECES = [b"GET", b" ", b"/", b"HTTP/", b"1.1", b"9" * 5000, b"\r\n", b"\n", b"A: b", b":", b"\xff"]
"""Of which requests consist that are nearly right."""

HALF_A_REQUEST = b"GET /metrics HTTP/1.1\r\nHost: a\r\nX-Slow: "


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Gateway:
    """What the server asks of the rest of the gateway."""

    metrics: Metrics = field(default_factory=Metrics)
    status: dict[str, Any] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    def server(self, address: str = "127.0.0.1:0") -> StatusServer:
        return StatusServer(address, self.metrics, lambda: self.status, lambda: self.reasons)


class SlowMetrics(Metrics):
    """Metrics whose rendering takes until `go_on` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.renderings = 0
        self.go_on = threading.Event()

    def render(self, accept: str = "") -> tuple[bytes, str]:
        self.renderings += 1
        assert self.go_on.wait(10)
        return super().render(accept)


@pytest.fixture
def gateway() -> Gateway:
    """Stand in for the rest of the gateway."""
    return Gateway()


@pytest.fixture
async def server(gateway: Gateway) -> AsyncIterator[StatusServer]:
    """Serve it on a free port."""
    server = gateway.server()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def slow_metrics(gateway: Gateway) -> Iterator[SlowMetrics]:
    """Ask for this before `server`."""
    gateway.metrics = metrics = SlowMetrics()
    yield metrics
    metrics.go_on.set()


async def test_metrics_are_served(server: StatusServer) -> None:
    """A scrape gets the exposition."""
    answer = await ask(server, "/metrics")

    assert b"\nmt4_gateway_terminal_up 0.0\n" in answer.body


async def test_openmetrics_is_served_to_who_asks_for_it(server: StatusServer) -> None:
    """The `Accept` header reaches the rendering."""
    answer = await ask(server, "/metrics", headers="Accept: application/openmetrics-text\r\n")

    assert answer.headers["content-type"].startswith("application/openmetrics-text")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/status", "/", "/nothing", "/metrics/"])
async def test_metrics_are_on_their_path_only(server: StatusServer, path: str) -> None:
    """A probe that points anywhere else must not be told 200 by the exposition."""
    answer = await ask(server, path)

    assert b"mt4_gateway_" not in answer.body


@pytest.mark.parametrize(
    "path", ["/nothing", "/metrics/", "//metrics", "/status.html", "/favicon.ico"]
)
async def test_other_paths_are_not_found(server: StatusServer, path: str) -> None:
    """404 beside the five paths."""
    assert 404 == (await ask(server, path)).status


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_only_reading_is_allowed(server: StatusServer, method: str) -> None:
    """Nothing can be changed over HTTP."""
    assert 405 == (await ask(server, "/status", method=method)).status


@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics", "/readyz", "/status"])
async def test_head_answers_without_a_body(server: StatusServer, path: str) -> None:
    """HEAD is GET without the body."""
    answer = await ask(server, path, method="HEAD")

    assert (200, b"") == (answer.status, answer.body)


async def test_health_tells_the_last_loop_lag(gateway: Gateway, server: StatusServer) -> None:
    """A turning loop is healthy, however late it was: 200 with the lag."""
    gateway.metrics.loop_lagged(6.5)
    answer = await ask(server, "/healthz")

    assert (200, {"loop_lag_s": 6.5}) == (answer.status, answer.json)


async def test_ready_gateway_answers_200(server: StatusServer) -> None:
    """No reason against it means ready."""
    answer = await ask(server, "/readyz")

    assert (200, {"ready": True, "reasons": []}) == (answer.status, answer.json)


async def test_gateway_that_is_not_ready_says_why(gateway: Gateway, server: StatusServer) -> None:
    """503 with every reason."""
    gateway.reasons += ["NATS is not connected", "draining"]
    answer = await ask(server, "/readyz")

    assert (503, gateway.reasons) == (answer.status, answer.json["reasons"])


async def test_status_is_what_the_gateway_says(gateway: Gateway, server: StatusServer) -> None:
    """The JSON is passed on as it is."""
    gateway.status |= {"role": "active", "ticks": {"EUR<b>USD": {"bid": 1.1, "ask": None}}}

    assert gateway.status == (await ask(server, "/status")).json


async def test_page_may_run_only_its_own_script(server: StatusServer) -> None:
    """The policy names the hash of the one script, so an injected one would not run."""
    answer = await ask(server, "/")
    (script,) = re.findall(rb"<script>(.*?)</script>", answer.body, re.DOTALL)
    digest = b64encode(sha256(script).digest()).decode()

    assert f"script-src 'sha256-{digest}';" in answer.headers["content-security-policy"]


def test_page_never_parses_a_value_as_html() -> None:
    """Symbol names come from a broker: the script uses nothing that could make markup of one."""
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval|DOMParser|href ="

    assert not re.findall(forbidden, PAGE.read_text(encoding="utf-8"))


def test_page_loads_nothing_from_elsewhere() -> None:
    """It works in a network without the Internet, and tells nobody that it was opened."""
    assert not re.findall(r"https?://|//cdn|@import|src=", PAGE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", ["/", "/metrics", "/nothing"])
async def test_answers_are_not_stored_and_not_guessed_at(server: StatusServer, path: str) -> None:
    """Every answer forbids caching and content sniffing."""
    headers = (await ask(server, path)).headers

    assert ("no-store", "nosniff") == (
        headers["cache-control"],
        headers["x-content-type-options"],
    )


async def test_200_silent_connections_do_not_stop_a_scrape(server: StatusServer) -> None:
    """The oldest have to go, so a scrape beside a slowloris is answered within a second."""
    async with AsyncExitStack() as connections:
        for _ in range(200):
            await connections.enter_async_context(half_open(server))
        answer = await asyncio.wait_for(ask(server, "/metrics"), 1.0)

    assert 200 == answer.status


async def test_newcomer_replaces_the_oldest_connection(
    monkeypatch: pytest.MonkeyPatch, server: StatusServer
) -> None:
    """Memory and descriptors stay bounded."""
    monkeypatch.setattr(http_server, "MAX_CONNECTIONS", 1)
    async with half_open(server) as oldest, half_open(server):
        assert b"" == await read_to_end(oldest)


async def test_half_sent_request_is_cut(
    monkeypatch: pytest.MonkeyPatch, server: StatusServer
) -> None:
    """A connection has only so long to live."""
    monkeypatch.setattr(http_server, "LIFETIME_S", 0.01)
    async with half_open(server) as reader:
        assert b"" == await read_to_end(reader)


async def test_connection_ends_with_its_answer(server: StatusServer) -> None:
    """A connection carries one request: the second one of these gets nothing."""
    reader, writer = await asyncio.open_connection(*host_and_port(server))
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
    received = await read_to_end(reader)
    writer.close()

    assert 1 == received.count(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"", 400),
        (b"GET", 400),
        (b"GET / HTTP/1.1\r\nBad Header", 400),
        (b"GET / HTTP/1.1\r\nA: b\rB: c", 400),
        (b"GET / HTTP/one", 400),
        (b"GET / / HTTP/1.1", 400),
        (b"GET / HTTP/2.0", 505),
        (b"GET / HTTP/1.1" + b"\r\nA: b" * 101, 431),
        (b"GET /%b HTTP/1.1" % (b"a" * http_server.MAX_HEAD_BYTES), 431),
    ],
)
async def test_malformed_request_is_not_an_error_of_ours(
    head: bytes, status: int, server: StatusServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A stranger cannot fill the log: told so in a whole answer, and not a line."""
    with caplog.at_level(logging.DEBUG):
        received = await exchange(server, head + b"\r\n\r\n")

    said = [record for record in caplog.records if record.name != "asyncio"]
    assert (b"HTTP/1.1 %d" % status, []) == (received[:12], said)
    assert b"\r\nX-Content-Type-Options: nosniff\r\n" in received


@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=8)).map(b"".join))
def test_no_bytes_are_an_error_of_ours(head: bytes) -> None:
    """Whatever is sent is read as a request or refused."""
    exchange = http_server._Exchange(head)

    assert exchange.refusal or (exchange.command and exchange.target)


@pytest.mark.parametrize(
    "headers",
    [
        b"".join(b"Content-Type:multipart/a;boundary=%x\r\r--%x\r" % (n, n) for n in range(200)),
        b"Content-Type: message/delivery-status\r\r",
        b"Content-Type: multipart/digest;boundary=a\r\r" + b"--a\r\r" * 3_000,
        b"Content-Type: multipart/a" + b";a" * 8_000 + b"\r\n",
    ],
)
def test_worst_head_costs_little(headers: bytes) -> None:
    """The loop that trades reads it: what stands in a header is never parsed as a message."""
    head = (b"GET / HTTP/1.1\r\n" + headers).ljust(http_server.MAX_HEAD_BYTES - 4, b"\r") + b"\r\n"
    costs_s = []
    for _ in range(5):
        begun_s = time.thread_time()
        http_server._Exchange(head)
        costs_s.append(time.thread_time() - begun_s)

    assert min(costs_s) < 0.01


async def test_request_without_a_version_has_a_whole_answer(server: StatusServer) -> None:
    """As HTTP 0.9 had none, its answers had no headers; ours always say how they may be read."""
    received = await exchange(server, b"GET /healthz\r\n\r\n")

    assert received.startswith(b"HTTP/1.1 200 ")


async def test_loop_turns_while_metrics_are_rendered(
    slow_metrics: SlowMetrics, server: StatusServer
) -> None:
    """A probe is answered in the middle of a long rendering."""
    scrape = asyncio.create_task(server.render(""))
    answer = await ask(server, "/healthz")
    slow_metrics.go_on.set()
    await scrape

    assert 200 == answer.status


async def test_scrapes_at_once_share_one_rendering(
    slow_metrics: SlowMetrics, server: StatusServer
) -> None:
    """Ten impatient scrapers cost as much as one."""
    scrapes = [asyncio.create_task(server.render("")) for _ in range(10)]
    await asyncio.sleep(0)  # all have asked
    slow_metrics.go_on.set()
    await asyncio.gather(*scrapes)

    assert 1 == slow_metrics.renderings


async def test_scraper_that_hangs_up_takes_nothing_from_the_others(
    slow_metrics: SlowMetrics, server: StatusServer
) -> None:
    """Cancelling one of two leaves the shared rendering alone."""
    first, second = (asyncio.create_task(server.render("")) for _ in range(2))
    await asyncio.sleep(0)  # both have asked
    first.cancel()
    slow_metrics.go_on.set()
    body, _ = await second

    assert b"mt4_gateway_" in body


async def test_next_scrape_is_rendered_anew(gateway: Gateway, server: StatusServer) -> None:
    """Sharing is no cache."""
    await ask(server, "/metrics")
    gateway.metrics.terminal_is_up(True)
    answer = await ask(server, "/metrics")

    assert b"\nmt4_gateway_terminal_up 1.0\n" in answer.body


async def test_only_the_given_address_is_listened_on(server: StatusServer) -> None:
    """Another address of this machine finds nobody."""
    _, port = host_and_port(server)
    connecting = asyncio.open_connection("127.0.0.2", port)

    with pytest.raises(OSError):  # noqa: PT011 - refused, or no such address on some systems
        await asyncio.wait_for(connecting, 1.0)


async def test_address_in_use_is_a_configuration_error(
    gateway: Gateway, server: StatusServer
) -> None:
    """The start fails with the key and the address."""
    with pytest.raises(ConfigError, match=f"http.address: cannot listen on {server.address}: "):
        await gateway.server(server.address).start()


@pytest.mark.skipif(not socket.has_ipv6, reason="this system has no IPv6")
async def test_ipv6_address_is_written_in_brackets(gateway: Gateway) -> None:
    """The real address can be put into a URL."""
    server = gateway.server("[::1]:0")
    try:
        await server.start()
    except ConfigError as error:
        pytest.skip(f"no IPv6 loopback: {error}")
    await server.stop()

    assert re.fullmatch(r"\[::1\]:[1-9]\d*", server.address)


async def test_stop_does_not_wait_for_silent_connections(gateway: Gateway) -> None:
    """A slowloris cannot hold up a shutdown."""
    server = gateway.server()
    await server.start()
    async with half_open(server) as reader:
        await asyncio.wait_for(server.stop(), 0.9)

        assert b"" == await read_to_end(reader)


def test_client_that_resets_its_connection_is_no_error_of_ours(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nor one that is cut; on the loop that the gateway runs on."""

    async def slow(_: str) -> http_server.Answer:
        await reset.wait()
        return http_server.Answer(b"late")

    async def serve() -> None:
        server = http_server.HttpServer({"/slow": slow}, {})
        host, _, port = (await server.start("127.0.0.1:0")).rpartition(":")
        client = socket.create_connection((host, int(port)))
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        await eventually(lambda: server._connections)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        (writer,) = server._connections
        await eventually(writer.transport.is_closing)
        reset.set()
        await eventually(lambda: not server._connections)
        await server.stop()

    reset = asyncio.Event()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve())

    assert [] == [record.message for record in caplog.records if record.levelname == "ERROR"]


async def test_loop_lag_is_recorded() -> None:
    """A blocked loop shows as the time that it was late."""
    recorded: asyncio.Queue[float] = asyncio.Queue()
    watching = asyncio.create_task(watch_loop_lag(recorded.put_nowait, interval_s=0.001))
    await asyncio.sleep(0)  # it is waiting
    threading.Event().wait(0.05)
    lag_s = await recorded.get()
    watching.cancel()

    assert 0.04 < lag_s < 5


class half_open:  # noqa: N801 - reads as a function at its uses
    """A connection on which half a request has been sent."""

    def __init__(self, server: StatusServer) -> None:
        self._server = server

    async def __aenter__(self) -> asyncio.StreamReader:
        reader, self._writer = await asyncio.open_connection(*host_and_port(self._server))
        self._writer.write(HALF_A_REQUEST)
        return reader

    async def __aexit__(self, *_: object) -> None:
        self._writer.transport.abort()


async def ask(server: StatusServer, path: str, method: str = "GET", headers: str = "") -> Answer:
    """Send one request and read its answer."""
    request = f"{method} {path} HTTP/1.1\r\nHost: a\r\n{headers}\r\n"
    head, _, body = (await exchange(server, request.encode())).partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    fields = (line.split(": ", 1) for line in lines)
    return Answer(int(first.split()[1]), {name.lower(): text for name, text in fields}, body)


async def exchange(server: StatusServer, request: bytes) -> bytes:
    """Send bytes and return all that comes back."""
    reader, writer = await asyncio.open_connection(*host_and_port(server))
    writer.write(request)
    received = await read_to_end(reader)
    writer.close()
    return received


async def read_to_end(reader: asyncio.StreamReader) -> bytes:
    """Read until the server ends the connection, one way or the other."""
    try:
        return await asyncio.wait_for(reader.read(), 5.0)
    except ConnectionResetError:
        return b""


def host_and_port(server: StatusServer) -> tuple[str, int]:
    """Split the address for a connection."""
    host, _, port = server.address.rpartition(":")
    return host.strip("[]"), int(port)
