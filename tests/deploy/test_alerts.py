"""Every alert fires when it should and is silent when it should; each has its page."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from deploy.metric_names import kinds, used
from gateway.cli import main
from gateway.config import Config
from gateway.metrics import PREFIX, Metrics
from tests.deploy.alerts import ALERTS, FILE
from tests.deploy.chart import ROOT

RUNBOOKS = ROOT / "docs/runbooks"
BUTTONS = {"AutoTrading", "Allow live trading", "Critical"}
"""Of MetaTrader, and a word that is meant to be seen."""

TARGET = 'job="gw",namespace="fx",terminal="demo",instance="a"'
OTHER = TARGET.replace('"a"', '"b"')


def series(name: str, values: str, labels: str = "", target: str = TARGET) -> dict[str, str]:
    """Give a series to promtool, one value a minute; the name is without its prefix."""
    name = name if name.startswith(("up", "process_")) else PREFIX + name
    return {"series": f"{name}{{{target}{labels}}}", "values": values}


BUILD = series("build_info", "1x120")
OPEN = series("market_open", "1x30")
UP = series("terminal_up", "1x60")


def slow(share_fast: int) -> list[dict[str, str]]:
    """Make durations of which so many of a hundred a minute are within 2.5 s."""
    return [
        series("command_duration_seconds_bucket", f"0+{share_fast}x120", ',le="2.5"'),
        series("command_duration_seconds_bucket", "0+100x120", ',le="+Inf"'),
        series("command_duration_seconds_count", "0+100x120"),
    ]


def lag(share_fast: int, name: str, bound: str) -> list[dict[str, str]]:
    """Make a histogram of which so many of a hundred a minute are within a bound."""
    return [
        series(f"{name}_bucket", f"0+{share_fast}x60", f',le="{bound}"'),
        series(f"{name}_bucket", "0+100x60", ',le="5.0"'),
        series(f"{name}_bucket", "0+100x60", ',le="+Inf"'),
    ]


def outcome(name: str, values: str) -> list[dict[str, str]]:
    """Make finished trades of one outcome."""
    return [series("commands_total", values, f',action="DO_ORDER_SEND",outcome="{name}"')]


def dropped(share: int) -> list[dict[str, str]]:
    """Make requests of which so many of a hundred a minute get no reply."""
    return [
        series("replies_dropped_total", f"0+{share}x60", ',action="PING",reason="timeout"'),
        series("round_trip_seconds_count", f"0+{100 - share}x60", ',action="PING"'),
    ]


def ticked(values: str, symbol: str = "EURUSD") -> dict[str, str]:
    """Say when the last tick came, in seconds; promtool's clock begins at 0."""
    return series("last_tick_timestamp_seconds", values, f',symbol="{symbol}"')


