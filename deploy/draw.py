"""Draw a dashboard from the answers to its queries: a check for the eye, not Grafana's picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Json = dict[str, Any]
Series = list[Json]
"""What Prometheus answers to a range query: `metric` and `values`, each."""

WIDTH, ROW_HEIGHT = 24, 0.42
UNITS = {"s": "s", "reqps": "/s", "cps": "/s", "bytes": "MB", "percentunit": "%", "short": ""}
FACTORS = {"bytes": 1e-6, "percentunit": 100.0}


def draw(dashboard: Json, ask: Callable[[str], Series], picture: Path) -> None:
    """Draw every panel where it stands.

    Args:
        dashboard: As Grafana takes it.
        ask: Answers one query.
        picture: Where the PNG goes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - heavy
    from matplotlib.figure import Figure  # noqa: PLC0415

    panels = dashboard["panels"]
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    figure = Figure(figsize=(15, height * ROW_HEIGHT + 0.6), dpi=80, facecolor="white")
    FigureCanvasAgg(figure)
    figure.suptitle(dashboard["title"], x=0.01, y=0.995, ha="left", fontsize=13, weight="bold")
    for panel in panels:
        at = panel["gridPos"]
        top = 1 - (at["y"] + 0.9) / (height + 1)
        if panel["type"] == "row":
            figure.text(
                0.01, top - 1.0 / (height + 1), panel["title"], fontsize=11, color="#3b6ea5"
            )
            continue
        box = (
            at["x"] / WIDTH + 0.035,
            top - (at["h"] - 0.9) / (height + 1),
            at["w"] / WIDTH - 0.05,
            (at["h"] - 2.0) / (height + 1),
        )
        _panel(figure.add_axes(box), panel, [(t, ask(t["expr"])) for t in panel["targets"]])
    figure.savefig(picture)


def _panel(axes: Any, panel: Json, answers: list[tuple[Json, Series]]) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    unit, factor = UNITS[defaults["unit"]], FACTORS.get(defaults["unit"], 1.0)
    axes.set_title(f"{panel['title']}{f' ({unit})' if unit else ''}", fontsize=8, loc="left")
    axes.tick_params(labelsize=6, length=2)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if panel["type"] == "stat":
        _stat(axes, answers, defaults, factor)
        return
    drawn = 0
    for target, series in answers:
        for one in series:
            points = [(float(at), float(value) * factor) for at, value in one["values"]]
            first = points[0][0]
            axes.plot(
                [at - first for at, _ in points],
                [value for _, value in points],
                linewidth=0.9,
                drawstyle="steps-post" if panel["type"] == "state-timeline" else "default",
                label=_legend(target, one["metric"]),
            )
            drawn += 1
    steps = defaults["thresholds"]["steps"][1:]
    if drawn and steps:
        axes.axhline(steps[0]["value"] * factor, color="red", linewidth=0.7, linestyle="--")
    if drawn:
        axes.set_ylim(0, axes.get_ylim()[1] * 1.3 or 1)  # room for the legend
        axes.legend(fontsize=5.5, loc="upper left", ncols=2, frameon=False)
    else:
        axes.text(0.5, 0.5, "no data", ha="center", transform=axes.transAxes, fontsize=8)


def _stat(axes: Any, answers: list[tuple[Json, Series]], defaults: Json, factor: float) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    series = answers[0][1]
    if not series:
        axes.text(0.5, 0.4, "no data", ha="center", transform=axes.transAxes, fontsize=8)
        return
    value = float(series[0]["values"][-1][1]) * factor
    names = {
        text: option["text"]
        for mapping in defaults["mappings"]
        for text, option in mapping["options"].items()
    }
    shown = names.get(f"{value:.0f}", f"{value:.3g}")
    reached = [
        step
        for step in defaults["thresholds"]["steps"]
        if value >= (step["value"] or float("-inf"))
    ]
    axes.set_facecolor({"green": "#dff0d8", "red": "#f2dede"}[reached[-1]["color"]])
    axes.text(0.5, 0.35, shown, ha="center", transform=axes.transAxes, fontsize=16)


def _legend(target: Json, labels: dict[str, str]) -> str:
    text: str = target["legendFormat"]
    for name, value in labels.items():
        text = text.replace(f"{{{{{name}}}}}", value)
    return "" if text == "__auto" else text
