"""The encrypted way to the terminal: who is let in, who is not, and what strangers can disturb."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq
from zmq.utils.monitor import parse_monitor_message

from gateway import keys
from gateway.cli import main
from gateway.config import load
from gateway.errors import ConfigError
from gateway.sim.options import SimCurve
from gateway.terminal import zmq as zmq_wire
from gateway.terminal.curve import Curve
from gateway.terminal.peers import Peers
from gateway.terminal.zmq import ZmqFeed, ZmqWire
from tests.support.nats_server import NatsServer
from tests.support.net import free_port
from tests.support.stack import QUIET, Stack, eventually

AT_ONCE = 100


@pytest.fixture(autouse=True)
def _on_this_machine_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Listen on loopback."""
    monkeypatch.setattr(zmq_wire, "EVERY_INTERFACE", "127.0.0.1")


@dataclass(frozen=True, slots=True)
class Sides:
    """Keys of a gateway and of a terminal, as an operator makes them."""

    gateway: keys.Pair
    terminal: keys.Pair

    @property
    def of_gateway(self) -> Curve:
        """Return what the gateway is configured with."""
        return Curve(self.gateway.secret_file, self.terminal.public_file, self.terminal.public_file)

    @property
    def of_terminal(self) -> tuple[bytes, bytes, bytes]:
        """Return the terminal's public and secret key, and the gateway's public key."""
        secret = self.terminal.secret_file.read_text("ascii").strip()
        return self.terminal.public.encode(), secret.encode(), self.gateway.public.encode()


@pytest.fixture
def sides(tmp_path: Path) -> Sides:
    """Make both pairs."""
    return Sides(keys.make(tmp_path, "gateway"), keys.make(tmp_path, "terminal"))


class Sockets:
    """The other side: terminals, right ones and wrong ones."""

    def __init__(self) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._open: list[zmq.Socket[bytes]] = []

    def connect(
        self, kind: int, port: int, identity: tuple[bytes, bytes, bytes] | None
    ) -> zmq.Socket[bytes]:
        """Connect to a gateway, with keys or without."""
        made = self._made(kind)
        if identity is not None:
            made.curve_publickey, made.curve_secretkey, made.curve_serverkey = identity
        made.connect(f"tcp://127.0.0.1:{port}")
        return made

    async def is_refused(self, port: int, identity: tuple[bytes, bytes, bytes] | None) -> bool:
        """Try once to connect and tell how the handshake ended."""
        made = self._context.socket(zmq.REP)
        made.linger, made.reconnect_ivl = 0, -1
        if identity is not None:
            made.curve_publickey, made.curve_secretkey, made.curve_serverkey = identity
        with closing(made), closing(made.get_monitor_socket(zmq.EVENT_ALL)) as monitor:
            made.connect(f"tcp://127.0.0.1:{port}")
            said = await refusal(monitor)
            made.disable_monitor()
        return said

    def bind(self, port: int, secret: bytes | None) -> zmq.Socket[bytes]:
        """Wait for a gateway as a REP, with a key or without."""
        made = self._made(zmq.REP)
        if secret is not None:
            made.curve_server, made.curve_secretkey = True, secret
        made.bind(f"tcp://127.0.0.1:{port}")
        return made

    async def bind_again(self, port: int, secret: bytes) -> zmq.Socket[bytes]:
        """Bind where another was just closed: libzmq lets go a moment later."""
        bound: list[zmq.Socket[bytes]] = []

        def tried() -> bool:
            with suppress(zmq.ZMQError):
                bound.append(self.bind(port, secret))
            return bool(bound)

        await eventually(tried)
        return bound[0]

    def _made(self, kind: int) -> zmq.Socket[bytes]:
        made = self._context.socket(kind)
        made.linger = 0
        made.reconnect_ivl = 10
        self._open.append(made)
        return made

    def watched(self, other: zmq.Socket[bytes]) -> zmq.Socket[bytes]:
        """Follow what happens to a socket's connection."""
        self._open.append(other.get_monitor_socket(zmq.EVENT_ALL))
        return self._open[-1]

    def close(self) -> None:
        """Close all."""
        for one in self._open:
            one.close(linger=0)
        self._context.term()


@pytest.fixture
def others() -> Iterator[Sockets]:
    """Give sockets that end with the test."""
    with closing(Sockets()) as sockets:
        yield sockets


