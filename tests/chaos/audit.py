"""After the run: ask about every command, and read the books of everybody."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable

import nats
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import ConsumerConfig, DeliverPolicy
from nats.js.client import JetStreamContext
from nats.js.errors import NotFoundError

from gateway.core.messages import CommandId
from gateway.explain import Archive
from gateway.subjects import Subjects
from tests.chaos import history as books
from tests.chaos.history import Body, History, Journal, Told
from tests.chaos.system import TERMINAL, System

QUIET_WITHIN_S = 60.0
ASK_AGAIN_S = 0.5
AT_ONCE = 16
JOURNAL_STREAM = f"mt4j_{TERMINAL}"
DEAD_STREAM = f"mt4_{TERMINAL}_dead"
SUBJECTS = Subjects("mt4", TERMINAL)
BATCH = 500


async def settle(system: System, history: History) -> float:
    """Ask about every command until nothing is in work; add what was said.

    Returns:
        How long it took, seconds.
    """
    started_s = time.monotonic()
    for name in (client.name for client in system.clients):
        books.read_client_log(system.client_log(name), history)
    stored = {job.key for job in history.stored}
    denied = {told.key for told in history.told if told.outcome == "denied"}
    must_end = stored - denied
    open_keys = {ask.key for ask in history.asked}
    connection = await nats.connect(system.nats_url)
    try:
        while open_keys and time.monotonic() - started_s < QUIET_WITHIN_S:
            open_keys = await _ask_all(connection, open_keys, must_end, history)
            if open_keys:
                await asyncio.sleep(ASK_AGAIN_S)
    finally:
        await connection.close()
    return time.monotonic() - started_s


async def _ask_all(
    connection: Client, keys: Iterable[str], must_end: set[str], history: History
) -> set[str]:
    """Ask once about each; return those that a final answer is still to come for."""
    at_once = asyncio.Semaphore(AT_ONCE)

    async def is_open(key: str) -> bool:
        client, _, id_ = key.partition("/")
        async with at_once:
            try:
                reply = await connection.request(SUBJECTS.command(client, id_), b"", timeout=2.0)
            except (NatsError, TimeoutError):
                return True
        said = json.loads(reply.data)
        told = Told(time.time_ns(), key, None, "audit", said["state"], said["result"])
        history.told.append(told)
        return told.result is None and (told.state != "not_known" or key in must_end)

    keys = list(keys)
    still = await asyncio.gather(*(is_open(key) for key in keys))
    return {key for key, is_so in zip(keys, still, strict=True) if is_so}


async def read_books(system: System, history: History) -> None:
    """Add what the terminal, its broker and the journal have written."""
    if system.hosted is not None:
        system.hosted.read_books(history)
    else:
        books.read_truth(system.truth, history)
        books.read_ledger(system.ledger, history)
        books.read_broker_state(system.state, history)
    history.frames = list(system.frames)
    history.exits = system.exits
    history.journal = await read_journal(system.nats_url)
    history.explained = await read_explanations(system.nats_url, {ask.key for ask in history.asked})


async def read_journal(nats_url: str) -> Journal:
    """Read every record of the journal, and the jobs that were put aside."""
    journal = Journal()
    connection = await nats.connect(nats_url)
    try:
        stream = connection.jetstream()
        async for subject, body in _records(stream, JOURNAL_STREAM):
            _, _, kind, *rest = subject.split(".")
            key = "/".join(rest)
            if kind == "sent":
                journal.sent.add(key)
            elif kind == "result" and body:
                journal.results[key] = json.loads(body)
        async for subject, body in _records(stream, DEAD_STREAM):
            client = subject.split(".")[3]
            journal.dead_letters[f"{client}/{json.loads(body).get('id')}"] = subject
    finally:
        await connection.close()
    return journal


async def read_explanations(nats_url: str, keys: Iterable[str]) -> dict[str, Body]:
    """Have each command explained from the streams."""
    at_once = asyncio.Semaphore(AT_ONCE)
    connection = await nats.connect(nats_url)
    archive = Archive(connection, SUBJECTS)

    async def explain(key: str) -> tuple[str, Body]:
        async with at_once:
            client, _, id_ = key.partition("/")
            return key, (await archive.explain(CommandId(client, id_))).body()

    try:
        return dict(await asyncio.gather(*map(explain, keys)))
    finally:
        await connection.close()


async def _records(stream: JetStreamContext, name: str) -> AsyncIterator[tuple[str, bytes]]:
    """Yield what a stream holds now; nothing when there is no such stream."""
    config = ConsumerConfig(deliver_policy=DeliverPolicy.ALL, inactive_threshold=30.0)
    try:
        reader = await stream.pull_subscribe("", stream=name, config=config)
    except NotFoundError:
        return
    pending = (await reader.consumer_info()).num_pending
    while pending:
        for msg in await reader.fetch(BATCH, timeout=5.0):
            pending = msg.metadata.num_pending
            yield msg.subject, msg.data
            await msg.ack()
