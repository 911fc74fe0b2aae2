"""Terraform: parsed, and its policies are the JSON files that a real S3 server was given."""

from __future__ import annotations

import json
import re
from typing import Any

import hcl2
import pytest
import yaml
from ray.autoscaler.tags import TAG_RAY_CLUSTER_NAME

from tests.infra.files import INFRA, load, text

FOLDER = INFRA / "terraform"
PLAIN = hcl2.SerializationOptions(strip_string_quotes=True, explicit_blocks=False)


def parsed() -> dict[str, list[Any]]:
    """Every block of every file, by kind."""
    blocks: dict[str, list[Any]] = {}
    for path in sorted(FOLDER.glob("*.tf")):
        for kind, found in hcl2.loads(path.read_text(), serialization_options=PLAIN).items():
            blocks.setdefault(kind, []).extend(found)
    return blocks


BLOCKS = parsed()
RESOURCES = {
    (kind, name): body
    for block in BLOCKS["resource"]
    for kind, named in block.items()
    for name, body in named.items()
}
VARIABLES = {name: body for block in BLOCKS["variable"] for name, body in block.items()}


def test_every_reference_is_to_something_that_is_declared() -> None:
    source = "\n".join(path.read_text() for path in FOLDER.glob("*.tf"))
    assert set(re.findall(r"\bvar\.(\w+)", source)) == set(VARIABLES)
    assert set(re.findall(r"\b(aws_\w+)\.(\w+)", source)) <= set(RESOURCES) | {
        (kind, name) for block in BLOCKS["data"] for kind, named in block.items() for name in named
    }
    names = {name for block in BLOCKS["locals"] for name in block}
    assert set(re.findall(r"\blocal\.(\w+)", source)) <= names


def test_policies_come_from_the_json_files_with_the_names_replaced() -> None:
    source = text("terraform/roles.tf")
    names = re.search(r"for name in \[(.*?)\]", source)
    assert names
    for name in json.loads(f"[{names[1]}]"):
        assert (INFRA / "aws" / f"{name}-policy.json").is_file()
    assert set(json.loads(f"[{names[1]}]")) | {"trust"} == {
        path.name.removesuffix("-policy.json") for path in (INFRA / "aws").iterdir()
    }
    replaced = re.findall(r'"([\w-]+)", (var\.\w+|name|"Release\$\{number\}")', source)
    assert replaced == [
        ("my-bucket", "var.bucket"),
        ("release-1", "name"),
        ("release-1", "name"),
        ("TheRelease", '"Release${number}"'),
    ]
    everything = "\n".join(path.read_text() for path in FOLDER.glob("*.tf"))
    assert "jsonencode" not in everything
    (document,) = (
        block["aws_iam_policy_document"]
        for block in BLOCKS["data"]
        if "aws_iam_policy_document" in block
    )
    assert set(document["public_read"]) == {"source_policy_documents"}


def test_every_release_that_is_named_is_open_at_once() -> None:
    """Terraform lets statements of one name replace each other: each release has its own."""
    shown = text("aws/public-read-policy.json")
    opened = [
        json.loads(shown.replace("release-1", name).replace("TheRelease", f"Release{number}"))
        for number, name in enumerate(("a", "b"))
    ]
    statements = [statement for policy in opened for statement in policy["Statement"]]
    assert len({statement["Sid"] for statement in statements}) == len(statements) == 4
    resources = [statement["Resource"][0].rpartition(":")[2] for statement in statements]
    assert resources == ["my-bucket/a/*", "my-bucket", "my-bucket/b/*", "my-bucket"]


def test_each_role_has_its_policies_and_no_other() -> None:
    attached = {
        (body["role"], body["policy"])
        for (kind, _), body in RESOURCES.items()
        if kind == "aws_iam_role_policy"
    }
    role = "${{aws_iam_role.{}.id}}"
    assert attached == {
        (role.format("press"), "${each.value}"),
        (role.format("head"), "${each.value}"),
        (role.format("press"), '${local.policy["pull-image"]}'),
        (role.format("head"), '${local.policy["pull-image"]}'),
        (role.format("head"), '${local.policy["ray-head"]}'),
    }
    each = {body.get("for_each") for (kind, _), body in RESOURCES.items() if "role_policy" in kind}
    assert each == {"${local.printing}", None}
    assert not [kind for kind, _ in RESOURCES if "attachment" in kind]


