"""The two dashboards: the fleet at a glance, and one terminal in depth.

Rate, errors and duration for what users feel; utilisation, saturation and errors for the line to
the terminal, which serves one request at a time. A red line is the threshold of an alert.
"""

from __future__ import annotations

from collections.abc import Callable

from deploy.panels import GREEN, ORANGE, RED, Json, Mark, Panel, Query, Row, dashboard

P = "mt4_gateway_"
ONE = "namespace, job, terminal"
"""What tells one terminal from another, as in the alerts: names may be used in two places."""


def quantiles(name: str, exemplars: bool = False) -> tuple[Query, ...]:
    """Ask for the median, the 95th and the 99th percentile of a histogram."""
    return tuple(
        Query(
            f"histogram_quantile({share}, sum by (le) (rate({P}{name}_bucket{{S}}[R])))",
            f"p{100 * share:.0f}",
            exemplars,
        )
        for share in (0.5, 0.95, 0.99)
    )


def worst(name: str) -> tuple[Query, ...]:
    """Ask for the 99th percentile of a histogram, per terminal."""
    inner = f"sum by (le, terminal) (rate({P}{name}_bucket{{S}}[R]))"
    return (Query(f"histogram_quantile(0.99, {inner})", "{{terminal}}"),)


MARKS = (
    Mark("Started", "changes(process_start_time_seconds{S}[R]) > 0", "blue"),
    Mark("Active gateway changed", f"changes({P}active{{S}}[R]) > 0", "orange"),
    Mark("Halted", f"{P}halted{{S}} == 1", "red"),
    Mark("Policy not reloaded", f"{P}policy_reload_failed{{S}} == 1", "yellow"),
)

ACTIVE = Panel(
    "Active gateway",
    "Which gateway of each terminal trades. Two at once, or none, is an alarm.",
    "short",
    (Query(f"{P}active{{S}}", "{{terminal}} {{instance}}"),),
    kind="state-timeline",
    width=12,
    names=((1, "active", GREEN), (0, "standby", "blue")),
)

LEASE = Panel(
    "Failovers and missed renewals",
    "Take-overs by a standby, and renewals of the lease that did not succeed.",
    "short",
    (
        Query(
            f"sum by (terminal) (increase({P}active_transitions_total{{S}}[R]))",
            "{{terminal}} take-overs",
        ),
        Query(
            f"sum by (terminal) (increase({P}lease_renewal_failures_total{{S}}[R]))",
            "{{terminal}} failed renewals",
        ),
    ),
    width=12,
)

UTILISATION = Panel(
    "Line to the terminal: utilisation",
    "Share of the time in which the line was taken. It serves one request at a time: 1 is full.",
    "percentunit",
    (Query(f"sum by (terminal) (rate({P}channel_busy_seconds_total{{S}}[R]))", "{{terminal}}"),),
    threshold=0.9,
    alert="Mt4GatewayChannelSaturated",
)

MEMORY = Panel(
    "Memory",
    "Resident memory of the processes.",
    "bytes",
    (Query("process_resident_memory_bytes{S}", "{{terminal}} {{instance}}"),),
)
CPU = Panel(
    "CPU",
    "Cores in use.",
    "short",
    (Query("rate(process_cpu_seconds_total{S}[R])", "{{terminal}} {{instance}}"),),
)


def overview() -> Json:
    """Show the fleet."""
    return dashboard(
        "mt4-gateway-overview",
        "MT4 gateways",
        "Every terminal at a glance. Choose one and open *MT4 terminal* for more.",
        [
            Row("Now", _overview_tiles()),
            Row("What users feel", _overview_users()),
            Row("The line to the terminal", _overview_line()),
            Row("Prices", _overview_prices()),
            Row("Failover", [ACTIVE, LEASE]),
            Row("Bus and process", _overview_rest()),
        ],
        MARKS,
    )


