"""What must survive: that a trade was sent, and how it ended. Fenced records in JetStream.

Two records a trade and no more: `sent` before the first frame leaves, `result` before anyone
hears of it (the stream's republish tells it). `result` may be replaced once, from unknown to
what was proved. Every write is conditional on the *term*, a record written only by a gateway
that takes over: one that was deposed in its sleep can no longer write anything. An id that is
in the journal is never new again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

from gateway import cancellation
from gateway.actions import ACTIONS
from gateway.core.messages import (
    Cause,
    Command,
    CommandId,
    Dialect,
    Json,
    Outcome,
    Result,
    Source,
)
from gateway.envelope import (
    CONTENT_TYPE_HEADER,
    Encoding,
    decode_published,
    encode_fitting,
    encoding_of,
    format_time,
    parse_time,
    result_headers,
    result_of,
    trace_in,
)
from gateway.errors import JournalAway, RemoteProtocolError, StartOver
from gateway.journal.records import MESSAGE_ID, TIMEOUT_S, TTL, Records, Superseded, only_if
from gateway.journal.streams import DAY_S
from gateway.metrics import Metrics
from gateway.policy import Halt
from gateway.subjects import Subjects

log = logging.getLogger(__name__)

RETRY_S = 0.2
LONGEST_PATIENCE_S = 16.0
WATCHED_S = float(DAY_S)
"""How long an unknown trade may still be replaced by what was proved."""

LATELY = 1024
"""How many finished trades are answered from memory; older ones are fetched."""

DIGEST_HEADER = "Mt4-Digest"
OUTCOME_HEADER = "Mt4-Outcome"


class Fenced(StartOver):
    """The term is another gateway's: this one may decide nothing any more."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A trade that is about to be sent.

    Attributes:
        dialect: Of the terminal that it is meant for.
        ledger: The ledger that it is meant for (bridge dialect); no other may run it.
    """

    command: Command
    dialect: Dialect
    ledger: str | None = None
    wants_raw: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """What a repeated id is answered from."""

    digest: str
    action: str
    result: Result


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What a gateway finds when it takes over.

    Attributes:
        unfinished: Sent, without a result.
        unknown: Ended as unknown within the last day.
        lately: Sent within the time that was asked for, and how each ended.
    """

    unfinished: list[Sent] = field(default_factory=list)
    unknown: list[Sent] = field(default_factory=list)
    lately: list[tuple[Sent, Outcome]] = field(default_factory=list)


class Journal(Protocol):
    """The memory of trades, as flow 1 sees it."""

    @property
    def halted(self) -> Halt | None:
        """Return why trading is stopped; None while it is not."""

    @property
    def unknown(self) -> Mapping[CommandId, Result]:
        """Return the trades that a late proof may still settle."""

    def settle(self, key: CommandId) -> bool:
        """Take a trade off the unknown ones; True for the one who may record its proof."""

    def refusal(self) -> Cause | None:
        """Say why no trade may begin now."""

    def may_send(self) -> bool:
        """Tell whether a frame of a trade may leave now."""

    def knows(self, key: CommandId) -> bool:
        """Tell whether this id has a result."""

    async def find(self, key: CommandId) -> Entry | None:
        """Return how a trade ended; raises `JournalAway`."""

    async def sent(self, sent: Sent) -> bool:
        """Record that a frame is about to leave; False when that may not be stored."""

    async def finished(self, command: Command, result: Result) -> None:
        """Record the result, however long it takes; nobody hears of it before this returns."""


