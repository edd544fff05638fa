"""Durable trades: jobs in a work queue, one at a time, gone only when their result is stored.

A job is a trade like any other; what differs is where it comes from and when it is forgotten:
its message is acknowledged after the journal holds its result. A job that comes again, after a
crash or a lost acknowledgement, finds its result in the journal.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import cast, get_args

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import APIError, NotFoundError

from gateway import cancellation
from gateway.core.messages import Outcome, Result, Wish
from gateway.envelope import ID_HEADER, MOST_OF_A_NAME, REASON_HEADER
from gateway.errors import JournalAway, StartOver
from gateway.journal.streams import JOB_ACK_WAIT_S, OTHER, REDUCE, Streams
from gateway.metrics import DeadLetterReason, Metrics
from gateway.subjects import Subjects

log = logging.getLogger(__name__)

FETCH_S = 1.0
"""How long one request for a job waits; a paused queue that goes on is seen after it."""

COUNT_S = 1.0
"""How often the jobs are counted."""

TIMEOUT_S = 1.0
RETRY_S = 0.5
"""Pause after an error."""

LATER_S = 1.0
"""When a job is looked at again that could not be taken just now."""

NO_MESSAGES = "408"

NOT_NOW = frozenset({410, 423, 429, 502, 503})
"""Refusals that say nothing about the job: it stays in the queue until its deadline."""

FOR_EVER = "9999-01-01T00:00:00Z"

LONGEST_REASON = 2000
MOST_HEADERS = 60_000
"""Bytes of a job's own headers that are put aside with it: JetStream stores no message with more
than 64 KiB of headers, and one that it refuses would come again for ever."""

OF_THE_QUEUE = "nats-"
"""Headers that begin like this were conditions of the job's own stream; it met them there."""

AcceptWish = Callable[[Wish], Awaitable[None]]
ReadJob = Callable[[Msg, int, float, Callable[[Result], Awaitable[None]]], Wish]


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    """Choose a job's headers that are put aside with it; of too many, its id alone."""
    kept = {
        key: value for key, value in headers.items() if not key.lower().startswith(OF_THE_QUEUE)
    }
    if sum(len(f"{key}: {value}\r\n".encode()) for key, value in kept.items()) > MOST_HEADERS:
        kept = {key: value[:LONGEST_REASON] for key, value in kept.items() if key == ID_HEADER}
    return kept


@contextmanager
def _away_if_not(done: str) -> Iterator[None]:
    """Map what nats-py raises where something cannot be done to the jobs."""
    try:
        yield
    except (NatsError, APIError, TimeoutError) as exc:
        raise JournalAway(f"the jobs cannot be {done}: {exc!r}") from exc


