"""Build Grafana dashboards from plain panels, all in one form.

Every query carries the dashboard's selection, every rate Grafana's own interval, every panel a
sentence and a unit. Written out as JSON because that is what Grafana reads: a library's builders
were longer than the JSON. The tests hold the outcome against Grafana's model.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
SELECTION = 'job=~"$job",terminal=~"$terminal",instance=~"$instance"'
COLUMNS = 24
GREEN, ORANGE, RED = "green", "orange", "red"


@dataclass(frozen=True, slots=True)
class Query:
    """One query; `{S}` and `{S,...}` become the selection, `[R]` the rate's interval."""

    expression: str
    legend: str = ""
    exemplars: bool = False

    @property
    def promql(self) -> str:
        """Write it out."""
        selected = self.expression.replace("{S", "{" + SELECTION)
        return selected.replace("[R]", "[$__rate_interval]")


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes:
        alert: The alert that `threshold` belongs to; both have the same number.
        low_is_bad: The threshold is a lower bound.
        names: What numbers mean, for states.
    """

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: str = "timeseries"
    width: int = 8
    threshold: float | None = None
    alert: str | None = None
    low_is_bad: bool = False
    stacked: bool = False
    names: tuple[tuple[int, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """A titled row of panels."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Mark:
    """An annotation: a moment at which a query has a value."""

    name: str
    expression: str
    color: str


def dashboard(
    uid: str, title: str, description: str, rows: Iterable[Row], marks: Iterable[Mark]
) -> Json:
    """Put a dashboard together."""
    panels: list[Json] = []
    top = 0
    for row in rows:
        panels.append(_row(row.title, top, len(panels) + 1))
        top += 1
        left, height = 0, 8
        for panel in row.panels:
            if left + panel.width > COLUMNS:
                left, top = 0, top + height
            height = 4 if panel.kind == "stat" else 8
            at = {"x": left, "y": top, "w": panel.width, "h": height}
            panels.append(_panel(panel, at, len(panels) + 1))
            left += panel.width
        top += height
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["mt4-gateway"],
        "schemaVersion": 41,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "links": [_link()],
        "annotations": {"list": [_annotation(mark) for mark in marks]},
        "templating": {"list": _variables()},
        "panels": panels,
    }


def _row(title: str, top: int, number: int) -> Json:
    at = {"x": 0, "y": top, "w": COLUMNS, "h": 1}
    return {
        "id": number,
        "type": "row",
        "title": title,
        "collapsed": False,
        "gridPos": at,
        "panels": [],
    }


def _panel(panel: Panel, at: Json, number: int) -> Json:
    description = panel.description
    if panel.alert:
        description += f" Alert: {panel.alert}."
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": description,
        "datasource": SOURCE,
        "gridPos": at,
        "targets": [_target(query, index, panel) for index, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _options(panel),
    }


def _target(query: Query, index: int, panel: Panel) -> Json:
    return {
        "refId": chr(ord("A") + index),
        "datasource": SOURCE,
        "expr": query.promql,
        "legendFormat": query.legend or "__auto",
        "exemplar": query.exemplars,
        "format": "heatmap" if panel.kind == "heatmap" else "time_series",
        "range": True,
    }


def _defaults(panel: Panel) -> Json:
    good, bad = (RED, GREEN) if panel.low_is_bad else (GREEN, RED)
    steps: list[Json] = [{"color": good, "value": None}]
    if panel.threshold is not None:
        steps.append({"color": bad, "value": panel.threshold})
    found: Json = {
        "unit": panel.unit,
        "min": 0,
        "color": {"mode": "thresholds" if panel.kind == "stat" else "palette-classic"},
        "thresholds": {"mode": "absolute", "steps": steps},
        "mappings": [
            {"type": "value", "options": {str(value): {"text": text, "color": color}}}
            for value, text, color in panel.names
        ],
    }
    if panel.kind == "timeseries":
        found["custom"] = {
            "drawStyle": "line",
            "fillOpacity": 30 if panel.stacked else 5,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "off" if panel.threshold is None else "line"},
        }
    return found


def _options(panel: Panel) -> Json:
    if panel.kind == "stat":
        last: Json = {"calcs": ["lastNotNull"], "fields": "", "values": False}
        return {"reduceOptions": last, "colorMode": "background", "graphMode": "area"}
    if panel.kind == "state-timeline":
        return {"showValue": "auto", "mergeValues": True, "rowHeight": 0.9}
    if panel.kind == "heatmap":
        return {"calculate": False, "yAxis": {"unit": panel.unit}, "cellGap": 1}
    return {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


def _annotation(mark: Mark) -> Json:
    return {
        "name": mark.name,
        "datasource": SOURCE,
        "enable": True,
        "hide": False,
        "iconColor": mark.color,
        "expr": Query(mark.expression).promql,
        "titleFormat": mark.name,
        "textFormat": "{{terminal}} {{instance}}",
    }


def _link() -> Json:
    return {
        "title": "MT4 gateway",
        "type": "dashboards",
        "tags": ["mt4-gateway"],
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
        "icon": "external link",
        "tooltip": "",
        "url": "",
    }


def _variables() -> list[Json]:
    source = {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "refresh": 1,
        "hide": 0,
        "includeAll": False,
        "multi": False,
    }
    build = "mt4_gateway_build_info"
    return [
        source,
        _variable("job", "Job", f"label_values({build}, job)"),
        _variable("terminal", "Terminal", f'label_values({build}{{job=~"$job"}}, terminal)'),
        _variable(
            "instance",
            "Instance",
            f'label_values({build}{{job=~"$job",terminal=~"$terminal"}}, instance)',
        ),
    ]


def _variable(name: str, label: str, query: str) -> Json:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "hide": 0,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }
