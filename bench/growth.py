"""Does one more cost more when there are many? Symbols, clients, records of the journal (P11)."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from functools import partial

import nats

from bench.commands import BLOCK, Ends, Times
from bench.figures import Figure
from bench.site import CLIENT, Site
from bench.ticks import GATEWAY, Forwarder
from tests.support.net import free_port

GATE, MOONSHOT = 1.3, 1.1
SENT_AT_ONCE = 500
JOURNAL = "mt4j_bench"


def _figure(what: str, few: Sequence[float], many: Sequence[float], unit: str) -> Figure:
    if not few or not many:
        return Figure("P11", what, None, gate=GATE, moonshot=MOONSHOT)
    one, other = statistics.median(few), statistics.median(many)
    note = f"{other:.4g} {unit} against {one:.4g} {unit}"
    return Figure("P11", what, other / one, gate=GATE, moonshot=MOONSHOT, note=note)


def symbols(rounds: int, size: int) -> list[Figure]:
    """Measure the CPU that a tick takes with 10 and with 1,000 symbols."""
    with Site() as few_site, Site() as many_site:
        few, many = (_fed(site, count) for site, count in ((few_site, 10), (many_site, 1_000)))
        for _ in range(rounds):
            few.burst(size)
            many.burst(size)
    return [_figure("CPU a tick, 1,000 symbols, x 10 symbols", few.cpu_us, many.cpu_us, "us")]


def _fed(site: Site, count: int) -> Forwarder:
    port = free_port()
    quotes = site.quotes(port, count)
    site.terminal()
    names = ",".join(f"SYM{number:04d}" for number in range(count))
    gateway = site.gateway(tick_port=port, MT4GW_TICKS__SYMBOLS=names)
    found = Forwarder(f"{count} symbols", gateway, quotes, GATEWAY, site.nats.port)
    found.wait_until_it_flows()
    return found


def clients(rounds: int) -> list[Figure]:
    """Measure the CPU that a read takes with one client at a time and with 100 at once."""
    with Site() as site:
        site.terminal()
        gateway = site.gateway()
        ends = Ends(site)
        ends.wait_for_gateway()
        spent_s: dict[int, list[float]] = {1: [], 100: []}
        for _ in range(rounds):
            for count, found in spent_s.items():
                told_s = gateway.spent_s(partial(ends.many, 10 * BLOCK, clients=count))
                if told_s is not None:
                    found.append(told_s)
    what = "CPU a read, 100 clients, x 1 client"
    return [_figure(what, spent_s[1], spent_s[100], "s for 500")]


def records(most: int, rounds: int) -> list[Figure]:
    """Measure a journaled trade, and a start, with 1,000 records and with many."""
    trades: dict[int, list[float]] = {}
    starts: dict[int, list[float]] = {}
    memory_mb: dict[int, float | None] = {}
    for count in (1_000, most):
        with Site() as site:
            site.terminal()
            ends = Ends(site)
            gateway = site.gateway()
            ends.wait_for_gateway()
            asyncio.run(_fill(site, count))
            gateway.stop()
            began_s = time.perf_counter()
            gateway = site.gateway()
            ends.wait_for_gateway()
            starts[count] = [time.perf_counter() - began_s]
            times = Times()
            for _ in range(rounds):
                times.measure(ends.trade, BLOCK)
            trades[count] = [median * 1e6 for median in times.medians_s]
            memory_mb[count] = gateway.memory_mb
    return [
        _figure(f"journaled trade, {most:,} records, x 1,000", trades[1_000], trades[most], "us"),
        Figure("", f"start with {most:,} records", starts[most][0], "s"),
        Figure("", f"memory with {most:,} records", memory_mb[most], "MB"),
    ]


async def _fill(site: Site, count: int) -> None:
    """Write results of trades as the gateway does: copies of one that it wrote."""
    async with await nats.connect(site.nats.url) as client:
        jetstream = client.jetstream(timeout=60)
        like = await jetstream.get_last_msg(JOURNAL, f"mt4j.bench.result.{CLIENT}.*")
        headers = {
            name: value
            for name, value in (like.headers or {}).items()
            if not name.startswith(("Nats-Expected", "Nats-Msg-Id"))
        }
        for number in range(count):
            subject = f"mt4j.bench.result.{CLIENT}.filled-{number}"
            await client.publish(subject, like.data or b"", headers=headers)
            if number % SENT_AT_ONCE == 0:
                await client.flush(60)
        while (await jetstream.stream_info(JOURNAL)).state.messages < count:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