class Jobs:
    """The work queue of one terminal, while this gateway is active.

    Args:
        read: Turns a message into a wish; given its sequence and when it was stored (UTC).
        accept: Takes the wish in; its `answer` is called after the result is stored.
        publish_denial: Tells the job's client that it was refused.
    """

    def __init__(
        self,
        client: Client,
        streams: Streams,
        subjects: Subjects,
        metrics: Metrics,
        *,
        read: ReadJob,
        accept: AcceptWish,
        publish_denial: Callable[[Result], Awaitable[None]],
    ) -> None:
        self._client = client
        self._streams = streams
        self._subjects = subjects
        self._metrics = metrics
        self._read = read
        self._accept = accept
        self._publish_denial = publish_denial
        self._stopped = False

    async def reset(self) -> None:
        """Have the jobs that another gateway had in work handed out again now.

        Raises:
            JournalAway: It could not be done now.
        """
        with _away_if_not("taken over"):
            for consumer in (REDUCE, OTHER):
                await self._jetstream().reset_consumer(self._streams.names.jobs, consumer)

    async def pause(self, *, reducing: bool) -> None:
        """Have the server hand out no more jobs, until `go_on`; those in work are finished.

        Args:
            reducing: Those that reduce risk neither.

        Raises:
            JournalAway: It could not be done.
        """
        with _away_if_not("paused"):
            for consumer in (REDUCE, OTHER) if reducing else (OTHER,):
                await self._jetstream().pause_consumer(self._streams.names.jobs, consumer, FOR_EVER)

    async def go_on(self) -> None:
        """Have the server hand out jobs again.

        Raises:
            JournalAway: It could not be done.
        """
        with _away_if_not("resumed"):
            for consumer in (REDUCE, OTHER):
                await self._jetstream().resume_consumer(self._streams.names.jobs, consumer)

    async def run(self) -> None:
        """Take jobs until `stop`; those that reduce risk beside the others."""
        async with asyncio.TaskGroup() as both:
            for consumer in (REDUCE, OTHER):
                both.create_task(self._work(consumer), name=f"jobs-{consumer}")
            both.create_task(self._count(), name="jobs-count")

    def _jetstream(self) -> JetStreamContext:
        return self._client.jetstream(timeout=TIMEOUT_S)

    def stop(self) -> None:
        """Take no more jobs; those in work are finished."""
        self._stopped = True

    async def _count(self) -> None:
        """Tell how many jobs wait or are in work, also while the server hands none out."""
        try:
            while not self._stopped:
                cancellation.heed()
                with suppress(NatsError, APIError, TimeoutError):  # `_work` says so
                    queue = await self._jetstream().stream_info(self._streams.names.jobs)
                    self._metrics.jobs_pending(queue.state.messages)
                await asyncio.sleep(COUNT_S)
        finally:
            self._metrics.jobs_pending(0)  # another gateway counts them now

    async def _work(self, consumer: str) -> None:
        while not self._stopped:
            cancellation.heed()
            try:
                job = await self._next(consumer)
                if job is not None:
                    await self._do(job)
            except (NatsError, APIError, TimeoutError) as exc:
                log.warning("jobs_interrupted consumer=%s cause=%r", consumer, exc)
                await self._heed_lost_streams()
                await asyncio.sleep(RETRY_S)

    async def _heed_lost_streams(self) -> None:
        """Look whether the queue is still there, and where jobs are put aside.

        Raises:
            StartOver: One was deleted; the next turn makes it anew.
        """
        for stream in (self._streams.names.jobs, self._streams.names.dead):
            try:
                await self._jetstream().stream_info(stream)
            except NotFoundError as exc:
                raise StartOver(f"the stream {stream} has been deleted") from exc
            except (NatsError, APIError, TimeoutError):
                return

    async def _next(self, consumer: str) -> Msg | None:
        """Ask for one job and wait for it; None when there was none for a while.

        nats-py's `fetch` would swallow a cancellation.
        """
        reply = await self._client.request(
            f"$JS.API.CONSUMER.MSG.NEXT.{self._streams.names.jobs}.{consumer}",
            json.dumps({"batch": 1, "expires": int(FETCH_S * 1e9)}).encode(),
            timeout=FETCH_S + TIMEOUT_S,
            old_style=True,  # a job comes under its own subject, which the shared inbox drops
        )
        if reply.reply:  # where a job is acknowledged; what the server itself says has none
            return reply
        status = (reply.headers or {}).get("Status")
        if status != NO_MESSAGES:
            log.info("jobs_not_given consumer=%s headers=%s", consumer, reply.headers)
            await asyncio.sleep(RETRY_S)
        return None

    async def _do(self, job: Msg) -> None:
        if job.metadata.num_delivered > 1:
            self._metrics.job_redelivered()
        await self._settle(job, await self._result_of(job))

    async def _result_of(self, job: Msg) -> Result:
        """Have the job done, and tell the queue meanwhile that it is in work."""
        told: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

        async def tell(result: Result) -> None:
            if not told.done():
                told.set_result(result)

        sequence, stored_at_s = job.metadata.sequence.stream, job.metadata.timestamp.timestamp()
        await self._accept(self._read(job, sequence, stored_at_s, tell))
        while True:
            cancellation.heed()
            done, _ = await asyncio.wait([told], timeout=JOB_ACK_WAIT_S / 3)
            if done:
                return told.result()
            await self._say(job, b"+WPI")

    async def _settle(self, job: Msg, result: Result) -> None:
        """Acknowledge what is stored; put aside what cannot be taken; leave what can be later."""
        cause = result.conclusion.cause
        if result.outcome is Outcome.DENIED and cause is not None:
            if cause.code in NOT_NOW:
                await job.nak(delay=LATER_S)
                return
            await self._put_aside(job, cause.name, cause.message)
            await self._publish_denial(result)
        await self._say(job, b"+ACK")

    async def _put_aside(self, job: Msg, name: str, message: str) -> None:
        """Keep a job that can never be taken, with the reason."""
        _, client, action = job.subject.rsplit(".", 2)
        reason = name.lower() if name.lower() in get_args(DeadLetterReason) else "other"
        why = f"{name}: {' '.join(message.split())}"
        headers = _kept(job.headers or {})
        headers[REASON_HEADER] = why if len(why) <= LONGEST_REASON else f"{why[:LONGEST_REASON]}..."
        await self._jetstream().publish(
            self._subjects.dead(client[:MOST_OF_A_NAME], action), job.data, headers=headers
        )
        self._metrics.dead_letter(cast(DeadLetterReason, reason))
        log.warning("job_refused subject=%s reason=%s cause=%r", job.subject, name, message)

    async def _say(self, job: Msg, word: bytes) -> None:
        """Tell the queue about a job, and wait until it has taken note."""
        await self._client.request(job.reply, word, timeout=TIMEOUT_S)
