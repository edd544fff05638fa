"""A real Prometheus scrapes a gateway under load: every query has an answer, alarms arrive."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.draw import draw
from tests.deploy.alerts import ALERTS
from tests.deploy.observed import Observed
from tests.deploy.test_dashboards import DASHBOARDS
from tests.deploy.waiting import wait_until

pytestmark = [
    pytest.mark.system("prometheus", "promtool", "python:matplotlib"),
    pytest.mark.timeout(300),
]

LOAD_S = 25.0
SELECTOR = re.compile(r"\b((?:mt4_gateway|process)_[a-z_]+(?:\{[^}]*\})?)")


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """Put load on a gateway for a while, with lost and late replies."""
    with Observed(tmp_path_factory.mktemp("observed")) as found:
        found.load(LOAD_S)
        yield found


def test_every_panel_shows_data(observed: Observed) -> None:
    """Each query of each panel has an answer."""
    empty = [
        f"{name}: {panel['title']}: {target['expr']}"
        for name, dashboard in DASHBOARDS.items()
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
        if not observed.history(target["expr"], LOAD_S)
    ]

    assert not empty, "\n".join(empty)


def test_every_mark_can_be_asked(observed: Observed) -> None:
    """An annotation's query is valid, and the start of the gateway is marked or nothing is."""
    for dashboard in DASHBOARDS.values():
        for mark in dashboard["annotations"]["list"]:
            assert isinstance(observed.history(mark["expr"], LOAD_S), list)


def test_every_series_of_the_rules_exists(observed: Observed) -> None:
    """A rule over a series that nobody exports would be silent for ever."""
    missing = [
        f"{name}: {selector}"
        for name, rule in ALERTS.items()
        for selector in SELECTOR.findall(rule["expr"])
        if not observed.history(f"count({selector})", LOAD_S)
    ]

    assert not missing, "\n".join(missing)


def test_every_rule_is_healthy_and_silent(observed: Observed) -> None:
    """Prometheus evaluates all of them; under this load none of them has to fire."""
    rules = [rule for group in observed.ask("rules")["groups"] for rule in group["rules"]]

    assert len(ALERTS) == len(rules)
    assert {"ok"} == {rule["health"] for rule in rules}
    assert set() == {rule["name"] for rule in rules if rule["state"] == "firing"}


def test_exemplars_name_commands(observed: Observed) -> None:
    """From a slow bucket one click leads to client and id."""
    found = observed.ask(
        "query_exemplars",
        query="mt4_gateway_command_duration_seconds_bucket",
        start=observed.ended_s - LOAD_S,
        end=observed.ended_s,
    )
    ids = {exemplar["labels"]["id"] for series in found for exemplar in series["exemplars"]}

    assert {one for one in ids if one.startswith("load/")}


def test_scrape_is_clean(observed: Observed) -> None:
    """The linter promtool finds nothing to say about what a gateway at work exposes."""
    with urllib.request.urlopen(f"http://127.0.0.1:{observed.http}/metrics", timeout=5) as page:
        body = page.read()
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=body, capture_output=True, check=False
    )

    assert (0, b"", b"") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("name", DASHBOARDS)
def test_dashboard_can_be_drawn(name: str, observed: Observed, tmp_path: Path) -> None:
    """The picture for the docs is made of these answers: `python -m tests.deploy.observed`."""
    picture = tmp_path / f"{name}.png"
    draw(DASHBOARDS[name], lambda text: observed.history(text, LOAD_S), picture)

    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 50_000


@pytest.mark.system("prometheus", "prometheus-alertmanager", "python:matplotlib")
def test_alarm_reaches_the_webhook_and_ends(tmp_path: Path) -> None:
    """Three things break; each alarm goes from the gateway to a receiver, one also resolves."""
    with Observed(tmp_path, alarms=True) as observed:

        def told(alert: str, status: str = "firing") -> list[dict[str, dict[str, str]]]:
            return [
                each
                for each in observed.received
                if each["labels"]["alertname"] == alert and each["status"] == status
            ]

        def explain() -> str:
            return json.dumps(observed.ask("alerts"), indent=1)

        scraped = 'mt4_gateway_terminal_up{terminal="demo"} == 1'
        wait_until(lambda: observed.ask("query", query=scraped)["result"], explain)
        observed.stop("terminal")
        wait_until(lambda: told("Mt4GatewayTerminalDown"), explain, 60)
        observed.start_terminal()
        wait_until(lambda: told("Mt4GatewayTerminalDown", "resolved"), explain, 60)
        observed.nats.stop()
        wait_until(lambda: told("Mt4GatewayNatsDown"), explain, 60)
        observed.stop("gateway")
        wait_until(lambda: told("Mt4GatewayNoActive"), explain, 60)
        alarm = told("Mt4GatewayNoActive")[0]

    assert "Nobody trades for terminal demo" in alarm["annotations"]["description"]
    assert "docs/runbooks/Mt4GatewayNoActive.md" == alarm["annotations"]["runbook_url"]
    assert "critical" == alarm["labels"]["severity"]
