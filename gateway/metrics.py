"""Every metric of the gateway; methods are named for what happened, not for what is counted.

Label values come from closed sets: a message can never add a series. Small sets start at 0, so
that `rate()` and alerts see the first event too; histograms by action appear with the action.
Names and labels are a public contract: docs/metrics.md, generated from here.
"""

from __future__ import annotations

import platform
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, product
from typing import Generic, Literal, TypeVar, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from gateway import __version__
from gateway.core.messages import Lane, Outcome, Result

PREFIX = "mt4_gateway_"
OTHER = "other"
"""The label of everything that is not in a closed set."""

DropReason = Literal["timeout", "disconnect"]
DeadLetterReason = Literal["invalid", "forbidden", "id_conflict", "other"]
DiscardReason = Literal["late_unmatched", "malformed", "stale_epoch"]
ResetReason = Literal["disconnect", "hang", "restart"]

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MAX_EXEMPLAR = 120
"""Characters of a command's id in an exemplar: the library raises above 128, label included."""

# 0.5 ms is a terminal on this machine that was waiting; 60 s the longest deadline by default.
COMMAND_BUCKETS_S = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1),
    *(0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
FORWARD_BUCKETS_S = (
    *(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005),
    *(0.01, 0.025, 0.05, 0.1, 0.25, 1.0),
)
LAG_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

TICK_COUNTERS = {
    "ticks_received_total": "Ticks that came from the terminal.",
    "ticks_published_total": "Ticks handed to NATS.",
    "ticks_missed_total": "Ticks the terminal sent that never came: gaps in its sequence numbers.",
    "ticks_conflated_total": "Ticks replaced by a newer one of their symbol, NATS being slow.",
}
LAST_TICK = (
    "When the last tick came, in seconds since 1970; 0 when none came since the start. "
    "Its age is time() minus this."
)
TICK_FORWARD = "From a tick's arrival to its hand-over to NATS."


@dataclass(frozen=True, slots=True)
class Description:
    """One metric as its users see it. `buckets_s` is empty but for histograms."""

    name: str
    kind: str
    labels: tuple[str, ...]
    text: str
    buckets_s: tuple[float, ...] = ()


M = TypeVar("M", bound=MetricWrapperBase)


class _Children(Generic[M]):
    """The children of one metric: cached, and only for allowed label values, else `other`.

    `labels()` costs four times an `inc()` (1.0 against 0.25 us), this look-up a tenth.
    """

    def __init__(self, metric: M, allowed: Iterable[Collection[str]]) -> None:
        self._metric = metric
        self._allowed = [frozenset(values) for values in allowed]
        self._cached: dict[tuple[str, ...], M] = {} if self._allowed else {(): metric}

    def of(self, *values: str) -> M:
        """Return the child for these label values, in the order of the metric's labels."""
        child = self._cached.get(values)
        if child is None:
            known = tuple(
                value if value in allowed else OTHER
                for value, allowed in zip(values, self._allowed, strict=True)
            )
            child = self._cached.setdefault(known, self._metric.labels(*known))
        return child


@dataclass(slots=True)
class TickCounts:
    """What is counted of one symbol's ticks.

    Attributes:
        last_at_s: When the last one came, in UTC seconds since 1970; 0 when none came.
    """

    received: int = 0
    published: int = 0
    missed: int = 0
    conflated: int = 0
    last_at_s: float = 0.0


class _TickPath(Collector):
    """The metrics that every tick touches, as plain numbers.

    A library counter would add 0.25 us to a tick and a histogram 0.6; a number of ours adds 0.02.
    No symbol is ever added, so that the thread that renders can read while the loop counts.
    """

    def __init__(self, symbols: Collection[str]) -> None:
        self.counts = {symbol: TickCounts() for symbol in (*symbols, OTHER)}
        self.forward_counts = [0] * (len(FORWARD_BUCKETS_S) + 1)
        self.forward_sum_s = 0.0

    def collect(self) -> Iterator[Metric]:
        """Read the numbers; called at each scrape, in the rendering thread."""
        for name, text in TICK_COUNTERS.items():
            counter = CounterMetricFamily(PREFIX + name, text, labels=["symbol"])
            field = name.removeprefix("ticks_").removesuffix("_total")
            for symbol, counts in self.counts.items():
                counter.add_metric([symbol], getattr(counts, field))
            yield counter
        last = GaugeMetricFamily(
            f"{PREFIX}last_tick_timestamp_seconds", LAST_TICK, labels=["symbol"]
        )
        for symbol, counts in self.counts.items():
            # A configured symbol that never ticks is worth an alert, an unused `other` is not.
            if counts.last_at_s or symbol != OTHER:
                last.add_metric([symbol], counts.last_at_s)
        yield last
        forward = HistogramMetricFamily(f"{PREFIX}tick_forward_seconds", TICK_FORWARD)
        bounds = [*map(floatToGoString, FORWARD_BUCKETS_S), "+Inf"]
        cumulated = accumulate(self.forward_counts)
        forward.add_metric([], list(zip(bounds, cumulated, strict=True)), self.forward_sum_s)
        yield forward


class Metrics:
    """All metrics of one gateway, in a registry of their own.

    Args:
        symbols: What may stand in the label `symbol`; all else is counted as `other`.
        actions: What may stand in the label `action`; all else is counted as `other`.
    """

    def __init__(self, symbols: Collection[str] = (), actions: Collection[str] = ()) -> None:
        # A creation time beside each series would double the scrape; nothing here needs it.
        disable_created_metrics()  # type: ignore[no-untyped-call] # the library's gap
        self.catalogue: list[Description] = []
        self.loop_lag_s = 0.0
        self._was_active = False
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        build = {"version": __version__, "python": platform.python_version()}
        self._gauge(
            "build_info",
            "Always 1; the labels say which build this is.",
            **{label: [value] for label, value in build.items()},
        ).of(*build.values()).set(1)
        self._define_commands(actions)
        self._define_terminal(actions)
        self._define_ticks(symbols)
        self._define_rest()

    # Definitions: a keyword is a label with what it may say

    def _define_commands(self, actions: Collection[str]) -> None:
        lanes = [lane.label for lane in Lane]
        self._commands = self._counter(
            "commands_total",
            "Finished commands. `unknown` needs a person: the order may or may not exist.",
            action=actions,
            outcome=[*Outcome],
        )
        self._durations = self._histogram(
            "command_duration_seconds",
            "From a command's receipt to its result. Denied commands are left out: they are "
            "answered at once and would hide how long the others take.",
            action=actions,
        )
        self._queue_waits = self._histogram(
            "queue_wait_seconds", "How long commands waited for the terminal's line.", lane=lanes
        )
        self._queue_depth = self._gauge("queue_depth", "Commands waiting now.", lane=lanes)
        self._queue_capacity = self._gauge(
            "queue_capacity", "Commands that may wait; those beyond are denied.", lane=lanes
        )
        self._retries = self._counter(
            "retries_total", "Commands sent once more, where that is safe.", action=actions
        )
        self._resolves = self._counter(
            "resolves_total", "What was found out about trades in doubt.", result=[*Outcome]
        )
        self._duplicates = self._counter(
            "duplicates_total", "Commands that came again under the same id; none ran twice."
        ).of()

    def _define_terminal(self, actions: Collection[str]) -> None:
        self._round_trips = self._histogram(
            "round_trip_seconds",
            "From a request's sending to the terminal's reply.",
            action=actions,
        )
        self._channel_busy = self._counter(
            "channel_busy_seconds_total",
            "Time the line to the terminal was taken. It serves one request at a time: the rate "
            "is its utilisation, 1 is saturated.",
        ).of()
        self._replies_dropped = self._counter(
            "replies_dropped_total",
            "Requests whose reply did not come.",
            action=actions,
            reason=get_args(DropReason),
        )
        self._replies_discarded = self._counter(
            "replies_discarded_total",
            "Replies that came and could not be used.",
            reason=get_args(DiscardReason),
        )
        self._replies_late = self._counter(
            "replies_late_total", "Replies that came late and still found their command."
        ).of()
        self._channel_resets = self._counter(
            "channel_resets_total",
            "Times the line to the terminal broke and was made anew.",
            reason=get_args(ResetReason),
        )
        self._terminal_up = self._gauge("terminal_up", "1 while the terminal answers.").of()
        self._trade_allowed = self._gauge(
            "terminal_trade_allowed", "1 while the terminal says that it may trade."
        ).of()
        self._last_reply = self._gauge(
            "terminal_last_reply_timestamp_seconds",
            "When the terminal last replied, in seconds since 1970; 0: not yet.",
        ).of()
        self._market_open = self._gauge("market_open", "1 while the market is open.").of()

    def _define_ticks(self, symbols: Collection[str]) -> None:
        self._ticks = _TickPath(symbols)
        self._registry.register(self._ticks)
        for name, text in TICK_COUNTERS.items():
            self._describe(name, "counter", text, ["symbol"])
        self._describe("last_tick_timestamp_seconds", "gauge", LAST_TICK, ["symbol"])
        self._describe("tick_forward_seconds", "histogram", TICK_FORWARD, [], FORWARD_BUCKETS_S)

    def _define_rest(self) -> None:
        self._nats_up = self._gauge("nats_up", "1 while connected to NATS.").of()
        self._nats_reconnects = self._counter(
            "nats_reconnects_total", "Times the connection to NATS came back."
        ).of()
        self._nats_round_trips = self._histogram(
            "nats_round_trip_seconds", "From a ping to NATS to its answer."
        ).of()
        self._define_journal()
        self._active = self._gauge("active", "1 on the gateway that trades, 0 on a standby.").of()
        self._transitions = self._counter(
            "active_transitions_total", "Times this gateway began or ceased to be the one."
        ).of()
        self._lease_failures = self._counter(
            "lease_renewal_failures_total", "Renewals of the lease that were not acknowledged."
        ).of()
        self._epoch = self._gauge("epoch", "The term the terminal issued to this gateway.").of()
        self._halted = self._gauge("halted", "1 while an operator has stopped trading.").of()
        self._policy_reload_failed = self._gauge(
            "policy_reload_failed",
            "1 while the policy that was read last cannot be used; the one before it holds.",
        ).of()
        self._loop_lag = self._histogram(
            "event_loop_lag_seconds",
            "How much too late the event loop woke up, measured twice a second.",
            LAG_BUCKETS_S,
        ).of()

    def _define_journal(self) -> None:
        self._journal_writes = self._histogram(
            "journal_write_seconds", "From a record's writing to JetStream's acknowledgement."
        ).of()
        self._jobs_pending = self._gauge(
            "jobs_pending", "Jobs that wait in JetStream for this terminal."
        ).of()
        self._jobs_redelivered = self._counter(
            "jobs_redelivered_total", "Jobs that were handed out before; none ran twice."
        ).of()
        self._dead_letters = self._counter(
            "dead_letters_total",
            "Jobs that were refused and put aside, by reason.",
            reason=get_args(DeadLetterReason),
        )

    def _counter(self, name: str, text: str, **allowed: Collection[str]) -> _Children[Counter]:
        self._describe(name, "counter", text, allowed)
        metric = Counter(PREFIX + name, text, list(allowed), registry=self._registry)
        children = _Children(metric, allowed.values())
        for values in product(*allowed.values()):
            children.of(*values)  # appears, with 0
        return children

    def _gauge(self, name: str, text: str, **allowed: Collection[str]) -> _Children[Gauge]:
        self._describe(name, "gauge", text, allowed)
        metric = Gauge(PREFIX + name, text, list(allowed), registry=self._registry)
        return _Children(metric, allowed.values())

    def _histogram(
        self,
        name: str,
        text: str,
        buckets_s: tuple[float, ...] = COMMAND_BUCKETS_S,
        **allowed: Collection[str],
    ) -> _Children[Histogram]:
        self._describe(name, "histogram", text, allowed, buckets_s)
        metric = Histogram(
            PREFIX + name, text, list(allowed), registry=self._registry, buckets=buckets_s
        )
        return _Children(metric, allowed.values())

    def _describe(
        self,
        name: str,
        kind: str,
        text: str,
        labels: Iterable[str],
        buckets_s: tuple[float, ...] = (),
    ) -> None:
        self.catalogue.append(Description(PREFIX + name, kind, tuple(labels), text, buckets_s))

    # Commands

    def command_finished(self, result: Result) -> None:
        """Count a result; its duration carries the command's trace, or its id, as an exemplar."""
        self._commands.of(result.action, result.outcome).inc()
        if result.outcome is not Outcome.DENIED:
            self._durations.of(result.action).observe(
                result.finished_at_s - result.received_at_s,
                exemplar={"trace_id": result.trace.split("-")[1]}
                if result.trace
                else {"id": str(result.key)[:MAX_EXEMPLAR]},
            )

    def command_taken(self, lane: Lane, waited_s: float) -> None:
        """Note that a command left its lane for the terminal's line."""
        self._queue_waits.of(lane.label).observe(waited_s)

    def watch_queues(self, depth: Callable[[Lane], int], capacity: Mapping[Lane, int]) -> None:
        """Read the lanes at each scrape.

        Args:
            depth: Called in the rendering thread; must only read.
            capacity: Lanes without one are unbounded.
        """
        for lane in Lane:
            self._queue_depth.of(lane.label).set_function(partial(depth, lane))
        for lane, limit in capacity.items():
            self._queue_capacity.of(lane.label).set(limit)

    def watch_policy(self, has_failed: Callable[[], bool]) -> None:
        """Read at each scrape, in the rendering thread, whether the last policy was refused."""
        self._policy_reload_failed.set_function(has_failed)

    def retried(self, action: str) -> None:
        """Note that a command is sent once more."""
        self._retries.of(action).inc()

    def resolved(self, result: str) -> None:
        """Note what was found out about a trade in doubt: an `Outcome`."""
        self._resolves.of(result).inc()

    def duplicate(self) -> None:
        """Note a command that came again under the same id."""
        self._duplicates.inc()

    # The terminal

    def reply_received(self, action: str, took_s: float) -> None:
        """Note a reply that came in time."""
        self._round_trips.of(action).observe(took_s)
        self._last_reply.set_to_current_time()

    def reply_dropped(self, action: str, reason: DropReason) -> None:
        """Note that a request's reply did not come."""
        self._replies_dropped.of(action, reason).inc()

    def reply_discarded(self, reason: DiscardReason) -> None:
        """Note a reply that could not be used."""
        self._replies_discarded.of(reason).inc()

    def reply_late(self) -> None:
        """Note a late reply that found its command."""
        self._replies_late.inc()

    def channel_was_busy(self, seconds: float) -> None:
        """Add time during which the line was taken."""
        self._channel_busy.inc(seconds)

    def channel_reset(self, reason: ResetReason) -> None:
        """Note that the line broke and is made anew."""
        self._channel_resets.of(reason).inc()

    def terminal_is_up(self, is_up: bool) -> None:
        """Say whether the terminal answers."""
        self._terminal_up.set(is_up)

    def trade_is_allowed(self, is_allowed: bool) -> None:
        """Say whether the terminal may trade."""
        self._trade_allowed.set(is_allowed)

    def market_is_open(self, is_open: bool) -> None:
        """Say whether the market is open."""
        self._market_open.set(is_open)

    # Ticks: counted in plain numbers, so that no library object is touched; see _TickPath.

    def ticks_of(self, symbol: str) -> TickCounts:
        """Return the numbers to count a symbol's ticks in."""
        return self._ticks.counts.get(symbol) or self._ticks.counts[OTHER]

    def tick_forwarded(self, seconds: float) -> None:
        """Note how long a tick took from its arrival to NATS."""
        self._ticks.forward_counts[bisect_left(FORWARD_BUCKETS_S, seconds)] += 1
        self._ticks.forward_sum_s += seconds

    # NATS, role, loop

    def nats_is_up(self, is_up: bool) -> None:
        """Say whether NATS is connected."""
        self._nats_up.set(is_up)

    def nats_reconnected(self) -> None:
        """Count a reconnection."""
        self._nats_reconnects.inc()

    def nats_round_trip(self, seconds: float) -> None:
        """Note how long NATS took to answer a ping."""
        self._nats_round_trips.observe(seconds)

    def journal_written(self, seconds: float) -> None:
        """Note how long a record took to be stored."""
        self._journal_writes.observe(seconds)

    def jobs_pending(self, count: int) -> None:
        """Say how many jobs wait."""
        self._jobs_pending.set(count)

    def job_redelivered(self) -> None:
        """Count a job that was handed out before."""
        self._jobs_redelivered.inc()

    def dead_letter(self, reason: DeadLetterReason) -> None:
        """Count a job that was put aside."""
        self._dead_letters.of(reason).inc()

    def lease_not_renewed(self) -> None:
        """Count a renewal that failed."""
        self._lease_failures.inc()

    def is_active(self, is_active: bool) -> None:
        """Say whether this gateway is the one that trades."""
        if is_active is not self._was_active:
            self._transitions.inc()
        self._was_active = is_active
        self._active.set(is_active)

    def epoch_is(self, epoch: int) -> None:
        """Say which term the terminal issued."""
        self._epoch.set(epoch)

    def is_halted(self, is_halted: bool) -> None:
        """Say whether an operator has stopped trading."""
        self._halted.set(is_halted)

    def loop_lagged(self, seconds: float) -> None:
        """Note how much too late the event loop woke up."""
        self.loop_lag_s = seconds
        self._loop_lag.observe(seconds)

    # Exposition

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Write all metrics for a scraper; may run in any thread.

        Args:
            accept: The request's `Accept`. OpenMetrics 1.0, with exemplars, where it is
                asked for, else the Prometheus text format. Not the library's own choice: that
                raises for an odd version number.

        Returns:
            The body and its content type.
        """
        if wants_openmetrics(accept):
            body: bytes = openmetrics.generate_latest(self._registry)  # type: ignore[no-untyped-call] # as above
            return body, openmetrics.CONTENT_TYPE_LATEST
        return generate_latest(self._registry), TEXT_TYPE


def wants_openmetrics(accept: str) -> bool:
    """Tell whether an `Accept` header names OpenMetrics 1.0 or names no version of it."""
    return any(
        kind.strip().startswith("application/openmetrics-text") and "version=0." not in kind
        for kind in accept.split(",")
    )
