"""Makes Grafana's JSON of panels: places them in rows, and fills in what is the same for all. Owns how they look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

_SOURCE: Final = {"type": "prometheus", "uid": "prometheus"}
_WIDTH: Final = 24
"""Columns of Grafana's grid."""
_SCHEMA: Final = 39
"""Of Grafana's dashboards, from version 11 on; newer ones read it."""


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression, and the name of its lines: `{{label}}` stands for a label's value."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture. `unit` is Grafana's word for it (`s`, `currencyUSD`, `percentunit`, `Bps`)."""

    title: str
    says: str
    queries: tuple[Query, ...]
    unit: str = "short"
    stacked: bool = False


@dataclass(frozen=True, slots=True)
class Stat(Panel):
    """One large number for each line. It is red from `red_from` on, or below `red_below`."""

    red_from: float | None = None
    red_below: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """Panels side by side, of the same width."""

    panels: tuple[Panel, ...]
    height: int = 8


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard. `uid` stands in its address, and in its file's name."""

    uid: str
    title: str
    says: str
    rows: tuple[Row, ...]


def drawn(board: Board) -> dict[str, Any]:
    """The dashboard as Grafana reads it."""
    return {
        "uid": board.uid,
        "title": board.title,
        "description": board.says,
        "tags": ["reelworks"],
        "editable": False,
        "graphTooltip": 1,
        "schemaVersion": _SCHEMA,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "utc",
        "links": [{"type": "dashboards", "tags": ["reelworks"], "title": "Reelworks", "keepTime": True}],
        "panels": _placed(board.rows),
    }


def _placed(rows: Sequence[Row]) -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = []
    top = 0
    for row in rows:
        width = _WIDTH // len(row.panels)
        for place, panel in enumerate(row.panels):
            grid = {"x": place * width, "y": top, "w": width, "h": row.height}
            panels.append({"id": len(panels) + 1, "gridPos": grid, **_panel(panel)})
        top += row.height
    return panels


def _panel(panel: Panel) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + place), "datasource": _SOURCE, "expr": query.expr, "legendFormat": query.legend}
        for place, query in enumerate(panel.queries)
    ]
    common = {"title": panel.title, "description": panel.says, "datasource": _SOURCE, "targets": targets}
    if isinstance(panel, Stat):
        look = {
            "colorMode": "background_solid" if _judged(panel) else "value",
            "reduceOptions": {"calcs": ["lastNotNull"]},
        }
        defaults: dict[str, Any] = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": _steps(panel)}}
        return {"type": "stat", **common, "options": look, "fieldConfig": {"defaults": defaults, "overrides": []}}
    custom = {"fillOpacity": 10, "showPoints": "never", "stacking": {"mode": "normal" if panel.stacked else "none"}}
    options = {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}
    defaults = {"unit": panel.unit, "min": 0, "custom": custom}
    return {"type": "timeseries", **common, "options": options, "fieldConfig": {"defaults": defaults, "overrides": []}}


def _judged(stat: Stat) -> bool:
    return stat.red_from is not None or stat.red_below is not None


def _steps(stat: Stat) -> list[dict[str, Any]]:
    if stat.red_below is not None:
        return [{"color": "red", "value": None}, {"color": "green", "value": stat.red_below}]
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    return [*steps, {"color": "red", "value": stat.red_from}] if stat.red_from is not None else steps
