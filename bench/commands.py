"""The command path: a command over the bus and back, beside a straight line that does the same.

The floor is one process that asks NATS for an echo and then the terminal, one after the other:
both round trips, and nothing between them. Everything is up at the same time and takes turns in
short blocks; pinned to one core, where a ping-pong repeats to a few percent.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import zmq

from bench.figures import Figure, against, paired_ratio, percentile
from bench.nats_socket import NatsSocket
from bench.site import CLIENT, Site, module, on_one_core
from bench.straight_line import ECHO
from gateway.envelope import format_time, new_id
from gateway.subjects import Subjects
from tests.support.net import free_port

BLOCK = 50
STORED = "floor.stored"
READ = {"ticket": 1001}
CLIENTS = 50
UNTIL_UP_S = 120.0


@dataclass
class Times:
    """What took how long, in seconds: all of it, and the median of each block."""

    all_s: list[float] = field(default_factory=list)
    medians_s: list[float] = field(default_factory=list)

    def measure(self, ask: Callable[[], None], count: int) -> None:
        """Do something one after the other."""
        block = []
        for _ in range(count):
            began_s = time.perf_counter()
            ask()
            block.append(time.perf_counter() - began_s)
        self.all_s += block
        self.medians_s.append(statistics.median(block))


class Ends:
    """The two ends of a command, as a client and as the floor use them."""

    def __init__(self, site: Site, terminal: str = "bench") -> None:
        subjects = Subjects("mt4", terminal)
        self._read_subject = subjects.query("GET_ORDER")
        self._trade_subject = subjects.trade(CLIENT, "DO_ORDER_DELETE")
        self.nats = NatsSocket(site.nats.port)
        self._terminal: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.REQ)
        self._terminal.setsockopt(zmq.LINGER, 0)
        self._terminal.connect(f"tcp://127.0.0.1:{site.request_port}")
        self._frame = json.dumps({"action": "GET_ORDER", "id": "floor/1", **READ}).encode()
        self._body = json.dumps(READ).encode()
        self._result = b""

    def wait_for_gateway(self) -> None:
        """Return when the gateway has answered a read and a trade."""
        until_s = time.monotonic() + UNTIL_UP_S
        while True:
            try:
                self._result = self._checked(self.nats.request(self._read_subject, self._body))
                self.trade()
            except (ValueError, AssertionError):  # no responders, or not usable yet
                if time.monotonic() > until_s:
                    raise
                time.sleep(0.01)
            else:
                return

    def terminal(self) -> None:
        """Ask the terminal."""
        self._terminal.send(self._frame)
        self._terminal.recv()

    def floor_read(self) -> None:
        """Do both round trips: an echo as long as the gateway's answer, and the terminal."""
        self.nats.request(ECHO, self._result)
        self.terminal()

    def floor_trade(self) -> None:
        """Do both round trips and store two records, each acknowledged."""
        self.nats.request(ECHO, self._result)
        self.nats.request(STORED, self._result)
        self.terminal()
        self.nats.request(STORED, self._result)

    def read(self) -> None:
        """Ask the gateway for a read."""
        self.nats.request(self._read_subject, self._body)

    def trade(self) -> None:
        """Have the gateway do a trade that is journaled."""
        body = READ | {"id": new_id(), "deadline": format_time(time.time() + 10)}
        self._checked(self.nats.request(self._trade_subject, json.dumps(body).encode()))

    @staticmethod
    def _checked(answer: bytes) -> bytes:
        said = json.loads(answer)
        assert said["outcome"] == "succeeded", said
        return answer

    def many(self, count: int, clients: int = CLIENTS) -> float:
        """Have many clients ask at once, each again when it was answered; how long it took."""
        asks, done = 0, 0
        began_s = time.perf_counter()
        while done < count:
            while asks < count and asks - done < clients:
                self.nats.ask(self._read_subject, self._body, asks % clients)
                asks += 1
            subject, _ = self.nats.receive()
            assert subject.startswith(self.nats.inbox)
            done += 1
        return time.perf_counter() - began_s


def round_trips(rounds: int) -> list[Figure]:
    """Measure reads and journaled trades of one client (P1, P2, P3)."""
    with on_one_core(True), Site() as site:
        site.terminal()
        site.start(*module("straight_line", "echo", site.nats.port))
        gateway = site.gateway()
        ends = Ends(site)
        ends.wait_for_gateway()
        ends.nats.request(
            "$JS.API.STREAM.CREATE.floor",
            json.dumps({"name": "floor", "subjects": [STORED], "storage": "file"}).encode(),
        )
        turns: Mapping[str, Callable[[], None]] = {
            "floor read": ends.floor_read,
            "read": ends.read,
            "floor trade": ends.floor_trade,
            "trade": ends.trade,
        }
        times = {name: Times() for name in turns}
        for ask in turns.values():
            Times().measure(ask, 4 * BLOCK)  # warm
        spent_s: dict[str, list[float | None]] = {name: [] for name in turns}
        for _ in range(rounds):
            for name, ask in turns.items():
                measure = partial(times[name].measure, ask, BLOCK)
                spent_s[name].append(gateway.spent_s(measure))
    return _round_trip_figures(times, spent_s, rounds)


