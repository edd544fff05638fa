"""What became of a trade, from the streams alone: every record of it, in the order of time.

No gateway is asked: this works when none runs. What should be on record and is not is said, and
nothing is guessed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from nats.aio.client import Client
from nats.js.api import RawStreamMsg

from gateway.audit_chain import Findings, examine
from gateway.config import Journal as JournalSettings
from gateway.core.messages import CommandId, Json
from gateway.envelope import (
    CONTENT_TYPE_HEADER,
    ID_HEADER,
    REASON_HEADER,
    decode_published,
    encoding_of,
    format_time,
)
from gateway.errors import RemoteProtocolError
from gateway.journal.records import Records
from gateway.journal.streams import Streams
from gateway.subjects import Subjects, encode_token

Body = dict[str, Any]

LATELY_S = 86_400.0
"""How far back a client's trades are listed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that is on record: when (RFC 3339, UTC), what, and in which record that stands."""

    at: str
    what: str
    evidence: str


@dataclass(slots=True)
class Explanation:
    """All that is on record about one trade.

    Attributes:
        outcome: Its result's; `waiting` of a job in its queue, `sent` without a result, None where
            nothing is on record.
        decided_by: What the outcome rests on, in words.
        missing: What should be on record and is not, in words.
        timeline: What is on record, in the order of time.
    """

    client: str
    id: str
    action: str | None = None
    params: Json = None
    outcome: str | None = None
    error: Body | None = None
    decided_by: str | None = None
    missing: list[str] = field(default_factory=list)
    timeline: list[Entry] = field(default_factory=list)

    @property
    def is_known(self) -> bool:
        """Tell whether anything is on record."""
        return bool(self.timeline)

    def body(self) -> Body:
        """Write it as one object."""
        return asdict(self)

    def lines(self) -> Iterator[str]:
        """Write it for a person."""
        yield self.line()
        if self.params is not None:
            yield f"asked for   {json.dumps(self.params)}"
        if self.decided_by is not None:
            yield f"decided by  {self.decided_by}"
        for what in self.missing:
            yield f"MISSING     {what}"
        for entry in self.timeline:
            yield f"{entry.at:<27}  {entry.what}  [{entry.evidence}]"

    def line(self) -> str:
        """Write it in one line."""
        why = f"  {self.error['message']}" if self.error else ""
        outcome = self.outcome or "not on record"
        return f"{self.client}/{self.id}  {self.action or '-'}  {outcome}{why}"


class Archive:
    """The streams of one terminal, read and never written.

    Args:
        connection: To NATS; its user may read the streams.
    """

    def __init__(self, connection: Client, subjects: Subjects) -> None:
        streams = Streams(subjects, JournalSettings())
        self._subjects = subjects
        self._journal = _Shelf(connection, streams.names.journal)
        self._audit = _Shelf(connection, streams.names.audit)
        self._dead = _Shelf(connection, streams.names.dead)
        self._jobs = _Shelf(connection, streams.names.jobs)

    async def explain(self, key: CommandId) -> Explanation:
        """Gather all that is on record about one trade.

        Raises:
            JournalAway: The streams cannot be read now.
        """
        client, names = str(key.client), self._subjects
        case = _Case(Explanation(client, key.id))
        for record in await self._journal.read(names.sent(client, key.id)):
            case.take(record, case.take_sent)
        for record in await self._audit.read(names.audit(encode_token(client), key.id)):
            case.take(record, case.take_audit)
        for record in await self._journal.read(names.stored_result(client, key.id)):
            case.take(record, case.take_result)
        for record in await self._dead.read(names.dead(client, "*")):
            if record.is_of(key.id):
                case.take_dead_letter(record)
        for record in await self._jobs.read(names.job(client, "*")):
            if record.is_of(key.id):
                case.take_waiting_job(record)
        return case.closed()

    async def examine(self) -> Findings:
        """Look whether the audit is whole.

        Raises:
            JournalAway: The stream cannot be read now.
        """
        records = await self._audit.bodies(self._subjects.audit("*", "*"))
        have_aged = bool(records) and not records[0][0].endswith("#1")
        return examine(records, have_aged=have_aged)

    async def ids(self, client: str, since_s: float) -> list[str]:
        """List the ids of a client's trades of which something was recorded since then (UTC).

        Raises:
            JournalAway: The streams cannot be read now.
        """
        names, token = self._subjects, encode_token(client)
        subjects = [
            *await self._audit.subjects(names.audit(token, "*"), since_s),
            *await self._journal.subjects(names.sent(client, "*"), since_s),
            *await self._journal.subjects(names.stored_result(client, "*"), since_s),
        ]
        return list(dict.fromkeys(subject.rpartition(".")[2] for subject in subjects))


@dataclass(frozen=True, slots=True)
class _Record:
    """One message of a stream, read.

    Attributes:
        source: Stream and sequence.
    """

    source: str
    sequence: int
    subject: str
    at: str
    headers: Mapping[str, str]
    body: Body

    def is_of(self, id_: str) -> bool:
        """Tell whether a job is called so: by its header, its body, or its place in the queue."""
        said = self.headers.get(ID_HEADER) or self.body.get("id") or f"job-{self.sequence}"
        return said == id_