class Line:
    """A wire with a record of what it tells."""

    def __init__(self, endpoint: str, curve: Curve | None) -> None:
        self.links: list[bool] = []
        self.frames: list[bytes] = []
        self.wire = ZmqWire(endpoint, curve)
        self.wire.open(lambda _, body: self.frames.append(body), self.links.append)

    async def linked(self) -> None:
        """Wait for a link."""
        await eventually(lambda: self.links and self.links[-1])

    async def hears(self, terminal: zmq.Socket[bytes], text: bytes) -> bool:
        """Ask, let the terminal answer, and tell whether the answer came."""
        assert self.wire.send(b"1", b"question")
        await eventually(lambda: terminal.poll(0))
        terminal.recv()
        terminal.send(text)
        await eventually(lambda: self.frames)
        return self.frames.pop() == text


@contextmanager
def line(endpoint: str, curve: Curve | None) -> Iterator[Line]:
    """Open a wire for one test."""
    made = Line(endpoint, curve)
    try:
        yield made
    finally:
        made.wire.close()


# ---- the gateway connects ------------------------------------------------------------------------


async def test_gateway_talks_to_the_terminal_whose_key_it_knows(
    sides: Sides, others: Sockets
) -> None:
    """Encrypted, both ways."""
    port = free_port()
    _, secret, _ = sides.of_terminal
    terminal = others.bind(port, secret)
    with line(f"tcp://127.0.0.1:{port}", sides.of_gateway) as gateway:
        await gateway.linked()

        assert await gateway.hears(terminal, b"answer")


@pytest.mark.parametrize("kind", ["another key", "no key"])
async def test_gateway_sends_nothing_to_another_terminal(
    sides: Sides, others: Sockets, kind: str
) -> None:
    """Somebody who took its address gets no order."""
    port = free_port()
    impostor = others.bind(port, zmq.curve_keypair()[1] if kind == "another key" else None)
    watched = others.watched(impostor)
    with line(f"tcp://127.0.0.1:{port}", sides.of_gateway) as gateway:
        assert await refusal(watched)
        assert await refusal(watched)
        assert [] == gateway.links
        assert not gateway.wire.send(b"1", b"order")
        assert not impostor.poll(0)


