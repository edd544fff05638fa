"""The client: typed calls over NATS that never send a trade twice and never send it late.

Each trade has an id and a deadline. Nothing is buffered while NATS is away: a request that
waits in a buffer is executed when nobody expects it. After a lost answer the gateway is asked
what became of the id; the trade itself is not repeated.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from nats.aio.msg import Msg
from nats.errors import (
    ConnectionClosedError,
    ConnectionReconnectingError,
    NoRespondersError,
    OutboundBufferLimitError,
)
from nats.errors import Error as NatsError

from gateway.client.denials import Denials
from gateway.client.errors import (
    NoAnswer,
    NobodyListens,
    NotConnected,
    NotPermitted,
    NotStored,
)
from gateway.client.memory import Memory, MemoryClosedError
from gateway.client.messages import CommandResult, TickMessage
from gateway.config import problem_in, without_secret
from gateway.core.messages import Json, Outcome
from gateway.envelope import (
    CONTENT_TYPE_HEADER,
    Encoding,
    decode_published,
    encode,
    encoding_of,
    format_time,
    new_id,
)
from gateway.nats_connection import Connection, is_refusal
from gateway.nats_login import Login
from gateway.subjects import Subjects

STORED_IN_S = 2.0
"""How long JetStream may take to store a job."""

ANSWER_MARGIN_S = 1.0
"""How long after a command's deadline its answer may still be on its way."""

MOST_TICKS_WAITING = 1_000
"""Ticks that wait for a slow reader; then it is given only the newest of each symbol."""

READ_AT_ONCE = 4
"""Bodies read before others get a turn: a reader that never waits would stop the connection."""

ASK_EVERY_S = 0.5
"""How often the gateway is asked about a trade whose answer is missing."""

WHOLE = ": a wildcard wider than what is allowed is refused whole, so name what you need"
ID_CONFLICT = 409

OnGap = Callable[[], None]

_NOT_SENT = (OutboundBufferLimitError, ConnectionClosedError, ConnectionReconnectingError)


def _has(told: asyncio.Future[CommandResult]) -> bool:
    """Tell whether a result was told; the waiting is cancelled when the client is closed."""
    return told.done() and not told.cancelled()


def _nobody_minds() -> None:
    """Pass over a gap."""