# alert: series with which it fires, series with which it is silent, minutes to wait
CASES: dict[str, tuple[list[dict[str, str]], list[dict[str, str]], int]] = {
    "Mt4GatewayDown": (
        # For days; and as the one of two that never came up.
        [series("up", "0x300"), series("build_info", "1x5", target=OTHER)],
        [series("up", "0x300")],  # down, and never was one of ours
        290,
    ),
    "Mt4GatewayNoActive": (
        # The one stands by for days, the other is gone.
        [series("active", "0x300"), series("active", "1x5", target=OTHER)],
        [series("active", "1x5 0x300"), series("active", "0x5 1x300", target=OTHER)],
        290,
    ),
    "Mt4GatewaySplitActive": (
        [series("active", "1x20"), series("active", "1x20", target=OTHER)],
        # A take-over, as scrapes a minute apart see it.
        [series("active", "1x10 0x20"), series("active", "0x8 1x20", target=OTHER)],
        10,
    ),
    "Mt4GatewayTerminalDown": (
        [series("terminal_up", "0x20"), series("terminal_up", "0x20", target=OTHER)],
        [series("terminal_up", "0x20"), series("terminal_up", "1x20", target=OTHER)],
        10,
    ),
    "Mt4GatewayTradeNotAllowed": (
        [series("terminal_trade_allowed", "0x20"), UP],
        [series("terminal_trade_allowed", "0x20"), series("terminal_up", "0x20")],
        10,
    ),
    "Mt4GatewayHalted": ([series("halted", "1x60")], [series("halted", "1x20 0x40")], 45),
    "Mt4GatewayPolicyNotReloaded": (
        [series("policy_reload_failed", "0 1x20")],
        [series("policy_reload_failed", "0 1x3 0x20")],
        9,
    ),
    "Mt4GatewayRestarting": (
        [series("process_start_time_seconds", "1 1 2 2 3 3 4 4 4"), BUILD],
        [series("process_start_time_seconds", "1 1 2 2 3 3 3 3 3"), BUILD],
        8,
    ),
    "Mt4GatewayUnknownOutcome": (
        outcome("unknown", "0x5 1x20"),
        outcome("unknown", "3x30"),  # old ones are no news
        8,
    ),
    "Mt4GatewayLatencyHigh": (slow(90), slow(96), 70),
    "Mt4GatewayCommandsExpired": (
        outcome("expired", "0x5 9x20"),
        outcome("expired", "0x5 3x20"),
        9,
    ),
    "Mt4GatewayQueueFilling": (
        [
            series("queue_depth", "90x10", ',lane="trade"'),
            series("queue_capacity", "100x10", ',lane="trade"'),
        ],
        [
            series("queue_depth", "70x10", ',lane="trade"'),
            series("queue_capacity", "100x10", ',lane="trade"'),
        ],
        5,
    ),
    "Mt4GatewayChannelSaturated": (
        [series("channel_busy_seconds_total", "0+58x60")],
        [series("channel_busy_seconds_total", "0+45x60")],
        30,
    ),
    "Mt4GatewayRepliesDropped": (dropped(8), dropped(3), 30),
    "Mt4GatewayTicksStale": (
        [ticked("60x30"), OPEN],
        [ticked("60x30"), series("market_open", "0x30"), ticked("60x30", "other")],
        20,
    ),
    "Mt4GatewayTicksMissed": (
        [
            series("ticks_missed_total", "0+5x60", ',symbol="EURUSD"'),
            series("ticks_received_total", "0+100x60", ',symbol="EURUSD"'),
        ],
        [
            series("ticks_missed_total", "0x30 1x30", ',symbol="EURUSD"'),
            series("ticks_received_total", "0+100x60", ',symbol="EURUSD"'),
        ],
        40,
    ),
    "Mt4GatewayNatsDown": ([series("nats_up", "0x10")], [series("nats_up", "0 1x10")], 5),
    "Mt4GatewayJournalSlow": (
        lag(90, "journal_write_seconds", "1.0"),
        lag(100, "journal_write_seconds", "1.0"),
        30,
    ),
    "Mt4GatewayDeadLetters": (
        [series("dead_letters_total", "0x5 1x20", ',reason="invalid"')],
        [series("dead_letters_total", "1x30", ',reason="invalid"')],
        8,
    ),
    "Mt4GatewayJobsWaiting": (
        [series("jobs_pending", "150x30")],
        [series("jobs_pending", "50x30")],
        20,
    ),
    "Mt4GatewayLeaseRenewalFailing": (
        [series("lease_renewal_failures_total", "0+1x30")],
        [series("lease_renewal_failures_total", "0x10 1x20")],
        20,
    ),
    "Mt4GatewayFailoverFlapping": (
        [series("active_transitions_total", "0+1x30")],
        [series("active_transitions_total", "0x10 2x20")],
        20,
    ),
    "Mt4GatewayEventLoopSlow": (
        lag(90, "event_loop_lag_seconds", "0.1"),
        lag(100, "event_loop_lag_seconds", "0.1"),
        30,
    ),
}


# What the first scrape of a gateway that has just started shows already.
STARTED = series("process_start_time_seconds", "1150x60")
YOUNG: dict[str, list[dict[str, str]]] = {
    "Mt4GatewayUnknownOutcome": [*outcome("unknown", "_x19 1x40"), STARTED],
    "Mt4GatewayDeadLetters": [
        series("dead_letters_total", "_x19 1x40", ',reason="invalid"'),
        STARTED,
    ],
}


def test_every_alert_has_its_two_cases() -> None:
    """One in which it fires, one in which it nearly does."""
    assert set(ALERTS) == set(CASES)


@pytest.mark.system("promtool")
@pytest.mark.parametrize("fires", [True, False], ids=["fires", "silent"])
@pytest.mark.parametrize("alert", CASES)
def test_alert(alert: str, fires: bool, tmp_path: Path) -> None:
    """Prometheus' own evaluation of the rules over made-up series."""
    firing, silent, minutes = CASES[alert]
    evaluate(alert, firing if fires else silent, minutes, fires, tmp_path)


@pytest.mark.system("promtool")
@pytest.mark.parametrize(("minutes", "fires"), [(22, True), (40, False)], ids=["young", "old"])
@pytest.mark.parametrize("alert", YOUNG)
def test_alert_of_what_was_there_at_the_first_scrape(
    alert: str, minutes: int, fires: bool, tmp_path: Path
) -> None:
    """A gateway that finds an unknown outcome as it starts tells so, and not for ever."""
    evaluate(alert, YOUNG[alert], minutes, fires, tmp_path)


