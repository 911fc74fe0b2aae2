"""Dashboard and alerts ask for metrics that the code has, and for all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
import yaml

from ray_jobs.generation.driving.metrics import METRICS, PREFIX, Kind
from ray_jobs.generation.worker.tally import Stage
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


# Of what is measured over a range; the slope of a gauge is right from a run's first minute on.
OVER_A_RANGE = {"rate": Kind.COUNTER, "deriv": Kind.GAUGE}


def selectors(node: Any, function: str = "") -> Iterator[tuple[str, dict[str, str], str]]:
    """Metric, matched labels and the function over its range, of each selector of a query."""
    ranged = isinstance(node, promql_parser.MatrixSelector)
    vector: Any = getattr(node, "vector_selector", node)
    if ranged or isinstance(node, promql_parser.VectorSelector):
        assert ranged == (function in OVER_A_RANGE)
        yield vector.name, {m.name: m.value for m in vector.matchers.matchers}, function
    for name in ("expr", "lhs", "rhs"):
        if hasattr(node, name):
            yield from selectors(getattr(node, name))
    for argument in getattr(node, "args", ()):
        yield from selectors(argument, node.func.name)


def asked(queries: list[str]) -> list[tuple[str, dict[str, str], str]]:
    return [found for q in queries for found in selectors(promql_parser.parse(filled(q)))]


@pytest.mark.parametrize("title", list(QUERIES))
def test_a_query_names_metrics_labels_and_stages_that_exist(title: str) -> None:
    found = asked(QUERIES[title])
    assert found
    for name, labels, function in found:
        assert name.startswith(PREFIX), name
        metric = METRICS[name.removeprefix(PREFIX)]
        assert set(labels) <= {"release", *metric.labels}, name
        assert labels.get("stage", Stage.DRAW) in set(Stage)
        assert OVER_A_RANGE.get(function, metric.kind) is metric.kind, f"{function} of {name}"


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
