"""The dashboards follow the rules of Grafana's own linter, and their numbers are the alerts'."""

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
from deploy.panels import SELECTION
from gateway.metrics import PREFIX
from tests.deploy.alerts import ALERTS
from tests.deploy.chart import CHART

Json = dict[str, Any]
DASHBOARDS = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((CHART / "files/dashboards").glob("*.json"))
}
PANELS = {
    f"{name}: {panel['title']}": panel
    for name, dashboard in DASHBOARDS.items()
    for panel in dashboard["panels"]
    if panel["type"] != "row"
}
EXPRESSIONS = [
    (f"{title} {target['refId']}", target["expr"])
    for title, panel in PANELS.items()
    for target in panel["targets"]
] + [
    (f"{name}: {mark['name']}", mark["expr"])
    for name, dashboard in DASHBOARDS.items()
    for mark in dashboard["annotations"]["list"]
]
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
VARIABLE = re.compile(r"\$__rate_interval|\$__range")

dashboards = pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)


def test_there_are_dashboards() -> None:
    """Both are there, each under a stable name that links hold on to."""
    assert {"mt4-gateway-overview", "mt4-gateway-terminal"} == {
        each["uid"] for each in DASHBOARDS.values()
    }


@dashboards
def test_dashboard_can_be_provisioned(dashboard: Json) -> None:
    """No number of one Grafana's database, no input to fill in, not editable, tagged, linked."""
    assert not {"id", "__inputs", "__requires", "version"} & set(dashboard)
    assert not dashboard["editable"]
    assert ["mt4-gateway"] == dashboard["tags"]
    assert dashboard["links"]
    assert dashboard["schemaVersion"] >= 39


@dashboards
def test_variables_choose_source_job_terminal_and_instance(dashboard: Json) -> None:
    """Several or all, renewed when the time changes."""
    variables = {each["name"]: each for each in dashboard["templating"]["list"]}

    assert ["datasource", "job", "terminal", "instance"] == list(variables)
    assert "datasource" == variables["datasource"]["type"]
    for name in ("job", "terminal", "instance"):
        assert variables[name]["multi"]
        assert variables[name]["includeAll"]
        assert 2 == variables[name]["refresh"]
        assert variables[name]["query"]["query"].startswith("label_values(mt4_gateway_build_info")


@dashboards
def test_panels_fit_and_do_not_overlap(dashboard: Json) -> None:
    """Each field of the grid is taken once, and identities are unique."""
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        fields = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24
        assert not taken & fields, panel["title"]
        taken |= fields
    numbers = [panel["id"] for panel in dashboard["panels"]]

    assert len(numbers) == len(set(numbers))
    assert len(numbers) < 40


def test_panel_is_complete() -> None:
    """A title, a sentence, a unit, queries, and the dashboard's source everywhere."""
    for title, panel in PANELS.items():
        assert panel["title"], title
        assert panel["description"].endswith("."), title
        assert panel["fieldConfig"]["defaults"]["unit"], title
        assert panel["targets"], title
        assert SOURCE == panel["datasource"], title
        assert all(target["datasource"] == SOURCE for target in panel["targets"]), title


def test_expression_is_promql() -> None:
    """It parses, with Grafana's variables filled in."""
    for where, expression in EXPRESSIONS:
        assert promql_parser.parse(VARIABLE.sub("5m", expression)) is not None, where


def test_every_selector_has_the_selection() -> None:
    """No panel shows what was not chosen."""
    for where, expression in EXPRESSIONS:
        found = re.findall(r"\b(?:mt4_gateway|process)_[a-z_]+(\{[^}]*\}|)", expression)
        assert found, where
        assert all(selector.startswith("{" + SELECTION) for selector in found), where


def test_rates_take_grafanas_interval() -> None:
    """A fixed interval is wrong for some zoom."""
    for where, expression in EXPRESSIONS:
        assert set(re.findall(r"\[([^]]*)\]", expression)) <= {"$__rate_interval", "$__range"}, (
            where
        )


