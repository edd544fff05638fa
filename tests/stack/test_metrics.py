"""What a scraper reads after something has happened."""

import dataclasses
from collections.abc import Collection

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from gateway.core.messages import CommandId, Conclusion, Lane, Outcome, Result
from gateway.metrics import Metrics

OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2"


def test_finished_command_is_counted_by_action_and_outcome() -> None:
    """A result adds one to its action and outcome."""
    metrics = new_metrics()
    metrics.command_finished(new_result())

    assert 1 == value(metrics, "commands_total", action="DO_ORDER_SEND", outcome="succeeded")


def test_duration_is_from_receipt_to_result() -> None:
    """The histogram's sum is finished minus received."""
    metrics = new_metrics()
    metrics.command_finished(new_result())

    assert 0.25 == value(metrics, "command_duration_seconds_sum", action="DO_ORDER_SEND")


def test_denied_command_has_no_duration() -> None:
    """Instant refusals would hide how long real work takes."""
    metrics = new_metrics()
    metrics.command_finished(new_result(outcome=Outcome.DENIED))

    assert value(metrics, "command_duration_seconds_count", action="DO_ORDER_SEND") is None


def test_exemplar_names_the_command_in_openmetrics() -> None:
    """A bucket leads to a command that fell into it."""
    metrics = new_metrics()
    metrics.command_finished(new_result())

    assert [{"id": "me/c1"}] == exemplars(metrics)


def test_long_id_is_cut_in_its_exemplar() -> None:
    """The library raises above 128 characters, in the middle of the command path."""
    metrics = new_metrics()
    metrics.command_finished(new_result(command_id="x" * 500))

    assert [{"id": f"me/{'x' * 117}"}] == exemplars(metrics)


def test_hostile_id_stays_inside_its_exemplar() -> None:
    """Quotes and line ends are escaped, so that an id cannot forge a metric."""
    metrics = new_metrics()
    metrics.command_finished(new_result(command_id='"\\\nmt4_gateway_halted 1'))
    body, _ = metrics.render(OPENMETRICS)

    assert rb'# {id="me/\"\\\nmt4_gateway_halted 1"} 0.25' in body


def test_text_format_has_no_exemplars() -> None:
    """Exemplars are a syntax error in the Prometheus text format."""
    metrics = new_metrics()
    metrics.command_finished(new_result())
    body, _ = metrics.render("text/plain")

    assert b"me/c1" not in body


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (OPENMETRICS, "application/openmetrics-text"),
        ("application/openmetrics-text", "application/openmetrics-text"),
        ("application/openmetrics-text;version=0.0.1,text/plain", "text/plain"),
        ("text/plain;version=nonsense", "text/plain"),
        ("*/*", "text/plain"),
        ("", "text/plain"),
    ],
)
def test_format_follows_the_accept_header(accept: str, content_type: str) -> None:
    """OpenMetrics for who names version 1 or none, else text; nonsense never raises."""
    _, served = new_metrics().render(accept)

    assert content_type == served.partition(";")[0]


def test_unknown_outcome_is_zero_from_the_start() -> None:
    """`increase()` would miss the first one if the series began with it."""
    assert 0 == value(new_metrics(), "commands_total", action="DO_ORDER_SEND", outcome="unknown")


def test_foreign_action_is_counted_as_other() -> None:
    """No message can add a series."""
    metrics = new_metrics()
    metrics.retried("DROP TABLE")

    assert 1 == value(metrics, "retries_total", action="other")


def test_foreign_symbol_is_counted_as_other() -> None:
    """A broker's thousand symbols stay one series unless they are configured."""
    metrics = new_metrics()
    metrics.ticks_of("BTCUSD").received += 3

    assert 3 == value(metrics, "ticks_received_total", symbol="other")


def test_series_do_not_grow_with_foreign_labels() -> None:
    """A thousand invented names leave the exposition as large as one of each."""
    metrics = new_metrics()
    use_foreign_labels(metrics, ["first"])
    expected = metrics.render()[0].count(b"\nmt4_gateway_")
    use_foreign_labels(metrics, [f"name{number}" for number in range(1_000)])

    assert expected == metrics.render()[0].count(b"\nmt4_gateway_")


@pytest.mark.parametrize("name", ["received", "published", "missed", "conflated"])
def test_ticks_are_counted_by_symbol(name: str) -> None:
    """Each of the four numbers is shown as a counter."""
    metrics = new_metrics()
    setattr(metrics.ticks_of("EURUSD"), name, 5)

    assert 5 == value(metrics, f"ticks_{name}_total", symbol="EURUSD")


def test_forwarded_tick_falls_into_its_bucket() -> None:
    """Bounds are inclusive and buckets cumulate, as in any Prometheus histogram."""
    metrics = new_metrics()
    for seconds in (0.00005, 0.0002, 7.0):
        metrics.tick_forwarded(seconds)
    buckets = [
        value(metrics, "tick_forward_seconds_bucket", le=bound)
        for bound in ("5e-05", "0.0001", "0.00025", "1.0", "+Inf")
    ]

    assert [1, 1, 2, 2, 3] == buckets


def test_configured_symbol_without_ticks_shows_time_zero() -> None:
    """A misspelt symbol is found by an alert on its age."""
    assert 0 == value(new_metrics(), "last_tick_timestamp_seconds", symbol="EURUSD")


def test_other_symbols_without_ticks_show_no_time() -> None:
    """Nobody wants an alert for symbols that nobody configured."""
    assert value(new_metrics(), "last_tick_timestamp_seconds", symbol="other") is None


