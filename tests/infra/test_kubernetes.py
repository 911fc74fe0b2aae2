"""The Kubernetes manifests: fields that exist, a job that survives, pods that may do little."""

from __future__ import annotations

import copy
import re
import shlex
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml

from ray_jobs.cli import parser_of
from ray_jobs.interrupts import usual_grace
from tests.infra.files import IMAGE, load, pin, project, text
from tests.infra.kubernetes_schema import SCHEMAS

RELEASE = load("rayjob.yaml")
TRAINING: list[dict[str, Any]] = load("training.yaml")["items"]
DOCUMENTS: dict[str, dict[str, Any]] = {
    f"{document['kind']} {document['metadata']['name']}": document
    for document in (*yaml.safe_load_all(text("monitoring.yaml")), RELEASE, *TRAINING)
}
JOBS = [document for document in DOCUMENTS.values() if document["kind"] == "RayJob"]
SPEC = RELEASE["spec"]
CLUSTER = SPEC["rayClusterSpec"]
(WORKERS,) = CLUSTER["workerGroupSpecs"]


def templates(*jobs: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The pods of these jobs, heads first."""
    for job in jobs:
        cluster = job["spec"]["rayClusterSpec"]
        for group in (cluster["headGroupSpec"], *cluster.get("workerGroupSpecs", [])):
            yield group["template"]


def options_of(job: dict[str, Any]) -> tuple[str, Namespace]:
    """The verb of a job's entrypoint, and its options as the real parser has them."""
    again, times, program, verb, *words = shlex.split(job["spec"]["entrypoint"])
    assert (again, int(times) > 1, program) == ("again.sh", True, "brainpress")
    return verb, parser_of(verb).parse_all(words)


@pytest.mark.parametrize("name", list(DOCUMENTS))
def test_every_field_is_one_of_the_api(name: str) -> None:
    jsonschema.validate(DOCUMENTS[name], SCHEMAS[DOCUMENTS[name]["kind"]])


def test_a_misspelt_field_would_be_found() -> None:
    wrong = copy.deepcopy(RELEASE)
    container = wrong["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"]
    container[0]["resource"] = container[0].pop("resources")
    with pytest.raises(jsonschema.ValidationError, match="resource"):
        jsonschema.validate(wrong, SCHEMAS["RayJob"])


def test_ray_and_the_image_are_the_pinned_ones() -> None:
    assert {job["spec"]["rayClusterSpec"]["rayVersion"] for job in JOBS} == {pin("ray")}
    images = {c["image"] for pod in templates(*JOBS) for c in pod["spec"]["containers"]}
    assert images == {f"{IMAGE}:{project()['version']}"}


def test_no_failure_of_a_job_makes_a_second_cluster_and_a_lost_head_none_either() -> None:
    """KubeRay sees no exit codes; the submitter tries again where its head was lost."""
    for job in JOBS:
        spec = job["spec"]
        assert spec["backoffLimit"] == 0
        assert spec["submitterConfig"]["backoffLimit"] >= 3
        assert 0 < spec["activeDeadlineSeconds"] <= 7 * 86_400
        assert spec["shutdownAfterJobFinishes"] is True
        assert spec["rayClusterSpec"]["authOptions"] == {"mode": "token"}


def test_no_gpu_is_there_before_the_driver_asks_for_it() -> None:
    assert CLUSTER["enableInTreeAutoscaling"] is True
    assert WORKERS["replicas"] == WORKERS["minReplicas"] == 0
    for pod in templates(RELEASE):  # as the autoscaler's second version wants it
        assert pod["spec"]["restartPolicy"] == "Never"
    verb, options = options_of(RELEASE)
    assert (verb, str(options.device), options.gpus_per_actor) == ("generate", "cuda", 1)
    assert options.actors == WORKERS["maxReplicas"]


def test_the_head_stays_the_workers_are_on_spot_and_each_actor_has_a_gpu() -> None:
    capacity = [
        pod["spec"]["nodeSelector"]["karpenter.sh/capacity-type"] for pod in templates(RELEASE)
    ]
    assert capacity == ["on-demand", "spot"]
    assert CLUSTER["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    resources = WORKERS["template"]["spec"]["containers"][0]["resources"]
    assert resources["limits"]["nvidia.com/gpu"] == resources["requests"]["nvidia.com/gpu"] == "1"


def test_a_pod_that_goes_has_time_to_drain_and_a_stopped_driver_to_keep_what_it_has() -> None:
    head, worker = (pod["spec"] for pod in templates(RELEASE))
    variables = {e["name"]: float(e["value"]) for e in head["containers"][0]["env"]}
    drain = variables["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"]
    assert worker["containers"][0]["env"] == [
        {"name": "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S", "value": f"{drain:g}"}
    ]
    for pod in (head, worker):
        assert drain + 10 <= pod["terminationGracePeriodSeconds"] < 120  # AWS's notice
    grace = usual_grace({name: str(value) for name, value in variables.items()})
    assert 30 <= grace < drain


def test_training_has_a_job_a_step_each_with_its_gpus_on_a_volume_that_all_share() -> None:
    claim, *jobs = TRAINING
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    labels = [item["metadata"]["labels"]["brainpress/step"] for item in TRAINING]
    assert labels == ["volume", *(options_of(job)[0] for job in jobs)]
    shown = re.findall(r"training.yaml -l brainpress/step=([\w-]+)", text("README.md"))
    assert shown == labels[:-1]
    for job in jobs:
        verb, options = options_of(job)
        (pod,) = templates(job)
        (container,) = pod["spec"]["containers"]
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        shared = volumes["shared"]["persistentVolumeClaim"]["claimName"]
        assert (shared, mounts["shared"]) == (claim["metadata"]["name"], "/shared")
        assert mounts["shm"] == "/dev/shm"
        gpus = container["resources"]["limits"].get("nvidia.com/gpu")
        assert container["resources"]["requests"].get("nvidia.com/gpu") == gpus
        if verb.startswith("train-") or verb == "encode-latents":
            assert (options.gpu, str(options.workers)) == (True, gpus)
        else:
            assert gpus is None


def test_pods_are_not_root_gain_nothing_and_get_credentials_by_reference() -> None:
    for pod in templates(*JOBS):
        spec = pod["spec"]
        assert spec["serviceAccountName"] == "brainpress"
        assert (spec["securityContext"]["runAsNonRoot"], spec["securityContext"]["runAsUser"]) == (
            True,
            1000,
        )
        for container in spec["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert all(e["name"].startswith("RAY_") for e in container.get("env", []))
    (_, worker), *others = (list(templates(job)) for job in JOBS)
    for pod in (worker, *(pod for pods in others for pod in pods)):  # all but the autoscaler's
        assert pod["spec"]["automountServiceAccountToken"] is False


def test_prometheus_finds_every_pod_with_the_operator_and_without() -> None:
    (monitor,) = (d["spec"] for d in DOCUMENTS.values() if d["kind"] == "PodMonitor")
    (endpoint,) = monitor["podMetricsEndpoints"]
    wanted = dict(monitor["selector"]["matchLabels"])
    assert wanted.pop("ray.io/is-ray-node") == "yes"  # which KubeRay puts on its pods
    for pod in templates(*JOBS):
        assert wanted.items() <= pod["metadata"]["labels"].items()
        ports = {p["name"]: p["containerPort"] for p in pod["spec"]["containers"][0]["ports"]}
        assert endpoint["port"] in ports
        notes = pod["metadata"]["annotations"]
        assert notes["prometheus.io/scrape"] == "true"
        assert notes["prometheus.io/port"] == str(ports["metrics"])
        assert notes["prometheus.io/path"] == endpoint["path"]