class _Shelf:
    """One stream."""

    def __init__(self, connection: Client, name: str) -> None:
        self._name = name
        self._records = Records(connection, name)

    async def read(self, pattern: str) -> list[_Record]:
        return [self._read(one) async for one in self._records.all_of(pattern)]

    async def bodies(self, pattern: str) -> list[tuple[str, bytes]]:
        found = self._records.all_of(pattern)
        return [(f"{self._name}#{one.seq}", one.data or b"") async for one in found]

    async def subjects(self, pattern: str, since_s: float) -> list[str]:
        found = await self._records.since(pattern, since_s, headers_only=True)
        return [one.subject for one in found]

    def _read(self, one: RawStreamMsg) -> _Record:
        headers, data = one.headers or {}, one.data or b""
        try:
            body = decode_published(data, encoding_of(data, headers.get(CONTENT_TYPE_HEADER)))
        except RemoteProtocolError:
            body = {}  # a job that nobody can read is one all the same
        at = format_time(one.time.timestamp()) if one.time else ""
        source = f"{self._name}#{one.seq}"
        return _Record(source, one.seq or 0, str(one.subject), at, headers, body)


class _Case:
    """Records of one trade, put together."""

    def __init__(self, found: Explanation) -> None:
        self._found = found
        self._is_sent = False
        self._has_ended = False
        self._has_steps = False

    def _note(self, at: str | None, what: str, record: _Record) -> None:
        self._found.timeline.append(Entry(at or record.at, what, record.source))

    def take(self, record: _Record, by: Callable[[_Record], None]) -> None:
        """Take in a record of a gateway's; one that is none is named, and hides nothing."""
        found = self._found
        before = replace(found, missing=[*found.missing], timeline=[*found.timeline])
        try:
            by(record)
        except (KeyError, TypeError, AttributeError):
            self._found = before
            self._note(record.at, "holds what no gateway writes", record)

    def take_sent(self, record: _Record) -> None:
        """Take in the journal's record that it was about to be sent."""
        body, found = record.body, self._found
        found.action, found.params, found.outcome = body["action"], body["params"], "sent"
        where = f", ledger {body['ledger']}" if body["ledger"] else ""
        self._note(
            record.at, f"recorded as sent to a terminal of dialect {body['dialect']}{where}", record
        )
        self._is_sent = True

    def take_audit(self, record: _Record) -> None:
        """Take in what a gateway wrote down at its end."""
        body, found = record.body, self._found
        self._note(body["received_at"], self._asked(body), record)
        for step in body["steps"]:
            self._note(step["at"], step["what"], record)
        if body["steps_left_out"]:
            self._note(body["at"], f"{body['steps_left_out']} more steps, not kept", record)
        error = body["error"]
        why = f": {error['name']}: {error['message']}" if error else ""
        self._note(body["at"], f"{body['event']}, {body['outcome']}{why}", record)
        if body["event"] == "denied" and found.outcome in (None, "denied"):
            found.action, found.params = body["action"], body["params"]
            found.outcome, found.error = "denied", error
            found.decided_by = f"{body['gateway']}, policy {body['policy']}: {error['message']}"
        elif body["event"] != "denied":
            found.action, found.params = body["action"], body["params"]
            found.outcome, found.error = body["outcome"], error
            self._has_steps = True
            last = [one["what"] for one in body["steps"] if "reply" in one["what"]][-1:]
            found.decided_by = "; ".join(last or [str(error and error["message"])])

    def _asked(self, body: Body) -> str:
        how = f"by {body['via']}" if body["via"] else "from an earlier gateway"
        until = f", deadline {body['deadline_at']}" if body["deadline_at"] else ""
        trace = f", trace {body['trace']}" if body["trace"] else ""
        who = f"{body['gateway']}, term {body['term']}, policy {body['policy']}"
        return f"{body['action']} received {how}{until}{trace} at {who}"

    def take_result(self, record: _Record) -> None:
        """Take in the stored result: it decides."""
        body, found = record.body, self._found
        found.action, found.outcome = body["action"], body["outcome"]
        found.error = body["error"]
        ticket = body["response"].get("ticket") if isinstance(body["response"], dict) else None
        order = f", ticket {ticket}" if ticket is not None else ""
        resolved = ", found out" if body["resolved"] else ""
        attempts = f"{body['attempts']} attempt{'s' * (body['attempts'] != 1)}"
        self._note(
            record.at, f"result stored: {body['outcome']}{order}, {attempts}{resolved}", record
        )
        self._has_ended = True

    def take_dead_letter(self, record: _Record) -> None:
        """Take in that it was put aside as a job that cannot be taken."""
        reason, found = record.headers.get(REASON_HEADER, "no reason is given"), self._found
        self._note(record.at, f"the job was put aside: {reason}", record)
        found.action = found.action or record.subject.rpartition(".")[2]
        if found.outcome is None:
            name, _, message = reason.partition(": ")
            found.outcome, found.decided_by = "denied", reason
            found.error = {"source": "gateway", "code": None, "name": name, "message": message}

    def take_waiting_job(self, record: _Record) -> None:
        """Take in that it is in the queue."""
        found = self._found
        self._note(record.at, "stored as a job, in the queue", record)
        found.action = found.action or record.subject.rpartition(".")[2]
        found.outcome = found.outcome or "waiting"

    def closed(self) -> Explanation:
        """Say what is missing, and put all in order."""
        found = self._found
        if self._is_sent and not self._has_ended:
            found.missing.append("its result: it is under way, or the next gateway finds it out")
        if self._has_ended and not self._has_steps:
            found.missing.append("the steps to its result: the gateway that took them has died")
            found.decided_by = None
        found.timeline.sort(key=lambda entry: entry.at)
        return found