def evaluate(
    alert: str, given: list[dict[str, str]], minutes: int, fires: bool, tmp_path: Path
) -> None:
    """Let promtool play the series; fail unless the alert then fires, or does not."""
    found: dict[str, Any] = {"labels": f'{{alertname="{alert}"}}', "value": 1}
    case = {
        "rule_files": [str(FILE)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": given,
                "promql_expr_test": [
                    {
                        "expr": "count by (alertname) "
                        f'(ALERTS{{alertname="{alert}",alertstate="firing",terminal="demo"}})',
                        "eval_time": f"{minutes}m",
                        "exp_samples": [found] if fires else [],
                    }
                ],
            }
        ],
    }
    file = tmp_path / "case.yaml"
    file.write_text(yaml.safe_dump(case), encoding="utf-8")
    done = subprocess.run(
        ["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False
    )

    assert 0 == done.returncode, done.stdout + done.stderr


@pytest.mark.system("promtool")
def test_promtool_accepts_the_rules() -> None:
    """Syntax, names and the templates of the annotations."""
    done = subprocess.run(
        ["promtool", "check", "rules", str(FILE)], capture_output=True, text=True, check=False
    )

    assert 0 == done.returncode, done.stdout + done.stderr
    assert f"{len(ALERTS)} rules found" in done.stdout


@pytest.mark.system("promtool")
def test_promtool_accepts_the_metrics() -> None:
    """Names, units and help texts as Prometheus wants them."""
    body, _ = Metrics(symbols=["EURUSD"], actions=["PING"]).render()
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=body, capture_output=True, check=False
    )

    assert 0 == done.returncode, done.stdout + done.stderr


def test_alerts_follow_the_style() -> None:
    """CamelCase with the project's prefix, a known severity, sentences, links."""
    for name, rule in ALERTS.items():
        assert re.fullmatch(r"Mt4Gateway([A-Z][a-z0-9]+)+", name)
        assert rule["labels"]["severity"] in ("critical", "warning", "info"), name
        summary = rule["annotations"]["summary"]
        assert re.fullmatch(r"[A-Z][^{}]*\.", summary), f"{name}: the summary groups, so no values"
        assert "{{ $labels.terminal }}" in rule["annotations"]["description"], name
        assert rule["annotations"]["dashboard_url"].startswith("/d/mt4-gateway-"), name


def test_expressions_are_promql_over_known_metrics() -> None:
    """Each parses, and each name is one that the gateway has."""
    for name, rule in ALERTS.items():
        assert promql_parser.parse(rule["expr"]) is not None, name
        assert used(rule["expr"]) <= set(kinds()), name


def test_every_alert_has_its_page() -> None:
    """The link leads to a page with what to look at and what to do; no page is left over."""
    for name, rule in ALERTS.items():
        assert f"docs/runbooks/{name}.md" == rule["annotations"]["runbook_url"]
        page = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
        assert page.startswith(f"# {name}\n\n{rule['annotations']['summary']}")
        assert f"Severity: {rule['labels']['severity']}." in page
        assert "\n## Look\n\n1. " in page
        assert "\n## Do\n\n* " in page
    pages = {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"}

    assert pages == set(ALERTS)


@pytest.mark.parametrize("page", sorted(RUNBOOKS.glob("*.md")), ids=lambda page: page.stem)
def test_pages_name_what_there_is(page: Path) -> None:
    """Panels, metrics, commands, settings and lines of the log are called as they are."""
    text = page.read_text(encoding="utf-8")
    code = set(re.findall(r"`([^`]+)`", text))
    source = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("gateway/**/*.py"))
    settings = {
        f"{section}.{key}"
        for section, field in Config.model_fields.items()
        for key in field.annotation.model_fields  # type: ignore[union-attr] # each is a model
    }
    sections = {*Config.model_fields, "networkPolicy", "resources"}  # and of the chart's values
    dotted = {re.split(r"[ =]", one)[0] for one in code if one.split(".")[0] in sections}
    panels = {
        panel["title"]
        for path in (FILE.parent / "dashboards").glob("*.json")
        for dashboard in [json.loads(path.read_text(encoding="utf-8"))]
        for panel in [dashboard, *dashboard["panels"]]
    }
    verbs = {one.split()[1] for one in code if one.startswith("mt4-gateway ")}
    words = {one for one in code if re.fullmatch(r"[a-z]+_[a-z_]+", one)}
    metrics = {one for one in words if one.startswith(PREFIX)}
    keys = {key.split(".")[1] for key in settings}

    assert set(re.findall(r"\*([A-Z][\w ]+)\*", text)) - BUTTONS <= panels
    assert metrics <= set(kinds())
    assert all(f'"{word}' in source for word in words - metrics - keys)
    assert dotted - {"networkPolicy.metricsFrom", "resources.limits.cpu"} <= settings
    for verb in verbs:
        with pytest.raises(SystemExit, match="0"):
            main([verb, "--help"])


def test_index_lists_every_page() -> None:
    """The table of the folder is complete, with the severities of the rules."""
    index = (RUNBOOKS / "README.md").read_text(encoding="utf-8")

    for name, rule in ALERTS.items():
        assert f"| [{name}]({name}.md) | {rule['labels']['severity']} | " in index