def _overview_tiles() -> list[Panel]:
    return [
        Panel(
            "Terminals without an active gateway",
            "Nobody trades for them. Of all that were seen in the chosen time.",
            "short",
            (
                Query(
                    f"count(max by ({ONE}) (present_over_time({P}build_info{{S}}[$__range]))) "
                    f"- (count(sum by ({ONE}) ({P}active{{S}}) > 0) or vector(0))"
                ),
            ),
            kind="stat",
            width=4,
            threshold=1,
            alert="Mt4GatewayNoActive",
        ),
        Panel(
            "Terminals down",
            "Terminals that do not answer.",
            "short",
            (Query(f"count(max by ({ONE}) ({P}terminal_up{{S}}) == 0) or vector(0)"),),
            kind="stat",
            width=4,
            threshold=1,
            alert="Mt4GatewayTerminalDown",
        ),
        Panel(
            "Gateways without NATS",
            "Gateways that are not connected to the bus.",
            "short",
            (Query(f"count({P}nats_up{{S}} == 0) or vector(0)"),),
            kind="stat",
            width=4,
            threshold=1,
            alert="Mt4GatewayNatsDown",
        ),
        Panel(
            "Unknown outcomes",
            "Trades of which nobody knows whether they ran, in the chosen time. A person looks.",
            "short",
            (Query(f'sum(increase({P}commands_total{{S,outcome="unknown"}}[$__range]))'),),
            kind="stat",
            width=4,
            threshold=1,
            alert="Mt4GatewayUnknownOutcome",
        ),
        Panel(
            "Halted",
            "Terminals for which an operator has stopped trading.",
            "short",
            (Query(f"sum(max by ({ONE}) ({P}halted{{S}}))"),),
            kind="stat",
            width=4,
            threshold=1,
            alert="Mt4GatewayHalted",
        ),
        Panel(
            "Commands waiting",
            "In all lanes of all gateways.",
            "short",
            (Query(f"sum({P}queue_depth{{S}})"),),
            kind="stat",
            width=4,
        ),
    ]


def _overview_users() -> list[Panel]:
    return [
        Panel(
            "Commands",
            "Finished commands per second.",
            "reqps",
            (Query(f"sum by (terminal) (rate({P}commands_total{{S}}[R]))", "{{terminal}}"),),
            stacked=True,
        ),
        Panel(
            "Not succeeded",
            "Commands per second that were rejected, denied, expired or are unknown.",
            "reqps",
            (
                Query(
                    "sum by (terminal, outcome) "
                    f'(rate({P}commands_total{{S,outcome!="succeeded"}}[R]))',
                    "{{terminal}} {{outcome}}",
                ),
            ),
        ),
        Panel(
            "Slow commands (p99)",
            "99 of 100 commands took no longer, from receipt to result.",
            "s",
            worst("command_duration_seconds"),
        ),
    ]


def _overview_line() -> list[Panel]:
    return [
        UTILISATION,
        Panel(
            "Replies dropped",
            "Share of the requests whose reply did not come.",
            "percentunit",
            (Query(_dropped_share("{S}", "[R]"), "{{terminal}}"),),
            threshold=0.05,
            alert="Mt4GatewayRepliesDropped",
        ),
        Panel(
            "Fullest queue",
            "Waiting commands over what may wait; beyond it commands are denied as busy.",
            "percentunit",
            (
                Query(
                    f"max by (terminal) ({P}queue_depth{{S}} / {P}queue_capacity{{S}})",
                    "{{terminal}}",
                ),
            ),
            threshold=0.8,
            alert="Mt4GatewayQueueFilling",
        ),
    ]


def _dropped_share(selection: str, interval: str) -> str:
    dropped = f"sum by (terminal) (rate({P}replies_dropped_total{selection}{interval}))"
    came = f"sum by (terminal) (rate({P}round_trip_seconds_count{selection}{interval}))"
    return f"{dropped} / ({dropped} + {came})"


def _overview_prices() -> list[Panel]:
    return [
        Panel(
            "Ticks",
            "Ticks handed to NATS per second.",
            "cps",
            (Query(f"sum by (terminal) (rate({P}ticks_published_total{{S}}[R]))", "{{terminal}}"),),
            width=12,
        ),
        Panel(
            "Age of the newest tick",
            "Since the last tick of any symbol.",
            "s",
            (
                Query(
                    f"time() - max by (terminal) ({P}last_tick_timestamp_seconds{{S}} > 0)",
                    "{{terminal}}",
                ),
            ),
            width=12,
            threshold=120,
            alert="Mt4GatewayTicksStale",
        ),
    ]


def _overview_rest() -> list[Panel]:
    return [
        Panel(
            "NATS round trip (p99)",
            "From a ping to its answer.",
            "s",
            worst("nats_round_trip_seconds"),
        ),
        MEMORY,
        CPU,
    ]


