"""The NATS edge: wishes in; results, ticks and events out. Bytes to nouns, errors mapped.

Nothing of ours is ever buffered for a bus that is away: results of trades are told by the
journal's stream once they are stored. A connection that is silent is torn down by a watchdog on
the round trip; a login that is refused is tried again, for somebody may put it right.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.api import DiscardPolicy, StorageType, StreamConfig
from nats.js.errors import APIError, BadRequestError
from nats.micro import add_service
from nats.micro.request import Request as ServiceRequest
from nats.micro.service import ServiceConfig

from gateway import __version__, cancellation
from gateway.actions import ACTIONS
from gateway.audit_chain import Chain
from gateway.config import Config, without_secret
from gateway.core.messages import (
    Answer,
    Call,
    CallAnswer,
    CommandId,
    Effect,
    Json,
    NoCallAnswer,
    Outcome,
    Result,
    Wish,
)
from gateway.envelope import (
    CLIENT_PATTERN,
    CONTENT_TYPE_HEADER,
    MOST_OF_A_NAME,
    Encoding,
    decode,
    encode,
    encode_fitting,
    encoding_of,
    error_headers,
    parse_request,
    result_body,
    result_headers,
    service_error,
    trace_in,
)
from gateway.errors import InvalidCommand, JournalAway, TransportError
from gateway.metrics import Metrics
from gateway.nats_connection import Connection, denial_in, is_refusal
from gateway.nats_login import Login
from gateway.policy_settings import PolicyInForce
from gateway.subjects import Subjects, encode_token

log = logging.getLogger(__name__)

QUEUE_GROUP = "mt4-gateway"
CONTROL_VERBS = ("halt", "resume", "stepdown")
RECONNECT_WAIT_S = 0.2
CONNECT_TIMEOUT_S = 2
REPEAT_ERROR_S = 60.0
CONFIRMED_IN_S = 60
WORTH_ASKING_BYTES = 65_536
"""What may be under way to NATS without being asked about; some hundred ticks."""
HEADERS_BYTES = 4096
MOST_ANSWER_BYTES = 60_000
"""Of a call's answer, as it comes and as it is handed on: a line that an MQL4 program takes."""
SCHEMAS_ARE_IN = "mt4-gateway asyncapi"
"""Who finds the service learns here how its bodies are described."""


def _below(prefixes: tuple[str, ...]) -> re.Pattern[str]:
    """Match every subject below one of the prefixes."""
    written = (re.escape(prefix).replace(r"\*", "[A-Za-z0-9_-]+") for prefix in prefixes)
    return re.compile(f"(?:{'|'.join(written)})\\.")


async def _no_answer(_: Result) -> None:
    """Answer nobody: the message had no reply subject that may be used."""


def _listed(effect: Effect) -> str:
    """Name the actions of the catalogue."""
    return ", ".join(action.name for action in ACTIONS.values() if action.effect is effect)


AcceptWish = Callable[[Wish], Awaitable[None]]
StateOf = Callable[[CommandId], Awaitable[Result | str]]
Control = Callable[[str, dict[str, Json]], Awaitable[dict[str, Json]]]
"""Does what an operator's verb says and tells how things are then."""


