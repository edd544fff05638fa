"""The same client without `await`, for notebooks and scripts.

with Mt4.connect(client="mybot") as mt4:
    order = mt4.order_send("EURUSD", "BUY", 0.1)
    for tick in mt4.ticks("EURUSD"):
        ...

It runs its own event loop in a thread of its own, so it works where another loop runs already, as
in a notebook. An interrupt (Ctrl-C) ends the waiting, not the order: ask `outcome_of` its id.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

from gateway.client.client import ASK_EVERY_S, Mt4Client
from gateway.client.errors import NotConnected
from gateway.client.messages import CommandResult, TickMessage
from gateway.core.messages import Json

T = TypeVar("T")

END_S = 2 * ASK_EVERY_S
"""How long a call in another thread may take to end by itself when the client is closed."""


class Mt4:
    """One client of one terminal, blocking. Make it with `connect`; see `Mt4Client`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
        self._loop = loop
        self._thread = thread
        self._client: Mt4Client | None = None
        self._scheduling = threading.Lock()
        self._is_closed = False

    @classmethod
    def connect(cls, servers: str | list[str] = "nats://127.0.0.1:4222", **options: Any) -> Self:
        """Connect to NATS; `options` are those of `Mt4Client.connect`.

        Raises:
            NotConnected: No server could be reached, or it refuses the login.
            NotPermitted: Answers could not be heard: this user has another inbox.
        """
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="mt4 client", daemon=True)
        thread.start()
        made = cls(loop, thread)
        try:
            made._client = made._run(Mt4Client.connect(servers, **options))
        except BaseException:
            made.close()
            raise
        return made

    def close(self) -> None:
        """Disconnect, and end the thread; whoever waits for something in another one ends, too.

        Raises:
            RuntimeError: Called by an `on_gap`: it runs in the thread that is to end.
        """
        self._refuse_own_thread()
        with self._scheduling:
            if self._is_closed:
                return
            self._is_closed = True
            ending = asyncio.run_coroutine_threadsafe(self._end(), self._loop)
        try:
            ending.result()
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _end(self) -> None:
        if self._client is not None:
            await self._client.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:  # who follows something comes to its end; who waits for an answer may not
            _, waiting = await asyncio.wait(others, timeout=END_S)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        await self._loop.shutdown_asyncgens()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    @property
    def client(self) -> Mt4Client:
        """The asynchronous client underneath; its loop is another thread's."""
        assert self._client is not None
        return self._client

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            self._refuse_own_thread()
        except RuntimeError:
            work.close()
            raise
        with self._scheduling:
            if self._is_closed:
                work.close()
                raise NotConnected("this client was closed")
            waiting = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return waiting.result()
        except BaseException:
            waiting.cancel()
            raise

    def _refuse_own_thread(self) -> None:
        if threading.current_thread() is self._thread:
            raise RuntimeError("on_gap runs in the client's own thread: set a flag, ask elsewhere")

    # ---- commands: as in Mt4Client --------------------------------------------------------

    def query(
        self, action: str, params: Mapping[str, Json] | None = None, **how: Any
    ) -> CommandResult:
        """Read something."""
        return self._run(self.client.query(action, params, **how))

    def trade(
        self, action: str, params: Mapping[str, Json] | None = None, **how: Any
    ) -> CommandResult:
        """Trade, and find out what became of it even if the answer is lost."""
        return self._run(self.client.trade(action, params, **how))

    def submit(self, action: str, params: Mapping[str, Json] | None = None, **how: Any) -> str:
        """Store a trade in the work queue and return its id."""
        return self._run(self.client.submit(action, params, **how))

    def job(
        self, action: str, params: Mapping[str, Json] | None = None, **how: Any
    ) -> CommandResult:
        """Submit a trade and wait for its result."""
        return self._run(self.client.job(action, params, **how))

    def order_send(
        self, symbol: str, order_type: str | int, lots: float, **params: Any
    ) -> CommandResult:
        """Open a position or place a pending order."""
        return self._run(self.client.order_send(symbol, order_type, lots, **params))

    def order_close(self, ticket: int, **params: Any) -> CommandResult:
        """Close a position; with `lots`, a part of it."""
        return self._run(self.client.order_close(ticket, **params))

    def orders(self, **how: Any) -> list[dict[str, Json]]:
        """Read open and pending orders."""
        return self._run(self.client.orders(**how))

    def outcome_of(self, id_: str, **how: Any) -> CommandResult | str:
        """Ask what became of a trade."""
        return self._run(self.client.outcome_of(id_, **how))

    def recover(self, **how: Any) -> dict[str, CommandResult | str]:
        """Ask what became of every trade that was begun and whose result was never seen."""
        return self._run(self.client.recover(**how))

    def control(self, verb: str, **how: Any) -> dict[str, Json]:
        """Tell the gateway to `halt` or `resume` trading, or to `stepdown`."""
        return self._run(self.client.control(verb, **how))

    def status(self, **how: Any) -> dict[str, Json]:
        """Ask the gateway how it is."""
        return self._run(self.client.status(**how))

    # ---- streams --------------------------------------------------------------------------

    def ticks(self, *symbols: str) -> Iterator[TickMessage]:
        """Follow ticks; a gap shows in `missed`."""
        return self._follow(self.client.ticks(*symbols))

    def results(self, client: str | None = None, **how: Any) -> Iterator[CommandResult]:
        """Follow the results of trades; `on_gap` is called in this client's own thread."""
        return self._follow(self.client.results(client, **how))

    def events(self, kind: str = "*", **how: Any) -> Iterator[dict[str, Json]]:
        """Follow events; `on_gap` is called in this client's own thread."""
        return self._follow(self.client.events(kind, **how))

    def _follow(self, stream: AsyncGenerator[T, None]) -> Iterator[T]:
        async def following() -> T:
            return await anext(stream)

        try:
            while True:
                try:
                    item = self._run(following())
                except (StopAsyncIteration, CancelledError):  # the latter: closed as it began
                    return
                yield item
        finally:
            with suppress(NotConnected):  # closed, and the stream with it
                self._run(stream.aclose())