def test_counters_are_never_shown_bare() -> None:
    """A counter stands inside rate or increase; so do a histogram's buckets."""
    for where, expression in EXPRESSIONS:
        counters = {name for name, kind in kinds().items() if kind == "counter"}
        for match in re.finditer(r"(\w+\()?((?:mt4_gateway|process)_[a-z_]+)\{", expression):
            if match[2] in counters or match[2].endswith(("_bucket", "_count")):
                assert match[1] in ("rate(", "increase("), where


def test_metrics_exist() -> None:
    """Every name is one that the gateway has."""
    for where, expression in EXPRESSIONS:
        assert used(expression), where
        assert used(expression) <= set(kinds()), where


def test_threshold_is_the_alerts() -> None:
    """The red line stands where the alert fires."""
    for title, panel in PANELS.items():
        named = re.findall(r"Alert: (\w+)\.", panel["description"])
        steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"][1:]
        assert bool(named) == bool(steps), title
        for name in named:
            assert name in ALERTS, title
            if panel["type"] == "timeseries":
                number = f"{steps[0]['value']:g}"
                assert re.search(rf'(> |le="){re.escape(number)}\b', ALERTS[name]["expr"]), title


@pytest.mark.system("promtool")
@pytest.mark.parametrize(
    ("title", "metrics", "well", "other"),
    [
        ("Terminals without an active gateway", ("build_info", "active"), "1x120", "1x5"),
        ("Terminals down", ("terminal_up",), "1x120", "0x120"),
        ("Halted", ("halted",), "0x120", "1x120"),
    ],
)
def test_tile_counts_terminals(
    title: str, metrics: tuple[str, ...], well: str, other: str, tmp_path: Path
) -> None:
    """Two terminals of one name: all is well with one; the other is down, halted, or only past."""
    (target,) = PANELS[f"overview: {title}"]["targets"]
    case = {
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {
                        "series": f'{PREFIX}{name}{{terminal="demo",namespace="{namespace}"}}',
                        "values": values,
                    }
                    for name in metrics
                    for namespace, values in (("one", well), ("two", other))
                ],
                "promql_expr_test": [
                    {
                        "expr": re.sub(r"\$\w+", ".*", target["expr"].replace("$__range", "3h")),
                        "eval_time": "2h",
                        "exp_samples": [{"labels": "{}", "value": 1}],
                    }
                ],
            }
        ]
    }
    file = tmp_path / "case.yaml"
    file.write_text(yaml.safe_dump(case), encoding="utf-8")
    done = subprocess.run(
        ["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False
    )

    assert 0 == done.returncode, done.stdout + done.stderr


def test_every_metric_is_shown() -> None:
    """What is worth counting is worth looking at."""
    shown = {name for _, text in EXPRESSIONS for name in used(text)}
    ours = {name for name in kinds() if name.startswith("mt4_gateway_")}

    assert {f"{PREFIX}epoch"} == ours - shown, "epoch is for the runbook of a split"


@pytest.mark.system("python:grafana_foundation_sdk")
@dashboards
def test_grafana_knows_every_key(dashboard: Json) -> None:
    """A round trip through Grafana's own model loses nothing: no misspelt key."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder  # noqa: PLC0415
    from grafana_foundation_sdk.cog.plugins import register_default_plugins  # noqa: PLC0415
    from grafana_foundation_sdk.models.dashboard import Dashboard  # noqa: PLC0415

    from tests.deploy.chart import lost_keys  # noqa: PLC0415

    register_default_plugins()
    kept = json.loads(json.dumps(Dashboard.from_json(dashboard), cls=JSONEncoder))

    # These two belong to the data source's plugin, which the model does not know.
    of_plugin = (".titleFormat", ".textFormat")

    assert [] == [key for key in lost_keys(dashboard, kept) if not key.endswith(of_plugin)]
