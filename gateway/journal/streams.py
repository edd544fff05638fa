"""The streams of one terminal: what they are called, how they are made, how drift is told.

| Stream | Holds | Kept |
|---|---|---|
| `<prefix>j_<terminal>` | `sent`, `result`, `term`, `mark`, `lease`, `halt` | as each says |
| `<prefix>_<terminal>_jobs` | durable trades, until they have a result | work queue |
| `<prefix>_<terminal>_dead` | jobs that could not be taken, with the reason | retention |
| `<prefix>_<terminal>_audit` | what became of each trade, and why | retention, and a number |

The journal keeps one message per subject. Its results are shown on the bus by the stream's own
republish, so nobody hears of one that is not stored. Measured in
tests/stack/test_jetstream_facts.py.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DiscardPolicy,
    RePublish,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import APIError, NotFoundError

from gateway.actions import ACTIONS
from gateway.config import Journal as Settings
from gateway.core.messages import Effect, Lane
from gateway.errors import ConfigError, JournalAway
from gateway.subjects import Subjects

log = logging.getLogger(__name__)

DAY_S = 86_400
TIMEOUT_S = 2.0
JOB_ACK_WAIT_S = 10.0
AUDIT_RECORDS_PER_TRADE = 16


REDUCE, OTHER = "reduce", "other"
"""The two consumers of the jobs: what reduces risk never waits behind what adds to it."""


class Streams:
    """The streams and consumers of one terminal, as they should be."""

    def __init__(self, subjects: Subjects, settings: Settings) -> None:
        self.names = subjects.streams
        self._subjects = subjects
        self._settings = settings

    def journal(self) -> StreamConfig:
        """Describe the journal. No age for the whole stream: the term must outlive the trades."""
        return StreamConfig(
            name=self.names.journal,
            description="What became of trades, and who may trade",
            subjects=[f"{self._subjects.journal_base}.>"],
            storage=StorageType.FILE,
            max_msgs=-1,
            max_bytes=-1,
            max_msgs_per_subject=1,
            allow_msg_ttl=True,
            allow_direct=True,
            num_replicas=self._settings.replicas,
            republish=RePublish(
                src=f"{self._subjects.journal_base}.result.>",
                dest=f"{self._subjects.base}.result.>",
            ),
        )

    def jobs(self) -> StreamConfig:
        """Describe the work queue: only of trades that exist, and full when it is full."""
        return StreamConfig(
            name=self.names.jobs,
            description="Trades that wait for the gateway",
            subjects=sorted(self._job_subjects(_trades())),
            retention=RetentionPolicy.WORK_QUEUE,
            storage=StorageType.FILE,
            discard=DiscardPolicy.NEW,
            max_msgs=self._settings.most_jobs,
            max_msg_size=65_536,
            num_replicas=self._settings.replicas,
        )

    def dead(self) -> StreamConfig:
        """Describe where jobs go that could not be taken."""
        return StreamConfig(
            name=self.names.dead,
            description="Jobs that were refused, with the reason in a header",
            subjects=[f"{self._subjects.base}.dead.*.*"],
            storage=StorageType.FILE,
            max_age=self._settings.retention_days * DAY_S,
            num_replicas=self._settings.replicas,
        )

    def audit(self) -> StreamConfig:
        """Describe where it is written down what became of trades; the oldest goes first."""
        return StreamConfig(
            name=self.names.audit,
            description="What became of each trade, and why",
            subjects=[f"{self._subjects.base}.audit.*.*"],
            storage=StorageType.FILE,
            max_age=self._settings.retention_days * DAY_S,
            max_msgs=self._settings.most_audit_records,
            max_msgs_per_subject=AUDIT_RECORDS_PER_TRADE,
            allow_direct=True,
            num_replicas=self._settings.replicas,
        )

    def consumers(self) -> list[ConsumerConfig]:
        """Describe the two consumers of the jobs; each hands out one job at a time."""
        reducing = {name for name in _trades() if ACTIONS[name].lane is Lane.REDUCE}
        return [
            ConsumerConfig(
                durable_name=name,
                filter_subjects=sorted(self._job_subjects(actions)),
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=JOB_ACK_WAIT_S,
                max_ack_pending=1,
                max_deliver=-1,
            )
            for name, actions in ((REDUCE, reducing), (OTHER, _trades() - reducing))
        ]

    def _job_subjects(self, actions: Iterable[str]) -> set[str]:
        return {self._subjects.job("*", action) for action in actions}

    async def ensure(self, client: Client) -> None:
        """Make what is missing; with `provision = "verify"`, only look.

        Raises:
            JournalAway: There is no JetStream, or it does not answer now.
            ConfigError: A stream is not as it must be; says how.
        """
        jetstream = client.jetstream(timeout=TIMEOUT_S)
        problems: list[str] = []
        try:
            for wanted in (self.journal(), self.jobs(), self.dead(), self.audit()):
                problems += await self._ensure_stream(jetstream, wanted)
            if not problems:
                for consumer in self.consumers():
                    problems += await self._ensure_consumer(jetstream, consumer)
        except (NatsError, TimeoutError, APIError) as exc:
            raise JournalAway(f"no JetStream: {_reason(exc)}") from exc
        if problems:
            raise ConfigError(problems)

    async def _ensure_stream(self, jetstream: JetStreamContext, wanted: StreamConfig) -> list[str]:
        try:
            found = (await jetstream.stream_info(str(wanted.name))).config
        except NotFoundError:
            if self._settings.provision == "verify":
                return [f"stream {wanted.name}: missing; create it, or set journal.provision"]
            await jetstream.add_stream(wanted)
            log.info("stream_created stream=%s", wanted.name)
            return []
        if not set(found.subjects or ()) & set(wanted.subjects or ()):
            theirs = ", ".join(found.subjects or ())
            return [f"stream {wanted.name}: is another's, of {theirs}; choose another bus.prefix"]
        drift = differences(wanted.as_dict(), found.as_dict())
        if not drift or self._settings.provision == "verify":
            return [f"stream {wanted.name}: {one}" for one in drift]
        try:
            await jetstream.update_stream(wanted)
        except APIError as exc:
            return [f"stream {wanted.name}: {one} ({exc.description})" for one in drift]
        log.info("stream_updated stream=%s changes=%s", wanted.name, "; ".join(drift))
        return []

    async def _ensure_consumer(
        self, jetstream: JetStreamContext, wanted: ConsumerConfig
    ) -> list[str]:
        name = str(wanted.durable_name)
        if self._settings.provision == "create":
            await jetstream.add_consumer(self.names.jobs, wanted)  # creates, or updates
            return []
        try:
            found = (await jetstream.consumer_info(self.names.jobs, name)).config
        except NotFoundError:
            return [f"consumer {self.names.jobs}/{name}: missing"]
        drift = differences(wanted.as_dict(), found.as_dict())
        return [f"consumer {self.names.jobs}/{name}: {one}" for one in drift]


def _trades() -> set[str]:
    return {action.name for action in ACTIONS.values() if action.effect is Effect.TRADE}


def differences(wanted: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Say where a server's configuration is not what was wanted; what we leave open may be.

    Not an age: what must be kept for good is lost by it.
    """
    return [
        f"{key} is {found.get(key)!r}, must be {value!r}"
        for key, value in wanted.items()
        if (value or key == "max_age") and (found.get(key) or 0) != value
    ]


def _reason(exc: BaseException) -> str:
    if isinstance(exc, APIError):
        return str(exc.description or exc)
    return "it does not answer" if isinstance(exc, TimeoutError) else repr(exc)
