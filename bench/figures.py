"""Figures: medians, percentiles, and a table against the targets."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the report.

    Attributes:
        key: Of the target it belongs to, `P1` to `P12`; empty for what only explains another.
        what: What was measured.
        value: The figure; None when it could not be measured, `note` says why.
        unit: `x` for a ratio to what was measured beside it in the same run.
        gate: What it must reach; None where nothing is asked.
        moonshot: What we are after.
        more_is_better: Which side of the gate is the right one.
        note: What the ratio was made of.
    """

    key: str
    what: str
    value: float | None
    unit: str = "x"
    gate: float | None = None
    moonshot: float | None = None
    more_is_better: bool = False
    note: str = ""

    @property
    def is_met(self) -> bool | None:
        """Tell whether the gate is reached; None without a gate or a value."""
        return self._reaches(self.gate)

    @property
    def is_moonshot(self) -> bool | None:
        """Tell whether the moonshot is reached."""
        return self._reaches(self.moonshot)

    def _reaches(self, bar: float | None) -> bool | None:
        if bar is None or self.value is None:
            return None
        return self.value >= bar if self.more_is_better else self.value <= bar


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which a share of the values lies."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def paired_ratio(ours: Sequence[float], beside: Sequence[float]) -> float:
    """Return the median over rounds of ours divided by what ran beside it.

    Both were measured one after the other in each round, so a machine that is slow for a while
    is slow for both.
    """
    return statistics.median(one / other for one, other in zip(ours, beside, strict=True))


def against(ours_s: float, beside_s: float) -> str:
    """Write what a ratio of times was made of."""
    return f"{ours_s * 1e6:.0f} us against {beside_s * 1e6:.0f} us"


def table(figures: Sequence[Figure]) -> str:
    """Write the figures for a person."""
    rows = [("", "what", "measured", "gate", "moonshot", "")]
    for each in figures:
        sign = ">=" if each.more_is_better else "<="
        rows.append(
            (
                each.key,
                each.what,
                f"{_number(each.value)} {each.unit}" if each.value is not None else "not measured",
                f"{sign} {_number(each.gate)}" if each.gate is not None else "",
                f"{sign} {_number(each.moonshot)}" if each.moonshot is not None else "",
                " ".join(filter(None, (_verdict(each), each.note))),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True)).rstrip()
        for row in rows
    )


def _verdict(figure: Figure) -> str:
    if figure.is_moonshot:
        return "moonshot"
    return {True: "met", False: "MISSED", None: ""}[figure.is_met]


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004 - as one reads


def write(figures: Sequence[Figure], machine: dict[str, Any], file: Path) -> None:
    """Write the figures for a program."""
    body = {
        "machine": machine,
        "figures": [
            asdict(each) | {"met": each.is_met, "moonshot_met": each.is_moonshot}
            for each in figures
        ],
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")
