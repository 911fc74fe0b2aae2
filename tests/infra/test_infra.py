"""The files of infra/: they parse, agree with the pins, and their commands are the real ones."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from ray_jobs.cli import VERBS, parser_of

ROOT = Path(__file__).resolve().parents[2]
INFRA = ROOT / "infra"
YAMLS = sorted(INFRA.rglob("*.yaml"))
JSONS = sorted(INFRA.rglob("*.json"))


def load(name: str) -> Any:
    return yaml.safe_load((INFRA / name).read_text())


def pin(package: str) -> str:
    found = re.search(rf"^{package}==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert found, f"{package} is not pinned"
    return found.group(1)


def project_version() -> str:
    version: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return version


def rayjob_pods() -> Iterator[dict[str, Any]]:
    cluster = load("rayjob.yaml")["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        yield group["template"]["spec"]


def commands() -> list[list[str]]:
    """Every `brainpress VERB ...` and `python ray_jobs/VERB.py ...` in these files."""
    readme = (INFRA / "README.md").read_text()
    lines = [load("rayjob.yaml")["spec"]["entrypoint"]]
    for block in re.findall(r"```sh\n(.*?)```", readme, re.DOTALL):
        lines += block.replace("\\\n", " ").splitlines()
    found = []
    for line in lines:
        words = shlex.split(line, comments=True)
        for place, word in enumerate(words):
            if word == "brainpress" and words[place + 1] in VERBS:
                found.append(words[place + 1 :])
            if match := re.fullmatch(r"ray_jobs/(\w+)\.py", word):
                found.append([match[1].replace("_", "-"), *words[place + 1 :]])
    return found


@pytest.mark.parametrize("path", [*YAMLS, *JSONS], ids=lambda path: path.name)
def test_every_file_parses_and_says_something(path: Path) -> None:
    text = path.read_text()
    documents = [json.loads(text)] if path.suffix == ".json" else list(yaml.safe_load_all(text))
    assert documents
    assert all(isinstance(document, dict) and document for document in documents)


def test_ray_is_the_pinned_one_everywhere() -> None:
    base = re.search(r"^FROM rayproject/ray:([\d.]+)-py(\d)(\d+)-gpu$", dockerfile(), re.MULTILINE)
    assert base, "the image builds on a pinned GPU image of Ray"
    assert base[1] == pin("ray")
    assert (int(base[2]), int(base[3])) >= (3, 11)
    assert load("rayjob.yaml")["spec"]["rayClusterSpec"]["rayVersion"] == pin("ray")


def test_every_node_runs_the_image_of_this_version() -> None:
    images = [container["image"] for pod in rayjob_pods() for container in pod["containers"]]
    images.append(load("ray-up-aws.yaml")["docker"]["image"])
    assert set(images) == {f"registry.example.org/brainpress:{project_version()}"}
    assert f"-t {images[0]} ." in (INFRA / "README.md").read_text()


def test_every_command_is_taken_by_the_real_parser() -> None:
    found = commands()
    assert {words[0] for words in found} >= {"generate", "info", "query"}
    for verb, *words in found:
        arguments = parser_of(verb).parse_all(words)
        assert vars(arguments)


def test_what_the_image_copies_exists_and_enters_the_build() -> None:
    copied = [
        name
        for line in re.findall(r"^COPY (.*)$", dockerfile(), re.MULTILINE)
        for name in shlex.split(line)[1:-1]
    ]
    allowed = (INFRA / "Dockerfile.dockerignore").read_text().splitlines()
    assert copied
    for name in copied:
        assert (ROOT / name).exists(), name
        assert f"!{name}" in allowed, name
    assert "*" in allowed


def test_the_rayjob_survives_spot_and_cleans_up_after_itself() -> None:
    spec = load("rayjob.yaml")["spec"]
    cluster = spec["rayClusterSpec"]
    assert spec["backoffLimit"] >= 3
    assert spec["shutdownAfterJobFinishes"] is True
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    (workers,) = cluster["workerGroupSpecs"]
    pod = workers["template"]["spec"]
    assert pod["nodeSelector"]["karpenter.sh/capacity-type"] == "spot"
    resources = pod["containers"][0]["resources"]
    assert resources["limits"]["nvidia.com/gpu"] == resources["requests"]["nvidia.com/gpu"] == "1"
    words = shlex.split(spec["entrypoint"])
    assert int(words[words.index("--actors") + 1]) == workers["replicas"]


def test_credentials_come_by_reference_only() -> None:
    for pod in rayjob_pods():
        assert pod["serviceAccountName"]
        for container in pod["containers"]:
            assert all("value" not in variable for variable in container.get("env", []))
            assert [list(source) for source in container["envFrom"]] == [["secretRef"]]
    for node in load("ray-up-aws.yaml")["available_node_types"].values():
        assert node["node_config"]["IamInstanceProfile"]["Arn"].startswith("arn:aws:iam::")
    for path in INFRA.rglob("*.*"):
        assert not re.search(
            r"AKIA[0-9A-Z]{16}|SECRET_ACCESS_KEY *[:=] *[A-Za-z0-9/+]", path.read_text()
        )


def test_the_ec2_cluster_fits_rays_own_schema_and_opens_only_ssh() -> None:
    ray = importlib.util.find_spec("ray")
    assert ray is not None
    assert ray.origin is not None
    schema = json.loads((Path(ray.origin).parent / "autoscaler" / "ray-schema.json").read_text())
    cluster = load("ray-up-aws.yaml")
    jsonschema.validate(cluster, schema)
    head, workers = (cluster["available_node_types"][name] for name in ("head", "gpu-spot"))
    assert cluster["head_node_type"] == "head"
    assert head["resources"]["CPU"] == 0
    assert "InstanceMarketOptions" not in head["node_config"]
    assert workers["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
    assert [rule["ToPort"] for rule in cluster["provider"]["security_group"]["IpPermissions"]] == [
        22
    ]
    assert "--dashboard-host=127.0.0.1" in " ".join(cluster["head_start_ray_commands"])


def dockerfile() -> str:
    return (INFRA / "Dockerfile").read_text()
