"""The front door: a socket for clients of the existing server, any number of them, unchanged.

To each it looks like that server's REP. Behind it every request is a command like those from the
bus: the same policy, queue, journal, audit and metrics, under one client's name or that of its key,
with a deadline that the gateway sets. Clients of that server have no ids, so a trade that one sends
twice is two trades.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import zmq
import zmq.asyncio

from gateway.config import FrontDoor as Settings
from gateway.core.messages import Effect, Result, Wish
from gateway.envelope import CLIENT_PATTERN, new_id
from gateway.errors import ConfigError, InvalidCommand
from gateway.existing_server import Asked, failure, not_told_yet, read_request, reply
from gateway.terminal.curve import Curve, Guard, names_in

log = logging.getLogger(__name__)

AFTER_OPENING_S = 1.0
"""How long no trade is taken after the door has opened.

A client's socket keeps a request while nobody listens and delivers it when somebody does; how old
it is cannot be seen. libzmq tries every 0.1 s, so what has waited comes within this time.
"""

PATIENCE_S = 1.0
"""How long after its deadline a result may come; then the client is told that there is none."""

LONGEST_WORK_S = 60.0
"""What is beyond it is refused anyway, by the action's own rules."""

BIND_AGAIN_S = 1.0
MOST_BYTES = 65_536

AcceptWish = Callable[[Wish], Awaitable[None]]


class _Visitor:
    """One request that waits for its one reply.

    Attributes:
        client: Under which name it trades.
    """

    def __init__(self, socket: zmq.asyncio.Socket, envelope: list[bytes], client: str) -> None:
        self.client = client
        self._socket = socket
        self._envelope = envelope
        self._is_answered = False
        self.alarm: asyncio.TimerHandle | None = None

    @property
    def name(self) -> str:
        """Name its connection."""
        return self._envelope[0].hex()

    async def answer(self, body: bytes) -> None:
        """Send the reply; a second one is dropped, as is one for a client that has gone."""
        if self.alarm is not None:
            self.alarm.cancel()
        if self._is_answered or self._socket.closed:
            return
        self._is_answered = True
        await self._socket.send_multipart([*self._envelope, body])


class FrontDoor:
    """The door of one gateway, open while it serves.

    Args:
        settings: With an endpoint.
        accept: Takes a wish in; calls its `answer` once.
    """

    def __init__(self, settings: Settings, accept: AcceptWish) -> None:
        self._settings = settings
        self._accept = accept
        self._is_to_open = asyncio.Event()
        self._opened_s = 0.0
        self._late: set[asyncio.Task[None]] = set()
        self._curve: Curve | None = None
        self._guard: Guard | None = None
        if settings.curve_secret_key is not None:
            self._curve = Curve(settings.curve_secret_key, client_keys=settings.curve_client_keys)
            self._curve.check()
        if settings.named_by_key and settings.curve_client_keys is not None:
            _check_names(settings.curve_client_keys)
        self._context = zmq.asyncio.Context()

    def open(self) -> None:
        """Let clients in; not before the gateway serves."""
        self._is_to_open.set()

    async def run(self) -> None:
        """Serve from when the door is opened, until cancelled."""
        await self._is_to_open.wait()
        socket = await self._bound()
        self._opened_s = time.monotonic()
        log.info("front_door_open endpoint=%s", self._settings.endpoint)
        try:
            while True:
                message = await socket.recv_multipart(copy=False)
                frames = [frame.bytes for frame in message]
                if b"" in frames[1:]:  # else it is no request: a REP would drop it, too
                    end = frames.index(b"", 1) + 1
                    client = self._client_of(message[-1])
                    await self._serve(_Visitor(socket, frames[:end], client), frames[end:])
        finally:
            for task in self._late:
                task.cancel()
            socket.close(linger=0)

    def close(self) -> None:
        """Close for good; `run` must have ended."""
        if self._guard is not None:
            self._guard.stop()
        self._context.destroy(linger=0)

    async def _bound(self) -> zmq.asyncio.Socket:
        """Bind; tried again while something else has the port."""
        if self._curve is not None:
            self._guard = Guard(self._context, self._curve)
        is_told = False
        while True:
            socket = self._context.socket(zmq.ROUTER)
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.MAXMSGSIZE, MOST_BYTES)
            socket.setsockopt(zmq.HANDSHAKE_IVL, 2000)
            socket.setsockopt(zmq.HEARTBEAT_IVL, 5000)
            if self._curve is not None:
                self._curve.secure(socket, listens=True)
            try:
                socket.bind(str(self._settings.endpoint))
            except zmq.ZMQError as exc:
                socket.close()
                if not is_told:
                    log.error("front_door_shut endpoint=%s cause=%s", self._settings.endpoint, exc)
                is_told = True
                await asyncio.sleep(BIND_AGAIN_S)
            else:
                return socket

    def _client_of(self, frame: zmq.Frame) -> str:
        """Name who sent a frame: as its key is called, or as all are."""
        return str(frame["User-Id"]) if self._settings.named_by_key else self._settings.client

    async def _serve(self, visitor: _Visitor, bodies: list[bytes]) -> None:
        try:
            if CLIENT_PATTERN.fullmatch(visitor.client) is None:
                raise InvalidCommand(["No client's name stands behind this key."])
            asked = read_request(bodies)
        except InvalidCommand as exc:
            await visitor.answer(failure(str(exc)))
            return
        wish = self._wish(asked, visitor)
        if self._may_be_old(asked):
            problem = (
                f"the gateway has served for less than {AFTER_OPENING_S:g} s, so this may have "
                "waited since before; ask again"
            )
            wish = replace(wish, problem=problem)
        await self._accept(wish)

    def _may_be_old(self, asked: Asked) -> bool:
        is_trade = asked.action.effect is Effect.TRADE
        return is_trade and time.monotonic() < self._opened_s + AFTER_OPENING_S

    def _wish(self, asked: Asked, visitor: _Visitor) -> Wish:
        """Make a wish of a request; its deadline is ours."""
        action, client, id_ = asked.action, visitor.client, asked.id or new_id()
        timeout_s = self._settings.timeout_s + _work_s(asked)
        deadline_at_s = time.time() + timeout_s

        async def answer(result: Result) -> None:
            await visitor.answer(reply(result, asked.params))

        def give_up() -> None:
            task = asyncio.ensure_future(visitor.answer(not_told_yet(id_)))
            self._late.add(task)
            task.add_done_callback(self._late.discard)

        loop = asyncio.get_running_loop()
        visitor.alarm = loop.call_later(timeout_s + PATIENCE_S, give_up)
        return Wish(
            action.name,
            action.effect,
            client if action.effect is Effect.TRADE else None,
            f"{client}/{visitor.name}",
            answer,
            params={**asked.params, "raw": True},
            id=id_,
            deadline_at_s=min(deadline_at_s, asked.deadline_at_s or deadline_at_s),
            via="front_door",
        )


def _work_s(asked: Asked) -> float:
    """Say how long the request lets the terminal work for it."""
    timeout_ms = asked.params.get("timeout")
    return min(timeout_ms / 1000, LONGEST_WORK_S) if type(timeout_ms) is int else 0.0


def _check_names(file: Path) -> None:
    """See that every key is followed by the name of a client.

    Raises:
        ConfigError: One is not.
    """
    for key, name in names_in(file).items():
        if CLIENT_PATTERN.fullmatch(name) is None:
            what = f"front_door.named_by_key: {file}: behind key {key.decode()} stands {name!r}"
            raise ConfigError([f"{what}, no client's name ([a-z0-9-]{{1,32}})"])