def test_last_tick_shows_its_time() -> None:
    """The newest tick's time is kept per symbol."""
    metrics = new_metrics()
    metrics.ticks_of("EURUSD").last_at_s = 1_795_000_000.5

    assert 1_795_000_000.5 == value(metrics, "last_tick_timestamp_seconds", symbol="EURUSD")


def test_queue_depth_is_read_at_each_scrape() -> None:
    """Nobody has to tell the gauge that a queue changed."""
    metrics = new_metrics()
    waiting = dict.fromkeys(Lane, 0)
    metrics.watch_queues(waiting.__getitem__, {Lane.TRADE: 256})
    waiting[Lane.TRADE] = 7

    assert 7 == value(metrics, "queue_depth", lane="trade")


def test_lane_without_limit_has_no_capacity() -> None:
    """A capacity of 0 would read as full."""
    metrics = new_metrics()
    metrics.watch_queues(lambda _: 0, {Lane.TRADE: 256})

    assert value(metrics, "queue_capacity", lane="resume") is None


def test_dropped_reply_is_counted_with_its_reason() -> None:
    """A timeout and a lost link are told apart."""
    metrics = new_metrics()
    metrics.reply_dropped("DO_ORDER_SEND", "disconnect")

    assert 1 == value(metrics, "replies_dropped_total", action="DO_ORDER_SEND", reason="disconnect")


def test_reply_shows_the_terminal_alive() -> None:
    """A reply sets the time of the last sign of life."""
    metrics = new_metrics()
    metrics.reply_received("DO_ORDER_SEND", 0.002)

    assert value(metrics, "terminal_last_reply_timestamp_seconds") != 0


def test_every_event_leaves_a_valid_exposition() -> None:
    """Both formats parse after every method has been called."""
    metrics = new_metrics()
    call_everything(metrics)
    openmetrics = {family.name for family in openmetrics_families(metrics)}

    assert openmetrics == {family.name for family in parse_text(metrics.render()[0].decode())}


def test_catalogue_is_what_is_served() -> None:
    """The documentation lists exactly the metrics that a scrape shows."""
    metrics = new_metrics()
    call_everything(metrics)
    served = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in parse_text(metrics.render()[0].decode())
        if family.name.startswith("mt4_gateway_")
    }

    assert {one.name for one in metrics.catalogue} == served


def new_metrics() -> Metrics:
    """Make metrics that know one symbol and one action."""
    return Metrics(symbols=["EURUSD"], actions=["DO_ORDER_SEND"])


def new_result(
    command_id: str = "c1", outcome: Outcome = Outcome.SUCCEEDED, action: str = "DO_ORDER_SEND"
) -> Result:
    """Make a result that took 0.25 s."""
    return Result(
        key=CommandId("me", command_id),
        terminal="demo",
        action=action,
        conclusion=Conclusion(outcome),
        received_at_s=100.0,
        finished_at_s=100.25,
        queued_s=0.01,
        channel_s=0.2,
    )


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """Read one sample by its full name and labels; None when there is none."""
    for family in parse_text(metrics.render()[0].decode()):
        for sample in family.samples:
            if sample.name == f"mt4_gateway_{name}" and sample.labels == labels:
                return float(sample.value)
    return None


def exemplars(metrics: Metrics) -> list[dict[str, str]]:
    """Read the labels of all exemplars."""
    samples = (sample for family in openmetrics_families(metrics) for sample in family.samples)
    return [dict(sample.exemplar.labels) for sample in samples if sample.exemplar]


def openmetrics_families(metrics: Metrics) -> list[Metric]:
    """Parse what an OpenMetrics scraper gets."""
    body, _ = metrics.render(OPENMETRICS)
    return list(parse_openmetrics(body.decode()))  # type: ignore[no-untyped-call] # the library's gap


def use_foreign_labels(metrics: Metrics, names: Collection[str]) -> None:
    """Tell of symbols, actions and results that nobody configured."""
    for name in names:
        metrics.command_finished(new_result(action=name))
        metrics.reply_received(name, 0.1)
        metrics.reply_dropped(name, "timeout")
        metrics.resolved(name)
        metrics.ticks_of(name).received += 1
        metrics.ticks_of(name).last_at_s = 1.0


def call_everything(metrics: Metrics) -> None:
    """Call every method once."""
    metrics.command_finished(new_result())
    metrics.command_finished(dataclasses.replace(new_result(), action="odd"))
    metrics.command_taken(Lane.READ, 0.001)
    metrics.watch_queues(lambda _: 1, dict.fromkeys(Lane, 10))
    metrics.retried("DO_ORDER_SEND")
    metrics.resolved(Outcome.SUCCEEDED)
    metrics.duplicate()
    metrics.reply_received("DO_ORDER_SEND", 0.002)
    metrics.reply_dropped("DO_ORDER_SEND", "timeout")
    metrics.reply_discarded("malformed")
    metrics.reply_late()
    metrics.channel_was_busy(0.5)
    metrics.channel_reset("hang")
    metrics.terminal_is_up(True)
    metrics.trade_is_allowed(True)
    metrics.market_is_open(True)
    metrics.ticks_of("EURUSD").received += 1
    metrics.tick_forwarded(0.0001)
    metrics.nats_is_up(True)
    metrics.nats_reconnected()
    metrics.nats_round_trip(0.001)
    metrics.is_active(True)
    metrics.epoch_is(7)
    metrics.is_halted(False)
    metrics.watch_policy(lambda: False)
    metrics.loop_lagged(0.001)
