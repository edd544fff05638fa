"""The named pipe: one name, several clients, one JSON object per line each way.

A program that may load no DLL opens the pipe as a file, so here the gateway is the server and the
terminal's programs are clients. The first line of each says what it is for. Seen from the line and
from the ticks there is no difference to ZeroMQ: `Pipe.wire` is what `ZmqWire` is, `Pipe.feed` what
`ZmqFeed` is.

Source: docs/protocol.md, "The pipe".
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable

from gateway.core.messages import Call, CallAnswer
from gateway.metrics import Metrics
from gateway.terminal.pipe_client import ROLES, SIGN_OF_LIFE, Client
from gateway.terminal.pipe_lines import carrying_line
from gateway.terminal.pipe_name import Listening, listen, pipe_address
from gateway.terminal.wire import FrameHandler, LinkHandler, MessageHandler

log = logging.getLogger(__name__)

BEAT_S = 0.5
"""How often we say something to each client, and look who is silent."""

RETRY_S = 0.5
"""How often a name that another process has is tried again."""

MOST_EARLY = 10_000
"""Of what is published while the gateway still subscribes on the bus, so much is kept."""

CallHandler = Callable[[Call, Callable[[CallAnswer], None]], None]
"""Takes a call, and what is to be called once with its answer."""


class PipeWire:
    """Requests and replies: to the line what `ZmqWire` is."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._client: Client | None = None

    def open(self, on_frame: FrameHandler, on_link: LinkHandler) -> None:
        """Start listening."""
        self._on_frame, self._on_link = on_frame, on_link
        self._pipe.open()

    def send(self, correlation: bytes, body: bytes) -> bool:
        """Hand over one frame; False means that it certainly did not leave."""
        client = self._client
        if client is None or not client.tell(carrying_line("request", correlation, body)):
            return False
        client.unanswered[correlation] = not body.startswith(SIGN_OF_LIFE)
        return True

    def reconnect(self) -> None:
        """Drop the terminal, which will open the pipe again. Reports the lost link."""
        if self._client is not None:
            self._client.drop("the line asks for a new connection")

    def close(self) -> None:
        """Stop. What has not left is discarded."""
        self._on_link = lambda _: None
        self._pipe.close()

    def deliver(self, correlation: bytes, body: bytes) -> None:
        """Hand a reply to the line."""
        self._on_frame(correlation, body)

    def use(self, client: Client | None) -> None:
        """Send to this client from now on."""
        self._client = client
        self._on_link(client is not None)


def _nobody(_: list[tuple[bytes, bytes]]) -> None:
    pass


class PipeFeed:
    """Ticks and events: to the ticks what `ZmqFeed` is."""

    def __init__(self) -> None:
        self._on_messages: MessageHandler | None = None
        self._early: deque[tuple[bytes, bytes]] = deque(maxlen=MOST_EARLY)

    def open(self, on_messages: MessageHandler) -> None:
        """Take what comes from now on, and what has come since the terminal was there."""
        self._on_messages = on_messages
        if self._early:
            on_messages(list(self._early))
            self._early.clear()

    def close(self) -> None:
        """Take nothing more."""
        self._on_messages = _nobody

    def deliver(self, messages: list[tuple[bytes, bytes]]) -> None:
        """Hand over topics and msgpack maps; before `open` the last of them are kept."""
        if self._on_messages is not None:
            self._on_messages(messages)
        else:
            self._early.extend(messages)


class Pipe:
    """The server of one name.

    Args:
        name: Of the pipe.
        on_call: Takes what MQL4 programs ask the bus.
        make_client: Makes the protocol of one connection.

    Attributes:
        wire: For the line.
        feed: For the ticks.
        clients: Every connection that is there.
    """

    def __init__(
        self,
        name: str,
        metrics: Metrics,
        on_call: CallHandler,
        make_client: Callable[[Pipe], Client] = Client,
    ) -> None:
        self.metrics = metrics
        self.on_call = on_call
        self.wire = PipeWire(self)
        self.feed = PipeFeed()
        self.clients: list[Client] = []
        self._name = name
        self._make_client = make_client
        self._running: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Start listening, and keep trying where the name is another's."""
        self._running = asyncio.get_running_loop().create_task(self._run(), name="pipe")

    def close(self) -> None:
        """Stop at once; every client sees its end."""
        if self._running is not None:
            self._running.cancel()
            self._running = None
        for client in list(self.clients):
            client.hang_up()

    @property
    def is_open(self) -> bool:
        """Tell whether clients are wanted."""
        return self._running is not None

    # ---- from clients -------------------------------------------------------------------

    def problem_with(self, role: str) -> str | None:
        """Say why nobody may have this role now: a terminal is one, as is its source of ticks."""
        wanted = ROLES[role]
        for other in self.clients:
            if other.kinds & wanted:
                return f"there is a client with the role {other.role} already"
        return None

    def opened(self, client: Client) -> None:
        """Take in a client that has said what it is."""
        if "reply" in client.kinds:
            self.wire.use(client)

    def lost(self, client: Client) -> None:
        """Forget a client that is gone."""
        if client in self.clients:
            self.clients.remove(client)
        if "reply" in client.kinds:
            self.wire.use(None)

    # ---- the server ---------------------------------------------------------------------

    async def _run(self) -> None:
        server = await self._listen()
        log.info("pipe_listening address=%s", pipe_address(self._name))
        try:
            await self._beat()
        finally:
            server.close()

    async def _listen(self) -> Listening:
        complained = ""
        while True:
            try:
                return await listen(self._name, lambda: self._make_client(self))
            except OSError as exc:
                if str(exc) != complained:
                    complained = str(exc)
                    log.warning("pipe_not_made name=%s cause=%s", self._name, exc)
                await asyncio.sleep(RETRY_S)

    async def _beat(self) -> None:
        beat_at_s = time.monotonic()
        while True:
            await asyncio.sleep(BEAT_S)
            now_s = time.monotonic()
            was_away = now_s - beat_at_s > 2 * BEAT_S
            beat_at_s = now_s
            for client in list(self.clients):
                if was_away:  # it was us: what they said meanwhile has not been read yet
                    client.heard_s = now_s
                client.beat(now_s)
