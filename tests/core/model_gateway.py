"""One life of the real gateway, between a bus that is a list and a network that is a deque."""

import asyncio
from typing import Any, cast

from gateway.commands import Commands
from gateway.config import Config
from gateway.core.messages import Reply, Request, Result
from gateway.journal.trades import Fenced
from gateway.metrics import Metrics
from gateway.terminal.line import Deposed, Line
from gateway.terminal.wire import FrameHandler, LinkHandler
from tests.core.model_terminal import Connection
from tests.core.promises import Promises, Violation
from tests.support.memory_journal import MemoryJournal, Store


class _Silent:
    """Counts nothing."""

    def __getattr__(self, _: str) -> Any:
        return lambda *_args, **_kwargs: None


class ModelWire:
    """The gateway's end of the network.

    Attributes:
        connection: The one of now; None while the link is down.
        refuses: Frames certainly do not leave.
    """

    def __init__(self, number: int, connections: list[Connection], promises: Promises) -> None:
        self.connection: Connection | None = None
        self.refuses = False
        self._number = number
        self._connections = connections
        self._promises = promises

    def open(self, on_frame: FrameHandler, on_link: LinkHandler) -> None:
        """Remember whom to tell."""
        self._on_frame, self._on_link = on_frame, on_link

    def send(self, correlation: bytes, body: bytes) -> bool:
        """Put a frame on its way."""
        if self.connection is None or self.refuses:
            return False
        self._promises.frame_leaves(self._number, self.connection, correlation, body)
        if not self.connection.is_dead:
            self.connection.up.append((correlation, body))
        return True

    def reconnect(self) -> None:
        """Drop the connection; the world makes a new one."""
        self.cut()

    def close(self) -> None:
        """Be silent from now on."""
        self.cut()

    def connect(self) -> None:
        """Make a new connection."""
        self.connection = Connection()
        self._connections.append(self.connection)
        self._on_link(True)

    def cut(self) -> None:
        """Lose the connection; what is on its way up may still arrive."""
        if self.connection is not None:
            self._promises.troubled = True
            self.connection.is_open = False
            self.connection.down.clear()
            self.connection = None
            self._on_link(False)

    def hear(self) -> None:
        """Hand the next reply over."""
        assert self.connection is not None
        correlation, body = self.connection.down.popleft()
        self._promises.reply_arrives(correlation, body)
        self._on_frame(correlation, body)


class Gateway:
    """The real `Commands` and `Line`.

    Attributes:
        was_deposed: It has ended by itself, for another has the term or the epoch.
        is_heard: Its answers reach somebody.
    """

    def __init__(
        self,
        number: int,
        config: Config,
        connections: list[Connection],
        promises: Promises,
        store: Store,
    ) -> None:
        self.number = number
        self.is_heard = True
        self.is_alive = True
        self.was_deposed = False
        self.wire = ModelWire(number, connections, promises)
        self._promises = promises
        metrics = cast(Metrics, _Silent())
        self.line = Line(
            self.wire,
            config.terminal,
            metrics,
            claims=lambda: store.term == number + 1,  # it holds the lease
            on_stray=self._stray,
            on_change=lambda: None,
        )
        journal = MemoryJournal(store, self._on_result)
        self.commands = Commands(config, self.line, journal, metrics)
        self.line.open()
        self.commands.inherit(journal.inheritance)
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self.line.keep()),
            loop.create_task(self.commands.run()),
            loop.create_task(self.commands.unknowns.watch(config.terminal.watch_interval_s)),
        ]

    def _stray(self, request: Request, reply: Reply) -> None:
        self.commands.stray(request, reply)

    def _on_result(self, result: Result) -> None:
        self._promises.published(result)

    def check(self) -> None:
        """Notice that a task has ended: deposed, or broken.

        Raises:
            Violation: It was not deposed.
        """
        for task in self._tasks:
            if self.is_alive and task.done():
                cause = task.exception()
                self.kill()
                self.was_deposed = isinstance(cause, Deposed | Fenced)
                if not self.was_deposed:
                    raise Violation(f"a task of the gateway has ended: {cause!r}") from cause

    def kill(self) -> None:
        """End it in the middle of anything."""
        self.is_alive = self.is_heard = False
        for task in self._tasks:
            task.cancel()
        self.wire.cut()

    async def end(self) -> None:
        """End it, and collect its tasks."""
        self.kill()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.commands.abandon()
