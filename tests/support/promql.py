"""What a PromQL expression asks for, held against the catalogue of series. Knows the parser; runs nothing."""

from __future__ import annotations

import re
from typing import Any

import promql_parser as promql

from workers.metrics import catalog
from workers.metrics.catalog import Histogram

OF_PROMETHEUS = {"up": set[str]()}
"""Series that Prometheus makes itself."""
OF_SCRAPES = {"job", "instance"}
"""Labels that Prometheus puts on every series."""


def _known() -> dict[str, set[str]]:
    known = {name: set(labels) for name, labels in OF_PROMETHEUS.items()}
    for each in catalog.ALL:
        if isinstance(each, Histogram):
            known |= {f"{each.name}_{part}": set(each.labels) for part in ("sum", "count")}
            known[f"{each.name}_bucket"] = {*each.labels, "le"}
        else:
            known[each.name] = set(each.labels)
    return known


KNOWN = _known()


def problems(expression: str) -> list[str]:
    """What is wrong with it: series that are not in the catalogue, and labels that these do not have."""
    parsed = promql.parse(_without_variables(expression))
    selectors = [node for node in _nodes(parsed) if isinstance(node, promql.VectorSelector)]
    if not selectors:
        return [f"asks for no series: {expression}"]
    unknown = [f"no series {each.name}" for each in selectors if each.name not in KNOWN]
    labels = [
        f"{each.name} has no label {matcher.name}"
        for each in selectors
        for matcher in each.matchers.matchers
        if matcher.name not in KNOWN.get(each.name, set()) | OF_SCRAPES
    ]
    there = OF_SCRAPES.union(*(KNOWN.get(each.name, set()) for each in selectors))
    grouped = {label for node in _nodes(parsed) for label in _grouping(node)}
    return unknown + labels + [f"nothing there has the label {label}" for label in sorted(grouped - there)]


def names(expression: str) -> set[str]:
    """The series that it asks for."""
    parsed = promql.parse(_without_variables(expression))
    return {node.name for node in _nodes(parsed) if isinstance(node, promql.VectorSelector)}


def _without_variables(expression: str) -> str:
    """Grafana puts durations in place of these."""
    return re.sub(r"\$__(rate_interval|interval|range)\b", "5m", expression)


def _nodes(parsed: Any) -> list[Any]:
    found: list[Any] = []
    promql.walk(parsed, found.append)
    return found


def _grouping(node: Any) -> list[str]:
    if isinstance(node, promql.AggregateExpr) and node.modifier is not None:
        return list(node.modifier.labels)
    if isinstance(node, promql.BinaryExpr) and node.modifier is not None and node.modifier.matching is not None:
        return list(node.modifier.matching.labels)
    return []
