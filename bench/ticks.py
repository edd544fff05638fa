"""The tick path: from the terminal's PUB socket to a subscriber on the bus.

Bursts go in turn through a straight line in Python, a forwarder in C, the gateway, and
`mq-bridge` where it is installed; a plain socket counts what arrives. Each has a source of its
own, so that the others are idle in its turn.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgpack

from bench import peer
from bench.figures import Figure, against, paired_ratio, percentile
from bench.nats_socket import NatsSocket
from bench.site import Process, Site, module
from bench.straight_line import TICKS
from gateway.client import Mt4Client
from gateway.sim.quotes import Replay, spec_for_file
from tests.support.net import free_port

SYMBOLS = 50
GATEWAY = "mt4.bench.tick"
PATIENCE_S = 5.0
"""Silence after which what has not come counts as lost."""


@dataclass
class Forwarder:
    """One that forwards, its source, and what was seen of it.

    Attributes:
        subject: Where its ticks go, without the symbol.
        rates: Ticks a second, of each burst.
        cpu_us: CPU time a tick, of each burst.
        median_delays_s: From sending to arrival, of paced ticks: the median of each round.
    """

    name: str
    process: Process
    quotes: Process
    subject: str
    nats_port: int
    rates: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    paced_cpu_us: list[float] = field(default_factory=list)
    median_delays_s: list[float] = field(default_factory=list)
    lost: int = 0

    def arrivals(self) -> Arrivals:
        """Listen to what it forwards."""
        return Arrivals(self.nats_port, self.subject)

    def wait_until_it_flows(self) -> None:
        """Return when ticks come through, and all that were sent have come."""
        arrivals = self.arrivals()
        for _ in range(100):
            self.quotes.tell(f"burst {SYMBOLS}")
            self.quotes.line()
            if arrivals.count(SYMBOLS, silence_s=0.1)[0]:
                while arrivals.count(SYMBOLS, silence_s=0.3)[0]:
                    pass
                return
        raise RuntimeError(f"no tick came through: {self.name}")

    def burst(self, size: int, told: str | None = None) -> None:
        """Measure one burst."""
        arrivals = self.arrivals()

        def forward() -> None:
            self.quotes.tell(told or f"burst {size}")
            came, last_at_s = arrivals.count(size)
            began_s = float(self.quotes.line().split()[0])
            self.rates.append(came / (last_at_s - began_s))
            self.lost += size - came

        if (spent_s := self.process.spent_s(forward)) is not None:
            self.cpu_us.append(spent_s / size * 1e6)

    def pace(self, rate: int, seconds: float) -> None:
        """Measure how long evenly sent ticks are under way."""
        arrivals, count = self.arrivals(), int(rate * seconds)
        delays_s: list[float] = []

        def forward() -> None:
            self.quotes.tell(f"pace {rate} {seconds}")
            delays_s.extend(arrivals.delays_s(count))
            self.quotes.line()

        spent_s = self.process.spent_s(forward)
        self.lost += count - len(delays_s)
        self.median_delays_s.append(statistics.median(delays_s))
        if spent_s is not None:
            self.paced_cpu_us.append(spent_s / len(delays_s) * 1e6)


class Arrivals:
    """Takes messages of one forwarder off the bus."""

    def __init__(self, nats_port: int, subject: str) -> None:
        self._socket = NatsSocket(nats_port)
        self._mark = f"MSG {subject}.".encode()
        self._rest = b""
        self._socket.subscribe(f"{subject}.>")

    def count(self, wanted: int, silence_s: float = PATIENCE_S) -> tuple[int, float]:
        """Wait for so many, unread; how many came, and when the last did."""
        self._socket.patience(silence_s)
        found, at_s = 0, time.perf_counter()
        while found < wanted:
            try:
                chunk = self._rest + self._socket.chunk()
            except TimeoutError:
                break
            at_s = time.perf_counter()
            found += chunk.count(self._mark)
            self._rest = chunk[-len(self._mark) + 1 :]
        return found, at_s

    def delays_s(self, wanted: int) -> list[float]:
        """Wait for so many; how long each was under way."""
        self._socket.patience(PATIENCE_S)
        delays: list[float] = []
        while len(delays) < wanted:
            try:
                _, payload = self._socket.receive()
            except TimeoutError:
                break
            delays.append(time.perf_counter() - msgpack.unpackb(payload)["volume"])
        return delays


def forwarders(site: Site) -> Iterator[Forwarder]:
    """Start all that are measured."""

    def forwarder(
        name: str, subject: str, start: Callable[[int], Process | None]
    ) -> Iterator[Forwarder]:
        port = free_port()
        quotes = site.quotes(port, SYMBOLS)
        if (process := start(port)) is not None:
            found = Forwarder(name, process, quotes, subject, site.nats.port)
            found.wait_until_it_flows()
            yield found

    def straight_line(port: int) -> Process:
        return site.start(*module("straight_line", "ticks", site.nats.port, port))

    def gateway(port: int) -> Process:
        site.terminal()
        return site.gateway(tick_port=port)

    def peers(symbols: int) -> Callable[[int], Process]:
        return lambda port: site.start(*module("peer", site.nats.port, port, symbols))

    yield from forwarder("straight line", TICKS, straight_line)
    yield from forwarder("C", TICKS, site.forwarder)
    yield from forwarder("gateway", GATEWAY, gateway)
    if peer.is_installed():
        yield from forwarder("mq-bridge, one subject", peer.SUBJECT, peers(0))
        yield from forwarder("mq-bridge", peer.SUBJECT, peers(SYMBOLS))


def bursts(rounds: int, size: int) -> list[Figure]:
    """Measure throughput, CPU and loss at full speed, and paced delays (P5 to P8)."""
    with Site() as site:
        found = {each.name: each for each in forwarders(site)}
        for _ in range(rounds):
            for each in found.values():
                each.burst(size)
        for _ in range(rounds):
            for each in found.values():
                each.pace(10_000, 0.5)
        paced = _paced(found)
        gateway = found["gateway"]
        idle_lost = gateway.lost
        for rate in (1_000, 50_000):
            gateway.pace(rate, 1.0)
    return [
        *_throughput(found, rounds, size),
        *paced,
        Figure(
            "P8",
            f"ticks lost, of {rounds} bursts of {size} and 1 s at 1,000 and at 50,000/s",
            gateway.lost,
            unit="",
            gate=0,
            moonshot=0,
            note=f"{idle_lost} of them in bursts and at 10,000/s",
        ),
    ]


def _throughput(found: dict[str, Forwarder], rounds: int, size: int) -> list[Figure]:
    gateway, floor = found["gateway"], found["straight line"]
    figures = [
        Figure(
            "", f"ticks a second at full speed: {each.name}", statistics.median(each.rates), "/s"
        )
        for each in found.values()
    ]
    figures += [
        Figure("", f"CPU a tick at full speed: {each.name}", statistics.median(each.cpu_us), "us")
        for each in found.values()
        if each.cpu_us
    ]
    figures.append(
        Figure(
            "P5",
            "tick burst, ticks a second, x straight line",
            paired_ratio(gateway.rates, floor.rates),
            gate=0.50,
            moonshot=0.85,
            more_is_better=True,
            note=f"{rounds} bursts of {size}",
        )
    )
    per_symbol, one_subject = found.get("mq-bridge"), found.get("mq-bridge, one subject")
    figures.append(
        Figure(
            "P5",
            "tick burst, ticks a second, x mq-bridge with a subject per symbol",
            paired_ratio(gateway.rates, per_symbol.rates) if per_symbol else None,
            gate=3,
            moonshot=6,
            more_is_better=True,
            note="" if per_symbol else "pip install mq-bridge-basic",
        )
    )
    is_told = one_subject is not None and bool(one_subject.cpu_us)
    figures.append(
        Figure(
            "P6",
            "CPU a tick at full speed, x mq-bridge with one subject",
            paired_ratio(gateway.cpu_us, one_subject.cpu_us) if one_subject and is_told else None,
            gate=0.55,
            moonshot=0.2,
            note="" if is_told else "pip install mq-bridge-basic, on Linux",
        )
    )
    return figures


def _paced(found: dict[str, Forwarder]) -> list[Figure]:
    gateway, floor = found["gateway"], found["straight line"]
    figures = [
        Figure(
            "P7",
            "10,000 ticks/s, p50 under way, x straight line",
            paired_ratio(gateway.median_delays_s, floor.median_delays_s),
            gate=1.4,
            moonshot=1.1,
            note=against(
                statistics.median(gateway.median_delays_s), statistics.median(floor.median_delays_s)
            ),
        )
    ]
    figures += [
        Figure(
            "",
            f"CPU for 1,000 ticks at 10,000/s: {each.name}",
            statistics.median(each.paced_cpu_us),
            "ms",
        )
        for each in found.values()
        if each.paced_cpu_us
    ]
    return figures


def conflation(seconds: float) -> list[Figure]:
    """Show what a reader gets that cannot keep up: 500 symbols, 50,000 ticks a second.

    It spends 100 us on each tick, so it can take a fifth of them. What counts is how old the price
    is that it is given, and that it is told of those that it was not given.
    """
    return asyncio.run(_read_slowly(seconds))


async def _read_slowly(seconds: float) -> list[Figure]:
    rate, symbols, spent_s = 50_000, 500, 100e-6
    ages_s: list[float] = []
    missed = 0
    with Site() as site:
        port = free_port()
        quotes = site.quotes(port, symbols)
        site.terminal()
        gateway = site.gateway(tick_port=port)
        Forwarder("gateway", gateway, quotes, GATEWAY, site.nats.port).wait_until_it_flows()
        async with await Mt4Client.connect(site.nats.url, terminal="bench") as client:
            ticks = client.ticks()
            first = asyncio.ensure_future(anext(ticks))
            await asyncio.sleep(0.5)  # it has subscribed
            quotes.tell(f"pace {rate} {seconds}")
            await first
            until_s = time.perf_counter() + seconds - 0.5
            async for tick in ticks:
                now_s = time.perf_counter()
                ages_s.append(now_s - tick.volume)
                missed += tick.missed
                while time.perf_counter() < now_s + spent_s:
                    pass
                if now_s > until_s:
                    break
        quotes.line()
    return [
        Figure(
            "",
            "a reader that cannot keep up, age of a price it is given, p99",
            percentile(ages_s, 0.99) * 1000,
            unit="ms",
            gate=50,
            note=f"p50 {statistics.median(ages_s) * 1000:.1f} ms; {len(ages_s)} ticks read, "
            f"{missed} counted as passed over",
        )
    ]


def real_quotes(file: Path, rounds: int) -> list[Figure]:
    """Replay real quotes at full speed."""
    count = sum(1 for _ in Replay(file, spec_for_file(file), speed=0))
    with Site() as site:
        found = {each.name: each for each in forwarders(site)}
        for _ in range(rounds):
            for each in found.values():
                each.burst(count, told=f"replay {file.resolve()}")
    gateway, floor = found["gateway"], found["straight line"]
    return [
        Figure(
            "",
            f"{count} real quotes at full speed, ticks a second, x straight line",
            paired_ratio(gateway.rates, floor.rates),
            note=f"{statistics.median(gateway.rates):,.0f}/s against "
            f"{statistics.median(floor.rates):,.0f}/s; {gateway.lost} lost",
        )
    ]