class _AnswersInboxes:
    """A connection for NATS's service framework, which would answer to any subject.

    It has the rights of the gateway, the journal's records among them.
    """

    def __init__(self, connection: Connection, inboxes: re.Pattern[str]) -> None:
        self._connection = connection
        self._inboxes = inboxes

    async def subscribe(
        self, subject: str, *, cb: Callable[[Msg], Awaitable[None]], **options: Any
    ) -> Subscription:
        async def answer(msg: Msg) -> None:
            if self._inboxes.match(msg.reply):
                await cb(msg)
            else:
                log.warning("question_refused reply=%r", msg.reply[:80])

        return await self._connection.subscribe(subject, cb=answer, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class Bus:
    """The connection to NATS, and everything that crosses it.

    Args:
        config: Servers, names, encodings.
        policy: Tells whether a job needs a deadline.
    """

    def __init__(self, config: Config, metrics: Metrics, policy: PolicyInForce) -> None:
        self.subjects = Subjects(config.bus.prefix, config.terminal.name)
        self.round_trip_s: float | None = None
        self.last_error: str | None = None
        self._last_error_at_s = 0.0
        self._is_refused = False
        self._config = config
        self._policy = policy
        self._metrics = metrics
        self._login = Login(config.nats)
        self.client = Connection(self._login)
        self.encoding = Encoding.MSGPACK if config.bus.encoding == "msgpack" else Encoding.JSON
        self._inboxes = _below(config.bus.inbox_prefixes)
        self._audit = Chain()
        self._served: list[Callable[[], Awaitable[None]]] = []
        self._tick_subjects: dict[str, str] = {}
        self._outgoing: list[tuple[str, bytes]] = []
        self._outgoing_there = asyncio.Event()
        self._written = asyncio.Event()
        self._unconfirmed_bytes = 0
        self._asked_at_s: float | None = None
        self._least_round_trip_s = 0.0
        self._closed = asyncio.Event()
        self._closing = False

    @property
    def is_connected(self) -> bool:
        """Tell whether NATS can be talked to now."""
        return self.client.is_connected

    @property
    def server(self) -> str | None:
        """The address of the server that is connected."""
        url = self.client.connected_url
        return url.netloc.rpartition("@")[2] if url is not None else None

    @property
    def _most_bytes(self) -> int:
        """How long a body may be: the server counts headers as well, and cuts us off above it."""
        return self.client.max_payload - HEADERS_BYTES

    # ---- connection ---------------------------------------------------------------------

    async def connect(self) -> None:
        """Connect; keep trying until there is a server, however long that takes.

        Raises:
            ConfigError: The secrets or certificates cannot be used.
        """
        self._login.check()
        while True:
            try:
                await self.client.connect(
                    list(self._config.nats.servers),
                    name=f"mt4-gateway {self._config.terminal.name}",
                    error_cb=self._on_error,
                    disconnected_cb=self._on_disconnected,
                    reconnected_cb=self._on_reconnected,
                    closed_cb=self._on_closed,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=RECONNECT_WAIT_S,  # type: ignore[arg-type] # a float works
                    connect_timeout=CONNECT_TIMEOUT_S,
                    ping_interval=5,
                    max_outstanding_pings=2,
                    inbox_prefix=self._config.nats.inbox_prefix,
                    # Each is made of checked tokens, or came over the wire as one word.
                    skip_subject_validation=True,
                )
            except (NatsError, OSError) as exc:
                log.warning("nats_connect_failed servers=%s cause=%r", self._servers(), exc)
                await asyncio.sleep(RECONNECT_WAIT_S * 5)
            else:
                break
        self.last_error, self._is_refused = None, False
        self._metrics.nats_is_up(True)
        log.info("nats_connected server=%s", self.server)

    def _servers(self) -> str:
        return ",".join(without_secret(server) for server in self._config.nats.servers)

    async def _on_error(self, exc: Exception) -> None:
        """Log an error once a minute; nats-py repeats it at every try to reconnect."""
        if self._is_refused and isinstance(exc, ConnectionResetError | BrokenPipeError):
            return  # the server resets the connection of whom it has refused
        self._is_refused = is_refusal(exc)
        now_s, told = time.monotonic(), self._told(exc)
        if told != self.last_error or now_s > self._last_error_at_s + REPEAT_ERROR_S:
            self.last_error, self._last_error_at_s = told, now_s
            level = logging.ERROR if is_refusal(exc) or denial_in(exc) else logging.WARNING
            log.log(level, "nats_error cause=%s", told)

    def _told(self, exc: Exception) -> str:
        """Say what is wrong, and where a person has to change something."""
        if is_refusal(exc):
            return f"NATS refuses the login as {self._login}: put the section [nats] right ({exc})"
        if denial_in(exc) is not None:
            return f"a permission is missing, see `mt4-gateway acl --role gateway`: {exc}"
        return repr(exc)

    async def _on_disconnected(self) -> None:
        self._metrics.nats_is_up(False)
        if not self._closing:
            log.warning("nats_disconnected")

    async def _on_reconnected(self) -> None:
        self._metrics.nats_is_up(True)
        self._metrics.nats_reconnected()
        self.last_error, self._is_refused = None, False
        self._asked_at_s = None  # what was asked on the old connection is not answered here
        log.info("nats_reconnected server=%s", self.server)
        await self._keep_last_ticks()

    async def _on_closed(self) -> None:
        self._closed.set()

    async def watch(self) -> None:
        """Measure the round trip; reconnect when there is none; run until cancelled.

        Raises:
            TransportError: The client has closed for good.
        """
        measuring = asyncio.create_task(self._measure_for_ever(), name="bus-round-trip")
        try:
            await self._closed.wait()
        finally:
            measuring.cancel()
        cause = self.client.last_error
        raise TransportError(f"the connection to NATS was closed for good: {cause!r}")

    async def _measure_for_ever(self) -> None:
        settings = self._config.nats
        while True:
            cancellation.heed()
            await self._measure(settings.round_trip_timeout_s)
            await asyncio.sleep(settings.round_trip_interval_s)

    async def _measure(self, timeout_s: float) -> None:
        if not self.client.is_connected:
            return
        started_s = time.perf_counter()
        try:
            async with asyncio.timeout(timeout_s):
                await self.client.flush(timeout=int(timeout_s) + 1)
        except (TimeoutError, NatsError) as exc:
            log.warning("nats_silent timeout_s=%.1f cause=%r", timeout_s, exc)
            await self.client.force_reconnect()
            return
        self.round_trip_s = time.perf_counter() - started_s
        self._least_round_trip_s = min(
            self._least_round_trip_s or CONNECT_TIMEOUT_S, self.round_trip_s
        )
        self._metrics.nats_round_trip(self.round_trip_s)

    async def close(self) -> None:
        """Send what is ready and disconnect."""
        self._closing = True
        if self.client.is_connected:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    await self.client.flush(CONNECT_TIMEOUT_S)
            except (TimeoutError, NatsError) as exc:
                log.warning("nats_close cause=%r", exc)
        closing = asyncio.create_task(self.client.close())
        await asyncio.wait([closing], timeout=CONNECT_TIMEOUT_S)
        if closing.done() and not closing.cancelled() and closing.exception() is not None:
            log.warning("nats_close cause=%r", closing.exception())  # over what was not sent

    async def is_served(self) -> bool:
        """Tell whether another gateway serves this terminal now, perhaps too busy to answer."""
        try:
            await self.client.request(self.subjects.control("status"), timeout=CONNECT_TIMEOUT_S)
        except NoRespondersError:
            return False
        except NatsError as exc:
            log.debug("gateway_silent cause=%r", exc)
        return True

    # ---- inbound ------------------------------------------------------------------------

    async def serve(
        self,
        accept: AcceptWish,
        state_of: StateOf,
        status: Callable[[], dict[str, Json]],
        control: Control,
    ) -> None:
        """Subscribe: from here on commands come in."""
        self._accept, self._state_of = accept, state_of
        self._status, self._control = status, control
        await self._keep_last_ticks()
        names = self.subjects
        served = {
            names.query("*"): self._on_query,
            names.trade("*", "*"): self._on_trade,
            names.command("*", "*"): self._on_question,
            **{names.control(verb): self._on_control for verb in CONTROL_VERBS},
        }
        for subject, handle in served.items():
            found = await self.client.subscribe(subject, queue=QUEUE_GROUP, cb=handle)
            self._served.append(found.drain)
        await self._announce_service()
        try:
            await self.client.flush(CONNECT_TIMEOUT_S)
        except (NatsError, TimeoutError) as exc:
            # Subscriptions are made again at the reconnect; `watch` tells if there will be none.
            log.warning("nats_silent cause=%r", exc)

    async def _announce_service(self) -> None:
        """Let standard NATS tools find us.

        The framework answers one request at a time, so only `status` goes through it.
        """
        names = self.subjects
        service = await add_service(
            _AnswersInboxes(self.client, self._inboxes),  # type: ignore[arg-type] # what it uses
            ServiceConfig(
                name="mt4-gateway",
                version=__version__,
                description=f"MetaTrader 4 terminal {names.terminal}",
                metadata={
                    "terminal": names.terminal,
                    "query": names.query("<ACTION>"),
                    "trade": names.trade("<client>", "<ACTION>"),
                    "job": names.job("<client>", "<ACTION>"),
                    "command": names.command("<client>", "<id>"),
                    "result": names.result("<client>", "<id>"),
                    "tick": f"{names.base}.tick.<SYMBOL>",
                    "event": names.event("<kind>"),
                    "control": names.control("<verb>"),
                    "queries": _listed(Effect.QUERY),
                    "trades": _listed(Effect.TRADE),
                    "encodings": ", ".join(Encoding),
                    "schemas": SCHEMAS_ARE_IN,
                },
            ),
        )
        await service.add_endpoint(
            name="status",
            subject=names.control("status"),
            handler=self._on_status,
            metadata={"request": "empty", "response": "status", "effect": "query"},
        )
        self._served.append(service.stop)

    async def retire(self) -> None:
        """Take nothing more in, so that NATS asks another gateway; what has come is answered."""
        if not self.client.is_connected:
            return
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await asyncio.gather(*(end() for end in self._served))
        except (TimeoutError, NatsError) as exc:
            log.warning("nats_silent cause=%r", exc)
        self._served.clear()

    async def _on_query(self, msg: Msg) -> None:
        # A query's client is not in its subject; its inbox tells askers apart for fairness.
        asker = ".".join(msg.reply.split(".")[:2])
        action = msg.subject.rpartition(".")[2]
        await self._accept(self._asked(msg, action, Effect.QUERY, asker))

    async def _on_trade(self, msg: Msg) -> None:
        _, client, action = msg.subject.rsplit(".", 2)
        await self._accept(self._asked(msg, action, Effect.TRADE, client[:MOST_OF_A_NAME]))

    def _asked(self, msg: Msg, action: str, effect: Effect, asker: str) -> Wish:
        """Read a message that may want a reply."""
        if msg.reply and not self._inboxes.match(msg.reply):
            client = asker if effect is Effect.TRADE else None
            problem = f"the reply subject {msg.reply[:80]!r} is not an inbox (bus.inbox_prefixes)"
            return Wish(action, effect, client, asker, _no_answer, problem=problem)
        encoding = encoding_of(msg.data, (msg.headers or {}).get(CONTENT_TYPE_HEADER))
        answer = self._answer_to(msg.reply, encoding) if msg.reply else _no_answer
        if effect is Effect.TRADE and not msg.reply:
            answer = self.publish_denial
        return self._wish(msg, action, effect, asker, answer)

    def _wish(self, msg: Msg, action: str, effect: Effect, asker: str, answer: Answer) -> Wish:
        """Read a message; what cannot be read becomes a wish with a problem."""
        headers = msg.headers or {}
        client = asker if effect is Effect.TRADE else None
        if client is not None and CLIENT_PATTERN.fullmatch(client) is None:
            problem = f"the client {client!r} must match [a-z0-9-]{{1,32}}"
            return Wish(action, effect, client, asker, answer, problem=problem)
        said = parse_request(msg.data, headers)
        return Wish(
            action,
            effect,
            client,
            asker,
            answer,
            params=said.params,
            id=said.id,
            deadline_at_s=said.deadline_at_s,
            problem=said.problem,
            trace=trace_in(headers),
        )

    def _answer_to(self, reply: str, encoding: Encoding) -> Answer:
        async def answer(result: Result) -> None:
            shown, body = encode_fitting(result, encoding, self._most_bytes)
            headers = result_headers(shown, encoding) | error_headers(shown)
            await self._reply(reply, body, headers)

        return answer

    async def _on_question(self, msg: Msg) -> None:
        """Say what became of a command."""
        _, client, id_ = msg.subject.rsplit(".", 2)
        if not self._inboxes.match(msg.reply):
            log.warning("question_refused reply=%r", msg.reply[:80])
            return
        encoding = encoding_of(msg.data, (msg.headers or {}).get(CONTENT_TYPE_HEADER))
        body: dict[str, Json]
        try:
            known = await self._state_of(CommandId(client, id_))
        except JournalAway as exc:
            away = {CONTENT_TYPE_HEADER: str(encoding)} | service_error(503, str(exc))
            await self._reply(msg.reply, encode({"state": None, "result": None}, encoding), away)
            return
        if isinstance(known, Result):
            shown, _ = encode_fitting(known, encoding, self._most_bytes)
            body = {"state": "finished", "result": result_body(shown)}
        else:
            body = {"state": known, "result": None}
        headers: dict[str, str] = {CONTENT_TYPE_HEADER: str(encoding)}
        if known == "not_known":
            headers |= service_error(404, "no such command is known")
        await self._reply(msg.reply, encode(body, encoding), headers)

    async def _on_control(self, msg: Msg) -> None:
        """Do what an operator says."""
        if not self._inboxes.match(msg.reply):
            log.warning("control_refused reply=%r", msg.reply[:80])
            return
        verb = msg.subject.rpartition(".")[2]
        encoding = encoding_of(msg.data, (msg.headers or {}).get(CONTENT_TYPE_HEADER))
        headers = {CONTENT_TYPE_HEADER: str(encoding)}
        try:
            body = await self._control(verb, decode(msg.data, encoding))
        except InvalidCommand as exc:
            body, headers = {"error": str(exc)}, headers | service_error(400, str(exc))
        except JournalAway as exc:
            body, headers = {"error": str(exc)}, headers | service_error(503, str(exc))
        await self._reply(msg.reply, encode(body, encoding), headers)

    def read_job(self, msg: Msg, sequence: int, stored_at_s: float, answer: Answer) -> Wish:
        """Read a durable trade; without an id it is called by its place in the stream."""
        _, client, action = msg.subject.rsplit(".", 2)
        wish = self._wish(msg, action, Effect.TRADE, client[:MOST_OF_A_NAME], answer)
        deadline_at_s = wish.deadline_at_s
        if deadline_at_s is None and not self._policy.current.require_deadline:
            deadline_at_s = stored_at_s + self._config.commands.default_timeout_s
        id_ = wish.id or f"job-{sequence}"
        return replace(wish, id=id_, deadline_at_s=deadline_at_s, via="job")

    async def _on_status(self, request: ServiceRequest) -> None:
        await request.respond(encode(self._status(), Encoding.JSON))

    # ---- outbound -----------------------------------------------------------------------

    async def call(self, call: Call) -> CallAnswer:
        """Put an MQL4 program's question to whoever serves it, once, and wait for the answer."""
        if not self.client.is_connected:
            return CallAnswer(error=NoCallAnswer.NO_BUS, message="there is no connection to NATS")
        subject = self.subjects.call(call.name)
        try:
            question = encode(call.payload, Encoding.JSON)
        except (ValueError, RecursionError) as exc:
            return CallAnswer(error=NoCallAnswer.BAD_CALL, message=f"no JSON value: {exc}")
        if len(question) > self._most_bytes:
            message = f"{len(question)} bytes are more than {self._most_bytes}"
            return CallAnswer(error=NoCallAnswer.BAD_CALL, message=message)
        try:
            reply = await self.client.request(subject, question, timeout=call.timeout_s)
        except NoRespondersError:
            message = f"nobody listens on {subject}"
            return CallAnswer(error=NoCallAnswer.NOBODY_LISTENS, message=message)
        except NatsTimeoutError:
            message = f"no answer on {subject} within {call.timeout_s:g} s"
            return CallAnswer(error=NoCallAnswer.TIMEOUT, message=message)
        except NatsError as exc:
            return CallAnswer(error=NoCallAnswer.NO_BUS, message=repr(exc))
        return _call_answer(reply.data)

    async def _reply(self, subject: str, body: bytes, headers: dict[str, str]) -> None:
        """Answer a request; nobody waits any more where that fails."""
        if not self.client.is_connected:
            return
        try:
            await self.client.publish(subject, body, headers=headers)
        except NatsError as exc:
            log.warning("reply_failed subject=%s bytes=%d cause=%r", subject, len(body), exc)

    async def publish_denial(self, result: Result) -> None:
        """Tell a trade's refusal where its result is looked for; nobody asked for a reply."""
        if result.outcome is not Outcome.DENIED:
            return  # it is stored, and told by the journal
        subject = self.subjects.result(result.key.client or "-", result.key.id)
        _, body = encode_fitting(result, self.encoding, self._most_bytes)
        await self._reply(subject, body, result_headers(result, self.encoding))

    async def publish_audit(self, key: CommandId, record: dict[str, Json]) -> None:
        """Put a record of the audit on its way; what is published after it is behind it."""
        subject = self.subjects.audit(encode_token(key.client or "-"), encode_token(key.id))
        await self._reply(subject, self._audit.written(record), {})

    def post_event(self, kind: str, body: dict[str, Json]) -> None:
        """Publish an event soon; dropped while the bus is away or falls behind."""
        if self._keeps_up:
            self._outgoing.append((self.subjects.event(kind), encode(body, self.encoding)))
            self._outgoing_there.set()

    def post_ticks(self, batch: Iterable[tuple[str, bytes]]) -> bool:
        """Publish ticks soon; False while the bus is away or falls behind, and then none is."""
        if not self._keeps_up:
            return False
        subjects, post = self._tick_subjects, self._outgoing.append
        for symbol, body in batch:
            subject = subjects.get(symbol)
            if subject is None:
                subject = subjects[symbol] = self.subjects.tick(symbol)
            post((subject, body))
            self._unconfirmed_bytes += len(body)
        self._outgoing_there.set()
        return True

    @property
    def _keeps_up(self) -> bool:
        """Tell whether NATS is there and has confirmed in time what it was sent."""
        if not self.client.is_connected:
            return False
        if self._asked_at_s is None:
            return True
        waited_s = time.monotonic() - self._asked_at_s
        return waited_s <= self._config.ticks.conflate_after_s + self._least_round_trip_s

    async def pump(self) -> None:
        """Publish what was posted, a whole batch without a pause, until cancelled.

        nats-py sends a batch that is published without a yield as one write: when this waits.
        """
        confirming = asyncio.create_task(self._confirm_for_ever(), name="bus-confirm")
        try:
            while True:
                await self._outgoing_there.wait()
                self._outgoing_there.clear()
                batch, self._outgoing = self._outgoing, []
                publish = self.client.publish
                try:
                    for subject, body in batch:
                        await publish(subject, body)
                except NatsError as exc:
                    log.warning("publish_failed count=%d cause=%r", len(batch), exc)
                if self._unconfirmed_bytes >= WORTH_ASKING_BYTES:
                    self._written.set()
        finally:
            confirming.cancel()

    async def _confirm_for_ever(self) -> None:
        """Ask NATS whether all has come, as soon as there is enough to ask about."""
        while True:
            await self._written.wait()
            self._written.clear()
            self._unconfirmed_bytes = 0
            self._asked_at_s = time.monotonic()
            try:
                await self.client.flush(CONFIRMED_IN_S)
            except (NatsError, TimeoutError) as exc:
                log.debug("unconfirmed cause=%r", exc)  # `watch` reconnects
                await asyncio.sleep(RECONNECT_WAIT_S)
            self._asked_at_s = None

    async def _keep_last_ticks(self) -> None:
        """Make the memory stream that holds the last tick of each symbol."""
        if not self._config.ticks.last_value:
            return
        names = self.subjects
        stream = StreamConfig(
            name=names.streams.ticks,
            description="The last tick of each symbol",
            subjects=[names.tick("*")],
            storage=StorageType.MEMORY,
            max_msgs_per_subject=1,
            discard=DiscardPolicy.OLD,
            allow_direct=True,
            num_replicas=1,
        )
        try:
            await self.client.jetstream().add_stream(stream)
        except BadRequestError as exc:
            log.warning("tick_stream_differs stream=%s cause=%s", stream.name, exc.description)
        except (APIError, NatsError, TimeoutError) as exc:
            log.warning("tick_stream_unavailable stream=%s cause=%r", stream.name, exc)


def _call_answer(body: bytes) -> CallAnswer:
    if len(body) > MOST_ANSWER_BYTES:
        return _too_long(len(body))
    try:
        payload = json.loads(body)
        written = encode(payload, Encoding.JSON)  # as it is handed on: in ASCII, so maybe longer
    except (ValueError, RecursionError) as exc:
        return CallAnswer(error=NoCallAnswer.BAD_ANSWER, message=f"the answer is not JSON: {exc}")
    return _too_long(len(written)) if len(written) > MOST_ANSWER_BYTES else CallAnswer(payload)


def _too_long(count: int) -> CallAnswer:
    message = f"{count} bytes are more than {MOST_ANSWER_BYTES}"
    return CallAnswer(error=NoCallAnswer.BAD_ANSWER, message=message)