def terminal() -> Json:
    """Show one terminal."""
    return dashboard(
        "mt4-gateway-terminal",
        "MT4 terminal",
        "One terminal and its gateways, from what users feel down to the process.",
        [
            Row("Now", _terminal_tiles()),
            Row("What users feel", _terminal_users()),
            Row("The line to the terminal", _terminal_line()),
            Row("Prices", _terminal_prices()),
            Row("Bus and journal", _terminal_bus()),
            Row("Failover", [ACTIVE, LEASE]),
            Row("Process", _terminal_process()),
        ],
        MARKS,
    )


def _terminal_tiles() -> list[Panel]:
    up = ((1, "up", GREEN), (0, "down", RED))
    return [
        Panel(
            "Gateway",
            "1: one gateway is active.",
            "short",
            (Query(f"sum({P}active{{S}})"),),
            kind="stat",
            width=4,
            threshold=1,
            low_is_bad=True,
            alert="Mt4GatewayNoActive",
        ),
        Panel(
            "Terminal",
            "Whether MetaTrader answers.",
            "short",
            (Query(f"max({P}terminal_up{{S}})"),),
            kind="stat",
            width=4,
            threshold=1,
            low_is_bad=True,
            alert="Mt4GatewayTerminalDown",
            names=up,
        ),
        Panel(
            "NATS",
            "Whether all gateways of the terminal are connected to the bus.",
            "short",
            (Query(f"min({P}nats_up{{S}})"),),
            kind="stat",
            width=4,
            threshold=1,
            low_is_bad=True,
            alert="Mt4GatewayNatsDown",
            names=up,
        ),
        Panel(
            "May trade",
            "Whether the terminal says that trading is allowed.",
            "short",
            (Query(f"max({P}terminal_trade_allowed{{S}})"),),
            kind="stat",
            width=4,
            threshold=1,
            low_is_bad=True,
            alert="Mt4GatewayTradeNotAllowed",
            names=((1, "yes", GREEN), (0, "no", ORANGE)),
        ),
        Panel(
            "Unknown outcomes",
            "Trades of which nobody knows whether they ran, in the chosen time.",
            "short",
            (Query(f'sum(increase({P}commands_total{{S,outcome="unknown"}}[$__range]))'),),
            kind="stat",
            width=4,
            threshold=1,
            alert="Mt4GatewayUnknownOutcome",
        ),
        Panel(
            "Last reply",
            "How long ago the terminal last replied to anything.",
            "s",
            (Query(f"time() - max({P}terminal_last_reply_timestamp_seconds{{S}})"),),
            kind="stat",
            width=4,
        ),
    ]


def _terminal_users() -> list[Panel]:
    return [
        Panel(
            "Commands by action",
            "Finished commands per second.",
            "reqps",
            (Query(f"sum by (action) (rate({P}commands_total{{S}}[R])) > 0", "{{action}}"),),
            stacked=True,
        ),
        Panel(
            "Commands by outcome",
            "Finished commands per second.",
            "reqps",
            (Query(f"sum by (outcome) (rate({P}commands_total{{S}}[R]))", "{{outcome}}"),),
        ),
        Panel(
            "Duration",
            "From receipt to result, without the denied. A point is an exemplar: client and id.",
            "s",
            quantiles("command_duration_seconds", exemplars=True),
            threshold=2.5,
            alert="Mt4GatewayLatencyHigh",
        ),
    ]


