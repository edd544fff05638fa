"""One NATS server with many terminals: what their streams, leases and ticks cost it.

No gateways run: one client does on the bus what so many would do, so that two cores are enough.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import nats
from nats.aio.client import Client
from nats.js.api import StorageType, StreamConfig

from bench.figures import Figure
from bench.site import Site, Watched
from gateway.config import Journal
from gateway.journal.lease import RENEWALS
from gateway.journal.records import TTL
from gateway.journal.streams import Streams
from gateway.subjects import Subjects

LEASE_TTL_S = 5
TICKS_PER_S = 10
TICK = b"x" * 100
MADE_AT_ONCE = 20


def fleet(terminals: int, seconds: float) -> list[Figure]:
    """Measure the server with so many terminals: at rest, with leases, with ticks as well."""
    with Site() as site:
        found = asyncio.run(_fleet(site, terminals, seconds))
        site.nats.kill()  # to end thousands of streams in order takes it half a minute
        return found


async def _fleet(site: Site, terminals: int, seconds: float) -> list[Figure]:
    server = Watched(site.nats.pid)
    names = [Subjects("mt4", f"t{number}") for number in range(terminals)]
    empty_mb = server.memory_mb
    async with await nats.connect(site.nats.url) as client:
        began_s = time.perf_counter()
        for start in range(0, terminals, MADE_AT_ONCE):
            some = names[start : start + MADE_AT_ONCE]
            await asyncio.gather(*(_make_streams(client, name) for name in some))
        made_s = time.perf_counter() - began_s
        full_mb = server.memory_mb

        async def renew(client: Client, number: int) -> None:
            subject = f"{names[number % terminals].journal_base}.lease"
            await client.publish(subject, b"bench", headers={TTL: f"{LEASE_TTL_S}s"})

        async def tick(client: Client, number: int) -> None:
            await client.publish(names[number % terminals].tick("EURUSD"), TICK)

        renewals = terminals * RENEWALS / LEASE_TTL_S
        leases = await _share(server, client, seconds, [(renew, renewals)])
        ticks = await _share(
            server, client, seconds, [(renew, renewals), (tick, terminals * TICKS_PER_S)]
        )
    grown = None if full_mb is None or empty_mb is None else full_mb - empty_mb
    made = f"made in {made_s:.1f} s"
    return [
        Figure(
            "", f"NATS server's memory for {terminals} terminals' streams", grown, "MB", note=made
        ),
        Figure("", f"its CPU for {terminals} leases, of a core", leases, "%"),
        Figure("", f"its CPU with {TICKS_PER_S} ticks/s of each as well", ticks, "%"),
    ]


async def _make_streams(client: Client, names: Subjects) -> None:
    """Make what a gateway makes: journal, jobs, dead letters, last ticks."""
    await Streams(names, Journal()).ensure(client)
    last_ticks = StreamConfig(
        name=names.streams.ticks,
        subjects=[names.tick("*")],
        storage=StorageType.MEMORY,
        max_msgs_per_subject=1,
    )
    await client.jetstream().add_stream(last_ticks)


Send = Callable[[Client, int], Awaitable[None]]


async def _share(
    server: Watched, client: Client, seconds: float, senders: list[tuple[Send, float]]
) -> float | None:
    """Send at some rates for a while; the server's CPU meanwhile, in percent of a core."""
    before_s, began_s = server.cpu_s, time.perf_counter()
    sent = [0] * len(senders)
    while (passed_s := time.perf_counter() - began_s) < seconds:
        for index, (send, rate) in enumerate(senders):
            while sent[index] < rate * passed_s:
                await send(client, sent[index])
                sent[index] += 1
        await asyncio.sleep(0.005)
    await client.flush()
    after_s, ended_s = server.cpu_s, time.perf_counter()
    if before_s is None or after_s is None:
        return None
    return (after_s - before_s) / (ended_s - began_s) * 100
