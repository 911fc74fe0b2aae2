"""The files of infra/: they parse, hold no secret, and their commands are the real ones."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.aws import config as aws
from ray.autoscaler._private.util import prepare_config, validate_config

from ray_jobs.cli import parser_of
from tests.infra.files import INFRA, ROOT, commands, load, project, shell_lines, text

YAMLS = sorted(INFRA.rglob("*.yaml"))
JSONS = sorted(INFRA.rglob("*.json"))
TEXTS = sorted(path for path in INFRA.rglob("*.*") if path.suffix != ".pyc")


@pytest.mark.parametrize("path", [*YAMLS, *JSONS], ids=lambda path: path.name)
def test_every_file_parses_and_says_something(path: Path) -> None:
    raw = path.read_text()
    documents = [json.loads(raw)] if path.suffix == ".json" else list(yaml.safe_load_all(raw))
    assert documents
    assert all(isinstance(document, dict) and document for document in documents)


def test_every_command_is_taken_by_the_real_parser() -> None:
    found = commands()
    assert {words[0] for words in found} >= {"generate", "status", "verify", "info", "query"}
    for verb, *words in found:
        assert vars(parser_of(verb).parse_all(words))


def test_a_run_that_waits_for_gpus_says_that_it_wants_them() -> None:
    """A cluster that has no GPU yet would otherwise be printed on with its CPUs."""
    for verb, *words in commands():
        if verb == "generate" and "--gpus-per-actor" in words:
            options = vars(parser_of(verb).parse_all(words))
            assert (options["device"], options["actors"]) == ("cuda", 8), words


def test_every_file_that_the_runbook_names_exists() -> None:
    readme = text("README.md")
    named = set(re.findall(r"(?<![\w/])infra/[\w./-]*\w", "\n".join(shell_lines())))
    named |= {f"infra/{name}" for name in re.findall(r"^\| `([\w./-]+)` \|", readme, re.MULTILINE)}
    links = {name for name in re.findall(r"\]\(([^)#]+)\)", readme) if "://" not in name}
    assert {"infra/rayjob.yaml", "infra/terraform", "infra/cost.py"} <= {
        name.rstrip("/") for name in named
    }
    for name in named:
        assert (ROOT / name).exists(), name
    for name in links:
        assert (INFRA / name).exists(), name


def test_every_file_of_infra_is_in_the_table_of_the_runbook() -> None:
    rows = re.findall(r"^\| `([\w./-]+)` \|", text("README.md"), re.MULTILINE)
    shown = {path.name.removesuffix(".dockerignore") for path in INFRA.iterdir()}
    assert shown - {"README.md", "__pycache__"} == {row.split("/")[0] for row in rows}


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_no_file_holds_a_key(path: Path) -> None:
    secret = r"AKIA[0-9A-Z]{16}|SECRET_ACCESS_KEY\W{1,3}[A-Za-z0-9/+]{20}|BEGIN [A-Z ]*PRIVATE KEY"
    assert not re.search(secret, path.read_text())


# ------------------------------------------------------------------------------------- ray up


def cluster() -> dict[str, Any]:
    """ray-up-aws.yaml as `ray up` takes it: checked by Ray's own schema and completed."""
    completed: dict[str, Any] = prepare_config(load("ray-up-aws.yaml"))
    validate_config(completed)
    return completed


def test_ray_up_takes_the_ec2_cluster_and_adds_nothing_of_its_own() -> None:
    found = cluster()
    registry = "123456789012.dkr.ecr.us-west-2.amazonaws.com"
    assert found["docker"]["image"] == f"{registry}/brainpress:{project()['version']}"
    assert registry in found["initialization_commands"][0]
    assert found["setup_commands"] == []  # Ray's own installs another Ray, the newest
    head, workers = (found["available_node_types"][name] for name in ("head", "gpu-spot"))
    assert found["head_node_type"] == "head"
    assert head["resources"]["CPU"] == 0
    assert "InstanceMarketOptions" not in head["node_config"]
    assert workers["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
    assert workers["min_workers"] == 0
    assert "--dashboard-host=127.0.0.1" in " ".join(found["head_start_ray_commands"])


def test_ray_up_makes_no_security_group_and_takes_no_machine_image_of_its_own() -> None:
    """Its group is open to the world at port 22, its image has CUDA 11. Neither needs a cloud here,
    for there is nothing to look up."""
    found = cluster()
    with_groups = aws._configure_security_group(copy.deepcopy(found))
    aws._check_ami(with_groups)
    assert with_groups == found
    for node in found["available_node_types"].values():
        image = node["node_config"]["ImageId"]
        assert image.startswith("resolve:ssm:/aws/service/deeplearning/ami/x86_64/")
        assert "cuda" not in image
        assert image.endswith("-ubuntu-24.04/latest/ami-id")


def test_terraform_writes_the_ec2_cluster_out_with_every_name_replaced() -> None:
    written = text("ray-up-aws.yaml")
    source = text("terraform/cluster.tf")
    replaced = re.findall(r'^ *"([\w-]+)", ', source[source.index("ray_up = ") :], re.MULTILINE)
    assert len(replaced) == 4
    for name in replaced:
        assert name in written
        written = written.replace(name, "REPLACED")
    assert not re.search(r"\d{12}|us-\w+-\d|(sg|subnet)-\w", written)


def test_every_ec2_node_serves_its_metrics_and_takes_a_role_of_terraform() -> None:
    found = cluster()
    for start in (found["head_start_ray_commands"], found["worker_start_ray_commands"]):
        assert "--metrics-export-port=8080" in start[-1]
    profiles = {
        name: node["node_config"]["IamInstanceProfile"]["Arn"].rpartition("/")[2]
        for name, node in found["available_node_types"].items()
    }
    assert profiles == {"head": "brainpress-head", "gpu-spot": "brainpress-press"}
    for profile in profiles.values():
        assert f'name = "{profile}"' in text("terraform/roles.tf")


@pytest.mark.parametrize(
    "said",
    [
        "worker lost",
        "waiting for the cluster to start a worker",
        "these AWS credentials are not allowed to",
        "the access key id is not known",
        "the secret key does not fit",
        "has expired",
        "cannot connect",
        "no answer",
        "does not exist",
        "given up after",
        "samples failed the quality check at every attempt",
    ],
)
def test_what_the_runbook_quotes_is_what_the_code_says(said: str) -> None:
    """With the breaks taken out that a long string has in the source."""
    code = "".join(
        re.sub(r'"\s+f?"', "", path.read_text())
        for package in ("ray_jobs", "manifests")
        for path in (ROOT / package).rglob("*.py")
    )
    first_cells = "\n".join(re.findall(r"^\|([^|]*)\|", text("README.md"), re.MULTILINE))
    assert said in first_cells
    assert said in code
