"""What JetStream does: why the journal, the lease and the jobs are so. With a real server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import RePublish, StreamConfig

from gateway.journal.records import TTL, WRONG_LAST_SEQUENCE, Records, Superseded, only_if
from tests.support.nats_server import NatsServer

STREAM = "facts"


@pytest.fixture
async def client(nats_server: NatsServer) -> AsyncIterator[Client]:
    """Give a client and a stream like the journal's."""
    async with await nats.connect(nats_server.url) as client:
        await client.jetstream().add_stream(
            StreamConfig(
                name=STREAM,
                subjects=["facts.>"],
                max_msgs_per_subject=1,
                allow_msg_ttl=True,
                allow_direct=True,
                republish=RePublish(src="facts.result.>", dest="told.>"),
            )
        )
        # A stream that is made right after one of its name was deleted has been seen to hold
        # what that one held.
        await client.jetstream().purge_stream(STREAM)
        yield client
        await client.jetstream().delete_stream(STREAM)


async def write(client: Client, subject: str, **headers: str) -> dict[str, Any]:
    """Write a record and return what the server says."""
    wanted = {name.replace("_", "-"): value for name, value in headers.items()}
    reply = await client.request(f"facts.{subject}", b"x", timeout=5, headers=wanted)
    said: dict[str, Any] = json.loads(reply.data)
    return said


async def test_write_under_a_fence_fails_once_the_term_is_another(client: Client) -> None:
    """The condition may be on another subject than the record's own."""
    records = Records(client, STREAM)
    term = await records.write("facts.term", b"1", only_if(0))
    fence = only_if(term, "facts.term")
    await records.write("facts.sent.a", b"x", fence)
    await records.write("facts.term", b"2", only_if(term))

    with pytest.raises(Superseded):
        await records.write("facts.result.a", b"x", fence)


async def test_only_what_is_stored_is_told(client: Client) -> None:
    """A refused write reaches those who listen to its own subject, but is not republished."""
    told: list[str] = []
    overheard: list[str] = []

    async def note(msg: Msg) -> None:
        (told if msg.subject.startswith("told.") else overheard).append(msg.subject)

    await client.subscribe("told.>", cb=note)
    await client.subscribe("facts.result.>", cb=note)
    await asyncio.sleep(0)
    await client.flush()
    refused = await write(client, "result.a", **only_if(99))
    await write(client, "result.b")
    await client.flush()

    assert WRONG_LAST_SEQUENCE == refused["error"]["err_code"]
    assert ["told.b"] == told
    assert ["facts.result.a", "facts.result.b"] == overheard


async def test_republished_result_carries_the_headers_of_its_record(client: Client) -> None:
    """Those of the fence too; docs/subjects.md says so."""
    heard: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()

    async def note(msg: Msg) -> None:
        heard.set_result(msg)

    await client.subscribe("told.>", cb=note)
    await asyncio.sleep(0)
    await client.flush()
    await write(client, "result.a", **only_if(0), Mt4_Digest="d")
    headers = (await asyncio.wait_for(heard, 5)).headers or {}

    assert {"Nats-Expected-Last-Subject-Sequence", "Mt4-Digest", "Nats-Sequence"} <= headers.keys()


async def test_lease_vanishes_after_its_whole_seconds(client: Client) -> None:
    """With one record per subject; with more, the server would stretch it."""
    ttl = {TTL: "1s"}
    started_s = time.monotonic()
    await write(client, "lease", **only_if(0), **ttl)
    while "error" in await write(client, "lease", **only_if(0), **ttl):  # noqa: ASYNC110
        await asyncio.sleep(0.02)

    assert 0.9 <= time.monotonic() - started_s < 2.5


async def test_subjects_are_told_in_full(client: Client) -> None:
    """More than one answer of the server holds would come in pages."""
    records = Records(client, STREAM)
    for number in range(20):
        await write(client, f"sent.me.{number}")

    assert {f"facts.sent.me.{n}" for n in range(20)} == await records.subjects("facts.sent.>")
    assert set() == await records.subjects("facts.nothing.>")


async def test_headers_are_read_without_bodies(client: Client) -> None:
    """What ended as unknown is found without reading every result."""
    records = Records(client, STREAM)
    await write(client, "result.me.a", Mt4_Outcome="unknown")
    await write(client, "result.me.b", Mt4_Outcome="succeeded")
    found = await records.since("facts.result.>", 1.6e9, headers_only=True)

    assert [("facts.result.me.a", "unknown"), ("facts.result.me.b", "succeeded")] == [
        (record.subject, (record.headers or {})["Mt4-Outcome"]) for record in found
    ]
    assert [] == await records.since("facts.result.>", 4.1e9)


async def test_more_records_are_read_than_a_consumer_hands_out_unacknowledged(
    client: Client,
) -> None:
    """The server stops after 1,000 that wait for an acknowledgement; a busy day has more."""
    records = Records(client, STREAM)
    for number in range(1_100):
        await client.publish(f"facts.result.me.{number}", b"x")
    await write(client, "result.me.last")
    found = await records.since("facts.result.>", 1.6e9, headers_only=True)

    assert 1_101 == len(found)