def test_the_bucket_is_closed_until_it_is_made_public() -> None:
    block = RESOURCES["aws_s3_bucket_public_access_block", "press"]
    assert block["block_public_acls"] is block["ignore_public_acls"] is True
    assert (
        block["block_public_policy"]
        == block["restrict_public_buckets"]
        == "${length(var.public) == 0}"
    )
    policy = RESOURCES["aws_s3_bucket_policy", "public_read"]
    assert policy["count"] == "${length(var.public) > 0 ? 1 : 0}"
    assert policy["policy"] == "${data.aws_iam_policy_document.public_read.json}"
    assert VARIABLES["public"]["default"] == []


def test_the_bucket_keeps_versions_and_sweeps_leftovers() -> None:
    versioning = RESOURCES["aws_s3_bucket_versioning", "press"]["versioning_configuration"]
    assert versioning[0]["status"] == "Enabled"
    rules = RESOURCES["aws_s3_bucket_lifecycle_configuration", "press"]["rule"]
    assert {rule["status"] for rule in rules} == {"Enabled"}
    abort, expire = rules
    assert abort["abort_incomplete_multipart_upload"][0]["days_after_initiation"] <= 7
    noncurrent = expire["noncurrent_version_expiration"][0]["noncurrent_days"]
    assert noncurrent == "${var.keep_noncurrent_days}"
    assert "days" not in expire["expiration"][0], "what is published would expire"
    assert RESOURCES["aws_s3_bucket", "press"]["lifecycle"][0]["prevent_destroy"] is True


def test_the_press_cannot_delete_or_publish() -> None:
    actions = {
        action: statement["Resource"]
        for statement in load("aws/press-role-policy.json")["Statement"]
        for action in statement["Action"]
    }
    assert set(actions) == {"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket"}
    assert actions["s3:DeleteObject"] == [
        "arn:aws:s3:::my-bucket/release-1/.brainpress-write-check"
    ]
    assert actions["s3:PutObject"] == ["arn:aws:s3:::my-bucket/release-1/*"]


def test_the_nodes_pull_their_image_and_no_other() -> None:
    (repository,) = (body for (kind, _), body in RESOURCES.items() if kind == "aws_ecr_repository")
    actions = {
        action: statement["Resource"]
        for statement in load("aws/pull-image-policy.json")["Statement"]
        for action in statement["Action"]
    }
    assert actions.pop("ecr:GetAuthorizationToken") == ["*"]  # of the registry, not of an image
    assert set(actions) == {
        "ecr:BatchCheckLayerAvailability",
        "ecr:BatchGetImage",
        "ecr:GetDownloadUrlForLayer",
    }
    for resource in actions.values():
        assert resource == [f"arn:aws:ecr:*:*:repository/{repository['name']}"]


def test_nobody_comes_in_but_the_nodes_and_their_owner() -> None:
    """Only the way out is open to the world."""
    rules = {
        name: body
        for (kind, name), body in RESOURCES.items()
        if kind == "aws_vpc_security_group_ingress_rule"
    }
    assert set(rules) == {"among_themselves", "ssh"}
    assert "cidr_ipv4" not in rules["among_themselves"]
    assert rules["ssh"]["for_each"] == "${toset(var.ssh_from)}"
    assert (rules["ssh"]["from_port"], rules["ssh"]["to_port"]) == (22, 22)
    assert VARIABLES["ssh_from"]["default"] == []
    assert 'endswith(network, "/0")' in VARIABLES["ssh_from"]["validation"][0]["condition"]
    assert text("terraform/cluster.tf").count("0.0.0.0/0") == 1


def test_the_head_starts_and_ends_only_instances_of_its_own_cluster() -> None:
    cluster = yaml.safe_load(text("ray-up-aws.yaml"))["cluster_name"]
    for statement in load("aws/ray-head-policy.json")["Statement"]:
        assert statement["Resource"] != ["*"] or all(
            action.startswith("ec2:Describe") for action in statement["Action"]
        )
        for condition, value in statement.get("Condition", {}).get("StringEquals", {}).items():
            if TAG_RAY_CLUSTER_NAME in condition:
                assert value == cluster
        if "ec2:TerminateInstances" in statement["Action"]:
            assert (
                f"ec2:ResourceTag/{TAG_RAY_CLUSTER_NAME}" in statement["Condition"]["StringEquals"]
            )


@pytest.mark.parametrize("name", ["bucket", "releases", "public"])
def test_names_that_would_break_a_policy_are_refused(name: str) -> None:
    """The replacing is textual: a name must not hold another placeholder, nor a quote or a star."""
    condition = VARIABLES[name]["validation"][0]["condition"]
    pattern = re.search(r'regex\("([^"]+)"', condition)
    assert pattern
    allowed = re.compile(pattern[1].replace("\\\\", "\\"))
    assert allowed.search("my-bucket-7" if name == "bucket" else "cohort-1")
    for wrong in ('a"b', "a*", "a/b", "", "${x}"):
        assert not allowed.search(wrong), wrong