class Mt4Client:
    """One client of one terminal. Make it with `connect`; use it as a context manager."""

    def __init__(self, connection: Connection, subjects: Subjects, client: str) -> None:
        self.client = client
        self._denials = Denials()
        self._memory: Memory | None = None
        self._waiting: set[asyncio.Event] = set()
        self._told: dict[str, list[tuple[asyncio.Future[CommandResult], bool]]] = {}
        self._hears_results = False
        self._closing = False
        self._connection = connection
        self._subjects = subjects

    @classmethod
    async def connect(
        cls,
        servers: str | list[str] = "nats://127.0.0.1:4222",
        *,
        terminal: str = "demo",
        client: str = "me",
        prefix: str = "mt4",
        connect_timeout_s: float = 5.0,
        login: Login | None = None,
        remember: Path | None = None,
        **options: Any,
    ) -> Self:
        """Connect to NATS.

        Args:
            servers: One address or several.
            terminal: The terminal's alias.
            client: This client's alias, `[a-z0-9-]{1,32}`: what may be traded depends on it.
            prefix: First token of the subjects.
            connect_timeout_s: How long to try; once connected, it reconnects for ever.
            login: Secrets and certificates whose files are read again at each reconnect; else
                give nats-py's own options.
            remember: A file in which each trade's id is written before it is published, so that
                `recover` can ask what became of it after a crash.
            options: Passed on to nats-py: `user`, `password`, `user_credentials`, `tls`,
                `inbox_prefix`, ...

        Raises:
            NotConnected: No server could be reached, or it refuses the login.
            NotPermitted: Answers could not be heard: this user has another inbox.
            ValueError: The file to remember in holds something else.
        """
        addresses = [servers] if isinstance(servers, str) else servers
        if (problem := problem_in(addresses)) is not None:
            raise NotConnected(problem)
        last_error: list[Exception] = []
        connection = Connection(login)
        made = cls(connection, Subjects(prefix, terminal), client)

        async def note(exc: Exception) -> None:
            """Leave connection trouble to the calls, which raise."""
            if not (last_error and is_refusal(last_error[0])):  # it is followed by a reset
                last_error[:] = [exc]
            if made._denials.note(exc):
                await made._wake()

        async def back() -> None:
            """Have those who follow something told that they may have missed some of it."""
            await made._wake()
            if (also := options.get("reconnected_cb")) is not None:
                await also()

        defaults: dict[str, Any] = {
            "name": f"mt4 client {client}",
            "error_cb": note,
            "closed_cb": made._wake,
            "max_reconnect_attempts": -1,
            "reconnect_time_wait": 0.2,
            "ping_interval": 5,
        }
        ours = {"reconnected_cb": back, "pending_size": 0}
        try:
            if login is not None:
                login.check()
            # nats-py's first connect, too, would try for ever.
            async with asyncio.timeout(connect_timeout_s):
                await connection.connect(servers, **(defaults | options | ours))
        except (NatsError, OSError, TimeoutError) as exc:
            await connection.close()
            cause = last_error[0] if last_error else exc
            where = ", ".join(without_secret(address) for address in addresses)
            if is_refusal(cause):
                who = f" as {login}" if login is not None else ""
                raise NotConnected(f"NATS at {where} refuses the login{who}: {cause}") from exc
            raise NotConnected(f"no connection to NATS at {where}: {cause!r}") from exc
        except BaseException:
            await connection.close()  # else it would connect all the same, and stay
            raise
        try:
            await made._check_inbox()
            made._memory = Memory(remember) if remember is not None else None
        except BaseException:
            await connection.close()
            raise
        return made

    async def _check_inbox(self) -> None:
        """See that answers will come: a trade whose answer nobody hears would run all the same."""
        inbox = self._connection.new_inbox()
        try:
            probe = await self._connection.subscribe(inbox)
            await self._connection.flush()
            await probe.unsubscribe()
        except (NatsError, OSError) as exc:
            raise NotConnected(f"the connection to NATS was lost: {exc!r}") from exc
        self._denials.check(inbox, ": answers come there; give its own inbox as `inbox_prefix`")

    @property
    def connection(self) -> Connection:
        """The nats-py client underneath, for what this one does not offer."""
        return self._connection

    @property
    def subjects(self) -> Subjects:
        """The terminal's subjects."""
        return self._subjects

    async def close(self) -> None:
        """Disconnect; whoever follows something comes to its end.

        Whoever waits for an answer is told `NoAnswer`: a trade may have run.
        """
        self._closing = True
        self._connection.give_up()
        for told, _ in chain.from_iterable(self._told.values()):
            told.cancel()
        try:
            with suppress(NatsError, OSError):  # nats-py trips over what it could not send
                await self._connection.close()
        finally:
            await self._wake()
            if self._memory is not None:
                self._memory.close()

    async def _wake(self) -> None:
        for there in self._waiting:
            there.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    # ---- commands -----------------------------------------------------------------------

    async def query(
        self, action: str, params: Mapping[str, Json] | None = None, *, timeout_s: float = 10.0
    ) -> CommandResult:
        """Read something.

        Raises:
            NotConnected: Nothing was sent.
            NotPermitted: Nothing was sent: NATS forbids it to this user.
            NoAnswer: No gateway answered.
        """
        body = _body(params, new_id(), timeout_s)
        return await self._request(self._subjects.query(action), body, timeout_s)

    async def trade(
        self,
        action: str,
        params: Mapping[str, Json] | None = None,
        *,
        timeout_s: float = 10.0,
        id_: str | None = None,
    ) -> CommandResult:
        """Trade, and find out what became of it even if the answer is lost.

        Args:
            action: Its name in docs/actions.md.
            params: Its parameters there.
            timeout_s: The deadline from now: nothing is sent to the terminal after it.
            id_: The same id again is the same trade: it is not executed twice. An id that another
                trade has used is denied (409).

        Raises:
            NotConnected: Nothing was sent.
            NotPermitted: Nothing was sent: NATS forbids it to this user.
            NoAnswer: Nobody could say what became of it; ask `outcome_of` again later.
        """
        may_be_used = id_ is not None
        id_ = id_ or new_id()
        body = _body(params, id_, timeout_s)
        subject = self._subjects.trade(self.client, action)
        async with self._remembered(id_, action, params):
            async with self._listening(id_) as told:
                asked = asyncio.ensure_future(self._request_until_heard(subject, body, timeout_s))
                try:
                    await asyncio.wait((asked, told), return_when=asyncio.FIRST_COMPLETED)
                    if may_be_used:  # what is told may be another wish's; the answer is to this
                        await asyncio.wait((asked,), timeout=ASK_EVERY_S)
                    if not _has(told) or (asked.done() and asked.exception() is None):
                        return await asked
                    found = told.result()
                except NobodyListens:
                    raise
                except NoAnswer as exc:
                    found = await self._find_out(exc, timeout_s, told)
                finally:
                    if asked.cancel():
                        await asyncio.gather(asked, return_exceptions=True)
            return await self._own(subject, body, timeout_s) if may_be_used else found

    async def submit(
        self,
        action: str,
        params: Mapping[str, Json] | None = None,
        *,
        timeout_s: float = 60.0,
        id_: str | None = None,
    ) -> str:
        """Store a trade in the work queue, to be done also if no gateway is there now.

        Args:
            action: Its name in docs/actions.md.
            params: Its parameters there.
            timeout_s: The deadline from now: it is not begun after it.
            id_: The same id again is the same trade: it is not executed twice.

        Returns:
            Its id, once it is stored; its result comes on the result subject.

        Raises:
            NotConnected: Nothing was sent.
            NotPermitted: Nothing was sent: NATS forbids it to this user.
            NoAnswer: It may have been stored or not; submit the same id again.
            NotStored: The queue is full, or there is none.
        """
        id_ = id_ or new_id()
        async with self._remembered(id_, action, params, until_stored=True):
            await self._store(action, params, timeout_s, id_)
        return id_

    async def _store(
        self, action: str, params: Mapping[str, Json] | None, timeout_s: float, id_: str
    ) -> None:
        body = _body(params, id_, timeout_s)
        payload = encode(body, Encoding.JSON)
        subject = self._subjects.job(self.client, action)
        said = await self._ask(subject, payload, id_, STORED_IN_S, nobody=NotStored)
        if (error := said.get("error")) is not None:
            raise NotStored(id_, str(error.get("description")))

    async def job(
        self,
        action: str,
        params: Mapping[str, Json] | None = None,
        *,
        timeout_s: float = 60.0,
        id_: str | None = None,
    ) -> CommandResult:
        """Submit a trade and wait for its result.

        Raises:
            NotConnected: Nothing was sent.
            NotPermitted: Nothing was sent: NATS forbids it to this user.
            NoAnswer: It is stored, but there was no result by its deadline; ask `outcome_of`.
            NotStored: The queue is full, or there is none.
        """
        may_be_used = id_ is not None
        id_ = id_ or new_id()
        async with self._remembered(id_, action, params):
            async with self._listening(id_, denials=True) as told:
                await self._store(action, params, timeout_s, id_)
                await asyncio.wait([told], timeout=timeout_s + ANSWER_MARGIN_S)
                if _has(told):
                    found = told.result()
                    may_be_used &= (found.error or {}).get("code") == ID_CONFLICT
                else:
                    lost = NoAnswer(id_, f"no result of job {id_} {self._until(timeout_s)}")
                    found = await self._find_out(lost, timeout_s, told)
            if not may_be_used:
                return found
            subject = self._subjects.trade(self.client, action)  # trades and jobs share their ids
            body = _body(params, id_, 0.0)
            return await self._own(subject, body, timeout_s)

    async def _own(self, subject: str, body: dict[str, Json], timeout_s: float) -> CommandResult:
        """Ask the gateway whose result an id has that the caller may have used before.

        It knows the id: it answers with our result and sends nothing, or says 409.
        """
        try:
            return await self._request_until_heard(subject, body, timeout_s)
        except (NobodyListens, NotConnected, NotPermitted) as exc:  # of the question alone
            raise NoAnswer(body["id"], f"{exc}: nobody says whose result the id has") from exc

    @asynccontextmanager
    async def _remembered(
        self,
        id_: str,
        action: str,
        params: Mapping[str, Json] | None,
        *,
        until_stored: bool = False,
    ) -> AsyncIterator[None]:
        """Have a trade's id on the disk until its result is known, or it certainly never left."""
        if self._memory is None:
            yield
            return
        try:
            await self._memory.begin(id_, action, params or {})
        except MemoryClosedError as exc:
            raise NotConnected("this client was closed: the command was not sent") from exc
        try:
            yield
        except (NotConnected, NotPermitted, NotStored, NobodyListens):
            await self._memory.end(id_)
            raise
        if not until_stored:
            await self._memory.end(id_)

    async def recover(self, *, timeout_s: float = 2.0) -> dict[str, CommandResult | str]:
        """Ask what became of every trade that was begun and whose result was never seen.

        Returns:
            By id: its result, with which it is forgotten, or its state as `outcome_of` gives it.
            `not_known` may still come, until its deadline; `forget` it when that is over.

        Raises:
            NotConnected: Nothing was sent.
            NoAnswer: No gateway answered.
        """
        found: dict[str, CommandResult | str] = {}
        for id_ in list(self._memory.open) if self._memory is not None else []:
            found[id_] = await self.outcome_of(id_, timeout_s=timeout_s)
            if isinstance(found[id_], CommandResult):
                await self.forget(id_)
        return found

    async def forget(self, id_: str) -> None:
        """Ask no more about a trade that was remembered."""
        if self._memory is not None:
            await self._memory.end(id_)

    @asynccontextmanager
    async def _listening(
        self, id_: str, *, denials: bool = False
    ) -> AsyncIterator[asyncio.Future[CommandResult]]:
        """Hear of a trade's published result: another gateway may tell it than the one asked.

        A refusal (`denials`) is told here to jobs alone. Whoever has asked for an answer would
        hear of another wish that has the same id.
        """
        told: asyncio.Future[CommandResult] = asyncio.get_running_loop().create_future()
        waiting = (told, denials)
        self._told.setdefault(id_, []).append(waiting)
        try:
            if not self._hears_results and self._connection.is_connected:
                self._hears_results = True
                results = self._subjects.result(self.client, "*")
                await self._connection.subscribe(results, cb=self._on_result)
            yield told
        finally:
            self._told[id_].remove(waiting)
            if not self._told[id_]:
                del self._told[id_]

    async def _on_result(self, msg: Msg) -> None:
        id_ = msg.subject.rpartition(".")[2]
        waiting = [one for one in self._told.get(id_, ()) if not one[0].done()]
        if not waiting:
            return
        body = decode_published(msg.data, _encoding(msg.data, msg.headers))
        if (body.get("client"), body.get("id")) != (self.client, id_):
            return  # no gateway writes that
        result = CommandResult.read(body)
        for told, denials in waiting:
            if denials or result.outcome is not Outcome.DENIED:
                told.set_result(result)

    async def outcome_of(self, id_: str, *, timeout_s: float = 2.0) -> CommandResult | str:
        """Ask what became of a trade: its result, or its state while there is none.

        Returns:
            A result, or `waiting`, `in_progress` or `not_known`.

        Raises:
            NotConnected: Nothing was sent.
            NotPermitted: Nothing was sent: NATS forbids it to this user.
            NoAnswer: No gateway answered, or it could not read its journal.
        """
        subject = self._subjects.command(self.client, id_)
        said = await self._ask(subject, b"", id_, timeout_s)
        if said["state"] is None:
            raise NoAnswer(id_, "the gateway cannot read its journal now")
        return CommandResult.read(said["result"]) if said["result"] else str(said["state"])

    async def control(
        self, verb: str, *, reason: str | None = None, timeout_s: float = 5.0
    ) -> dict[str, Json]:
        """Tell the gateway to `halt` or `resume` trading, or to `stepdown`.

        Returns:
            Its status afterwards; with `error`, why it did not do so.

        Raises:
            NotConnected: Nothing was sent.
            NotPermitted: Nothing was sent: NATS forbids it to this user.
            NoAnswer: No gateway answered.
        """
        body = {"reason": reason} if reason else {}
        payload = encode(body, Encoding.JSON)
        return await self._ask(self._subjects.control(verb), payload, verb, timeout_s)

    async def status(self, *, timeout_s: float = 2.0) -> dict[str, Json]:
        """Ask the gateway how it is: role, links, queues.

        Raises:
            NotConnected: Nothing was sent.
            NotPermitted: Nothing was sent: NATS forbids it to this user.
            NoAnswer: No gateway answered.
        """
        return await self._ask(self._subjects.control("status"), b"", "status", timeout_s)

    async def _request_until_heard(
        self, subject: str, body: dict[str, Json], timeout_s: float
    ) -> CommandResult:
        """Ask again while nobody listens, as between two gateways: nobody has heard of it yet."""
        until_s = time.monotonic() + timeout_s
        while True:
            left_s = until_s - time.monotonic()
            try:
                return await self._request(subject, body, left_s)
            except NobodyListens:
                if left_s < ASK_EVERY_S:
                    raise
                await asyncio.sleep(ASK_EVERY_S)

    async def _request(
        self, subject: str, body: dict[str, Json], timeout_s: float
    ) -> CommandResult:
        payload = encode(body, Encoding.JSON)
        said = await self._ask(subject, payload, body["id"], timeout_s + ANSWER_MARGIN_S)
        return CommandResult.read(said)

    async def _ask(
        self,
        subject: str,
        payload: bytes,
        id_: str,
        timeout_s: float,
        *,
        nobody: type[NobodyListens | NotStored] = NobodyListens,
    ) -> dict[str, Json]:
        headers = {CONTENT_TYPE_HEADER: str(Encoding.JSON)}
        try:
            async with self._denials.watching(subject):
                reply = await self._connection.request(
                    subject, payload, timeout=timeout_s, headers=headers
                )
        except _NOT_SENT as exc:
            raise NotConnected("no connection to NATS: the command was not sent") from exc
        except NoRespondersError as exc:
            raise nobody(id_, f"no gateway listens on {subject}") from exc
        except TimeoutError as exc:
            raise NoAnswer(id_, f"no answer on {subject} {self._until(timeout_s)}") from exc
        return decode_published(reply.data, _encoding(reply.data, reply.headers))

    def _until(self, timeout_s: float) -> str:
        return "before this client was closed" if self._closing else f"within {timeout_s:g} s"

    async def _find_out(
        self, lost: NoAnswer, patience_s: float, told: asyncio.Future[CommandResult]
    ) -> CommandResult:
        """Ask about a trade whose answer did not come, for as long again as it had."""
        until_s = time.monotonic() + patience_s
        while time.monotonic() < until_s and not self._closing:
            if _has(told):
                return told.result()
            try:
                known = await self.outcome_of(lost.id)
            except (NoAnswer, NotConnected, NotPermitted):  # of the question, not of the trade
                known = "no gateway answered"
            if isinstance(known, CommandResult):
                return known
            await asyncio.wait((told,), timeout=ASK_EVERY_S)  # it ends when we are closed, too
        raise lost

    # ---- the commonest actions, typed -------------------------------------------------------

    async def order_send(
        self,
        symbol: str,
        order_type: str | int,
        lots: float,
        *,
        timeout_s: float = 10.0,
        id_: str | None = None,
        **params: Json,
    ) -> CommandResult:
        """Open a position or place a pending order. See docs/actions.md for `params`."""
        wanted = {"symbol": symbol, "order_type": order_type, "lots": lots, **params}
        return await self.trade("DO_ORDER_SEND", wanted, timeout_s=timeout_s, id_=id_)

    async def order_close(
        self, ticket: int, *, timeout_s: float = 10.0, id_: str | None = None, **params: Json
    ) -> CommandResult:
        """Close a position; with `lots`, a part of it."""
        wanted = {"ticket": ticket, **params}
        return await self.trade("DO_ORDER_CLOSE", wanted, timeout_s=timeout_s, id_=id_)

    async def orders(self, *, timeout_s: float = 10.0) -> list[dict[str, Json]]:
        """Read open and pending orders.

        Raises:
            NoAnswer: No gateway answered, or the terminal gave no list.
        """
        result = await self.query("GET_ORDERS", timeout_s=timeout_s)
        if not result.succeeded:
            raise NoAnswer(result.id, f"GET_ORDERS {result.outcome}: {result.error}")
        return list(result.response or [])

    # ---- streams --------------------------------------------------------------------------

    async def ticks(self, *symbols: str) -> AsyncGenerator[TickMessage, None]:
        """Follow the ticks of some symbols, or of all.

        A gap shows in `missed`, also one that this reader makes: one that is too slow is given the
        newest tick of each symbol, and not those before it.
        """
        last_seq: dict[str, int] = {}
        subjects = [self._subjects.tick(symbol) for symbol in symbols or ("*",)]
        async for _, body in self._follow(subjects, MOST_TICKS_WAITING):
            tick = TickMessage.read(body, last_seq.get(body["symbol"]))
            last_seq[tick.symbol] = tick.seq
            yield tick

    async def results(
        self, client: str | None = None, *, on_gap: OnGap = _nobody_minds
    ) -> AsyncGenerator[CommandResult, None]:
        """Follow the results of trades: of this client, or of another (`*` for all).

        Args:
            client: Whose; this one's by default.
            on_gap: Called when NATS is back after it was away: what was told meanwhile is lost.
        """
        subject = self._subjects.result(client or self.client, "*")
        async for _, body in self._follow([subject], on_gap=on_gap):
            yield CommandResult.read(body)

    async def events(
        self, kind: str = "*", *, on_gap: OnGap = _nobody_minds
    ) -> AsyncGenerator[dict[str, Json], None]:
        """Follow the events of one kind, or of all: each body, with its `kind` in front.

        Args:
            kind: Which.
            on_gap: Called when NATS is back after it was away: what was told meanwhile is lost.
        """
        async for subject, body in self._follow([self._subjects.event(kind)], on_gap=on_gap):
            yield {"kind": subject.rpartition(".")[2]} | body

    async def _follow(
        self,
        subjects: list[str],
        most_waiting: int | None = None,
        on_gap: OnGap = _nobody_minds,
    ) -> AsyncIterator[tuple[str, dict[str, Json]]]:
        """Yield every body published on the subjects, with its subject, in the order of arrival.

        Args:
            subjects: What to subscribe to.
            most_waiting: Beyond it only the newest body of each subject is kept.
            on_gap: Called between two bodies when the connection was lost and is back.

        Raises:
            NotConnected: There is no connection, or it was closed for good.
            NotPermitted: NATS forbids it to this user.
        """
        arrived = Arrived(most_waiting)
        there = asyncio.Event()

        async def note(msg: Msg) -> None:
            arrived.put(msg)
            there.set()

        self._waiting.add(there)
        subscriptions = []
        try:
            for subject in subjects:
                self._denials.forget(subject)
                subscriptions.append(await self._connection.subscribe(subject, cb=note))
            await self._connection.flush()
            connections = self._connection.stats["reconnects"]
            while not self._connection.is_closed:
                for subject in subjects:
                    self._denials.check(subject, WHOLE if "*" in subject else "")
                await there.wait()
                there.clear()
                if connections != (connections := self._connection.stats["reconnects"]):
                    on_gap()
                read = 0
                while (msg := arrived.take()) is not None:
                    body = decode_published(msg.data, _encoding(msg.data, msg.headers))
                    yield msg.subject, body
                    read += 1
                    if read % READ_AT_ONCE == 0:
                        await asyncio.sleep(0)
        except (NatsError, OSError) as exc:
            raise NotConnected(f"cannot follow {', '.join(subjects)}: {exc!r}") from exc
        finally:
            self._waiting.discard(there)
            with suppress(NatsError):  # closed
                for subscription in subscriptions:
                    await subscription.unsubscribe()
        if not self._closing:
            raise NotConnected("NATS closed the connection for good")