@pytest.mark.parametrize("kind", ["another key", "no key"])
async def test_right_terminal_is_found_after_a_wrong_one(
    sides: Sides, others: Sockets, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it is put right, nobody has to restart the gateway."""
    monkeypatch.setattr(zmq_wire, "REOPEN_AFTER_S", 0.02)
    port = free_port()
    impostor = others.bind(port, zmq.curve_keypair()[1] if kind == "another key" else None)
    watched = others.watched(impostor)
    with line(f"tcp://127.0.0.1:{port}", sides.of_gateway) as gateway:
        assert await refusal(watched)
        impostor.disable_monitor()
        impostor.close()
        terminal = await others.bind_again(port, sides.of_terminal[1])
        await gateway.linked()

        assert await gateway.hears(terminal, b"answer")


# ---- the gateway listens -------------------------------------------------------------------------


async def test_terminal_with_a_known_key_is_let_in(sides: Sides, others: Sockets) -> None:
    """It has checked the gateway's key, and the gateway has checked its."""
    port = free_port()
    with line(f"tcp://*:{port}", sides.of_gateway) as gateway:
        terminal = others.connect(zmq.REP, port, sides.of_terminal)
        await gateway.linked()

        assert await gateway.hears(terminal, b"answer")


@pytest.mark.parametrize("strangers", [200, pytest.param(1_000, marks=pytest.mark.long)])
async def test_unknown_keys_are_refused_each_time_and_disturb_nobody(
    sides: Sides, others: Sockets, strangers: int
) -> None:
    """They know the gateway's public key but are not on its list."""
    port = free_port()
    refused = 0
    with line(f"tcp://*:{port}", sides.of_gateway) as gateway:
        terminal = others.connect(zmq.REP, port, sides.of_terminal)
        await gateway.linked()
        for _ in range(strangers // AT_ONCE):
            mine = (*zmq.curve_keypair(), sides.gateway.public.encode())
            crowd = [others.is_refused(port, mine) for _ in range(AT_ONCE)]
            refused += sum(await asyncio.gather(*crowd))
        heard = await gateway.hears(terminal, b"answer")

        assert strangers == refused
        assert heard
        assert [True] == gateway.links


async def refusal(monitor: zmq.Socket[bytes]) -> bool:
    """Wait for the end of a handshake and tell whether it was a refusal."""
    while True:
        await eventually(lambda: monitor.poll(0))
        event = int(parse_monitor_message(monitor.recv_multipart())["event"])
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            return False
        if event in (zmq.EVENT_HANDSHAKE_FAILED_AUTH, zmq.EVENT_DISCONNECTED):
            return True


async def test_terminal_without_a_key_is_refused(sides: Sides, others: Sockets) -> None:
    """There is no way down to an unencrypted connection."""
    port = free_port()
    with line(f"tcp://*:{port}", sides.of_gateway) as gateway:
        assert await others.is_refused(port, None)
        assert [] == gateway.links


async def test_nobody_is_let_in_when_the_guard_is_dead(
    sides: Sides, others: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without ZAP_ENFORCE_DOMAIN libzmq would then let everybody in."""
    monkeypatch.setattr(zmq_wire, "HANDSHAKE_WITHIN_MS", 300)
    port = free_port()
    stranger = (*zmq.curve_keypair(), sides.gateway.public.encode())
    with line(f"tcp://*:{port}", sides.of_gateway) as gateway:
        assert gateway.wire._guard is not None
        gateway.wire._guard.stop()
        tries = (others.is_refused(port, who) for who in (stranger, sides.of_terminal))
        assert [True, True] == await asyncio.gather(*tries)
        assert [] == gateway.links


@pytest.mark.parametrize(
    "before",
    [zmq.curve_keypair()[0].decode(), "~" * 40, "#" * 40, ""],
    ids=["another", "unreadable", "too large", "none"],
)
async def test_key_is_let_in_as_soon_as_it_is_on_the_list(
    sides: Sides, others: Sockets, before: str
) -> None:
    """A new terminal needs no restart of the gateway; a lost key is off at its next connection.

    Nor does a file need one that was spoiled for a while: the guard outlives it.
    """
    port = free_port()
    known = sides.terminal.public_file.read_text("ascii")
    sides.terminal.public_file.write_text(f"{before} another\n", "ascii")
    with line(f"tcp://*:{port}", sides.of_gateway) as gateway:
        is_refused = await others.is_refused(port, sides.of_terminal)
        sides.terminal.public_file.write_text(known, "ascii")
        others.connect(zmq.REP, port, sides.of_terminal)
        await gateway.linked()

        assert is_refused


@pytest.mark.parametrize("greets", [b"", b"GET / HTTP/1.1\r\n\r\n"], ids=["silent", "http"])
async def test_stranger_on_the_port_does_not_take_the_link_down(
    sides: Sides, others: Sockets, greets: bytes
) -> None:
    """A port scan is not a second terminal."""
    port = free_port()
    with line(f"tcp://*:{port}", sides.of_gateway) as gateway:
        terminal = others.connect(zmq.REP, port, sides.of_terminal)
        await gateway.linked()
        heard = False
        for _ in range(3):
            with closing(socket.create_connection(("127.0.0.1", port))) as stranger:
                stranger.sendall(greets)
                heard = await gateway.hears(terminal, b"answer")

        assert heard
        assert [True] == gateway.links


async def test_stranger_on_an_open_port_stops_the_trade_until_it_has_gone(others: Sockets) -> None:
    """Without keys it might be sent every other order: to libzmq these bytes are an old peer."""
    port = free_port()
    with line(f"tcp://*:{port}", None) as gateway:
        terminal = others.connect(zmq.REP, port, None)
        await gateway.linked()
        with closing(socket.create_connection(("127.0.0.1", port))) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
            await eventually(lambda: gateway.links == [True, False])
        await gateway.linked()

        assert await gateway.hears(terminal, b"answer")


async def test_ticks_of_an_unknown_publisher_are_not_heard(sides: Sides, others: Sockets) -> None:
    """A forged price is worth as much as a forged order."""
    port = free_port()
    heard: list[bytes] = []
    with closing(ZmqFeed(f"tcp://*:{port}", sides.of_gateway)) as feed:
        feed.open(lambda batch: heard.extend(topic for topic, _ in batch))
        stranger = (*zmq.curve_keypair(), sides.gateway.public.encode())
        forged = others.connect(zmq.PUB, port, stranger)
        known = others.connect(zmq.XPUB, port, sides.of_terminal)
        await eventually(lambda: known.poll(0))  # the feed has subscribed
        forged.send_multipart([b"tick.FORGED", msgpack.packb({})])
        known.send_multipart([b"tick.EURUSD", msgpack.packb({})])
        await eventually(lambda: heard)

        assert [b"tick.EURUSD"] == heard


def test_handshake_that_could_be_of_two_is_not_guessed() -> None:
    """Two connections wait and one shakes hands: whose link it is cannot be told."""
    peers = Peers(is_encrypted=True)
    peers.began(1)
    peers.began(2)
    peers.shook_hands()

    assert peers.is_unclear
    assert not peers.is_one


# ---- the whole stack -----------------------------------------------------------------------------


def terminal_that_connects(curve: SimCurve | None) -> tuple[Any, dict[str, Any]]:
    """Return a terminal's options, and what its gateway is configured with."""
    request, tick = free_port(), free_port()
    options = replace(
        QUIET,
        connects=True,
        curve=curve,
        request_endpoint=f"tcp://127.0.0.1:{request}",
        tick_endpoint=f"tcp://127.0.0.1:{tick}",
    )
    listening = {"request_endpoint": f"tcp://*:{request}", "tick_endpoint": f"tcp://*:{tick}"}
    return options, listening


@pytest.mark.parametrize("is_encrypted", [True, False], ids=["curve", "plain"])
async def test_terminal_connects_to_the_gateway(
    nats_server: NatsServer, sides: Sides, is_encrypted: bool
) -> None:
    """Trades, prices and a restart of the terminal, with no port open at the terminal."""
    curve = SimCurve(*sides.of_terminal) if is_encrypted else None
    options, listening = terminal_that_connects(curve)
    if is_encrypted:
        listening["curve_secret_key"] = sides.gateway.secret_file
        listening["curve_client_keys"] = sides.terminal.public_file
    async with Stack(nats_server.url, options, terminal=listening) as stack:
        first = await stack.buy()
        await stack.terminal.kill()
        await stack.terminal.start()
        second = await stack.buy()
        stack.background(keep_quoting(stack))
        async with asyncio.timeout(5):
            tick = await anext(stack.client.ticks("EURUSD"))

        assert first.succeeded
        assert second.succeeded
        assert "EURUSD" == tick.symbol


async def keep_quoting(stack: Stack) -> None:
    """Move the price until somebody has seen it."""
    bid = 1.2
    while True:
        bid += 0.0001
        await stack.terminal.quote("EURUSD", bid, bid + 0.0001)
        await asyncio.sleep(0.01)


async def test_gateway_connects_to_an_encrypted_terminal(
    nats_server: NatsServer, sides: Sides
) -> None:
    """The other way round: our MQL4 programs with `CurveSecretKey`."""
    public, secret, _ = sides.of_terminal
    encrypted = replace(QUIET, curve=SimCurve(public, secret))
    who = {
        "curve_secret_key": sides.gateway.secret_file,
        "curve_server_key": sides.terminal.public_file,
    }
    async with Stack(nats_server.url, encrypted, terminal=who) as stack:
        assert (await stack.buy()).succeeded


# ---- keys and configuration ----------------------------------------------------------------------


def test_keys_are_made_for_their_owner_and_never_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The secret is not printed."""
    codes = [main(["keys", "ic-demo", "--folder", str(tmp_path)]) for _ in range(2)]
    said = capsys.readouterr()
    secret = (tmp_path / "ic-demo.secret").read_text("ascii").strip()
    public = (tmp_path / "ic-demo.public").read_text("ascii").split()[0]

    assert [0, 2] == codes
    assert "is not overwritten" in said.err
    assert secret not in said.out + said.err
    assert public in said.out
    assert public == zmq.curve_public(secret.encode()).decode()
    if os.name == "posix":
        assert 0o600 == stat.S_IMODE((tmp_path / "ic-demo.secret").stat().st_mode)


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "read by everybody": (lambda file: file.chmod(0o644), "everybody may read it"),
    "missing": (lambda file: file.unlink(), "No such file"),
    "short": (lambda file: file.write_text("abc"), "that are no key"),
    "no key": (lambda file: file.write_text("~" * 40), "that are no key"),
    "too large": (lambda file: file.write_text("#" * 40), "that are no key"),
    "two": (lambda file: file.write_text(f"{'a' * 40}\n{'b' * 40}"), "one secret key is expected"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_secret_key_is_a_problem_of_the_configuration(sides: Sides, case: str) -> None:
    """Found before anything connects; what is in the file is not shown."""
    spoil, message = BAD[case]
    spoil(sides.gateway.secret_file)
    with pytest.raises(ConfigError, match=message):
        sides.of_gateway.check()


CONTRADICTIONS = {
    "curve_server_key goes with curve_secret_key": {"CURVE_SERVER_KEY": "k"},
    "curve_client_keys goes with curve_secret_key": {"CURVE_CLIENT_KEYS": "k"},
    "curve_server_key is missing: an endpoint connects": {"CURVE_SECRET_KEY": "s"},
    "curve_client_keys is missing: an endpoint binds": {
        "CURVE_SECRET_KEY": "s",
        "CURVE_SERVER_KEY": "k",
        "REQUEST_ENDPOINT": "tcp://*:1",
    },
    "curve_client_keys is of no use: no endpoint binds": {
        "CURVE_SECRET_KEY": "s",
        "CURVE_SERVER_KEY": "k",
        "CURVE_CLIENT_KEYS": "k",
    },
}


@pytest.mark.parametrize("problem", CONTRADICTIONS)
def test_keys_that_do_not_fit_the_endpoints_are_told(problem: str) -> None:
    """A key that is not used looks like protection and is none."""
    environment = {f"MT4GW_TERMINAL__{k}": v for k, v in CONTRADICTIONS[problem].items()}
    with pytest.raises(ConfigError, match=problem):
        load(None, environment)