def _terminal_line() -> list[Panel]:
    return [
        UTILISATION,
        Panel(
            "Round trip",
            "From a request's sending to the terminal's reply.",
            "s",
            quantiles("round_trip_seconds"),
        ),
        Panel(
            "Waiting for the line (p99)",
            "How long commands waited, by lane.",
            "s",
            (
                Query(
                    "histogram_quantile(0.99, sum by (le, lane) "
                    f"(rate({P}queue_wait_seconds_bucket{{S}}[R])))",
                    "{{lane}}",
                ),
            ),
        ),
        Panel(
            "Waiting commands",
            "By lane; reduce goes first, poll last.",
            "short",
            (Query(f"sum by (lane) ({P}queue_depth{{S}})", "{{lane}}"),),
        ),
        Panel(
            "Replies dropped and late",
            "Requests per second whose reply did not come (by reason), and replies that came "
            "late and still found their command.",
            "reqps",
            (
                Query(
                    f"sum by (reason) (rate({P}replies_dropped_total{{S}}[R]))",
                    "dropped: {{reason}}",
                ),
                Query(f"sum(rate({P}replies_late_total{{S}}[R]))", "late"),
            ),
        ),
        Panel(
            "What was done about it",
            "Replies that could not be used, trades looked into, requests sent again, lines made "
            "anew, ids that came twice.",
            "reqps",
            (
                Query(
                    f"sum by (reason) (rate({P}replies_discarded_total{{S}}[R]))",
                    "discarded: {{reason}}",
                ),
                Query(
                    f"sum by (result) (rate({P}resolves_total{{S}}[R])) > 0", "resolved: {{result}}"
                ),
                Query(f"sum(rate({P}retries_total{{S}}[R]))", "retried"),
                Query(f"sum(rate({P}channel_resets_total{{S}}[R]))", "line made anew"),
                Query(f"sum(rate({P}duplicates_total{{S}}[R]))", "came twice"),
            ),
        ),
    ]


def _terminal_prices() -> list[Panel]:
    return [
        Panel(
            "Ticks by symbol",
            "Ticks received per second; symbols that are not configured are *other*.",
            "cps",
            (Query(f"sum by (symbol) (rate({P}ticks_received_total{{S}}[R]))", "{{symbol}}"),),
            stacked=True,
        ),
        Panel(
            "Lost and conflated ticks",
            "Gaps in the terminal's numbers, and ticks that a newer one replaced, NATS being slow.",
            "cps",
            (
                Query(f"sum(rate({P}ticks_missed_total{{S}}[R]))", "missed"),
                Query(f"sum(rate({P}ticks_conflated_total{{S}}[R]))", "conflated"),
            ),
        ),
        Panel(
            "Age of the last tick",
            "By symbol; while the market is closed it grows.",
            "s",
            (
                Query(
                    f"time() - max by (symbol) ({P}last_tick_timestamp_seconds{{S}} > 0)",
                    "{{symbol}}",
                ),
            ),
            threshold=120,
            alert="Mt4GatewayTicksStale",
        ),
        Panel(
            "Tick forwarding",
            "From a tick's arrival to its hand-over to NATS.",
            "s",
            quantiles("tick_forward_seconds"),
            width=12,
        ),
        Panel(
            "Market",
            "Whether the terminal says that the market is open.",
            "short",
            (Query(f"max by (terminal) ({P}market_open{{S}})", "{{terminal}}"),),
            kind="state-timeline",
            width=12,
            names=((1, "open", GREEN), (0, "closed", "blue")),
        ),
    ]


def _terminal_bus() -> list[Panel]:
    return [
        Panel(
            "NATS reconnects",
            "Times the connection to NATS came back.",
            "short",
            (
                Query(
                    f"sum by (instance) (increase({P}nats_reconnects_total{{S}}[R]))",
                    "{{instance}}",
                ),
            ),
            width=6,
        ),
        Panel(
            "NATS round trip",
            "From a ping to its answer.",
            "s",
            quantiles("nats_round_trip_seconds"),
            width=6,
        ),
        Panel(
            "Journal write",
            "Until a record of a trade is stored. A trade waits for it.",
            "s",
            quantiles("journal_write_seconds"),
            threshold=1,
            alert="Mt4GatewayJournalSlow",
            width=6,
        ),
        Panel(
            "Jobs",
            "Durable commands that wait, come again, or are given up.",
            "short",
            (
                Query(f"sum({P}jobs_pending{{S}})", "waiting"),
                Query(f"sum(increase({P}jobs_redelivered_total{{S}}[R]))", "delivered again"),
                Query(
                    f"sum by (reason) (increase({P}dead_letters_total{{S}}[R]))",
                    "given up: {{reason}}",
                ),
            ),
            width=6,
        ),
    ]


def _terminal_process() -> list[Panel]:
    return [
        Panel(
            "Event loop lag",
            "How much too late the loop woke up.",
            "s",
            quantiles("event_loop_lag_seconds"),
            threshold=0.1,
            alert="Mt4GatewayEventLoopSlow",
        ),
        MEMORY,
        CPU,
    ]


DASHBOARDS: dict[str, Callable[[], Json]] = {"overview": overview, "terminal": terminal}