class JetStreamJournal:
    """The journal of one terminal, for one term.

    Args:
        holds_lease: Tells whether this gateway may still act.

    Attributes:
        halted: Why trading is stopped; None while it is not.
        mark: How many trades were ever recorded as sent, as far as that is acknowledged; the
            terminal's ledger remembers it.
        went_back: That the journal knows less than it once did, in words; None if it does not.
        term: Counts the gateways that took over; 0 before this one has.
    """

    def __init__(
        self,
        records: Records,
        subjects: Subjects,
        metrics: Metrics,
        *,
        encoding: Encoding,
        retention_days: int,
        holds_lease: Callable[[], bool],
    ) -> None:
        self.halted: Halt | None = None
        self.unknown: dict[CommandId, Result] = {}
        self._records = records
        self._subjects = subjects
        self._encoding = encoding
        self._ttl = {TTL: f"{retention_days * DAY_S}s"}
        self._metrics = metrics
        self._holds_lease = holds_lease
        self.term = 0
        self.mark = 0
        self._counted = 0
        self._writing = asyncio.Lock()
        self._kept_mark = 0
        self.went_back: str | None = None
        self._told = 0
        self._is_away = False
        self._fence: dict[str, str] | None = None
        self._replaced: Fenced | None = None
        self._stored: set[CommandId] = set()
        self._lately: OrderedDict[CommandId, Entry] = OrderedDict()
        self._unstored: set[str] = set()

    # ---- taking over --------------------------------------------------------------------

    async def take_over(self, gateway: str, lately_s: float = 0.0) -> Inheritance:
        """Begin a new term, after which no other gateway can write, and read what it inherits.

        Args:
            gateway: Who does so.
            lately_s: How far back it wants to know what was sent, whatever became of it.

        Raises:
            JournalAway: It could not be done now.
            Fenced: Another gateway did so at the same moment.
        """
        subject = f"{self._subjects.journal_base}.term"
        last = await self._records.read(subject)
        with _ours(subject):
            said = json.loads(last.data or b"") if last else {"term": 0, "mark": 0}
            self.mark, self.term = int(said["mark"]), int(said["term"]) + 1
        for name in ("sent.>", "mark"):
            latest = await self._records.read(f"{self._subjects.journal_base}.{name}")
            if latest is not None:
                with _ours(latest.subject or name):
                    self.mark = max(self.mark, int(json.loads(latest.data or b"")["mark"]))
        self._kept_mark = self._counted = self.mark
        at = format_time(time.time())
        body = {"term": self.term, "mark": self.mark, "gateway": gateway, "at": at}
        try:
            sequence = await self._records.write(
                subject, json.dumps(body).encode(), only_if((last.seq or 0) if last else 0)
            )
        except Superseded as exc:
            raise Fenced("another gateway is taking over") from exc
        self._fence = only_if(sequence, subject)
        inheritance = await self._inherit(lately_s)
        halt = await self._records.read(f"{self._subjects.journal_base}.halt")
        with _ours(f"{self._subjects.journal_base}.halt"):
            self._take_halt(_halt_in(halt.data or b"") if halt else {})
        log.info(
            "term_begun term=%d unfinished=%d unknown=%d known=%d",
            self.term,
            len(inheritance.unfinished),
            len(inheritance.unknown),
            len(self._stored),
        )
        return inheritance

    async def _inherit(self, lately_s: float) -> Inheritance:
        sent = await self._keys("sent")
        self._stored = await self._keys("result")
        unfinished = [await self._read_sent(key) for key in sent - self._stored]
        outcomes = await self._outcomes()
        self.unknown = await self._unknown_of(outcomes)
        unknown = [await self._read_sent(key) for key in self.unknown.keys() & sent]
        unfinished.sort(key=lambda one: one.command.received_at_s)
        return Inheritance(unfinished, unknown, await self._sent_lately(lately_s, outcomes))

    async def _keys(self, kind: str) -> set[CommandId]:
        """Name every trade that has a record of this kind."""
        subjects = await self._records.subjects(f"{self._subjects.journal_base}.{kind}.>")
        return {_key_of(subject) for subject in subjects}

    async def _read_sent(self, key: CommandId) -> Sent:
        record = await self._records.read(self._subjects.sent(str(key.client), key.id))
        if record is None:
            raise JournalAway(f"the record of {key} went away while it was read")
        with _ours(self._subjects.sent(str(key.client), key.id)):
            return sent_of(key, json.loads(record.data or b""))

    async def _outcomes(self) -> dict[CommandId, Outcome]:
        """Tell how the trades of the last day ended."""
        pattern = f"{self._subjects.journal_base}.result.>"
        since_s = time.time() - WATCHED_S
        records = await self._records.since(pattern, since_s, headers_only=True)
        return {
            _key_of(record.subject): Outcome((record.headers or {})[OUTCOME_HEADER])
            for record in records
            if OUTCOME_HEADER in (record.headers or {})
        }

    async def _unknown_of(self, outcomes: Mapping[CommandId, Outcome]) -> dict[CommandId, Result]:
        """Read the results that are unknown."""
        found: dict[CommandId, Result] = {}
        for key, outcome in outcomes.items():
            entry = await self._fetch(key) if outcome is Outcome.UNKNOWN else None
            if entry is not None and entry.result.outcome is Outcome.UNKNOWN:
                found[entry.result.key] = entry.result
        return found

    async def _sent_lately(
        self, within_s: float, outcomes: Mapping[CommandId, Outcome]
    ) -> list[tuple[Sent, Outcome]]:
        """Read what was sent within some time and has ended."""
        if within_s <= 0:
            return []
        pattern = f"{self._subjects.journal_base}.sent.>"
        records = await self._records.since(pattern, time.time() - within_s)
        keys = [_key_of(record.subject) for record in records]
        return [
            (sent_of(key, json.loads(record.data)), outcomes[key])
            for key, record in zip(keys, records, strict=True)
            if key in outcomes
        ]

    # ---- reading ------------------------------------------------------------------------

    def knows(self, key: CommandId) -> bool:
        """Tell whether this id has a result."""
        return key in self._stored

    async def find(self, key: CommandId) -> Entry | None:
        """Return how a trade ended; None when it has aged out of the journal.

        Raises:
            JournalAway: It cannot be read now.
        """
        if (entry := self._lately.get(key)) is not None:
            return entry
        if self._fence is None:
            raise JournalAway("this gateway has no journal now")
        if key not in self._stored:
            if not self._holds_lease():
                raise JournalAway("the lease has run out: another gateway may know more")
            return None
        entry = await self._fetch(key)
        if entry is None:
            self._stored.discard(key)
        return entry

    async def _fetch(self, key: CommandId) -> Entry | None:
        record = await self._records.read(self._subjects.stored_result(str(key.client), key.id))
        if record is None:
            return None
        headers, data = record.headers or {}, record.data or b""
        with _ours(self._subjects.stored_result(str(key.client), key.id)):
            body = decode_published(data, encoding_of(data, headers.get(CONTENT_TYPE_HEADER)))
            result = replace(result_of(body), trace=trace_in(headers))
        return Entry(headers.get(DIGEST_HEADER, ""), result.action, result)

    # ---- writing ------------------------------------------------------------------------

    def settle(self, key: CommandId) -> bool:
        """Take a trade off the unknown ones; True for the one who may record its proof."""
        return self.unknown.pop(key, None) is not None

    def refusal(self) -> Cause | None:
        """Say why no trade may begin now."""
        if self._fence is None:
            return _no_journal("there is no journal: trading needs NATS with JetStream")
        if self.went_back is not None:
            return _no_journal(self.went_back)
        if not self._records.is_connected or self._unstored:
            return _no_journal("the journal does not answer: a result waits to be stored")
        if not self._holds_lease():
            return _no_journal("the lease has run out: it could not be renewed")
        return None

    def may_send(self) -> bool:
        """Tell whether a frame of a trade may leave now."""
        if self.went_back is not None or self._fence is None:
            return False
        return not self._unstored and self._holds_lease()

    async def sent(self, sent: Sent) -> bool:
        """Record that a frame is about to leave; False when that may not be stored.

        Raises:
            Fenced: Another gateway has taken over.
        """
        key = sent.command.key
        subject = self._subjects.sent(str(key.client), key.id)
        self._counted += 1
        mark = self._counted
        body = sent_body(sent) | {"mark": mark}
        try:
            await self._write(subject, json.dumps(body).encode(), self._ttl)
        except JournalAway as exc:
            if not self._is_away:
                log.warning("journal_away id=%s cause=%s", key, exc)
            self._is_away = True
        else:
            self._is_away = False
            self.mark = max(self.mark, mark)
        return not self._is_away

    async def finished(self, command: Command, result: Result) -> None:
        """Record the result, however long it takes; nobody hears of it before this returns.

        Raises:
            Fenced: Another gateway has taken over, and it decides.
        """
        subject = self._subjects.stored_result(str(command.key.client), command.key.id)
        shown, body = encode_fitting(result, self._encoding, self._records.most_bytes)
        headers = self._ttl | result_headers(shown, self._encoding)
        headers |= {
            DIGEST_HEADER: command.digest,
            OUTCOME_HEADER: str(shown.outcome),
            # A retry of a write whose acknowledgement was lost is not told a second time.
            MESSAGE_ID: f"{self.term}.{subject}.{shown.outcome}",
        }
        await self._write_until_stored(subject, body, headers)
        self._stored.add(command.key)
        self._lately[command.key] = Entry(command.digest, command.action, result)
        if len(self._lately) > LATELY:
            self._lately.popitem(last=False)
        if result.outcome is Outcome.UNKNOWN:
            self.unknown[command.key] = result

    async def _write_until_stored(self, subject: str, body: bytes, headers: dict[str, str]) -> None:
        """Try again until it is stored, each time with more patience: the server may be slow.

        A write is repeated only if it is not there: the stream forgets after some minutes that it
        has told it already.
        """
        patience_s = TIMEOUT_S
        try:
            while True:
                try:
                    if subject in self._unstored and await self._holds(subject, body):
                        return
                    await self._write(subject, body, headers, patience_s)
                except JournalAway as exc:
                    if subject not in self._unstored:
                        log.warning("result_waits subject=%s cause=%s", subject, exc)
                    self._unstored.add(subject)
                else:
                    return
                cancellation.heed()
                await asyncio.sleep(RETRY_S)
                patience_s = min(LONGEST_PATIENCE_S, patience_s * 2)
        finally:
            self._unstored.discard(subject)

    async def _holds(self, subject: str, body: bytes) -> bool:
        """Tell whether the journal has exactly this as a subject's record."""
        record = await self._records.read(subject)
        return record is not None and record.data == body

    async def _write(
        self,
        subject: str,
        body: bytes,
        headers: Mapping[str, str],
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Store a record under the fence.

        Raises:
            JournalAway: It was not acknowledged.
            Fenced: Another gateway has taken over.
        """
        fence = self._fence
        if fence is None:
            raise JournalAway("there is no journal")
        started_s = time.perf_counter()
        try:
            # A cluster refuses a second write under the same fence while the first is on its way.
            async with self._writing:
                await self._records.write(subject, body, {**headers, **fence}, timeout_s)
        except Superseded as exc:
            self._fence = None
            self._replaced = Fenced(f"term {self.term} is over: another gateway has taken over")
            raise self._replaced from exc
        self._metrics.journal_written(time.perf_counter() - started_s)

    def heed_the_fence(self) -> None:
        """Say again that the term is over, if that was said to a caller who could not act on it.

        Raises:
            Fenced: Another gateway has taken over.
        """
        if self._replaced is not None:
            raise self._replaced

    # ---- halt ---------------------------------------------------------------------------

    async def halt(self, reason: str) -> None:
        """Stop trading, until `resume`, whatever restarts.

        Raises:
            JournalAway: It could not be stored, and does not hold.
        """
        await self._write_halt({"reason": reason, "at": format_time(time.time())})

    async def resume(self) -> None:
        """Allow trading again, also with a journal that went back.

        It counts on from what the ledger was told, so that the next loss shows again.

        Raises:
            JournalAway: It could not be stored, and does not hold.
        """
        self.mark = self._counted = max(self._counted, self._told)
        await self.keep_mark()
        await self._write_halt({"ended_at": format_time(time.time())})
        self.went_back = None

    async def _write_halt(self, halt: dict[str, Json]) -> None:
        await self._write(f"{self._subjects.journal_base}.halt", json.dumps(halt).encode(), {})
        self._take_halt(halt)

    def _take_halt(self, halt: Mapping[str, Json]) -> None:
        is_halt = "reason" in halt
        self.halted = Halt(halt["reason"], parse_time(halt["at"])) if is_halt else None
        self._metrics.is_halted(is_halt)

    # ---- a journal that went back in time -----------------------------------------------

    async def keep_mark(self) -> None:
        """Write the mark down where it does not age, unlike the trades that it counts.

        Raises:
            JournalAway: It could not be stored.
        """
        if self.mark != self._kept_mark:
            mark = self.mark
            body = json.dumps({"mark": mark}).encode()
            await self._write(f"{self._subjects.journal_base}.mark", body, {})
            self._kept_mark = mark

    def ledger_knows(self, mark: int) -> None:
        """Compare with what the terminal's ledger was told: it never forgets."""
        self._told = mark
        if mark <= self.mark or self._fence is None:
            return
        self.went_back = (
            f"the journal went back in time: it knows of {self.mark} trades, and the terminal of "
            f"{mark}; look at what is open, purge old jobs, then `mt4-gateway resume`"
        )
        log.error("journal_went_back mark=%d told=%d", self.mark, mark)


@contextmanager
def _ours(subject: str) -> Iterator[None]:
    """Refuse a record that no gateway wrote: what stood in its place is not guessed.

    Raises:
        JournalAway: It is one.
    """
    try:
        yield
    except (KeyError, ValueError, TypeError, AttributeError, RemoteProtocolError) as exc:
        raise JournalAway(
            f"{subject} holds what no gateway writes ({exc!r}): somebody else may write there, see "
            "docs/security.md; look at what is open, then delete that record"
        ) from exc


def _halt_in(data: bytes) -> dict[str, Json]:
    """Read the record of a halt or of its end; anything else must not end one."""
    said: dict[str, Json] = json.loads(data)
    if not said.keys() & {"reason", "ended_at"}:
        raise ValueError("neither a halt nor the end of one")
    return said


def _no_journal(message: str) -> Cause:
    return Cause(Source.GATEWAY, 503, "NO_JOURNAL", message)


def _key_of(subject: str) -> CommandId:
    _, client, id_ = subject.rsplit(".", 2)
    return CommandId(client, id_)


def sent_body(sent: Sent) -> dict[str, Json]:
    """Write a `sent` record. Times in UTC: another process reads them."""
    command = sent.command
    deadline_at_s = command.received_at_s + (command.deadline_s - command.received_s)
    return {
        "action": command.action,
        "params": dict(command.params),
        "digest": command.digest,
        "received_at": format_time(command.received_at_s),
        "deadline_at": format_time(deadline_at_s),
        "dialect": str(sent.dialect),
        "ledger": sent.ledger,
        "raw": sent.wants_raw,
        "notes": list(sent.notes),
        "trace": command.trace,
    }


def sent_of(key: CommandId, body: Mapping[str, Json]) -> Sent:
    """Read a `sent` record back, on this process's clocks."""
    action = ACTIONS[body["action"]]
    to_monotonic_s = time.monotonic() - time.time()
    received_at_s = parse_time(body["received_at"])
    command = Command(
        key=key,
        asker=str(key.client),
        action=action.name,
        effect=action.effect,
        lane=action.lane,
        params=body["params"],
        digest=body["digest"],
        received_s=received_at_s + to_monotonic_s,
        received_at_s=received_at_s,
        deadline_s=parse_time(body["deadline_at"]) + to_monotonic_s,
        trace=body.get("trace"),
    )
    dialect = Dialect(body["dialect"])
    return Sent(command, dialect, body["ledger"], body["raw"], tuple(body["notes"]))
