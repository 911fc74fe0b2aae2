"""The Kubernetes manifests: fields that exist, a job that survives, pods that may do little."""

from __future__ import annotations

import copy
import shlex
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml

from ray_jobs.cli import parser_of
from tests.infra.files import IMAGE, load, pin, project, text
from tests.infra.kubernetes_schema import SCHEMAS

DOCUMENTS: dict[str, dict[str, Any]] = {
    document["kind"]: document
    for name in ("rayjob.yaml", "monitoring.yaml")
    for document in yaml.safe_load_all(text(name))
}
SPEC = load("rayjob.yaml")["spec"]
CLUSTER = SPEC["rayClusterSpec"]
(WORKERS,) = CLUSTER["workerGroupSpecs"]


def templates() -> Iterator[dict[str, Any]]:
    for group in (CLUSTER["headGroupSpec"], WORKERS):
        yield group["template"]


@pytest.mark.parametrize("kind", list(SCHEMAS))
def test_every_field_is_one_of_the_api(kind: str) -> None:
    jsonschema.validate(DOCUMENTS[kind], SCHEMAS[kind])


def test_a_misspelt_field_would_be_found() -> None:
    wrong = copy.deepcopy(DOCUMENTS["RayJob"])
    container = wrong["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"]
    container[0]["resource"] = container[0].pop("resources")
    with pytest.raises(jsonschema.ValidationError, match="resource"):
        jsonschema.validate(wrong, SCHEMAS["RayJob"])


def test_ray_and_the_image_are_the_pinned_ones() -> None:
    assert CLUSTER["rayVersion"] == pin("ray")
    images = {c["image"] for pod in templates() for c in pod["spec"]["containers"]}
    assert images == {f"{IMAGE}:{project()['version']}"}


def test_the_job_is_tried_again_ends_some_day_and_cleans_up_after_itself() -> None:
    assert SPEC["backoffLimit"] >= 3
    assert 0 < SPEC["activeDeadlineSeconds"] <= 7 * 86_400
    assert SPEC["shutdownAfterJobFinishes"] is True
    assert CLUSTER["authOptions"] == {"mode": "token"}


def test_the_head_stays_the_workers_are_on_spot_and_each_actor_has_a_gpu() -> None:
    head = CLUSTER["headGroupSpec"]
    capacity = [pod["spec"]["nodeSelector"]["karpenter.sh/capacity-type"] for pod in templates()]
    assert capacity == ["on-demand", "spot"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    resources = WORKERS["template"]["spec"]["containers"][0]["resources"]
    assert resources["limits"]["nvidia.com/gpu"] == resources["requests"]["nvidia.com/gpu"] == "1"
    program, verb, *words = shlex.split(SPEC["entrypoint"])
    options = parser_of(verb).parse_all(words)
    assert program == "brainpress"
    assert options.actors == WORKERS["replicas"] == WORKERS["minReplicas"] == WORKERS["maxReplicas"]
    assert options.gpus_per_actor == 1


def test_pods_are_not_root_gain_nothing_and_get_credentials_by_reference() -> None:
    for pod in templates():
        spec = pod["spec"]
        assert spec["serviceAccountName"] == "brainpress"
        assert (spec["securityContext"]["runAsNonRoot"], spec["securityContext"]["runAsUser"]) == (
            True,
            1000,
        )
        for container in spec["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert "env" not in container


def test_prometheus_finds_every_pod_with_the_operator_and_without() -> None:
    monitor = DOCUMENTS["PodMonitor"]["spec"]
    (endpoint,) = monitor["podMetricsEndpoints"]
    wanted = dict(monitor["selector"]["matchLabels"])
    assert wanted.pop("ray.io/is-ray-node") == "yes"  # which KubeRay puts on its pods
    for pod in templates():
        assert wanted.items() <= pod["metadata"]["labels"].items()
        ports = {p["name"]: p["containerPort"] for p in pod["spec"]["containers"][0]["ports"]}
        assert endpoint["port"] in ports
        notes = pod["metadata"]["annotations"]
        assert notes["prometheus.io/scrape"] == "true"
        assert notes["prometheus.io/port"] == str(ports["metrics"])
        assert notes["prometheus.io/path"] == endpoint["path"]
