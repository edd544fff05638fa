"""Records in the journal's stream: one per subject, read and written on a condition.

The calls of JetStream that the journal and the lease are made of. A write that is not
acknowledged may have been stored or not; both can be repeated.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, RawStreamMsg
from nats.js.errors import APIError, NotFoundError

from gateway.envelope import format_time
from gateway.errors import GatewayError, JournalAway

TIMEOUT_S = 2.0
READ_TIMEOUT_S = 10.0
READ_AT_ONCE = 256
WRONG_LAST_SEQUENCE = 10071
TTL = "Nats-TTL"
MESSAGE_ID = "Nats-Msg-Id"

_EXPECTED_SEQUENCE = "Nats-Expected-Last-Subject-Sequence"
_EXPECTED_SUBJECT = "Nats-Expected-Last-Subject-Sequence-Subject"


class Superseded(GatewayError):  # noqa: N818 - says what has happened
    """The record that a write depended on is another one by now."""


def only_if(sequence: int, subject: str | None = None) -> dict[str, str]:
    """Make a write depend on a subject's last record, by default on that of its own.

    Args:
        sequence: The record's; 0 if there must be none.
        subject: Whose last record it must be.
    """
    condition = {_EXPECTED_SEQUENCE: str(sequence)}
    return condition if subject is None else condition | {_EXPECTED_SUBJECT: subject}


class Records:
    """The records of one stream."""

    def __init__(self, client: Client, stream: str) -> None:
        self._client = client
        self._stream = stream

    @property
    def most_bytes(self) -> int:
        """Return how long a record may be, its headers aside."""
        return self._client.max_payload - 4096

    @property
    def is_connected(self) -> bool:
        """Tell whether there is a server to write to."""
        return self._client.is_connected

    def _jetstream(self, timeout_s: float = TIMEOUT_S) -> JetStreamContext:
        if not self._client.is_connected:
            raise JournalAway("no connection to NATS")
        return self._client.jetstream(timeout=timeout_s)

    async def write(
        self, subject: str, body: bytes, headers: Mapping[str, str], timeout_s: float = TIMEOUT_S
    ) -> int:
        """Store a record in the place of the last one of its subject; return its sequence.

        Raises:
            Superseded: The condition in its headers does not hold.
            JournalAway: It was not acknowledged.
        """
        if not self._client.is_connected:
            raise JournalAway("no connection to NATS")
        try:
            answer = await self._client.request(
                subject, body, timeout=timeout_s, headers=dict(headers)
            )
            said = json.loads(answer.data)
        except (NatsError, TimeoutError, ValueError) as exc:
            raise JournalAway(f"JetStream does not answer: {exc!r}") from exc
        error = said.get("error")
        if error is None:
            return int(said["seq"])
        if error.get("err_code") == WRONG_LAST_SEQUENCE:
            raise Superseded(f"{subject}: {error.get('description')}")
        raise JournalAway(
            f"JetStream refuses ({error.get('err_code')}): {error.get('description')}"
        )

    async def read(self, subject: str) -> RawStreamMsg | None:
        """Return a subject's record; None when there is none.

        Raises:
            JournalAway: It cannot be read now.
        """
        try:
            return await self._jetstream().get_last_msg(self._stream, subject)
        except NotFoundError:
            return None
        except (NatsError, APIError, TimeoutError) as exc:
            raise JournalAway(f"JetStream does not answer: {exc!r}") from exc

    async def all_of(self, pattern: str) -> AsyncIterator[RawStreamMsg]:
        """Read every record of some subjects, the oldest first, without a consumer.

        Raises:
            JournalAway: They cannot be read now.
        """
        after = 0
        while True:
            try:
                record = await self._jetstream().get_msg(
                    self._stream, after + 1, subject=pattern, next=True
                )
            except NotFoundError:
                return
            except (NatsError, APIError, TimeoutError) as exc:
                raise JournalAway(f"JetStream does not answer: {exc!r}") from exc
            after = record.seq or 0
            yield record

    async def delete(self, sequence: int) -> None:
        """Delete one record.

        Raises:
            JournalAway: That is not certain.
        """
        try:
            await self._jetstream().delete_msg(self._stream, sequence)
        except (NatsError, APIError, TimeoutError) as exc:
            raise JournalAway(f"JetStream does not answer: {exc!r}") from exc

    async def is_gone(self) -> bool:
        """Tell whether the stream has certainly been deleted."""
        try:
            await self._jetstream().stream_info(self._stream)
        except NotFoundError:
            return True
        except (NatsError, APIError, TimeoutError, JournalAway):
            return False
        return False

    async def subjects(self, pattern: str) -> set[str]:
        """Name every subject that has a record; the server tells them in pages.

        Raises:
            JournalAway: They cannot be told now.
        """
        found: set[str] = set()
        while True:
            asked = {"subjects_filter": pattern, "offset": len(found)}
            try:
                answer = await self._client.request(
                    f"$JS.API.STREAM.INFO.{self._stream}",
                    json.dumps(asked).encode(),
                    timeout=READ_TIMEOUT_S,
                )
                said = json.loads(answer.data)
            except (NatsError, TimeoutError, ValueError) as exc:
                raise JournalAway(f"JetStream does not answer: {exc!r}") from exc
            if "error" in said:
                raise JournalAway(f"JetStream refuses: {said['error'].get('description')}")
            page = said["state"].get("subjects") or {}
            found |= page.keys()
            if not page or len(found) >= said.get("total", 0):
                return found

    async def since(self, pattern: str, at_s: float, *, headers_only: bool = False) -> list[Msg]:
        """Read each record since a time (UTC seconds).

        Raises:
            JournalAway: They cannot be read now.
        """
        wanted = ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_TIME,
            opt_start_time=format_time(at_s),  # type: ignore[arg-type] # it goes out as it is
            ack_policy=AckPolicy.NONE,  # else the server waits for acknowledgements after 1,000
            headers_only=headers_only,
            mem_storage=True,
            inactive_threshold=READ_TIMEOUT_S * 2,
        )
        found: list[Msg] = []
        try:
            reader = await self._jetstream(READ_TIMEOUT_S).pull_subscribe(
                pattern, stream=self._stream, config=wanted
            )
            left = (await reader.consumer_info()).num_pending or 0
            while len(found) < left:
                count = min(left - len(found), READ_AT_ONCE)
                found += await reader.fetch(count, timeout=READ_TIMEOUT_S)
            await reader.unsubscribe()
        except (NatsError, APIError, TimeoutError) as exc:
            raise JournalAway(f"JetStream does not answer: {exc!r}") from exc
        return found
