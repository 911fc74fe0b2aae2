"""Dashboard and alerts ask for metrics that the code has, and for all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
import yaml

from ray_jobs.generation.metrics import METRICS, PREFIX, Kind, Stage
from tests.infra.files import load, text

# What Grafana puts in before it asks Prometheus.
VARIABLES = {"$__rate_interval": "5m", "$release": "s3://bucket/release"}
DASHBOARD = load("dashboard.json")
PANELS: dict[str, list[str]] = {
    panel["title"]: [target["expr"] for target in panel["targets"]] for panel in DASHBOARD["panels"]
}
RULES: dict[str, list[str]] = {
    rule["alert"]: [rule["expr"]]
    for document in yaml.safe_load_all(text("monitoring.yaml"))
    if document["kind"] == "PrometheusRule"
    for group in document["spec"]["groups"]
    for rule in group["rules"]
}
QUERIES = {**PANELS, **RULES}


def filled(query: str) -> str:
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    assert "$" not in query, f"an unknown variable: {query}"
    return query


def selectors(node: Any) -> Iterator[tuple[str, dict[str, str], bool]]:
    """Metric, matched labels and whether over a range, of every selector in a parsed query."""
    if isinstance(node, promql_parser.VectorSelector | promql_parser.MatrixSelector):
        ranged = isinstance(node, promql_parser.MatrixSelector)
        vector = node.vector_selector if ranged else node
        yield vector.name, {m.name: m.value for m in vector.matchers.matchers}, ranged
    for name in ("expr", "lhs", "rhs"):
        if hasattr(node, name):
            yield from selectors(getattr(node, name))
    for argument in getattr(node, "args", ()):
        yield from selectors(argument)


def asked(queries: list[str]) -> list[tuple[str, dict[str, str], bool]]:
    return [found for q in queries for found in selectors(promql_parser.parse(filled(q)))]


@pytest.mark.parametrize("title", list(QUERIES))
def test_a_query_names_metrics_labels_and_stages_that_exist(title: str) -> None:
    found = asked(QUERIES[title])
    assert found
    for name, labels, ranged in found:
        assert name.startswith(PREFIX), name
        metric = METRICS[name.removeprefix(PREFIX)]
        assert set(labels) <= {"release", *metric.labels}, name
        assert labels.get("stage", Stage.DRAW) in set(Stage)
        assert not ranged or metric.kind is Kind.COUNTER, f"the rate of a gauge: {name}"


def test_every_metric_of_the_code_is_on_the_dashboard() -> None:
    shown = {name for queries in PANELS.values() for name, _, _ in asked(queries)}
    assert shown == {PREFIX + name for name in METRICS}


@pytest.mark.parametrize("title", list(QUERIES))
def test_a_query_groups_and_names_by_labels_that_exist(title: str) -> None:
    known = {"release"}.union(*(metric.labels for metric in METRICS.values()))
    for query in QUERIES[title]:
        for group in re.findall(r"by \(([^)]*)\)", query):
            assert {label.strip() for label in group.split(",")} <= known
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                assert re.search(rf"by \([^)]*\b{label}\b", target["expr"]), target


def test_panels_do_not_overlap_and_ask_the_chosen_prometheus() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        assert panel["datasource"]["uid"] == "${datasource}"
    names = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    assert names == {"datasource", "release"}
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_metrics_are_named_as_prometheus_wants() -> None:
    for name, metric in METRICS.items():
        assert re.fullmatch(r"brainpress_[a-z_]+", name)
        assert name.endswith("_total") == (metric.kind is Kind.COUNTER), name