class Arrived:
    """Messages that wait for their reader.

    Args:
        most: Beyond it only the newest of each subject is kept, until all were read.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._in_order: deque[Msg] = deque()
        self._newest: OrderedDict[str, Msg] = OrderedDict()

    def put(self, msg: Msg) -> None:
        """Add one."""
        if not self._newest and (self._most is None or len(self._in_order) < self._most):
            self._in_order.append(msg)
            return
        while self._in_order:
            waiting = self._in_order.popleft()
            self._newest[waiting.subject] = waiting
        self._newest[msg.subject] = msg

    def take(self) -> Msg | None:
        """Return the next; None when there is none."""
        if self._in_order:
            return self._in_order.popleft()
        return self._newest.popitem(last=False)[1] if self._newest else None


def _body(params: Mapping[str, Json] | None, id_: str, timeout_s: float) -> dict[str, Json]:
    """Write a command. An id among its parameters would be passed over, and make another trade."""
    for key, ours in (("id", "id_"), ("deadline", "timeout_s")):
        if params and key in params:
            raise ValueError(f"{key}: not among the parameters; say it as {ours}")
    return dict(params or {}) | {"id": id_, "deadline": format_time(time.time() + timeout_s)}


def _encoding(body: bytes, headers: Mapping[str, str] | None) -> Encoding:
    return encoding_of(body, (headers or {}).get(CONTENT_TYPE_HEADER))
