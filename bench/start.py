"""What the gateway costs when it does little: start, memory, idle CPU (P10)."""

from __future__ import annotations

import statistics
import time

from bench.commands import Ends
from bench.figures import Figure
from bench.site import Site
from bench.ticks import SYMBOLS, Forwarder
from tests.support.net import free_port

IDLE_S = 5.0
MILLION = 1_000_000


def starts(count: int) -> list[Figure]:
    """Measure from `exec` to the first answered command, as after an upgrade."""
    took_s = []
    with Site() as site:
        site.terminal()
        ends = Ends(site)
        first = site.gateway()  # makes the streams
        ends.wait_for_gateway()
        first.stop()
        for _ in range(count):
            began_s = time.perf_counter()
            gateway = site.gateway()
            ends.wait_for_gateway()
            took_s.append(time.perf_counter() - began_s)
            gateway.stop()
    slowest = f"{count} starts, the slowest {max(took_s) * 1000:.0f} ms"
    figure = Figure(
        "P10",
        "start to the first answered trade",
        statistics.median(took_s) * 1000,
        unit="ms",
        gate=400,
        moonshot=250,
        note=slowest,
    )
    return [figure]


def memory(ticks: int) -> list[Figure]:
    """Measure memory and CPU when idle, and how memory grows by ticks."""
    with Site() as site:
        site.terminal()
        port = free_port()
        quotes = site.quotes(port, SYMBOLS)
        gateway = site.gateway(tick_port=port)
        ends = Ends(site)
        ends.wait_for_gateway()
        forwarder = Forwarder("gateway", gateway, quotes, "mt4.bench.tick", site.nats.port)
        forwarder.wait_until_it_flows()
        idle_s = gateway.spent_s(lambda: time.sleep(IDLE_S))
        idle_mb = gateway.memory_mb
        forwarder.burst(100_000)  # buffers find their size
        warm_mb = gateway.memory_mb
        for _ in range(ticks // 50_000):
            forwarder.burst(50_000)
        grown_mb = gateway.memory_mb
    idle = None if idle_s is None else idle_s / IDLE_S * 100
    grown = None if grown_mb is None or warm_mb is None else grown_mb - warm_mb
    growth = None if grown is None else grown / ticks * MILLION
    return [
        Figure("P10", "idle CPU of a core", idle, unit="%", gate=0.5, moonshot=0.2),
        Figure("P10", "memory when idle", idle_mb, unit="MB", gate=60, moonshot=50),
        Figure(
            "P10",
            "memory grown by 1 M ticks",
            growth,
            unit="MB",
            gate=5,
            moonshot=1,
            note=f"over {ticks:,}; {warm_mb:.0f} MB before" if warm_mb else "",
        ),
    ]