def _round_trip_figures(
    times: Mapping[str, Times], spent_s: Mapping[str, list[float | None]], rounds: int
) -> list[Figure]:
    reads, floor = times["read"], times["floor read"]
    trades, trades_floor = times["trade"], times["floor trade"]

    def beside(one: Times, other: Times, share: float) -> str:
        return against(percentile(one.all_s, share), percentile(other.all_s, share))

    figures = [
        Figure(
            "P1",
            "read, one client, p50, x floor",
            paired_ratio(reads.medians_s, floor.medians_s),
            gate=1.35,
            moonshot=1.20,
            note=beside(reads, floor, 0.5),
        ),
        Figure(
            "P2",
            "read, one client, p99, x floor",
            percentile(reads.all_s, 0.99) / percentile(floor.all_s, 0.99),
            gate=1.5,
            moonshot=1.25,
            note=beside(reads, floor, 0.99),
        ),
        Figure(
            "P3",
            "journaled trade, p50, x floor and two stored records",
            paired_ratio(trades.medians_s, trades_floor.medians_s),
            gate=1.25,
            moonshot=1.10,
            note=beside(trades, trades_floor, 0.5),
        ),
    ]
    for name in ("read", "trade"):
        told_s = [one for one in spent_s[name] if one is not None]
        per_1000 = sum(told_s) / (rounds * BLOCK) * 1e6 if told_s else None
        figures.append(Figure("", f"gateway's CPU for 1,000 of: {name}", per_1000, unit="ms"))
    return figures


def over_the_pipe(rounds: int) -> list[Figure]:
    """Measure reads of one client over the pipe beside those over ZeroMQ (P12)."""
    what = "read over the pipe (a Unix socket), one client, p50, x over ZeroMQ"
    if sys.platform == "win32":
        return [Figure("P12", what, None, note="measured where a pipe is a Unix socket")]
    with on_one_core(True), Site() as site:
        site.terminal()
        site.gateway()
        name = f"bench-{os.getpid()}"
        site.over_pipe(name)
        ways = Ends(site), Ends(site, name)
        zeromq, pipe = Times(), Times()
        for ends in ways:
            ends.wait_for_gateway()
            Times().measure(ends.read, 4 * BLOCK)  # warm
        for _ in range(rounds):
            zeromq.measure(ways[0].read, BLOCK)
            pipe.measure(ways[1].read, BLOCK)
    ours, beside = percentile(pipe.all_s, 0.5), percentile(zeromq.all_s, 0.5)
    ratio = paired_ratio(pipe.medians_s, zeromq.medians_s)
    return [Figure("P12", what, ratio, gate=1.1, moonshot=1.0, note=against(ours, beside))]


def queued(count: int) -> list[Figure]:
    """Measure how busy 50 clients keep the terminal (P4)."""
    figures = []
    for work_ms, gate, moonshot in ((1.0, 0.85, 0.92), (10.0, 0.97, 0.99)):
        with Site() as site:
            site.terminal(work_ms)
            site.gateway()
            ends = Ends(site)
            ends.wait_for_gateway()
            number = int(count / work_ms)
            took_s = ends.many(number)
        figures.append(
            Figure(
                "P4",
                f"{CLIENTS} clients, terminal takes {work_ms:g} ms: share of time it works",
                number * work_ms / 1000 / took_s,
                unit="of 1",
                gate=gate,
                moonshot=moonshot,
                more_is_better=True,
                note=f"{number} commands in {took_s:.2f} s",
            )
        )
    return figures


def beside_ticks(rounds: int) -> list[Figure]:
    """Measure how much 5,000 ticks a second disturb commands (P9)."""
    quiet, disturbed = Times(), Times()
    with Site() as site:
        site.terminal()
        port = free_port()
        quotes = site.quotes(port, 50)
        site.gateway(tick_port=port)
        ends = Ends(site)
        ends.wait_for_gateway()
        Times().measure(ends.read, 4 * BLOCK)
        for _ in range(rounds):
            quiet.measure(ends.read, 4 * BLOCK)
            quotes.tell("pace 5000 1")
            began_s = time.perf_counter()
            while time.perf_counter() < began_s + 1:
                disturbed.measure(ends.read, BLOCK)
            quotes.line()
    ours, beside = percentile(disturbed.all_s, 0.99), percentile(quiet.all_s, 0.99)
    return [
        Figure(
            "P9",
            "read beside 5,000 ticks/s, p99, x without",
            ours / beside,
            gate=3,
            moonshot=2,
            note=against(ours, beside),
        )
    ]
